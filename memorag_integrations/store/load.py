"""A store's rows to a corpus and its settings."""

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
from ..documents import Document, Passage, Shard
from ..encoders.checked import CheckedEmbedder
from ..encoders.embedders import build_embedder, resolve_embedder
from ..encoders.fingerprint import EmbedderFingerprint
from ..errors import MemoryModelError, StoreError
from ..index.bm25 import Vocabulary
from ..index.documents import IndexedDocument
from ..memories.recall_cache import CachedMemoryModel, cached
from ..progress import silent
from ..retrieval.fusion import Fusion
from ..scores import Floats
from ..text import terms as analysis
from . import memory_files
from .records import DocumentRow, PassageRow, ShardRow, State, from_json, unpack_terms
from .save import Settings, StoreArtifacts, checksums_of, fingerprint_of, remember_checksum
from .sqlite import damaged
from .store import Store

logger = logging.getLogger(__name__)

_RETRIES = 5
"""Times that a state is read anew when another process's clearing up overtook the reading of its memories."""


@dataclass(frozen=True)
class Maker:
    """What made a store's vectors, and how to make it again (None: only the caller can)."""

    fingerprint: EmbedderFingerprint
    config: Mapping[str, Any] | None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Maker:
        return cls(fingerprint_of(meta["fingerprint"]), meta["config"])


@dataclass(frozen=True)
class Opened:
    """A store with the models it names."""

    settings: Settings
    artifacts: StoreArtifacts


@dataclass(frozen=True)
class Bundle:
    """What a store holds, as live objects."""

    settings: Settings
    memory_model: CachedMemoryModel
    embedder: CheckedEmbedder | None
    corpus: Corpus
    generation: int


def load(
    folder: Path, embedder: str | Embedder | None, model: str | MemoryModel | None, *, unfinished: bool = False
) -> Bundle:
    """Read a store; whatever is derived (FAISS, BM25's lists) is made again from its rows.

    Args:
        unfinished: Whether a store that nothing was written to yet is an empty corpus, or an error.

    Raises:
        StoreError: See `Store.read`; also for an embedder or a memory model that only the caller can make again.
        EmbedderError: For another embedder than the store's.
        MemoryModelError: Where a memory is not as it was written.
    """
    store = Store(folder)
    state = store.read()
    if state.checksummed and not state.generation and not unfinished:
        raise StoreError(
            f"The store at {folder} holds no corpus yet: what memorized into it was broken off. The same call again goes on "
            f"from what it had finished."
        )
    found = open_models(store, state, embedder, model)
    corpus, generation = restored(found.artifacts, state, Corpus.empty(found.artifacts.embedder is not None))
    return Bundle(found.settings, cached(found.artifacts.model), found.artifacts.embedder, corpus, generation)


def open_models(
    store: Store, state: State, embedder: str | Embedder | None, memory: str | MemoryModel | None
) -> Opened:
    """The settings and the models that a stored state names. Raises as `load`."""
    with intact(store.folder):
        stored = state.meta["settings"]
        settings = Settings(**{**stored, "fusion": Fusion(**stored["fusion"])})
        made_by = None if state.meta["embedder"] is None else Maker.of(state.meta["embedder"])
        config, fingerprint = state.meta["memory"]["config"], state.meta["memory"]["fingerprint"]
    checked = _embedder(made_by, resolve_embedder(embedder))
    given = registry.memory_by_name(memory) if isinstance(memory, str) else memory
    artifacts = StoreArtifacts(store, cached(_memory_model(config, fingerprint, given)), checked)
    if checked is not None:
        checked.late = artifacts.keep_late
    return Opened(settings, artifacts)


def restored(artifacts: StoreArtifacts, state: State, before: Corpus) -> tuple[Corpus, int]:
    """The corpus of a stored state and its generation; of a later one where others' work took the files away meanwhile."""
    for _ in range(_RETRIES):
        try:
            return restore(artifacts, state, before), state.generation
        except MemoryModelError:
            if artifacts.store.generation() == state.generation:
                raise
            state = artifacts.store.read(checksums_of(before))
    return restore(artifacts, state, before), state.generation


def restore(artifacts: StoreArtifacts, state: State, before: Corpus, *, strict: bool = True) -> Corpus:
    """The corpus of a stored state. What its rows leave out is as in `before`.

    Args:
        strict: Whether a memory that cannot be used is an error; it is left out otherwise, with its shard.

    Raises:
        StoreError: Where rows do not fit together.
        MemoryModelError: Where a memory is not as it was written.
    """
    folder, vocabulary, dense = artifacts.store.folder, before.index.terms.vocabulary, artifacts.embedder is not None
    with intact(folder):
        entries = {
            id: _entry(state.rows[id], vocabulary, id in state.broken_terms) if id in state.rows else before.entries[id]
            for id in state.order
        }
        if dense and any(len(entry.keys) != len(entry.passages) for entry in entries.values()):
            raise ValueError("some of its passages name no vector")
    if state.broken_terms:
        logger.warning(
            "The terms of %d documents in %s were broken, and are made again.", len(state.broken_terms), folder
        )
    fresh = [entry for id, entry in entries.items() if before.entries.get(id) is not entry]
    vectors = _vectors_of(artifacts, fresh, before) if dense else {}
    with intact(folder):
        index = before.index.derive(list(entries.values()), vectors)
        shards = _shards(state.shards, {id: entry.document for id, entry in entries.items()}, before.shards, strict)
    memories = [_memory(artifacts, state, row, shard, before, strict) for row, shard in shards]
    formed = [(shard, memory) for (_, shard), memory in zip(shards, memories, strict=True) if memory is not None]
    return Corpus(entries, [shard for shard, _ in formed], [memory for _, memory in formed], index)


def _vectors_of(artifacts: StoreArtifacts, fresh: Sequence[IndexedDocument], before: Corpus) -> dict[str, Floats]:
    """Vectors of all passages of these entries; those that the store has lost are encoded again."""
    assert artifacts.embedder is not None
    texts = {key: p.text for entry in fresh for key, p in zip(entry.keys, entry.passages, strict=True)}
    found = dict(before.index.vectors_of(list(texts)))
    found |= artifacts.vectors([key for key in texts if key not in found])
    if missing := {key: text for key, text in texts.items() if key not in found}:
        logger.warning(
            "%d of %d vectors in %s were lost or broken, and are encoded again.",
            len(missing), len(texts), artifacts.store.folder,
        )  # fmt: skip
        found |= artifacts.embedder.embed_passages(missing, silent)
        artifacts.embedder.forget()
    return found


def _entry(row: DocumentRow, vocabulary: Vocabulary, broken_terms: bool) -> IndexedDocument:
    host = None if row.host is None else from_json(row.host)
    document = Document(row.text, row.id, from_json(row.metadata), host)
    passages = tuple(_passage(passage, document) for passage in row.passages)
    if broken_terms:
        terms = [vocabulary.number(analysis.terms(passage.text, row.language)) for passage in passages]
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
    rows: Sequence[ShardRow], documents: Mapping[str, Document], before: Sequence[Shard], strict: bool
) -> list[tuple[ShardRow, Shard]]:
    known = {(shard.content_hash, tuple(d.id for d in shard.documents)): shard for shard in before}
    shards = []
    for row in rows:
        ids = tuple(json.loads(row.documents))
        if not strict and not documents.keys() >= set(ids):
            continue
        shard = Shard(tuple(documents[id] for id in ids))
        kept = known.get((row.content, ids))
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
    artifacts: StoreArtifacts, state: State, row: ShardRow, shard: Shard, before: Corpus, strict: bool
) -> Memory | None:
    known = before.memory_of(shard)
    if known is not None:
        return known
    try:
        if row.folder is None:
            return artifacts.model.form(shard)
        locate = memory_files.check if state.checksummed else memory_files.folder_of
        return artifacts.model.load(locate(artifacts.store.folder, row.folder), shard)
    except MemoryModelError:
        if strict:
            raise
        return None


@contextmanager
def intact(folder: Path) -> Iterator[None]:
    """Rows that do not fit together are damage; only what reads rows belongs inside, never a caller's model."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise damaged(folder, f"{type(error).__name__}: {error}") from error


def needs_embedder(folder: Path) -> bool:
    """Whether the store's vectors were made by a model that its settings cannot make again."""
    meta = Store(folder).meta().get("embedder")
    with intact(folder):
        return meta is not None and meta["config"] is None


def _embedder(made_by: Maker | None, given: Embedder | None) -> CheckedEmbedder | None:
    if made_by is None:
        if given is not None:
            raise StoreError(
                "The store was made without an embedder (BM25 alone), but one was passed. "
                "Leave it out, or memorize the documents again with it."
            )
        return None
    if given is not None:
        return CheckedEmbedder(given, made_by.fingerprint).verify()
    if made_by.config is None:
        raise StoreError(
            f"The store's vectors were made by {made_by.fingerprint}, which only you can make again: "
            f"pass the same embedding model to load."
        )
    return CheckedEmbedder(build_embedder(made_by.config), made_by.fingerprint)


def _memory_model(config: Mapping[str, Any] | None, fingerprint: str, given: MemoryModel | None) -> MemoryModel:
    model: MemoryModel
    if given is not None:
        model = given
    elif config is None:
        raise StoreError(
            f"The store's memory was made by {fingerprint}, which only you can make again: "
            f"pass the same memory model to load."
        )
    else:
        model = registry.build(registry.MEMORY_MODELS, config)
    if model.fingerprint != fingerprint:
        raise StoreError(
            f"The store's memory was made by {fingerprint}, but {model.fingerprint} was given. "
            f"Pass the same memory model, or memorize again."
        )
    return model
