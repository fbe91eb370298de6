"""Recalls kept, so that a repeated query costs nothing: a wrapper for any memory that does not read the scores."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..clues import Recall, Usage
from ..contracts import Config, JoiningModel, Memory, MemoryModel, Progress
from ..documents import Shard
from ..errors import InputError
from ..scores import Scores

_MOST_JOINED = 32
"""Groups of memories that were asked together, and are kept for the next time."""


def cached(model: MemoryModel) -> MemoryModel:
    """`model`, its recalls kept; as it is where they follow the scores, which change with filters, or are kept already."""
    if isinstance(model, CachedMemoryModel) or getattr(model, "reads_scores", False):
        return model
    return CachedMemoryModel(model)


def uncached(memory: Memory) -> Memory:
    """The memory behind the recalls that are kept."""
    return memory.memory if isinstance(memory, CachedMemory) else memory


@dataclass(frozen=True)
class CachedMemoryModel(MemoryModel):
    """A memory model whose memories answer a repeated query from what they said before, at no cost.

    Only recalls with clues are kept: a failed or empty one is asked again. A memory over changed text is another memory
    and starts without any. Not for memories whose clues follow the scores (the embedded one): those change with filters.

    Args:
        model: The model; its config and fingerprint stay, so a store loads with either.
        most: Recalls kept by each memory; the longest unused go first.
    """

    model: MemoryModel
    most: int = 1000
    _joined: OrderedDict[tuple[int, ...], tuple[Sequence[Memory], CachedMemory]] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 1:
            raise InputError(f"most must be a whole number of at least 1, found {self.most!r}.")

    @property
    def config(self) -> Config | None:
        return self.model.config

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint

    @property
    def capacity(self) -> int | None:
        return self.model.capacity

    @property
    def together(self) -> int:
        """Memories that may be asked at once."""
        return int(getattr(self.model, "together", 1))

    @property
    def usage(self) -> Usage:
        """Of everything asked through the model, where it keeps count."""
        total = getattr(self.model, "usage", None)
        return total if isinstance(total, Usage) else Usage()

    def count_tokens(self, text: str) -> int:
        return self.model.count_tokens(text)

    def groups(self, memories: Sequence[Memory], most: int) -> list[list[int]]:
        """As the model says; each by itself where it does not."""
        if isinstance(self.model, JoiningModel):
            return self.model.groups([uncached(memory) for memory in memories], most)
        return [[number] for number in range(len(memories))][:most]

    def joined(self, memories: Sequence[Memory]) -> CachedMemory:
        """As the model does; the same memories are joined once, so that what they said together is kept as well."""
        assert isinstance(self.model, JoiningModel)
        key = tuple(map(id, memories))
        with self._lock:
            if key not in self._joined:
                memory = CachedMemory(self.model.joined([uncached(memory) for memory in memories]), self.most)
                self._joined[key] = memories, memory  # held, or their ids would be given to others
            self._joined.move_to_end(key)
            while len(self._joined) > _MOST_JOINED:
                self._joined.popitem(last=False)
            return self._joined[key][1]

    def form(
        self, shard: Shard, *, progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> CachedMemory:
        return CachedMemory(self.model.form(shard, progress=progress, cancel=cancel), self.most)

    def load(self, path: Path, shard: Shard) -> CachedMemory:
        return CachedMemory(self.model.load(path, shard), self.most)


@dataclass(frozen=True)
class CachedMemory(Memory):
    """A memory and the recalls it gave.

    Args:
        memory: The memory.
        most: Recalls kept.
    """

    memory: Memory
    most: int
    _kept: OrderedDict[tuple[str, Hashable], Recall] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def token_count(self) -> int:
        return self.memory.token_count

    @property
    def nbytes(self) -> int:
        return self.memory.nbytes

    def recall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        known, rows = self._known(queries)
        if rows:
            asked = [queries[row] for row in rows]
            self._keep(known, asked, self.memory.recall(asked, scores=_take(scores, rows), cancel=cancel))
        return _in_order(queries, known)

    async def arecall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        known, rows = self._known(queries)
        if rows:
            asked = [queries[row] for row in rows]
            self._keep(known, asked, await self.memory.arecall(asked, scores=_take(scores, rows), cancel=cancel))
        return _in_order(queries, known)

    def save(self, path: Path) -> None:
        self.memory.save(path)

    def _known(self, queries: Sequence[str]) -> tuple[dict[str, Recall], list[int]]:
        """Recalls kept for these queries, and the rows of those that must be asked, each query once."""
        known: dict[str, Recall] = {}
        with self._lock:
            for query in queries:
                if (key := self._key(query)) in self._kept:
                    self._kept.move_to_end(key)
                    known[query] = replace(self._kept[key], usage=Usage())
        first = {query: row for row, query in reversed(list(enumerate(queries)))}
        rows = sorted(row for query, row in first.items() if query not in known)
        return known, rows

    def _key(self, query: str) -> tuple[str, Hashable]:
        """A query, and the templates it is asked with: a host may replace those of a model in use."""
        return query, getattr(getattr(self.memory, "model", None), "prompts", None)

    def _keep(self, known: dict[str, Recall], asked: Sequence[str], recalls: Sequence[Recall]) -> None:
        with self._lock:
            for query, recall in zip(asked, recalls, strict=True):
                known[query] = recall
                if recall.clues:
                    key = self._key(query)
                    self._kept[key] = recall
                    self._kept.move_to_end(key)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)


def _take(scores: Sequence[Scores], rows: Sequence[int]) -> list[Scores]:
    return [scores[row] for row in rows if row < len(scores)]


def _in_order(queries: Sequence[str], known: dict[str, Recall]) -> list[Recall]:
    """The recall of each query; the second of two equal queries in one call cost nothing."""
    seen: set[str] = set()
    recalls = []
    for query in queries:
        recalls.append(replace(known[query], usage=Usage()) if query in seen else known[query])
        seen.add(query)
    return recalls
