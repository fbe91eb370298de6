"""Writing text with a model: greedy or sampled tokens, stop strings, text as it comes, on several branches at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import Cancelled, InputError

UNFINISHED = "\ufffd"
"""What a tokenizer decodes the first bytes of a character to."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are picked and when writing ends.

    Args:
        max_tokens: Most new tokens.
        temperature: 0 for the likeliest token each time; above, logits are divided by it and one is drawn.
        top_p: Draw from the likeliest tokens that together have this probability, in (0, 1].
        stop: Texts at which writing ends; they are not part of it.
        seed: Of the draws.

    Raises:
        InputError: For values out of range.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise InputError(f"Expected max_tokens of at least 1, found {self.max_tokens!r}.")
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"Expected a temperature of at least 0, found {self.temperature!r}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"Expected top_p above 0 and at most 1, found {self.top_p!r}.")
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            raise InputError(f"Expected stop to be texts, none of them empty, found {self.stop!r}.")

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def pick(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token's id out of logits [vocabulary]."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.double().cpu() / sampling.temperature, -1)
    if sampling.top_p < 1:
        ranked, order = probabilities.sort(descending=True)
        # The token that crosses the line is in, so there is always one.
        ranked[ranked.cumsum(0) - ranked >= sampling.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter_(0, order, ranked)
    return int(torch.multinomial(probabilities, 1, generator=generator))


class Transcript:
    """One text in the making: tokens in, pieces of text out, until an end token, a stop text, or the limit.

    Args:
        decode: Ids to text.
        sampling: When to end.
        ends: Ids that end the text and are not part of it.
    """

    def __init__(self, decode: Callable[[list[int]], str], sampling: Sampling, ends: frozenset[int]) -> None:
        self.ids: list[int] = []
        self.text = ""
        self.finished = False
        self._decode, self._sampling, self._ends = decode, sampling, ends
        self._generator = sampling.generator()
        self._shown = 0

    def write(self, logits: Tensor) -> tuple[int, str]:
        """Pick a token. Gives its id and the text that is certain now, "" where none is."""
        token = pick(logits, self._sampling, self._generator)
        if token in self._ends:
            self.finished = True
            return token, self._show(len(self.text))
        self.ids.append(token)
        self.text = self._decode(self.ids)
        stops = [at for at in (self.text.find(stop) for stop in self._sampling.stop) if at >= 0]
        if stops:
            self.text = self.text[: min(stops)]
        self.finished = bool(stops) or len(self.ids) >= self._sampling.max_tokens
        return token, self._show(len(self.text) if self.finished else self._certain())

    def _certain(self) -> int:
        """Up to where the text cannot change any more by what follows."""
        end = len(self.text.rstrip(UNFINISHED))
        for stop in self._sampling.stop:
            overlap = next((n for n in range(min(len(stop) - 1, end), 0, -1) if self.text[:end].endswith(stop[:n])), 0)
            end = min(end, len(self.text[:end]) - overlap)
        return end

    def _show(self, end: int) -> str:
        piece = self.text[self._shown : end]
        self._shown = max(self._shown, end)
        return piece


class Branching(Protocol):
    """Several sequences that can be read on together."""

    def feed(self, tokens: Sequence[Sequence[int]]) -> list[Tensor | None]:
        """Read each branch's tokens; logits [vocabulary] after the last of each, None where it read nothing."""


def write(
    branching: Branching,
    prompts: Sequence[Sequence[int]],
    transcripts: Sequence[Transcript],
    cancel: threading.Event | None = None,
) -> Iterator[tuple[int, str]]:
    """Read each branch's prompt, then write on all of them until each has ended.

    Args:
        branching: One branch for each prompt.
        prompts: Token ids, at least one each.
        transcripts: Take the tokens; their `text` is whole at the end.
        cancel: When set, ends it between two tokens.

    Yields:
        The branch, and the next piece of its text.

    Raises:
        Cancelled: When `cancel` was set.
    """
    tokens: list[Sequence[int]] = list(prompts)
    while any(tokens):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Writing was cancelled; the memory is as it was.")
        for branch, logits in enumerate(branching.feed(tokens)):
            tokens[branch] = ()
            if logits is not None:
                token, piece = transcripts[branch].write(logits)
                tokens[branch] = () if transcripts[branch].finished else (token,)
                if piece:
                    yield branch, piece
