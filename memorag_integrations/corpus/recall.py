"""The recalls of several memories, each asked over its own part of a query's scores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..clues import Recall, attributed
from ..drivers import gather
from ..threads import side_by_side
from .state import RoutedMemory


@dataclass(frozen=True)
class Ask:
    """The recall of each of several memories, each asked over its own part of the scores.

    Args:
        parts: The memories.
        together: Most memories asked at once. How many prompts are under way is the memory model's to say.
    """

    parts: Sequence[RoutedMemory]
    together: int = 1

    def run(self) -> list[Recall]:
        return side_by_side(_recall, self.parts, self.together)

    async def arun(self) -> list[Recall]:
        turns = asyncio.Semaphore(self.together)
        return await gather([_arecall(part, turns) for part in self.parts])


def _recall(part: RoutedMemory) -> Recall:
    [recall] = part.memory.recall([part.scores.text], scores=[part.scores])
    return _placed(recall, part)


async def _arecall(part: RoutedMemory, turns: asyncio.Semaphore) -> Recall:
    async with turns:
        [recall] = await part.memory.arecall([part.scores.text], scores=[part.scores])
    return _placed(recall, part)


def _placed(recall: Recall, part: RoutedMemory) -> Recall:
    """`recall` with the document of each clue, and its places in the documents."""
    return attributed(part.excerpts.in_documents(recall) if part.excerpts else recall, part.documents)
