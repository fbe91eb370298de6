"""A corpus and its settings to a store's rows, and finished work kept there while a change is under way."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..contracts import Memory, MemoryModel
from ..corpus.revise import ArtifactCache
from ..corpus.state import Corpus
from ..documents import Document, Passage, Shard, text_hash
from ..encoders.checked import CheckedEmbedder
from ..encoders.fingerprint import EmbedderFingerprint
from ..errors import InputError, MemoryModelError, StoreError
from ..index.bm25 import Vocabulary
from ..index.documents import IndexedDocument
from ..index.learned_sparse import pack_weights, unpack_weights
from ..retrieval.fusion import Fusion
from ..scores import Floats, LexicalWeights
from . import memory_files
from .records import DocumentRow, PassageRow, ShardRow, pack_terms, to_json
from .store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """The settings of an engine that a store keeps."""

    passage_size: int
    language: str
    fusion: Fusion
    shards: int
    clues: int

    def checked(self) -> Settings:
        """These settings.

        Raises:
            InputError: Where `shards` or `clues` is no whole number of at least 1.
        """
        for name, value in (("shards", self.shards), ("clues", self.clues)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, found {value!r}.")
        return self


@dataclass(frozen=True)
class StoreArtifacts(ArtifactCache):
    """A store as the place where finished work is kept while a change is under way."""

    store: Store
    model: MemoryModel
    embedder: CheckedEmbedder | None

    def vectors(self, keys: Sequence[str]) -> dict[str, Floats]:
        """Those of these vectors that the store has; the embedder gets the lexical weights that lie beside them."""
        if self.embedder is None or not keys:
            return {}
        if self.embedder.lexical is not None:
            self._read_weights([key for key in keys if key not in self.embedder.weights])
        space = self.store.space(self._same)
        return {} if space is None else read_vectors(self.store, space, keys, self.embedder.dimension)

    def keep_vectors(self, vectors: Mapping[str, Floats]) -> None:
        if self.embedder is not None:
            self.weights_space(vectors)  # first: vectors that are there are not encoded again, for their weights either
            self.space(vectors)

    def keep_late(self, weights: Mapping[str, LexicalWeights]) -> None:
        """Keep lexical weights that a query had to have read, if the store can be written to now."""
        try:
            replace(self, store=replace(self.store, wait=0.0)).weights_space(weights)
        except StoreError as error:
            logger.info("Lexical weights are not kept in %s: %s", self.store.folder, error)

    def space(self, vectors: Mapping[str, Floats]) -> int:
        """The number of the embedder's space in the store, with these vectors in it."""
        assert self.embedder is not None
        stored = {bytes.fromhex(key): vector.astype("<f4").tobytes() for key, vector in vectors.items()}
        return self.store.keep_vectors(asdict(self.embedder.fingerprint), self._same, stored)

    def weights_space(self, keys: Iterable[str]) -> int | None:
        """The number of the lexical weights' space, with those of these texts in it that the embedder has; None where it
        has none at all."""
        assert self.embedder is not None
        if self.embedder.lexical is None:
            return None
        known = {
            bytes.fromhex(key): pack_weights(self.embedder.weights[key]) for key in keys if key in self.embedder.weights
        }
        return self.store.keep_vectors(asdict(of_weights(self.embedder.fingerprint)), self._same_weights, known)

    def packed_weights(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these lexical weights that the embedder has."""
        assert self.embedder is not None
        known = self.embedder.weights
        return {key: pack_weights(known[key.hex()]) for key in keys if key.hex() in known}

    def memory(self, shard: Shard) -> Memory | None:
        name = memory_name(self.model, shard)
        if not memory_files.folder_of(self.store.folder, name).is_dir():
            return None
        try:
            return self.model.load(memory_files.check(self.store.folder, name), shard)
        except MemoryModelError as error:
            logger.warning("A memory in %s is not used, and formed again: %s", self.store.folder, error)
            memory_files.drop(self.store.folder, name)
            return None

    def keep_memory(self, shard: Shard, memory: Memory) -> None:
        if memory.nbytes:
            memory_files.keep(self.store.folder, memory_name(self.model, shard), memory.save)

    def spaces(self, corpus: Corpus) -> dict[int, Callable[[Sequence[bytes]], Mapping[bytes, bytes]]]:
        """For each space that the corpus writes into, what gives its vectors."""
        if self.embedder is None:
            return {}
        given: dict[int, Callable[[Sequence[bytes]], Mapping[bytes, bytes]]] = {self.space({}): corpus_vectors(corpus)}
        if (weights := self.weights_space([])) is not None:
            given[weights] = self.packed_weights
        return given

    def shards(self, corpus: Corpus) -> list[ShardRow]:
        """The rows of a corpus's shards, their memories kept."""
        rows = []
        for shard, memory in zip(corpus.shards, corpus.memories, strict=True):
            self.keep_memory(shard, memory)
            name = memory_name(self.model, shard) if memory.nbytes else None
            ids = json.dumps([document.id for document in shard.documents])
            rows.append(ShardRow(ids, shard.content_hash, name))
        return rows

    def _read_weights(self, keys: Sequence[str]) -> None:
        assert self.embedder is not None
        space = self.store.space(self._same_weights)
        if space is not None and keys:
            stored = self.store.vectors(space, [bytes.fromhex(key) for key in dict.fromkeys(keys)])
            found = {key.hex(): unpack_weights(packed) for key, packed in stored.items()}
            self.embedder.weights.update({key: weights for key, weights in found.items() if weights is not None})

    def _same(self, fingerprint: Mapping[str, Any]) -> bool:
        return self.embedder is not None and fingerprint_of(fingerprint).same_space(self.embedder.fingerprint)

    def _same_weights(self, fingerprint: Mapping[str, Any]) -> bool:
        assert self.embedder is not None
        return fingerprint_of(fingerprint).same_space(of_weights(self.embedder.fingerprint))


def commit(artifacts: StoreArtifacts, corpus: Corpus, settings: Settings, expected: int | None) -> int | None:
    """Make `corpus` the state of the store; memories and vectors that it lacks first. See `Store.commit`."""
    store, model, embedder = artifacts.store, artifacts.model, artifacts.embedder
    artifacts.shards(corpus)  # before the transaction, which is short then
    vocabulary = corpus.index.terms.vocabulary
    return store.commit(
        describe(settings, model, embedder),
        checksums_of(corpus),
        lambda id: row_of(corpus.entries[id], vocabulary),
        lambda: artifacts.shards(corpus),  # again, should another process have cleared them up
        expected=expected,
        vectors=artifacts.spaces(corpus),
    )


def corpus_vectors(corpus: Corpus) -> Callable[[Sequence[bytes]], dict[bytes, bytes]]:
    """What gives those of a corpus's vectors that it is asked for, as a store keeps them."""

    def given(keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found = corpus.index.vectors_of([key.hex() for key in keys])
        return {bytes.fromhex(key): vector.astype("<f4").tobytes() for key, vector in found.items()}

    return given


def describe(settings: Settings, model: MemoryModel, embedder: CheckedEmbedder | None) -> dict[str, Any]:
    """What a store notes beside the corpus."""
    made_by = None
    if embedder is not None:
        made_by = {"config": embedder.embedder.config, "fingerprint": asdict(embedder.fingerprint)}
    return {
        "settings": asdict(settings),
        "memory": {"config": model.config, "fingerprint": model.fingerprint},
        "embedder": made_by,
        "made": {"by": f"memorag-integrations {_version()}", "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
    }


_checksums: WeakKeyDictionary[IndexedDocument, bytes] = WeakKeyDictionary()


def checksums_of(corpus: Corpus) -> dict[str, bytes]:
    """The checksum of each document, by which a store knows whether it has it; worked out once for each."""
    vocabulary = corpus.index.terms.vocabulary
    for entry in corpus.entries.values():
        if entry not in _checksums:
            _checksums[entry] = row_of(entry, vocabulary).checksum
    return {id: _checksums[entry] for id, entry in corpus.entries.items()}


def remember_checksum(entry: IndexedDocument, checksum: bytes) -> None:
    """The checksum that an entry was stored with."""
    _checksums[entry] = checksum


def row_of(entry: IndexedDocument, vocabulary: Vocabulary) -> DocumentRow:
    """An entry as the store keeps it."""
    document = entry.document
    own, blobs = pack_terms(entry.terms, vocabulary.term)
    return DocumentRow(
        document.id,
        document.text,
        to_json(document.metadata) or "{}",
        to_json(document.host),
        entry.language,
        entry.cut,
        own,
        [
            _passage_row(passage, document, blob, None if key is None else bytes.fromhex(key))
            for passage, blob, key in zip(entry.passages, blobs, entry.keys or repeat(None), strict=False)
        ],
    )


def _passage_row(passage: Passage, document: Document, terms: bytes, key: bytes | None) -> PassageRow:
    cut = passage.start is not None and document.text[passage.start : passage.end] == passage.text
    return PassageRow(
        passage.id,
        passage.start,
        passage.end,
        passage.centre,
        None if cut else passage.text,
        None if passage.metadata is document.metadata else to_json(passage.metadata),
        to_json(passage.host),
        terms,
        key,
    )


def read_vectors(store: Store, space: int, keys: Sequence[str], dimension: int) -> dict[str, Floats]:
    """Those of these vectors that the store has, and that are unit vectors of this dimension."""
    found = {}
    for key, blob in store.vectors(space, [bytes.fromhex(key) for key in dict.fromkeys(keys)]).items():
        if len(blob) == 4 * dimension:
            vector = np.frombuffer(blob, dtype="<f4")
            if abs(float(np.linalg.norm(vector)) - 1) < 1e-3:
                found[key.hex()] = vector
    return found


def memory_name(model: MemoryModel, shard: Shard) -> str:
    return text_hash(model.fingerprint, shard.content_hash)[:40]


def of_weights(fingerprint: EmbedderFingerprint) -> EmbedderFingerprint:
    """The space of an embedder's lexical weights: without dimensions, so that no vectors' space is the same."""
    return replace(fingerprint, name=f"{fingerprint.name} lexical weights", dimension=0)


def fingerprint_of(stored: Mapping[str, Any]) -> EmbedderFingerprint:
    return EmbedderFingerprint(stored["name"], stored["dimension"], tuple(stored["probe"]))


@cache
def _version() -> str:
    try:
        return version("memorag-integrations")
    except PackageNotFoundError:
        return "(not installed)"
