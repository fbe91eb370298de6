"""Load: a store's rows become a corpus and its settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import registry
from ..contracts import Embedder, Memory, MemoryModel
from ..corpus.state import Corpus
from ..documents import Document, Passage, Shard, embedding_text
from ..encoders.checked import CheckedEmbedder
from ..encoders.embedders import resolve_embedder
from ..encoders.fingerprint import EmbedderFingerprint
from ..errors import MemoryModelError, StoreError
from ..index.bm25 import Vocabulary
from ..index.documents import IndexedDocument
from ..memories.recall_cache import CachedMemoryModel, cached
from ..progress import silent
from ..retrieval.fusion import Fusion
from ..scores import Floats
from ..text.tokenizer import Tokenizer
from . import memory_files
from .records import DocumentRow, PassageRow, ShardRow, State, Version, analysis_of, from_json, unpack_terms
from .save import Settings, StoreArtifacts, checksums_of, fingerprint_of, remember_checksum
from .sqlite import damaged
from .store import Store
from .stored_models import build_stored

logger = logging.getLogger(__name__)

_RETRIES = 5
"""How often a state is read again because another process removed its memories while they were read."""


@dataclass(frozen=True)
class StoredEmbedder:
    """The embedder that made a store's vectors.

    Args:
        fingerprint: Which vector space it writes into.
        config: How to build it again; None where only the caller can.
    """

    fingerprint: EmbedderFingerprint
    config: Mapping[str, Any] | None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> StoredEmbedder:
        return cls(fingerprint_of(meta["fingerprint"]), meta["config"])


@dataclass(frozen=True)
class StoreModels:
    """The settings of a store, and the store with the models that it names."""

    settings: Settings
    artifacts: StoreArtifacts
    tokenizer: Tokenizer | None = None


@dataclass(frozen=True)
class LoadedCorpus:
    """A corpus as it was loaded from a store, with its settings and models, and which state of the store that is."""

    settings: Settings
    memory_model: CachedMemoryModel
    embedder: CheckedEmbedder | None
    corpus: Corpus
    version: Version


def load_corpus(
    folder: Path,
    embedder: str | Embedder | None,
    model: str | MemoryModel | None,
    tokenizer: Tokenizer | None = None,
    *,
    unfinished: bool = False,
) -> LoadedCorpus:
    """Read a store. What is derived (the vector index, BM25's lists) is built again from its rows.

    Args:
        folder: The store.
        embedder, model, tokenizer: What made the store, where only the caller can make it again.
        unfinished: Whether a store without a finished state is an empty corpus; it is an error otherwise.

    Raises:
        StoreError: See `Store.read`; also for an embedder or a memory model that only the caller can make again.
        EmbedderError: For another embedder than the store's.
        MemoryModelError: Where a memory is not as it was written.
    """
    state = Store(folder).read()
    store = Store(folder, identity=state.version.identity)
    if state.checksummed and not state.version.generation and not unfinished:
        raise StoreError(
            f"The store at {folder} holds no corpus yet: what memorized into it was broken off. The same call again goes on "
            f"from what it had finished."
        )
    models = open_models(store, state, embedder, model, tokenizer)
    artifacts = models.artifacts
    corpus, version = restore_latest(artifacts, state, Corpus.empty(artifacts.embedder is not None, tokenizer))
    return LoadedCorpus(models.settings, cached(artifacts.model), artifacts.embedder, corpus, version)


def open_models(
    store: Store,
    state: State,
    embedder: str | Embedder | None,
    memory: str | MemoryModel | None,
    tokenizer: Tokenizer | None,
) -> StoreModels:
    """The settings and the models that a stored state names. Raises as `load_corpus`."""
    with intact(store.folder):
        stored = state.meta["settings"]
        settings = Settings(**{**stored, "fusion": Fusion(**stored["fusion"])}).checked()
        stored_embedder = None if state.meta["embedder"] is None else StoredEmbedder.of(state.meta["embedder"])
        config, fingerprint = state.meta["memory"]["config"], state.meta["memory"]["fingerprint"]
    _check_tokenizer(store.folder, settings.tokenizer, tokenizer)
    checked = _embedder(store.folder, stored_embedder, resolve_embedder(embedder))
    passed = registry.memory_by_name(memory) if isinstance(memory, str) else memory
    artifacts = StoreArtifacts(store, cached(_memory_model(store.folder, config, fingerprint, passed)), checked)
    if checked is not None:
        checked.late = artifacts.keep_late
    return StoreModels(settings, artifacts, tokenizer)


class Overtaken(MemoryModelError):
    """Another process changed the store, and removed what the state that is being read still needs."""


def restore_latest(artifacts: StoreArtifacts, state: State, current: Corpus) -> tuple[Corpus, Version]:
    """The corpus of a stored state, and which state it is.

    Another process may change the store meanwhile and remove vectors and memories of this state. Then a later state is
    restored.

    Args:
        artifacts: The store.
        state: Its state, as it was read.
        current: The corpus that there is; the rows of its documents may be missing from `state`.
    """
    for _ in range(_RETRIES):
        try:
            return restore(artifacts, state, current), state.version
        except MemoryModelError:
            if artifacts.store.version() == state.version:
                raise
            state = artifacts.store.read(checksums_of(current))
    return restore(artifacts, state, current), state.version


def restore(artifacts: StoreArtifacts, state: State, current: Corpus, *, strict: bool = True) -> Corpus:
    """The corpus of a stored state.

    Args:
        artifacts: The store and its models.
        state: Its state. A document without a row is taken from `current`.
        current: The corpus that there is, or an empty one.
        strict: Whether a memory that cannot be used is an error; otherwise it is left out, with its shard.

    Raises:
        StoreError: Where rows do not fit together.
        MemoryModelError: Where a memory is not as it was written.
    """
    folder, vocabulary, dense = artifacts.store.folder, current.index.terms.vocabulary, artifacts.embedder is not None
    older = {id for id, row in state.rows.items() if analysis_of(row) != vocabulary.analysis} - state.broken_terms
    stale = older | state.broken_terms
    with intact(folder):
        entries = {
            id: _entry(state.rows[id], vocabulary, id in stale) if id in state.rows else current.entries[id]
            for id in state.order
        }
        if dense and any(len(entry.keys) != len(entry.passages) for entry in entries.values()):
            raise ValueError("some of its passages name no vector")
    if state.broken_terms:
        logger.warning(
            "The terms of %d documents in %s were broken, and are made again.", len(state.broken_terms), folder
        )
    if older:
        logger.warning(
            "The terms of %d documents in %s were made by another version, and are made again whenever it is loaded. "
            "`memorag repair` writes them (or `repair(folder)` in Python).", len(older), folder,
        )  # fmt: skip
    changed = [entry for id, entry in entries.items() if current.entries.get(id) is not entry]
    vectors = _vectors_of(artifacts, changed, current, state.version if strict else None) if dense else {}
    with intact(folder):
        index = current.index.derive(list(entries.values()), vectors)
        shards = _shards(state.shards, {id: entry.document for id, entry in entries.items()}, current.shards, strict)
    memories = [_memory(artifacts, state, row, shard, current, strict) for row, shard in shards]
    formed = [(shard, memory) for (_, shard), memory in zip(shards, memories, strict=True) if memory is not None]
    return Corpus(index.by_id, [shard for shard, _ in formed], [memory for _, memory in formed], index)


def _vectors_of(
    artifacts: StoreArtifacts, entries: Sequence[IndexedDocument], current: Corpus, version: Version | None
) -> dict[str, Floats]:
    """Vectors of all passages of these documents; those that the store has lost are encoded again.

    Raises:
        Overtaken: Where some are missing because the store has gone on from this version.
    """
    assert artifacts.embedder is not None
    texts = {key: embedding_text(p) for entry in entries for key, p in zip(entry.keys, entry.passages, strict=True)}
    vectors = dict(current.index.vectors_of(list(texts)))
    vectors |= artifacts.vectors([key for key in texts if key not in vectors])
    if missing := {key: text for key, text in texts.items() if key not in vectors}:
        if version is not None and artifacts.store.version() != version:
            raise Overtaken("Another process changed the store while it was read. Read it again.")
        logger.warning(
            "%d of %d vectors in %s were lost or broken, and are encoded again.",
            len(missing), len(texts), artifacts.store.folder,
        )  # fmt: skip
        vectors |= artifacts.embedder.embed_passages(missing, silent)
        artifacts.embedder.forget()
    return vectors


def _entry(row: DocumentRow, vocabulary: Vocabulary, analyse: bool) -> IndexedDocument:
    host = None if row.host is None else from_json(row.host)
    document = Document(row.text, row.id, from_json(row.metadata), host)
    passages = tuple(_passage(passage, document) for passage in row.passages)
    if analyse:
        terms = [vocabulary.analyse(passage.text, row.language) for passage in passages]
    else:
        terms = unpack_terms(row, vocabulary.number)
    keys = tuple(passage.vector.hex() for passage in row.passages if passage.vector is not None)
    entry = IndexedDocument(document, row.cut, row.language, passages, tuple(terms), keys)
    remember_checksum(entry, row.checksum)
    return entry


def _passage(row: PassageRow, document: Document) -> Passage:
    return Passage(
        row.id,
        document.id,
        document.text[row.start : row.stop] if row.text is None else row.text,
        row.start,
        row.stop,
        row.centre,
        document.metadata if row.metadata is None else from_json(row.metadata),
        None if row.host is None else from_json(row.host),
    )


def _shards(
    rows: Sequence[ShardRow], documents: Mapping[str, Document], current: Sequence[Shard], strict: bool
) -> list[tuple[ShardRow, Shard]]:
    """The shards of these rows; a shard of `current` with the same documents stays the same object."""
    by_content = {(shard.content_hash, tuple(d.id for d in shard.documents)): shard for shard in current}
    shards = []
    for row in rows:
        ids = tuple(json.loads(row.documents))
        if not strict and not documents.keys() >= set(ids):
            continue
        shard = Shard(tuple(documents[id] for id in ids))
        kept = by_content.get((row.content, ids))
        if kept is not None and all(one is other for one, other in zip(kept.documents, shard.documents, strict=True)):
            shard = kept
        if shard.content_hash == row.content:
            shards.append((row, shard))
        elif strict:
            raise ValueError(f"the texts of {row.documents[:200]} are not those that were stored")
    if strict and {document.id for _, shard in shards for document in shard.documents} != set(documents):
        raise ValueError("some of its documents have no memory")
    return shards


def _memory(
    artifacts: StoreArtifacts, state: State, row: ShardRow, shard: Shard, current: Corpus, strict: bool
) -> Memory | None:
    memory = current.memory_of(shard)
    if memory is not None:
        return memory
    try:
        if row.folder is None:
            return artifacts.model.form(shard)
        locate = memory_files.check if state.checksummed else memory_files.locate
        path = locate(artifacts.store.folder, row.folder)
        return memory_files.load(path, lambda path: artifacts.model.load(path, shard))
    except MemoryModelError:
        if strict:
            raise
        return None


@contextmanager
def intact(folder: Path) -> Iterator[None]:
    """Errors of rows that do not fit together become the error of a damaged store.

    Only what reads rows belongs inside: an error of a caller's model is no damage.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise damaged(folder, f"{type(error).__name__}: {error}") from error


def _check_tokenizer(folder: Path, stored: str | None, given: Tokenizer | None) -> None:
    """Raises StoreError where the terms of a store were made by another tokenizer than the one given."""
    name = None if given is None else given.name
    if name != stored:
        made = "this library's own analysis" if stored is None else f"the tokenizer {stored!r}"
        passed = "none was passed" if name is None else f"{name!r} was passed"
        advice = "Leave tokenizer out" if stored is None else "Pass the same tokenizer"
        raise StoreError(
            f"The terms of the store at {folder} were made by {made}, but {passed}. {advice}, or memorize again into "
            f"another folder."
        )


def needs_embedder(folder: Path) -> bool:
    """Whether the store's vectors were made by an embedder that only the caller can make again."""
    meta = Store(folder).meta().get("embedder")
    with intact(folder):
        return meta is not None and meta["config"] is None


def _embedder(folder: Path, stored: StoredEmbedder | None, passed: Embedder | None) -> CheckedEmbedder | None:
    if stored is None:
        if passed is not None:
            raise StoreError(
                "The store was made without an embedder (BM25 alone), but one was passed. "
                "Leave it out, or memorize the documents again with it."
            )
        return None
    if passed is not None:
        return CheckedEmbedder(passed, stored.fingerprint).verify()
    if stored.config is None:
        raise StoreError(
            f"The store's vectors were made by {stored.fingerprint}, which only you can make again: "
            f"pass the same embedding model to load."
        )
    return CheckedEmbedder(build_stored(registry.EMBEDDERS, stored.config, folder), stored.fingerprint)


def _memory_model(
    folder: Path, config: Mapping[str, Any] | None, fingerprint: str, passed: MemoryModel | None
) -> MemoryModel:
    model: MemoryModel
    if passed is not None:
        model = passed
    elif config is None:
        raise StoreError(
            f"The store's memory was made by {fingerprint}, which only you can make again: "
            f"pass the same memory model to load."
        )
    else:
        model = build_stored(registry.MEMORY_MODELS, config, folder)
    if model.fingerprint != fingerprint:
        raise StoreError(
            f"The store's memory was made by {fingerprint}, but {model.fingerprint} was given. "
            f"Pass the same memory model, or memorize again."
        )
    return model
