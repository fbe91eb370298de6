"""The memory models as the engine uses them: checked, with every capability, and with the recalls that were kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..clues import Completion, Recall, Usage
from ..contracts import LLM, Config, Memory, MemoryModel, Progress, RestrictingModel
from ..documents import Shard
from ..drivers import in_worker
from ..errors import InputError, MemoryModelError, raised_as
from ..llms.gate import PromptGate
from ..scores import Scores
from .base import (
    BaseMemory,
    BaseMemoryModel,
    check_memory,
    check_memory_model,
    declared,
    each_by_itself,
    hash_of_scores,
    no_key_points,
)

_MOST_JOINED = 32
"""Groups of memories that were asked together, and are kept for the next time."""

_MOST_RESTRICTED = 32
"""Memories over a part of a shard's text, which a filter admitted, that are kept for the next time."""


def cached(model: object) -> CachedMemoryModel:
    """`model`, checked, its recalls kept; as it is where they are kept already.

    Raises:
        InputError: For what is no memory model; the message names all that it lacks.
    """
    return model if isinstance(model, CachedMemoryModel) else CachedMemoryModel(check_memory_model(model))


def as_cached(memory: Memory) -> CachedMemory:
    """`memory` with the capabilities of the base."""
    return memory if isinstance(memory, CachedMemory) else CachedMemory(memory, 1)


def uncached(memory: Memory) -> Memory:
    """The memory behind the recalls that are kept."""
    return memory.memory if isinstance(memory, CachedMemory) else memory


@dataclass(frozen=True)
class CachedMemoryModel(RestrictingModel):
    """A memory model whose memories answer a repeated query from what they said before, at no cost.

    A recall is kept under its query and what the memory says that it depends on besides (`BaseMemory.recall_key`). Only
    recalls with clues are kept: a failed or empty one is asked again. A memory over changed text is another memory and
    starts without any.

    A model of the user's own need not derive from `BaseMemoryModel`: here is looked for what it has of the base's
    capabilities, and nowhere else. What it forms and loads is checked.

    Args:
        model: The model; its config and fingerprint stay, so a store loads with either.
        most: Recalls kept by each memory; the longest unused go first.
    """

    model: MemoryModel
    most: int = 1000
    _joined: OrderedDict[tuple[int, ...], tuple[Sequence[Memory], CachedMemory]] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )
    _restricted: OrderedDict[Hashable, tuple[Memory, CachedMemory]] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 1:
            raise InputError(f"most must be a whole number of at least 1, found {self.most!r}.")

    def __reduce__(self) -> tuple[type[CachedMemoryModel], tuple[MemoryModel, int]]:
        """Copies and pickles are of the model; what it said is asked again there."""
        return type(self), (self.model, self.most)

    @property
    def config(self) -> Config | None:
        return self.model.config

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint

    @property
    def capacity(self) -> int | None:
        return self.model.capacity

    def count_tokens(self, text: str) -> int:
        with raised_as(MemoryModelError, f"{type(self.model).__name__} could not count the tokens of a text"):
            return self.model.count_tokens(text)

    def form(
        self, shard: Shard, *, progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> CachedMemory:
        """See `MemoryModel.form`.

        Raises:
            MemoryModelError: Where the model formed something that is no memory; the message names all that it lacks.
        """
        with raised_as(MemoryModelError, f"{type(self.model).__name__} could not form a memory"):
            memory = self.model.form(shard, progress=progress, cancel=cancel)
        return CachedMemory(check_memory(memory, self.model, "form"), self.most)

    def load(self, path: Path, shard: Shard) -> CachedMemory:
        """See `MemoryModel.load`, and `form`."""
        with raised_as(MemoryModelError, f"{type(self.model).__name__} could not load a memory"):
            memory = self.model.load(path, shard)
        return CachedMemory(check_memory(memory, self.model, "load"), self.most)

    # ── capabilities: see `BaseMemoryModel` ───────────────────────────────────────────────────────────────────────

    @property
    def together(self) -> int:
        together = declared(self.model, "together", BaseMemoryModel.together)
        return together if isinstance(together, int) and together > 1 else 1

    @property
    def llm(self) -> LLM | None:
        llm: LLM | None = declared(self.model, "llm", BaseMemoryModel.llm)
        return llm

    @property
    def context_window(self) -> int | None:
        window: int | None = declared(self.model, "context_window", BaseMemoryModel.context_window)
        return window

    @property
    def usage(self) -> Usage:
        usage = declared(self.model, "usage", None)
        return usage if isinstance(usage, Usage) else Usage()

    @property
    def gate(self) -> PromptGate | None:
        gate = declared(self.model, "gate", None)
        return gate if isinstance(gate, PromptGate) else None

    def groups(self, memories: Sequence[Memory], most: int) -> list[list[int]]:
        """The model's own groups, where it has both methods; each memory by itself otherwise."""
        own, joined = (declared(self.model, name, None) for name in ("groups", "joined"))
        if own is None or joined is None:
            return each_by_itself(memories, most)
        groups: list[list[int]] = own([uncached(memory) for memory in memories], most)
        return groups

    def joined(self, memories: Sequence[Memory]) -> CachedMemory:
        """The same memories are joined once, so that what they said together is kept as well."""
        key = tuple(map(id, memories))
        with self._lock:
            if key not in self._joined:
                whole = declared(self.model, "joined", None)([uncached(memory) for memory in memories])
                memory = CachedMemory(check_memory(whole, self.model, "joined"), self.most)
                self._joined[key] = memories, memory  # held, or their ids would be given to others
            self._joined.move_to_end(key)
            while len(self._joined) > _MOST_JOINED:
                self._joined.popitem(last=False)
            return self._joined[key][1]

    def reads_text(self, memory: Memory) -> bool:
        return getattr(uncached(memory), "reads_text", BaseMemory.reads_text) is not False

    def can_restrict(self, memory: Memory) -> bool:
        own = getattr(type(uncached(memory)), "restricted", None)
        return own is not None and own is not BaseMemory.restricted

    def restricted(self, memory: Memory, shard: Shard) -> CachedMemory | None:
        """The same part of a memory's text is restricted to once, so that what was said over it is kept as well.

        Raises:
            MemoryModelError: Where the memory's own method raises, or gives something that is no memory.
        """
        whole = uncached(memory)
        if not shard.text.strip():
            return None
        key = id(whole), shard.content_hash, tuple(document.id for document in shard.documents)
        with self._lock:
            if key in self._restricted:
                self._restricted.move_to_end(key)
                return self._restricted[key][1]
        own = declared(whole, "restricted", None)
        with raised_as(MemoryModelError, f"{type(whole).__name__} could not be restricted to a part of its text"):
            part = None if own is None else own(shard)
        if part is None:
            return None
        made = CachedMemory(check_memory(part, self.model, "restricted"), self.most)
        with self._lock:
            # The whole is held, or its id would be given to others.
            _, kept = self._restricted.setdefault(key, (whole, made))
            while len(self._restricted) > _MOST_RESTRICTED:
                self._restricted.popitem(last=False)
            return kept


_Key = tuple[str, Hashable]
"""A query, and what its recall depends on besides."""


@dataclass(frozen=True)
class CachedMemory(Memory):
    """A memory and the recalls it gave.

    Args:
        memory: The memory.
        most: Recalls kept.
    """

    memory: Memory
    most: int
    _kept: dict[_Key, Recall] = field(default_factory=dict, init=False, repr=False, compare=False)
    """In the order of their last use."""
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
        lookup = self._look_up(queries, scores)
        if lookup.rows:
            with self._errors():
                asked = self.memory.recall(lookup.queries, scores=lookup.scores, cancel=cancel)
            self._keep(lookup, asked)
        return lookup.recalls()

    async def arecall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        lookup = await in_worker(self._look_up, queries, scores)
        if lookup.rows:
            with self._errors():
                asked = await self.memory.arecall(lookup.queries, scores=lookup.scores, cancel=cancel)
            self._keep(lookup, asked)
        return lookup.recalls()

    def save(self, path: Path) -> None:
        self.memory.save(path)

    def recall_key(self, query: str, scores: Scores | None) -> Hashable | None:
        """As the memory says; the base's default where it says nothing."""
        own = declared(self.memory, "recall_key", None)
        key: Hashable | None = hash_of_scores(scores) or "no scores" if own is None else own(query, scores)
        try:
            hash(key)
        except TypeError as error:
            raise MemoryModelError(
                f"{type(self.memory).__name__}.recall_key must return something hashable, or None for a recall that is "
                f"not kept; found {type(key).__name__}."
            ) from error
        return key

    def summarize(self, *, cancel: threading.Event | None = None) -> Completion:
        """See `BaseMemory.summarize`."""
        own = declared(self.memory, "summarize", None)
        if own is None:
            raise no_key_points(self.memory)
        with self._errors():
            completion: Completion = own(cancel=cancel)
        return completion

    def _errors(self) -> AbstractContextManager[None]:
        """What a memory raises comes out as MemoryModelError, with its own exception as the cause."""
        return raised_as(MemoryModelError, f"{type(self.memory).__name__} could not be asked")

    def _look_up(self, queries: Sequence[str], scores: Sequence[Scores]) -> _Lookup:
        """What is kept of these queries. Keys are made before the memory is asked, so a recall that is under way when
        the prompts are replaced is kept under those it began with."""
        lookup = _Lookup()
        for row, query in enumerate(queries):
            of_query = scores[row] if row < len(scores) else None
            own = self.recall_key(query, of_query)
            key = None if own is None else (query, own)
            with self._lock:
                kept = None if key is None else self._kept.pop(key, None)
                if key is not None and kept is not None:
                    self._kept[key] = kept
            lookup.add(query, of_query, key, kept)
        return lookup

    def _keep(self, lookup: _Lookup, recalls: Sequence[Recall]) -> None:
        expected = len(lookup.rows)
        if len(recalls) != expected:
            raise MemoryModelError(
                f"Expected {expected} recalls from {type(self.memory).__name__}, one for each query, found {len(recalls)}."
            )
        with self._lock:
            for row, recall in zip(lookup.rows, recalls, strict=True):
                lookup.found[row] = recall
                if recall.clues and (key := lookup.keys[row]) is not None:
                    self._kept.pop(key, None)
                    self._kept[key] = recall
            while len(self._kept) > self.most:
                del self._kept[next(iter(self._kept))]


@dataclass
class _Lookup:
    """Queries of one call: what was kept of them, and the rows of those that must be asked.

    Args:
        keys: Of every row.
        found: The recall of every row that is known; a row that repeats one before it takes that one's.
        rows: Those to be asked.
        queries, scores: Theirs.
    """

    keys: list[_Key | None] = field(default_factory=list)
    found: dict[int, Recall] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)

    def add(self, query: str, scores: Scores | None, key: _Key | None, kept: Recall | None) -> None:
        row = len(self.keys)
        repeats = key is not None and key in self.keys
        self.keys.append(key)
        if kept is not None:
            self.found[row] = replace(kept, usage=Usage())
        elif not repeats:
            self.rows.append(row)
            self.queries.append(query)
            self.scores += [] if scores is None else [scores]

    def recalls(self) -> list[Recall]:
        """The recall of each row; one that repeats another cost nothing."""
        return [
            self.found[row] if row in self.found else replace(self.found[self.keys.index(key)], usage=Usage())
            for row, key in enumerate(self.keys)
        ]
