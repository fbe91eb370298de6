"""A memory that knows nothing: random lines of its text as clues. The baseline of all others, and how to write one."""

from __future__ import annotations

import random
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..clues import Clue, Grounding, Recall
from ..contracts import Config, Progress
from ..documents import Shard, text_hash
from ..scores import Scores
from ..text.tokens import estimate_tokens
from .base import BaseMemory, BaseMemoryModel, check_not_cancelled
from .files import read_memory, write_memory


@dataclass(frozen=True)
class RandomMemoryModel(BaseMemoryModel):
    """What to measure a memory against: its clues are real text, and say nothing of the query.

    Args:
        clues: Lines named in one recall.
        seed: Of the draw; the same query over the same text draws the same lines.
    """

    clues: int = 5
    seed: int = 0

    @property
    def config(self) -> Config | None:
        return {"kind": "random", "clues": self.clues, "seed": self.seed}

    @property
    def fingerprint(self) -> str:
        return "random-1"

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    def read(self, shard: Shard, text: str, progress: Progress, cancel: threading.Event | None) -> FormedRandomMemory:
        return FormedRandomMemory(self, shard)

    def load(self, path: Path, shard: Shard) -> FormedRandomMemory:
        read_memory(path, self.fingerprint, shard)
        return FormedRandomMemory(self, shard)


@dataclass(frozen=True)
class FormedRandomMemory(BaseMemory):
    """Over one shard."""

    model: RandomMemoryModel
    shard: Shard

    @property
    def token_count(self) -> int:
        return self.model.count_tokens(self.shard.text)

    @property
    def nbytes(self) -> int:
        return 0

    def recall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        check_not_cancelled(cancel, "the memory was asked")
        return [Recall(query, tuple(map(self._clue, self._draw(query)))) for query in queries]

    def recall_key(self, query: str, scores: Scores | None) -> Hashable:
        return self.model.clues, self.model.seed

    def restricted(self, shard: Shard) -> FormedRandomMemory:
        return FormedRandomMemory(self.model, shard)

    def save(self, path: Path) -> None:
        write_memory(path, self.model.fingerprint, self.shard.content_hash, {})

    def _draw(self, query: str) -> list[tuple[int, int]]:
        """Ranges of lines of the shard's text that are not blank."""
        ranges, at = [], 0
        for line in self.shard.text.splitlines(keepends=True):
            if line.strip():
                ranges.append((at, at + len(line.rstrip())))
            at += len(line)
        chance = random.Random(text_hash(query, self.shard.content_hash, str(self.model.seed)))
        return chance.sample(ranges, min(self.model.clues, len(ranges)))

    def _clue(self, place: tuple[int, int]) -> Clue:
        return Clue(self.shard.text[slice(*place)], "span", Grounding(*self.shard.locate(*place), 1.0), 0.1)
