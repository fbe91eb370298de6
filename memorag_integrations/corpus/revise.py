"""The next state of a corpus, made from the one there is at the cost of what is new."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..contracts import Memory, MemoryModel, Progress
from ..documents import GIVEN, Document, Passage, Shard, check_metadata, clean_text
from ..encoders.checked import CheckedEmbedder
from ..errors import Cancelled, InputError
from ..index.documents import IndexedDocument, analyse
from ..scores import Floats
from .sharding import plan_shards
from .splitter import Splitter
from .state import Corpus

logger = logging.getLogger(__name__)

Split = Callable[[Document], Sequence[Passage]]


@dataclass(frozen=True)
class Change:
    """What a change of a corpus did.

    Args:
        added, replaced, deleted: Ids of documents.
        unchanged: How many documents stayed as they were.
        indexed: Passages that were cut and analysed.
        encoded: Passages that went to the embedder.
        formed: Memories formed.
        reused: Memories that were there already, in RAM or in the store.
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
        """Whether the corpus is another one now."""
        return bool(self.added or self.replaced or self.deleted)


class ArtifactCache(Protocol):
    """Where finished work is kept by content while a change is under way, so that a stop does not lose it."""

    def vectors(self, keys: Sequence[str]) -> Mapping[str, Floats]:
        """Those of these vectors that are there."""

    def keep_vectors(self, vectors: Mapping[str, Floats]) -> None: ...

    def memory(self, shard: Shard) -> Memory | None:
        """The memory over this shard, if it is there."""

    def keep_memory(self, shard: Shard, memory: Memory) -> None: ...


@dataclass(frozen=True)
class Reviser:
    """Makes the next state of a corpus out of the one there is, at the cost of what is new.

    Args:
        splitter: Cuts documents that come without passages.
        model: Forms memories.
        embedder: Encodes passages, or None for BM25 alone.
        language: ISO 639-1 code of the documents, or "auto".
        cache: Where finished work is kept and found, or None.
        progress: Told of each step.
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
        self, before: Corpus, documents: Sequence[Document | IndexedDocument], split: Split | None
    ) -> tuple[Corpus, Change]:
        """The corpus of these documents.

        Args:
            before: The state there is; whatever of it is the same is taken over.
            documents: All that the new state has, in its order; those that stay as they are may be given as entries.
            split: The passages of documents, where they are not ours to cut.

        Raises:
            InputError: Where a passage's id is taken, or its metadata cannot be stored.
            Cancelled: When `cancel` was set.
        """
        entries = self._entries(before, documents, split)
        fresh = [entry for id, entry in entries.items() if before.entries.get(id) is not entry]
        vectors, encoded = self._vectors(before, fresh)
        shards = plan_shards({id: entry.document for id, entry in entries.items()}, self.model, before.shards)
        memories, formed = self._memories(before, shards)
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("Cancelled while memories were formed; the corpus is as it was before.")
        index = before.index.derive(list(entries.values()), vectors)
        if self.embedder is not None:
            self.embedder.forget()
        return Corpus(entries, shards, memories, index), Change(
            added=tuple(id for id in entries if id not in before.entries),
            replaced=tuple(e.document.id for e in fresh if e.document.id in before.entries),
            deleted=tuple(id for id in before.entries if id not in entries),
            unchanged=len(entries) - len(fresh),
            indexed=sum(len(entry.passages) for entry in fresh),
            encoded=encoded,
            formed=formed,
            reused=len(shards) - formed,
        )

    def _entries(
        self, before: Corpus, documents: Sequence[Document | IndexedDocument], split: Split | None
    ) -> dict[str, IndexedDocument]:
        entries: dict[str, IndexedDocument | None] = {}
        cut: list[tuple[Document, str, Sequence[Passage]]] = []
        for document in documents:
            if isinstance(document, IndexedDocument):
                entries[document.document.id] = document
                continue
            old = before.entries.get(document.id)
            same = old is not None and old.document == document
            name = f"{self.splitter.size} characters" if split is None else GIVEN
            if same and old is not None and old.cut == name != GIVEN:
                entries[document.id] = old
                continue
            passages = tuple((split or self.splitter.split)(document))
            if same and old is not None and old.cut == name and tuple(old.passages) == passages:
                entries[document.id] = old
                continue
            entries[document.id] = None
            cut.append((document, name, passages))
        kept = {passage.id for entry in entries.values() if entry for passage in entry.passages}
        check_passages([(document, passages) for document, _, passages in cut], kept)
        vocabulary = before.index.terms.vocabulary
        dense = self.embedder is not None
        analysed = analyse(cut, self.language, vocabulary, dense, self.progress, self.cancel)
        new = {entry.document.id: entry for entry in analysed}
        return {id: new[id] if entry is None else entry for id, entry in entries.items()}

    def _vectors(self, before: Corpus, fresh: Sequence[IndexedDocument]) -> tuple[Mapping[str, Floats], int]:
        """Vectors of all passages of new entries, by key, and how many of them the embedder had to make."""
        if self.embedder is None:
            return {}, 0
        texts = {key: passage.text for entry in fresh for key, passage in zip(entry.keys, entry.passages, strict=True)}
        found = dict(before.index.vectors_of(list(texts)))
        if self.cache is not None:
            found |= self.cache.vectors([key for key in texts if key not in found])
        missing = {key: text for key, text in texts.items() if key not in found}
        already = self.embedder.encoded
        if missing:
            arrived = None if self.cache is None else self.cache.keep_vectors
            found |= self.embedder.embed_passages(missing, self.progress, self.cancel, arrived)
        return found, self.embedder.encoded - already

    def _memories(self, before: Corpus, shards: Sequence[Shard]) -> tuple[list[Memory], int]:
        known = {_key(shard): memory for shard, memory in zip(before.shards, before.memories, strict=True)}
        memories, formed = [], 0
        for done, shard in enumerate(shards, 1):
            memory = known.get(_key(shard))
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
    """Whether new passages can stand beside those whose ids are taken.

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


def _key(shard: Shard) -> tuple[str, tuple[str, ...]]:
    return shard.content_hash, tuple(document.id for document in shard.documents)
