"""A memory's model as the writer of answers, as in the original; a beacon's prompts beyond a window are compressed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..clues import Usage
from ..contracts import LLM, Completion
from ..decoding.writing import Transcript, write
from ..documents import clean_text

if TYPE_CHECKING:
    from .checkpoint import CheckpointMemoryModel


@dataclass(frozen=True)
class CheckpointLLM(LLM):
    """A checkpoint asked without a memory: the prompt is all it reads.

    Args:
        model: Whose weights, settings and sampling are used.
    """

    model: CheckpointMemoryModel

    @property
    def name(self) -> str:
        return f"{self.model.kind} {self.model.model_name_or_path}"

    @property
    def context_window(self) -> int | None:
        return self.model.reach

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        """The reply to one user message.

        Raises:
            InputError: For a prompt beyond the model's reach.
        """
        began = time.perf_counter()
        transcript, read, pieces = self._writing(prompt, max_tokens)
        for _ in pieces:
            pass
        usage = Usage(read, 0, len(transcript.ids), time.perf_counter() - began, 1)
        return Completion(transcript.text, usage)

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        """The reply in pieces, as it is written."""
        for _, piece in self._writing(prompt, max_tokens)[2]:
            yield piece

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        pieces = self.stream(prompt, max_tokens=max_tokens)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    def _writing(self, prompt: str, max_tokens: int | None) -> tuple[Transcript, int, Iterator[tuple[int, str]]]:
        model = self.model
        sampling = model.settled_sampling
        sampling = replace(sampling, max_tokens=max_tokens or sampling.max_tokens)
        ids = model.chat.task(model.chat.plain(clean_text(prompt)))
        branches = model.branches_of_nothing()
        branches.check([len(ids) + sampling.max_tokens])
        transcript = Transcript(model.chat.text, sampling, model.chat.ends)
        return transcript, len(ids), write(branches, [ids], [transcript])
