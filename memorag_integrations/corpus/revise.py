"""The next state of a corpus, made from the current one at the cost of what is new."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Protocol

from ..contracts import Memory, MemoryModel, Progress
from ..documents import GIVEN, Document, Passage, Shard, check_metadata, clean_text, embedding_text
from ..encoders.checked import CheckedEmbedder
from ..errors import Cancelled, InputError, raised_as
from ..index.documents import IndexedDocument, analyse
from ..scores import Floats
from .sharding import plan_shards
from .splitter import Splitter
from .state import Corpus

logger = logging.getLogger(__name__)

_BEYOND = 1 << 62
"""A place that is in no text, and that SQLite can still hold."""

Split = Callable[[Document], Sequence[Passage]]
"""The passages of a document, where our splitter does not cut it."""


@dataclass(frozen=True)
class Change:
    """The result of a change of a corpus.

    Args:
        added, replaced, deleted: Ids of documents.
        unchanged: How many documents stayed as they were.
        indexed: Number of passages that were cut and analysed.
        encoded: Number of passages that the embedder encoded.
        formed: Number of memories that were formed.
        reused: Number of memories that were there already, in RAM or in the store.
    """

    added: Sequence[str] = ()
    replaced: Sequence[str] = ()
    deleted: Sequence[str] = ()
    unchanged: int = 0
    indexed: int = 0
    encoded: int = 0
    formed: int = 0
    reused: int = 0

    def __bool__(self) -> bool:
        """Whether the corpus changed."""
        return bool(self.added or self.replaced or self.deleted)


class ArtifactCache(Protocol):
    """Keeps finished work while a change is under way, so that a stop does not lose it. Everything is named by content."""

    def vectors(self, keys: Sequence[str]) -> Mapping[str, Floats]:
        """Those of the vectors with these keys (`text_hash` of the text) that it has."""

    def keep_vectors(self, vectors: Mapping[str, Floats]) -> None:
        """Keep vectors, by key."""

    def memory(self, shard: Shard) -> Memory | None:
        """The memory over this shard; None where it has none."""

    def keep_memory(self, shard: Shard, memory: Memory) -> None:
        """Keep the memory over this shard."""


@dataclass(frozen=True)
class Reviser:
    """Makes the next state of a corpus from the current one, at the cost of what is new.

    Args:
        splitter: Cuts documents that come without passages.
        model: Forms memories.
        embedder: Encodes passages, or None for BM25 alone.
        language: ISO 639-1 code of the documents, or "auto".
        cache: Keeps finished work; None for nowhere.
        progress: Called as the work goes on.
        cancel: Ends the work when set.
    """

    splitter: Splitter
    model: MemoryModel
    embedder: CheckedEmbedder | None
    language: str
    cache: ArtifactCache | None
    progress: Progress
    cancel: threading.Event | None

    def revise(
        self, current: Corpus, documents: Sequence[Document | IndexedDocument], split: Split | None
    ) -> tuple[Corpus, Change]:
        """The corpus of these documents.

        Args:
            current: The current state; what stays the same is taken over.
            documents: All documents of the next state, in its order. Those that stay as they are may be given as the
                current state holds them.
            split: The passages of a document, where our splitter does not cut it.

        Raises:
            InputError: Where a passage's id is taken, or its metadata cannot be stored.
            Cancelled: When `cancel` was set.
        """
        entries = self._entries(current, documents, split)
        fresh = [entry for id, entry in entries.items() if current.entries.get(id) is not entry]
        vectors, encoded = self._vectors(current, fresh)
        shards = plan_shards({id: entry.document for id, entry in entries.items()}, self.model, current.shards)
        memories, formed = self._memories(current, shards)
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("Cancelled while memories were formed; the corpus is as it was before.")
        index = current.index.derive(list(entries.values()), vectors)
        if self.embedder is not None:
            self.embedder.forget()
            self.embedder.forget_weights(index.passages)
        return Corpus(index.by_id, shards, memories, index), Change(
            added=tuple(id for id in entries if id not in current.entries),
            replaced=tuple(e.document.id for e in fresh if e.document.id in current.entries),
            deleted=tuple(id for id in current.entries if id not in entries),
            unchanged=len(entries) - len(fresh),
            indexed=sum(len(entry.passages) for entry in fresh),
            encoded=encoded,
            formed=formed,
            reused=len(shards) - formed,
        )

    def _entries(
        self, current: Corpus, documents: Sequence[Document | IndexedDocument], split: Split | None
    ) -> dict[str, IndexedDocument]:
        entries: dict[str, IndexedDocument | None] = {}
        cut: list[tuple[Document, str, Sequence[Passage]]] = []
        for document in documents:
            if isinstance(document, IndexedDocument):
                entries[document.document.id] = document
                continue
            cutter = f"{self.splitter.size} characters" if split is None else GIVEN
            same = current.entries.get(document.id)
            if same is not None and (same.document != document or same.cut != cutter):
                same = None
            if same is not None and cutter != GIVEN:
                entries[document.id] = same
                continue
            passages = tuple(self.splitter.split(document)) if split is None else _given(split, document)
            if same is not None and tuple(same.passages) == passages:
                entries[document.id] = same
                continue
            entries[document.id] = None
            cut.append((document, cutter, passages))
        kept = {passage.id for entry in entries.values() if entry for passage in entry.passages}
        check_passages([(document, passages) for document, _, passages in cut], kept)
        vocabulary = current.index.terms.vocabulary
        dense = self.embedder is not None
        analysed = analyse(cut, self.language, vocabulary, dense, self.progress, self.cancel)
        new = {entry.document.id: entry for entry in analysed}
        return {id: new[id] if entry is None else entry for id, entry in entries.items()}

    def _vectors(self, current: Corpus, fresh: Sequence[IndexedDocument]) -> tuple[Mapping[str, Floats], int]:
        """The vector of each passage of new documents, by key, and how many of them the embedder made."""
        if self.embedder is None:
            return {}, 0
        texts = {
            key: embedding_text(passage)
            for entry in fresh
            for key, passage in zip(entry.keys, entry.passages, strict=True)
        }
        vectors = dict(current.index.vectors_of(list(texts)))
        if self.cache is not None:
            vectors |= self.cache.vectors([key for key in texts if key not in vectors])
        missing = {key: text for key, text in texts.items() if key not in vectors}
        encoded_before = self.embedder.encoded
        if missing:
            arrived = None if self.cache is None else self.cache.keep_vectors
            vectors |= self.embedder.embed_passages(missing, self.progress, self.cancel, arrived)
        return vectors, self.embedder.encoded - encoded_before

    def _memories(self, current: Corpus, shards: Sequence[Shard]) -> tuple[list[Memory], int]:
        """The memory of each shard, and how many of them were formed."""
        by_shard = {_key(shard): memory for shard, memory in zip(current.shards, current.memories, strict=True)}
        memories, formed = [], 0
        for done, shard in enumerate(shards, 1):
            memory = by_shard.get(_key(shard))
            if memory is None and self.cache is not None:
                memory = self.cache.memory(shard)
            if memory is None:
                memory = self.model.form(shard, progress=self.progress, cancel=self.cancel)
                formed += 1
                if self.cache is not None:
                    self.cache.keep_memory(shard, memory)
                self.progress("forming memories", done, len(shards))
            memories.append(memory)
        return memories, formed


def _given(split: Split, document: Document) -> tuple[Passage, ...]:
    """The passages that a caller's function makes of a document, their texts valid Unicode.

    Raises:
        InputError: Where it raises anything, or returns anything else than passages.
    """
    name = repr(document.id[:80])
    with raised_as(InputError, f"split could not cut document {name}"):
        passages = tuple(split(document))
    for passage in passages:
        if not isinstance(passage, Passage):
            raise InputError(
                f"Expected memorag_integrations.Passage objects from split for document {name}, found a "
                f"{type(passage).__name__}."
            )
        if wrong := _wrong_field(passage):
            raise InputError(f"split made a passage of document {name} whose {wrong}.")
    return tuple(
        passage if (text := clean_text(passage.text)) == passage.text else replace(passage, text=text)
        for passage in passages
    )


def _wrong_field(passage: Passage) -> str | None:
    """What is wrong with a passage, or None."""
    for field in ("id", "document_id", "text"):
        if not isinstance(value := getattr(passage, field), str):
            return f"{field} is not text but a {type(value).__name__}"
    for field in ("start", "end"):
        value = getattr(passage, field)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _BEYOND):
            return f"{field} is no place in a text, but {str(value)[:40]}"
    if not isinstance(passage.centre, int | float) or not isfinite(passage.centre):
        return f"centre is no place in a text, but {str(passage.centre)[:40]}"
    return None


def with_text(documents: Sequence[Document]) -> list[Document]:
    """Those of the documents that hold any text.

    Raises:
        InputError: Where none does.
    """
    texts = [document for document in documents if document.text.strip()]
    if len(texts) < len(documents):
        logger.warning(
            "%d of %d documents hold no text and were left out.", len(documents) - len(texts), len(documents)
        )
    if not texts:
        raise InputError("There is nothing to memorize: no document holds any text. Pass at least one that does.")
    return texts


def check_passages(cut: Sequence[tuple[Document, Sequence[Passage]]], taken: set[str]) -> None:
    """Check the passages of new documents.

    Args:
        cut: Documents and their passages.
        taken: Ids of the passages that stay.

    Raises:
        InputError: Where a document has none, one is of another document, two have one id, or an id or metadata cannot
            be stored.
    """
    seen = set(taken)
    for document, passages in cut:
        if not passages:
            raise InputError(
                f"There is nothing to memorize in document {document.id[:80]!r}: it holds text, but split made no "
                f"passages of it."
            )
        for passage in passages:
            if passage.document_id != document.id:
                raise InputError(
                    f"Expected passages of document {document.id[:80]!r} from split, found {passage.id[:80]!r} "
                    f"of {passage.document_id[:80]!r}."
                )
            if passage.id in seen:
                raise InputError(
                    f"Two passages have the id {passage.id[:80]!r}. A node's id must be unique in a corpus."
                )
            seen.add(passage.id)
            if clean_text(passage.id) != passage.id:
                raise InputError(f"A passage's id must be valid Unicode without NUL, found {passage.id[:80]!r}.")
            if passage.metadata is not document.metadata:
                check_metadata(passage.metadata, f"passage {passage.id[:80]!r}")
            if passage.host is not None:
                check_metadata(passage.host, f"the host of passage {passage.id[:80]!r}")


def _key(shard: Shard) -> tuple[str, tuple[str, ...]]:
    return shard.content_hash, tuple(document.id for document in shard.documents)
