"""Sharding: which documents share a memory. A change of one document changes as few shards as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..contracts import MemoryModel
from ..documents import Document, Shard


def plan_shards(documents: Mapping[str, Document], model: MemoryModel, current: Sequence[Shard] = ()) -> list[Shard]:
    """The shards of a corpus. A model without a capacity gets one for each document.

    For a model with a capacity, documents are packed in their order until a shard is full. A larger document is a shard
    of its own, which the model splits or refuses, as its settings say.

    Args:
        documents: By id, in their order.
        model: The memory model, with its capacity in tokens.
        current: The present shards. A shard with the same documents stays the same object. Deleted documents are taken
            out of their shard, changed ones stay in it while they fit, and new ones fill the last shard.
    """
    if model.capacity is None:
        by_id = {shard.documents[0].id: shard for shard in current if len(shard.documents) == 1}
        return [_kept(by_id.get(document.id), (document,)) for document in documents.values()]
    size = _Size(model, model.capacity)
    packs: list[tuple[Shard | None, list[Document]]] = []
    unplaced = dict(documents)
    for shard in current:
        members = [documents[member.id] for member in shard.documents if member.id in unplaced]
        if tuple(members) != shard.documents:
            members = size.fitting(members)
        if members:
            packs.append((shard, members))
        for member in members:
            del unplaced[member.id]
    for document in unplaced.values():
        if packs and size.fits(packs[-1][1], document):
            packs[-1][1].append(document)
        else:
            packs.append((None, [document]))
    return [_kept(shard, tuple(members)) for shard, members in packs]


def _kept(shard: Shard | None, documents: tuple[Document, ...]) -> Shard:
    """`shard` itself where its documents are these; a new one otherwise."""
    if shard is None or len(shard.documents) != len(documents):
        return Shard(documents)
    same = all(one is other or one == other for one, other in zip(shard.documents, documents, strict=True))
    return shard if same else Shard(documents)


class _Size:
    """Counts the tokens of documents, each document once."""

    def __init__(self, model: MemoryModel, capacity: int) -> None:
        self.model, self.capacity = model, capacity
        self.between = model.count_tokens(Shard.SEPARATOR)
        self._tokens: dict[str, int] = {}

    def of(self, document: Document) -> int:
        if document.id not in self._tokens:
            self._tokens[document.id] = self.model.count_tokens(document.text) + self.between
        return self._tokens[document.id]

    def fits(self, members: Sequence[Document], document: Document) -> bool:
        return sum(map(self.of, members)) + self.of(document) <= self.capacity

    def fitting(self, members: Sequence[Document]) -> list[Document]:
        """As many of them, in their order, as the capacity holds; at least one."""
        kept: list[Document] = []
        for document in members:
            if not kept or self.fits(kept, document):
                kept.append(document)
        return kept
