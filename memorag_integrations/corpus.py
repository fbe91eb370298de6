"""What was memorized: documents, a memory for each shard of them, and the index over their passages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .contracts import Memory, MemoryModel, Progress, Scores
from .documents import Document, Passage, Shard, check_metadata, clean_text
from .errors import Cancelled, InputError
from .index.embedders import CheckedEmbedder
from .index.index import Index

logger = logging.getLogger(__name__)

Split = Callable[[Document], Sequence[Passage]]


@dataclass(frozen=True)
class Corpus:
    """One state of a corpus. It is replaced as a whole and never changed, so whoever reads it sees one state.

    Args:
        documents: By id.
        shards: What the memories were formed over.
        memories: One for each shard.
        index: Over all passages.
    """

    documents: Mapping[str, Document]
    shards: Sequence[Shard]
    memories: Sequence[Memory]
    index: Index

    @cached_property
    def texts(self) -> Mapping[str, str]:
        return {id: document.text for id, document in self.documents.items()}

    @cached_property
    def _shard_of(self) -> Mapping[str, int]:
        return {document.id: i for i, shard in enumerate(self.shards) for document in shard.documents}

    def route(self, scores: Scores, most: int) -> list[tuple[Memory, Scores]]:
        """The memories worth asking, by the highest activation in their documents, each with its part of the scores."""
        candidates = scores.candidates
        if not candidates.passages:
            return []
        firsts = candidates.firsts
        best = np.maximum.reduceat(scores.activation, firsts)
        picked: dict[int, None] = {}
        for i in np.argsort(-best, kind="stable"):
            picked[self._shard_of[candidates.passages[firsts[i]].document_id]] = None
            if len(picked) == most:
                break
        return [
            (self.memories[i], scores.of_documents({document.id for document in self.shards[i].documents}))
            for i in picked
        ]


def form_corpus(
    documents: Sequence[Document],
    split: Split,
    model: MemoryModel,
    embedder: CheckedEmbedder | None,
    language: str,
    *,
    before: Corpus | None,
    progress: Progress,
    cancel: threading.Event | None,
) -> Corpus:
    """Cut, index and memorize `documents`; memories and vectors of unchanged texts are taken from `before`.

    Raises:
        InputError: Where no document holds any text, a passage's id is taken, or its metadata cannot be stored.
    """
    texts = [document for document in documents if document.text.strip()]
    if len(texts) < len(documents):
        logger.warning(
            "%d of %d documents hold no text and were left out.", len(documents) - len(texts), len(documents)
        )
    if not texts:
        raise InputError("There is nothing to memorize: no document holds any text. Pass at least one that does.")
    passages = check_passages([(document, passage) for document in texts for passage in split(document)])
    shards = pack(texts, model)
    index = Index.build(texts, passages, embedder, language, progress, cancel)
    known = {} if before is None else {_key(s): m for s, m in zip(before.shards, before.memories, strict=True)}
    memories = []
    for done, shard in enumerate(shards, 1):
        memory = known.get(_key(shard))
        memories.append(model.form(shard, progress=progress, cancel=cancel) if memory is None else memory)
        progress("forming memories", done, len(shards))
    if cancel is not None and cancel.is_set():
        raise Cancelled("Cancelled while memories were formed; the corpus is as it was before.")
    if embedder is not None:
        embedder.forget_all_but([passage.text for passage in passages])
    return Corpus({document.id: document for document in texts}, shards, memories, index)


def pack(documents: Sequence[Document], model: MemoryModel) -> list[Shard]:
    """A shard for each document; where the model has a capacity, as many documents in their order as fill it.

    A document larger than that is a shard by itself: the model splits it or refuses it, as its settings say.
    """
    if model.capacity is None:
        return [Shard((document,)) for document in documents]
    packs: list[list[Document]] = []
    left = 0
    between = model.count_tokens(Shard.SEPARATOR)
    for document in documents:
        tokens = model.count_tokens(document.text) + between
        if packs and tokens <= left:
            packs[-1].append(document)
            left -= tokens
        else:
            packs.append([document])
            left = model.capacity - tokens
    return [Shard(tuple(pack)) for pack in packs]


def check_passages(cut: Sequence[tuple[Document, Passage]]) -> list[Passage]:
    """The passages, each with the document it was cut from.

    Raises:
        InputError: Where there are none, one is of another document, two have one id, or an id or metadata cannot be stored.
    """
    if not cut:
        raise InputError("There is nothing to memorize: the documents hold text, but split made no passages of them.")
    seen: set[str] = set()
    for document, passage in cut:
        if passage.document_id != document.id:
            raise InputError(
                f"Expected passages of document {document.id[:80]!r} from split, found {passage.id[:80]!r} "
                f"of {passage.document_id[:80]!r}."
            )
        if passage.id in seen:
            raise InputError(f"Two passages have the id {passage.id[:80]!r}. A node's id must be unique in a corpus.")
        seen.add(passage.id)
        if clean_text(passage.id) != passage.id:
            raise InputError(f"A passage's id must be valid Unicode without NUL, found {passage.id[:80]!r}.")
        if passage.metadata is not document.metadata:
            check_metadata(passage.metadata, f"passage {passage.id[:80]!r}")
    return [passage for _, passage in cut]


def _key(shard: Shard) -> tuple[str, tuple[str, ...]]:
    return shard.content_hash, tuple(document.id for document in shard.documents)
