"""Which documents share a memory, and that a change of one touches as few memories as may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..contracts import MemoryModel
from ..documents import Document, Shard


def plan_shards(documents: Mapping[str, Document], model: MemoryModel, before: Sequence[Shard] = ()) -> list[Shard]:
    """A shard for each document; where the model has a capacity, as many documents in their order as fill it.

    A document larger than that is a shard by itself: the model splits it or refuses it, as its settings say.

    Args:
        documents: By id, in their order.
        model: Whose capacity it is.
        before: The shards there were. Those whose documents are the same stay the same object; from a pack the deleted
            are taken out, and the changed stay in it as long as they fit. What is new fills the last pack.
    """
    if model.capacity is None:
        known = {shard.documents[0].id: shard for shard in before if len(shard.documents) == 1}
        return [_kept(known.get(document.id), (document,)) for document in documents.values()]
    size = _Size(model, model.capacity)
    packs: list[tuple[Shard | None, list[Document]]] = []
    homeless = dict(documents)
    for shard in before:
        members = [documents[member.id] for member in shard.documents if member.id in homeless]
        if tuple(members) != shard.documents:
            members = size.fitting(members)
        if members:
            packs.append((shard, members))
        for member in members:
            del homeless[member.id]
    for document in homeless.values():
        if packs and size.fits(packs[-1][1], document):
            packs[-1][1].append(document)
        else:
            packs.append((None, [document]))
    return [_kept(shard, tuple(members)) for shard, members in packs]


def _kept(shard: Shard | None, documents: tuple[Document, ...]) -> Shard:
    if shard is None or len(shard.documents) != len(documents):
        return Shard(documents)
    same = all(one is other or one == other for one, other in zip(shard.documents, documents, strict=True))
    return shard if same else Shard(documents)


class _Size:
    """Tokens of documents, each counted once."""

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
