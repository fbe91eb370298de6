"""Save: a corpus and its settings become a store's rows. While a change is under way, finished work is kept there."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..contracts import Memory, MemoryModel
from ..corpus.revise import ArtifactCache
from ..corpus.splitter import check_size
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
from ..text.terms import check_language
from . import memory_files
from .records import DocumentRow, PassageRow, ShardRow, Version, pack_terms, to_json
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
    tokenizer: str | None = None

    def checked(self) -> Settings:
        """These settings.

        Raises:
            InputError: Where a passage size is out of range, a language unknown, or `shards` or `clues` is no whole number
                of at least 1.
        """
        check_size(self.passage_size)
        check_language(self.language)
        if not isinstance(self.fusion, Fusion):
            raise InputError(f"fusion must be a Fusion, found {type(self.fusion).__name__}.")
        for name, value in (("shards", self.shards), ("clues", self.clues)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, found {value!r}.")
        return self

    def check_same(self, passed: Mapping[str, Any], folder: str | Path) -> None:
        """Raises InputError where a setting that was passed for the store in `folder` is not the one that it has."""
        stored = asdict(self)
        for name, value in passed.items():
            plain = asdict(value) if name == "fusion" and value is not None else value
            if plain != stored.get(name):
                raise InputError(
                    f"The store at {folder} was made with {name}={stored.get(name)!r}, found {value!r}. Leave it out, or "
                    f"make another store."
                )


@dataclass(frozen=True)
class StoreArtifacts(ArtifactCache):
    """A store that keeps finished work while a change is under way.

    Args:
        store: The store.
        model: The memory model, by whose fingerprint memories are named.
        embedder: The embedder, by whose fingerprint vectors are kept; None for BM25 alone.
    """

    store: Store
    model: MemoryModel
    embedder: CheckedEmbedder | None

    def vectors(self, keys: Sequence[str]) -> dict[str, Floats]:
        """Those of these vectors that the store has. The embedder is given the lexical weights stored beside them."""
        if self.embedder is None or not keys:
            return {}
        if self.embedder.lexical is not None:
            self._read_weights([key for key in keys if key not in self.embedder.weights])
        space = self.store.space(self._same)
        return {} if space is None else read_vectors(self.store, space, keys, self.embedder.dimension)

    def keep_vectors(self, vectors: Mapping[str, Floats]) -> None:
        if self.embedder is not None:
            self.weights_space(
                vectors
            )  # first: a text whose vector is stored is not read again, not for its weights either
            self.space(vectors)

    def keep_late(self, weights: Mapping[str, LexicalWeights]) -> None:
        """Keep lexical weights that were computed during a query, if the store can be written to at once."""
        try:
            replace(self, store=replace(self.store, wait=0.0)).weights_space(weights)
        except StoreError as error:
            logger.info("Lexical weights are not kept in %s: %s", self.store.folder, error)

    def space(self, vectors: Mapping[str, Floats]) -> int:
        """Write vectors into the embedder's space of the store; the number of the space."""
        assert self.embedder is not None
        stored = {bytes.fromhex(key): vector.astype("<f4").tobytes() for key, vector in vectors.items()}
        return self.store.keep_vectors(asdict(self.embedder.fingerprint), self._same, stored)

    def weights_space(self, keys: Iterable[str]) -> int | None:
        """Write the lexical weights that the embedder has of these texts; the number of their space.

        None for an embedder without lexical weights.
        """
        assert self.embedder is not None
        if self.embedder.lexical is None:
            return None
        weights = self.embedder.weights
        packed = {bytes.fromhex(key): pack_weights(weights[key]) for key in keys if key in weights}
        return self.store.keep_vectors(asdict(of_weights(self.embedder.fingerprint)), self._same_weights, packed)

    def packed_weights(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these lexical weights that the embedder has, as the store keeps them."""
        assert self.embedder is not None
        weights = self.embedder.weights
        return {key: pack_weights(weights[key.hex()]) for key in keys if key.hex() in weights}

    def memory(self, shard: Shard) -> Memory | None:
        """The memory of this shard in the store; None where there is none that can be used."""
        name = memory_name(self.model, shard)
        if not memory_files.exists(self.store.folder, name):
            return None
        try:
            path = memory_files.check(self.store.folder, name)
            return memory_files.load(path, lambda path: self.model.load(path, shard))
        except MemoryModelError as error:
            logger.warning("A memory in %s is not used, and formed again: %s", self.store.folder, error)
            memory_files.drop(self.store.folder, name)
            return None

    def keep_memory(self, shard: Shard, memory: Memory) -> None:
        if memory.nbytes:
            memory_files.keep(self.store.folder, memory_name(self.model, shard), memory.save)

    def spaces(self, corpus: Corpus) -> dict[int, Callable[[Sequence[bytes]], Mapping[bytes, bytes]]]:
        """For each space that the corpus has vectors in, a function that gives those of some keys."""
        if self.embedder is None:
            return {}
        spaces: dict[int, Callable[[Sequence[bytes]], Mapping[bytes, bytes]]] = {self.space({}): corpus_vectors(corpus)}
        if (weights_space := self.weights_space([])) is not None:
            spaces[weights_space] = self.packed_weights
        return spaces

    def shards(self, corpus: Corpus) -> list[ShardRow]:
        """The rows of a corpus's shards. Their memories are written first, where they are not there."""
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
            unpacked = {key.hex(): unpack_weights(packed) for key, packed in stored.items()}
            self.embedder.weights.update({key: weights for key, weights in unpacked.items() if weights is not None})

    def _same(self, fingerprint: Mapping[str, Any]) -> bool:
        return self.embedder is not None and fingerprint_of(fingerprint).same_space(self.embedder.fingerprint)

    def _same_weights(self, fingerprint: Mapping[str, Any]) -> bool:
        assert self.embedder is not None
        return fingerprint_of(fingerprint).same_space(of_weights(self.embedder.fingerprint))


def commit(artifacts: StoreArtifacts, corpus: Corpus, settings: Settings, expected: Version | None) -> Version | None:
    """Make `corpus` the state of the store, after the memories and vectors that the store lacks. See `Store.commit`."""
    store, model, embedder = artifacts.store, artifacts.model, artifacts.embedder
    artifacts.shards(corpus)  # before the transaction, to keep that short
    vocabulary = corpus.index.terms.vocabulary
    return store.commit(
        describe(settings, model, embedder),
        checksums_of(corpus),
        lambda id: row_of(corpus.entries[id], vocabulary),
        lambda: artifacts.shards(corpus),  # again: another process may have removed memories meanwhile
        expected=expected,
        vectors=artifacts.spaces(corpus),
    )


def corpus_vectors(corpus: Corpus) -> Callable[[Sequence[bytes]], dict[bytes, bytes]]:
    """A function that gives those of a corpus's vectors that have these keys, as a store keeps them."""

    def vectors_of(keys: Sequence[bytes]) -> dict[bytes, bytes]:
        vectors = corpus.index.vectors_of([key.hex() for key in keys])
        return {bytes.fromhex(key): vector.astype("<f4").tobytes() for key, vector in vectors.items()}

    return vectors_of


def describe(settings: Settings, model: MemoryModel, embedder: CheckedEmbedder | None) -> dict[str, Any]:
    """Settings and fingerprints, as a store keeps them beside the corpus."""
    stored_embedder = None
    if embedder is not None:
        stored_embedder = {"config": embedder.embedder.config, "fingerprint": asdict(embedder.fingerprint)}
    return {
        "settings": asdict(settings),
        "memory": {"config": model.config, "fingerprint": model.fingerprint},
        "embedder": stored_embedder,
        "made": {"by": f"memorag-integrations {_version()}", "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
    }


_checksums: WeakKeyDictionary[IndexedDocument, bytes] = WeakKeyDictionary()
_checksums_lock = threading.Lock()


def checksums_of(corpus: Corpus) -> dict[str, bytes]:
    """The checksum of each document, by which a store tells whether it has it; computed once a document."""
    vocabulary = corpus.index.terms.vocabulary
    checksums = {}
    for id, entry in corpus.entries.items():
        with _checksums_lock:
            checksum = _checksums.get(entry)
        if checksum is None:
            checksum = row_of(entry, vocabulary).checksum
            remember_checksum(entry, checksum)
        checksums[id] = checksum
    return checksums


def remember_checksum(entry: IndexedDocument, checksum: bytes) -> None:
    """Note the checksum that a document was stored with."""
    with _checksums_lock:
        _checksums[entry] = checksum


def row_of(entry: IndexedDocument, vocabulary: Vocabulary) -> DocumentRow:
    """A document as the store keeps it.

    Args:
        entry: The document.
        vocabulary: The one that its terms are numbered by.
    """
    document = entry.document
    terms, blobs = pack_terms(entry.terms, vocabulary.term, vocabulary.analysis)
    return DocumentRow(
        document.id,
        document.text,
        to_json(document.metadata) or "{}",
        to_json(document.host),
        entry.language,
        entry.cut,
        terms,
        [
            _passage_row(passage, document, blob, None if key is None else bytes.fromhex(key))
            for passage, blob, key in zip(entry.passages, blobs, entry.keys or repeat(None), strict=False)
        ],
    )


def _passage_row(passage: Passage, document: Document, terms: bytes, key: bytes | None) -> PassageRow:
    is_slice = passage.start is not None and document.text[passage.start : passage.end] == passage.text
    return PassageRow(
        passage.id,
        passage.start,
        passage.end,
        passage.centre,
        None if is_slice else passage.text,
        None if passage.metadata is document.metadata else to_json(passage.metadata),
        to_json(passage.host),
        terms,
        key,
    )


def read_vectors(store: Store, space: int, keys: Sequence[str], dimension: int) -> dict[str, Floats]:
    """Those of these vectors that the store has, and that are unit vectors of this dimension."""
    vectors = {}
    for key, blob in store.vectors(space, [bytes.fromhex(key) for key in dict.fromkeys(keys)]).items():
        if len(blob) == 4 * dimension:
            vector = np.frombuffer(blob, dtype="<f4")
            if abs(float(np.linalg.norm(vector)) - 1) < 1e-3:
                vectors[key.hex()] = vector
    return vectors


def memory_name(model: MemoryModel, shard: Shard) -> str:
    """The name of a memory's folder: a hash of the model's fingerprint and the shard's texts."""
    return text_hash(model.fingerprint, shard.content_hash)[:40]


def of_weights(fingerprint: EmbedderFingerprint) -> EmbedderFingerprint:
    """The fingerprint of an embedder's lexical weights. Its dimension is 0, so it never equals that of vectors."""
    return replace(fingerprint, name=f"{fingerprint.name} lexical weights", dimension=0)


def fingerprint_of(stored: Mapping[str, Any]) -> EmbedderFingerprint:
    """The fingerprint that a store keeps as JSON."""
    return EmbedderFingerprint(stored["name"], stored["dimension"], tuple(stored["probe"]))


@cache
def _version() -> str:
    try:
        return version("memorag-integrations")
    except PackageNotFoundError:
        return "(not installed)"
