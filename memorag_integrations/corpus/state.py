"""A corpus: its documents, a memory for each shard of them, and the index over their passages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..contracts import JoiningModel, Memory, RestrictingModel
from ..documents import Document, Shard
from ..index.admitted import Admitted
from ..index.documents import IndexedDocument
from ..index.index import Index
from ..scores import Floats, Scores
from ..text.tokenizer import Tokenizer
from .excerpts import Excerpts


class RoutedMemory(NamedTuple):
    """A memory that a query is routed to.

    Args:
        memory: The memory.
        documents: Ids of its documents, without those that a filter excludes.
        scores: The query's, over the passages of these.
        excerpts: Where it is formed over the admitted part of a shard, that part.
    """

    memory: Memory
    documents: Collection[str]
    scores: Scores
    excerpts: Excerpts | None = None


class Route(NamedTuple):
    """Where a query goes.

    Args:
        memories: Those to be asked.
        closed: How many the scores lead to that cannot be asked: a filter admits a part of their text, and they know no
            way to be asked about a part.
    """

    memories: Sequence[RoutedMemory]
    closed: int = 0


@dataclass(frozen=True, eq=False)
class Corpus:
    """One state of a corpus. It never changes: a change makes another state, so a reader always sees one state.

    Args:
        entries: The documents, cut and analysed, by id.
        shards: Groups of documents, each with a memory of its own.
        memories: The memory of each shard.
        index: The index over all passages.
    """

    entries: Mapping[str, IndexedDocument]
    shards: Sequence[Shard]
    memories: Sequence[Memory]
    index: Index

    @classmethod
    def empty(cls, dense: bool, tokenizer: Tokenizer | None = None) -> Corpus:
        return cls({}, [], [], Index.empty(dense, tokenizer))

    @cached_property
    def documents(self) -> Mapping[str, Document]:
        return {id: entry.document for id, entry in self.entries.items()}

    @cached_property
    def texts(self) -> Mapping[str, str]:
        return {id: entry.document.text for id, entry in self.entries.items()}

    @property
    def vectors(self) -> Mapping[str, Floats]:
        """The vector of each passage, by `text_hash` of its text."""
        return self.index.vectors_of([key for entry in self.entries.values() for key in entry.keys])

    @cached_property
    def _shard_of(self) -> Mapping[str, int]:
        return {document.id: i for i, shard in enumerate(self.shards) for document in shard.documents}

    @cached_property
    def _memory_of(self) -> Mapping[int, Memory]:
        return {id(shard): memory for shard, memory in zip(self.shards, self.memories, strict=True)}

    def info(self) -> dict[str, Any]:
        """What the state holds, in numbers."""
        return {
            "documents": len(self.entries),
            "passages": len(self.index),
            "characters": sum(len(text) for text in self.texts.values()),
            "languages": sorted(self.index.languages),
            "memories": len(self.memories),
            "memory_tokens": sum(memory.token_count for memory in self.memories),
            "memory_bytes": sum(memory.nbytes for memory in self.memories),
        }

    def memory_of(self, shard: Shard) -> Memory | None:
        """The memory over this very shard, or None."""
        return self._memory_of.get(id(shard))

    def route(self, scores: Scores, most: int, model: RestrictingModel, admitted: Admitted | None = None) -> Route:
        """The memories worth asking, by the highest activation in their documents, each with its part of the scores.

        Under a filter a memory over excluded text is not asked. Where it can be restricted, a memory over the admitted part
        of its shard is asked in its place.

        Args:
            scores: Of the query.
            most: Memories to be asked; those that the model joins count as one.
            model: Theirs.
            admitted: What the filter admits; None for everything.
        """
        candidates = scores.candidates
        if not candidates.passages:
            return Route([])
        firsts = candidates.firsts
        best = np.maximum.reduceat(scores.activation, firsts)
        picked: dict[int, None] = {}
        for i in np.argsort(-best, kind="stable"):
            picked[self._shard_of[candidates.passages[firsts[i]].document_id]] = None
        if admitted is None:
            routed: dict[int, tuple[Memory, Excerpts | None]] = {n: (self.memories[n], None) for n in picked}
        else:
            routed = self._admitted(picked, most, model, admitted)
        memories = []
        for memory, numbers in self.joined(model, {number: memory for number, (memory, _) in routed.items()}, most):
            shards = [self.shards[number] for number in numbers]
            ids = {document.id for shard in shards for document in shard.documents}
            if admitted is not None:
                ids = {id for id in ids if id in admitted}
            excerpts = routed[numbers[0]][1] if len(numbers) == 1 else None
            memories.append(RoutedMemory(memory, ids, scores.of_documents(ids), excerpts))
        return Route(memories, 0 if len(memories) >= most else len(picked) - len(routed))

    def _admitted(
        self, picked: Iterable[int], most: int, model: RestrictingModel, admitted: Admitted
    ) -> dict[int, tuple[Memory, Excerpts | None]]:
        """By number of a shard, the memory to be asked under a filter, and the part of the shard that it is over, where
        that is a part."""
        routed: dict[int, tuple[Memory, Excerpts | None]] = {}
        restricted = 0
        for number in picked:
            shard, memory = self.shards[number], self.memories[number]
            if all(document.id in admitted.whole for document in shard.documents) or not model.reads_text(memory):
                routed[number] = memory, None
            elif restricted < most and model.can_restrict(memory):
                excerpts = Excerpts.of(shard, admitted)
                part = model.restricted(memory, excerpts.shard)
                if part is not None:
                    routed[number] = part, excerpts
                    restricted += 1
        return routed

    def joined(
        self, model: JoiningModel, memories: Mapping[int, Memory], most: int
    ) -> list[tuple[Memory, Sequence[int]]]:
        """Memories to be asked, the best first, and the shards of each.

        Args:
            model: Theirs.
            memories: By number of their shard, the best first.
            most: Memories, those that the model joins counting as one.
        """
        ranked = list(memories)
        groups = model.groups(list(memories.values()), most)
        found: list[tuple[Memory, Sequence[int]]] = []
        for group in groups:
            # in one order at every query: providers keep what prompts begin with
            numbers = sorted(ranked[i] for i in group)
            members = [memories[number] for number in numbers]
            found.append((members[0] if len(members) == 1 else model.joined(members), numbers))
        return found
