"""Any language model as the memory: it reads the text and names, in one round, spans, sharper questions, a draft answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..clue_parsing import parse_reply
from ..clues import Recall, Usage, merge_recalls
from ..contracts import LLM, Completion, Config, Memory, MemoryModel, Progress, Scores
from ..documents import Shard, clean_text, text_hash
from ..errors import Cancelled, InputError, MemoryModelError
from ..grounding import Grounder
from ..prompts import Prompts, fence, prompts_for
from ..prompts.languages import detect, reply_sentence
from ..stretches import Range, fitting
from ..tokens import Count, counter
from .asking import UsageMeter, aask, ask, check_llm
from .placing import cut_prompt, placed_clues, say_if_empty

QUERY_TOKENS = 512
"""Tokens of the window kept free for the query."""
_CHAT_TOKENS = 64  # what a chat template puts around a prompt


@dataclass(frozen=True)
class LLMMemory(MemoryModel):
    """Settings of a memory that a language model reads anew, or from its provider's prefix cache, at every query.

    The text stands first in the prompt, the same bytes each time, in a fence and named as data; the query comes last.
    The reply holds span clues, surrogate questions and a draft answer (the three tasks of MemoRAG, arXiv 2409.05591,
    section 2.2, in one call).

    Args:
        llm: The language model, of the `LLM` contract; a host's goes through its package (`as_llm`).
        overflow: What becomes of a text beyond the window: "split" asks its parts side by side and joins the clues,
            "refuse" raises when the memory is formed. Nothing is ever cut off unseen.
        context_window: Tokens of prompt and reply together; needed where the model does not say.
        reply_tokens: Most tokens of a reply, thoughts included.
        spans, questions: Most clues of either kind, for each part.
        language: Code or name of the language of questions and answer, or "auto" for the query's.
        prompts: Templates in the place of ours.
        together: Most prompts under way at once.
    """

    llm: LLM
    overflow: Literal["split", "refuse"] = "split"
    context_window: int | None = None
    reply_tokens: int = 1024
    spans: int = 6
    questions: int = 3
    language: str = "auto"
    prompts: Prompts | None = None
    together: int = 4
    meter: UsageMeter = field(default_factory=UsageMeter, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_llm(self.llm)
        check_counts(self, "reply_tokens", "spans", "questions", "together")
        if self.overflow not in ("split", "refuse"):
            raise InputError(f'overflow must be "split" or "refuse", found {self.overflow!r}.')

    @property
    def config(self) -> Config | None:
        return None

    @property
    def fingerprint(self) -> str:
        settings = (self.llm.name, self.overflow, str(self.context_window), str(self.reply_tokens))
        return f"llm-1 {self.llm.name} {text_hash(*settings)[:16]}"

    @property
    def usage(self) -> Usage:
        """Of everything asked through this object."""
        return self.meter.total

    @property
    def count(self) -> Count:
        return counter(self.llm)

    @cached_property
    def capacity(self) -> int:
        """Tokens of text that one prompt holds beside the instructions, a query and the reply.

        Raises:
            InputError: Where the window is unknown or too small.
        """
        window = window_of(self.llm, self.context_window)
        spoken = max(self.count(self._instructions("", "text-" + "0" * 12, code)) for code in ("en", "zh"))
        room = window - self.reply_tokens - spoken - QUERY_TOKENS - _CHAT_TOKENS
        if room < 64:
            raise InputError(
                f"A window of {window} tokens leaves {max(room, 0)} for the text, beside {self.reply_tokens} for the "
                f"reply, {spoken} for the instructions and {QUERY_TOKENS} for the query. Lower reply_tokens, or use a "
                f"model with a larger window."
            )
        return room

    def form(
        self, shard: Shard, *, progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> LLMShardMemory:
        if cancel is not None and cancel.is_set():
            raise Cancelled("Cancelled before the memory was formed.")
        text = shard.text
        if not text.strip():
            raise InputError("A memory needs a text to be formed over; this shard's is blank.")
        tokens = self.count(text)
        if tokens > self.capacity and self.overflow == "refuse":
            raise InputError(
                f"The text has {tokens} tokens, and {self.llm.name} holds {self.capacity} beside instructions and "
                f'reply. Pass overflow="split" to ask its parts side by side, use GistMemory, or a larger window.'
            )
        parts = fitting(text, self.count, self.capacity)
        return LLMShardMemory(self, shard, tokens, tuple(parts))

    def load(self, path: Path, shard: Shard) -> LLMShardMemory:
        stored = read_memory(path, self.fingerprint, shard)
        try:
            parts = tuple((int(start), int(end)) for start, end in stored["parts"])
            tokens = int(stored["tokens"])
            if not parts or any(not 0 <= a < b <= len(shard.text) for a, b in parts):
                raise ValueError(f"parts outside the text: {str(parts)[:80]}")
        except (KeyError, TypeError, ValueError) as error:
            raise broken(path, error) from error
        return LLMShardMemory(self, shard, tokens, parts)

    def prompt(self, fenced: str, tag: str, query: str) -> str:
        """What is sent: the fenced text, then the instructions in the query's language.

        Raises:
            InputError: For a query beyond `QUERY_TOKENS`.
        """
        query = clean_text(query).strip()
        if (found := self.count(query)) > QUERY_TOKENS:
            raise InputError(
                f"A query may have {QUERY_TOKENS} tokens, this one has about {found}. Memorize long texts, and ask "
                f"about them briefly."
            )
        return fenced + self._instructions(query, tag, detect(query) if self.language == "auto" else self.language)

    def _instructions(self, query: str, tag: str, language: str) -> str:
        prompts = self.prompts or prompts_for(language)
        spoken = reply_sentence(prompts, language)
        return prompts.recall.format(tag=tag, query=query, spans=self.spans, questions=self.questions, language=spoken)


@dataclass(frozen=True)
class LLMShardMemory(Memory):
    """One shard's text in parts that fit the model's window."""

    model: LLMMemory
    shard: Shard
    token_count: int
    parts: tuple[Range, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the index that places clues, once it was needed; the text is the document's own."""
        return 64 * len(self.parts) + (self.grounder.nbytes if "grounder" in self.__dict__ else 0)

    @cached_property
    def text(self) -> str:
        return self.shard.text

    @cached_property
    def grounder(self) -> Grounder:
        return Grounder(self.text)

    def prompts(self, queries: Sequence[str]) -> list[list[str]]:
        """The prompts of each part, one a query; those of one part begin with the same bytes up to the query's."""
        fenced = [fence(self.text[start:end]) for start, end in self.parts]
        return [[self.model.prompt(text, tag, query) for query in queries] for text, tag in fenced]

    def recall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        """See `Memory.recall`. The scores are not read.

        Raises:
            LLMError: What the provider said.
        """
        model = self.model
        chains = self.prompts(check_queries(queries))
        answers = ask(model.llm, chains, max_tokens=model.reply_tokens, together=model.together, cancel=cancel)
        return self._recalls(queries, chains, answers)

    async def arecall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        model = self.model
        chains = self.prompts(check_queries(queries))
        answers = await aask(model.llm, chains, max_tokens=model.reply_tokens, together=model.together, cancel=cancel)
        return self._recalls(queries, chains, answers)

    def save(self, path: Path) -> None:
        write_memory(path, self.model.fingerprint, self.shard, {"tokens": self.token_count, "parts": self.parts})

    def _recalls(
        self, queries: Sequence[str], chains: list[list[str]], answers: list[list[Completion]]
    ) -> list[Recall]:
        model, recalls = self.model, []
        most = model.spans + model.questions + 1
        for i, query in enumerate(queries):
            of_parts = [
                self._recall(query, part, chain[i], completions[i])
                for part, chain, completions in zip(self.parts, chains, answers, strict=True)
            ]
            recalls.append(say_if_empty(merge_recalls(query, of_parts, most)))
        for completions in answers:
            for completion in completions:
                model.meter.add(completion.usage)
        return recalls

    def _recall(self, query: str, part: Range, prompt: str, completion: Completion) -> Recall:
        reply = parse_reply(completion.text, most=max(self.model.spans, self.model.questions))
        place = lambda clue: self._place(clue, part)  # noqa: E731
        clues, dropped = placed_clues(reply, place, self.shard, self.text, query)
        warnings = [*reply.warnings, *dropped, *cut_prompt(completion.usage, self.model.count(prompt))]
        answer = next((clue.text for clue in clues if clue.kind == "answer"), None)
        return Recall(query, clues, answer, completion.usage, warnings)

    def _place(self, clue: str, part: Range) -> tuple[int, int, float] | None:
        return self.grounder.ground(clue, part)


def window_of(llm: LLM, given: int | None) -> int:
    """The context window in tokens.

    Raises:
        InputError: Where neither the caller nor the model says it.
    """
    window = llm.context_window if given is None else given
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise InputError(
            f"The context window of {llm.name} is not known (found {window!r}). Pass it in tokens: context_window=…"
        )
    return window


def check_counts(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, found {value!r}.")


def check_queries(queries: Sequence[str]) -> Sequence[str]:
    if not queries or any(not isinstance(query, str) or not query.strip() for query in queries):
        raise InputError("A recall needs at least one query, and none may be blank.")
    return queries


def write_memory(path: Path, fingerprint: str, shard: Shard, content: dict[str, Any]) -> None:
    path.mkdir(parents=True)
    head = {"format": 1, "fingerprint": fingerprint, "content": shard.content_hash}
    (path / "memory.json").write_text(json.dumps({**head, **content}, ensure_ascii=False), "utf-8")


def read_memory(path: Path, fingerprint: str, shard: Shard) -> dict[str, Any]:
    """What `write_memory` wrote for this shard.

    Raises:
        MemoryModelError: Where it is broken, or of another model or text.
    """
    try:
        stored = json.loads((path / "memory.json").read_text("utf-8"))
        model, content = stored["fingerprint"], stored["content"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise broken(path, error) from error
    if model != fingerprint or content != shard.content_hash:
        raise MemoryModelError(
            f"Expected a memory of {fingerprint} over text {shard.content_hash[:12]}, found at {path} one of {model} "
            f"over text {str(content)[:12]}. Memorize the text again, or pass the model it was made with."
        )
    return dict(stored)


def broken(path: Path, error: Exception) -> MemoryModelError:
    return MemoryModelError(
        f"The memory at {path} cannot be read ({type(error).__name__}: {error}). Memorize the text again."
    )
