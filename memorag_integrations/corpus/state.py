"""A corpus: its documents, a memory for each shard of them, and the index over their passages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..contracts import JoiningModel, Memory
from ..documents import Document, Shard
from ..index.documents import IndexedDocument
from ..index.index import Index
from ..scores import Floats, Scores
from ..text.tokenizer import Tokenizer


class RoutedMemory(NamedTuple):
    """A memory that a query is routed to, the ids of its documents, and the query's scores over their passages."""

    memory: Memory
    documents: Collection[str]
    scores: Scores


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

    def route(self, scores: Scores, most: int, model: JoiningModel) -> list[RoutedMemory]:
        """The memories worth asking, by the highest activation in their documents, each with its part of the scores.

        Args:
            scores: Of the query.
            most: Memories to be asked; those that the model joins count as one.
            model: Theirs.
        """
        candidates = scores.candidates
        if not candidates.passages:
            return []
        firsts = candidates.firsts
        best = np.maximum.reduceat(scores.activation, firsts)
        picked: dict[int, None] = {}
        for i in np.argsort(-best, kind="stable"):
            picked[self._shard_of[candidates.passages[firsts[i]].document_id]] = None
        ranked = list(picked)
        groups = self.joined(model, ranked, most)
        return [
            RoutedMemory(memory, ids, scores.of_documents(ids))
            for memory, numbers in groups
            for ids in [{document.id for number in numbers for document in self.shards[number].documents}]
        ]

    def joined(self, model: JoiningModel, ranked: Sequence[int], most: int) -> list[tuple[Memory, Sequence[int]]]:
        """Memories to be asked, the best first, and the shards of each.

        Args:
            model: Theirs.
            ranked: Numbers of shards, the best first.
            most: Memories, those that the model joins counting as one.
        """
        groups = model.groups([self.memories[number] for number in ranked], most)
        found: list[tuple[Memory, Sequence[int]]] = []
        for group in groups:
            # in one order at every query: providers keep what prompts begin with
            numbers = sorted(ranked[i] for i in group)
            members = [self.memories[number] for number in numbers]
            found.append((members[0] if len(members) == 1 else model.joined(members), numbers))
        return found
