"""Any language model as the memory: it reads the text and names, in one round, spans, sharper questions, a draft answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..contracts import Progress
from ..documents import Shard, clean_text, text_hash
from ..errors import InputError
from ..text.chunking import fit_to_tokens
from .files import UNREADABLE, broken, read_memory, write_memory
from .prompt_memory import PromptMemory, PromptMemoryModel


@dataclass(frozen=True, kw_only=True)
class LLMMemory(PromptMemoryModel):
    """Settings of a memory that a language model reads anew, or from its provider's prefix cache, at every query.

    The text stands first in the prompt, the same bytes each time, in a fence and named as data; the query comes last.
    The reply holds span clues, surrogate questions and a draft answer (the three tasks of MemoRAG, arXiv 2409.05591,
    section 2, in one call).

    Args:
        overflow: What becomes of a text beyond the window: "split" asks its parts side by side and joins the clues,
            "refuse" raises when the memory is formed. Nothing is ever cut off unseen.
        llm, context_window, reply_tokens, spans, questions, language, prompts, together: See `PromptMemoryModel`.
    """

    kind = "llm"

    overflow: Literal["split", "refuse"] = "split"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overflow not in ("split", "refuse"):
            raise InputError(f'overflow must be "split" or "refuse", found {self.overflow!r}.')

    @property
    def fingerprint(self) -> str:
        settings = (self.llm.name, self.overflow, str(self.context_window), str(self.reply_tokens))
        return f"llm-1 {self.llm.name} {text_hash(*settings)[:16]}"

    @property
    def capacity(self) -> int:
        """Tokens of text that one prompt holds.

        Raises:
            InputError: Where the window is unknown or too small.
        """
        return self.room

    def read(self, shard: Shard, text: str, progress: Progress, cancel: threading.Event | None) -> FormedLLMMemory:
        """Nothing is asked yet: the text is measured, and cut where it does not fit.

        Raises:
            InputError: For an unknown window, or a text beyond it with overflow="refuse".
        """
        tokens = self.count(text)
        if tokens > self.room and self.overflow == "refuse":
            raise InputError(
                f"The text has {tokens} tokens, and {self.llm.name} holds {self.room} beside instructions and "
                f'reply. Pass overflow="split" to ask its parts side by side, use GistMemory, or a larger window.'
            )
        return self.over(shard, text, tokens)

    def over(self, shard: Shard, text: str, tokens: int) -> FormedLLMMemory:
        """The memory over a text of so many tokens, in parts that fit the window."""
        parts = tuple(fit_to_tokens(text, self.count, self.room))
        return FormedLLMMemory(model=self, shard=shard, token_count=tokens, parts=parts)

    def load(self, path: Path, shard: Shard) -> FormedLLMMemory:
        stored = read_memory(path, self.fingerprint, shard)
        try:
            parts = tuple((int(start), int(end)) for start, end in stored["parts"])
            tokens = int(stored["tokens"])
            if not parts or any(not 0 <= a < b <= len(shard.text) for a, b in parts):
                raise ValueError(f"parts outside the text: {str(parts)[:80]}")
        except UNREADABLE as error:
            raise broken(path, error) from error
        return FormedLLMMemory(model=self, shard=shard, token_count=tokens, parts=parts)


@dataclass(frozen=True, kw_only=True)
class FormedLLMMemory(PromptMemory):
    """One shard's text, in parts that fit the model's window."""

    model: LLMMemory

    def restricted(self, shard: Shard) -> FormedLLMMemory:
        """Over the part that a filter admits: the language model is sent that part, the same bytes at each query."""
        text = clean_text(shard.text)
        return self.model.over(shard, text, self.model.count(text))

    def save(self, path: Path) -> None:
        write_memory(
            path, self.model.fingerprint, self.shard.content_hash, {"tokens": self.token_count, "parts": self.parts}
        )
