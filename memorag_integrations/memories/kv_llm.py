"""A memory's model as the writer of answers, as in the original; a beacon's prompts beyond a window are compressed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..clues import Completion, Usage
from ..contracts import LLM
from ..decoding.generation import Sampling, Transcript, write
from ..documents import clean_text

if TYPE_CHECKING:
    from .kv_model import CheckpointMemoryModel


@dataclass(frozen=True)
class CheckpointLLM(LLM):
    """A checkpoint asked without a memory: the prompt is all it reads.

    Args:
        model: Whose weights and settings are used.
        sampling: How replies are written; None for as the model says.
    """

    model: CheckpointMemoryModel
    sampling: Sampling | None = None

    @property
    def name(self) -> str:
        return f"{self.model.kind} {self.model.model_name_or_path}"

    @property
    def context_window(self) -> int | None:
        return self.model.reach

    def count_tokens(self, text: str) -> int:
        return self.model.count_tokens(text)

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        """The reply to one user message.

        Raises:
            InputError: For a prompt beyond the model's reach.
        """
        return self.complete_batch([prompt], max_tokens=max_tokens)[0]

    def complete_batch(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[Completion]:
        """The replies to several, written side by side; the time is shared out evenly."""
        began = time.perf_counter()
        transcripts, read, pieces = self._writing(prompts, max_tokens)
        for _ in pieces:
            pass
        seconds = (time.perf_counter() - began) / len(prompts)
        return [
            Completion(transcript.text, Usage(tokens, 0, len(transcript.ids), seconds, 1))
            for transcript, tokens in zip(transcripts, read, strict=True)
        ]

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        """The reply in pieces, as it is written."""
        for _, piece in self._writing([prompt], max_tokens)[2]:
            yield piece

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        pieces = self.stream(prompt, max_tokens=max_tokens)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    def _writing(
        self, prompts: Sequence[str], max_tokens: int | None
    ) -> tuple[list[Transcript], list[int], Iterator[tuple[int, str]]]:
        model = self.model
        sampling = self.sampling or model.settled_sampling
        sampling = replace(sampling, max_tokens=max_tokens or sampling.max_tokens)
        ids = [model.chat.task(model.chat.plain(clean_text(prompt))) for prompt in prompts]
        branches = model.branches_of_nothing(len(ids))
        branches.check([len(tokens) + sampling.max_tokens for tokens in ids])
        drawn = [replace(sampling, seed=sampling.seed + i) for i in range(len(ids))]  # else equal prompts draw alike
        transcripts = [Transcript(model.chat.text, one, model.chat.ends) for one in drawn]
        return transcripts, [len(tokens) for tokens in ids], write(branches, ids, transcripts)
