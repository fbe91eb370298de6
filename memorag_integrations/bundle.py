"""A corpus and its settings to a store's rows and back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from . import registry, store
from .contracts import Embedder, EmbedderFingerprint, Memory, MemoryModel
from .corpus import Corpus
from .documents import Document, Passage, Shard, text_hash
from .errors import StoreError
from .fusion import Fusion
from .index.embedders import CheckedEmbedder, build_embedder, resolve_embedder
from .index.index import Index
from .index.terms import TermIndex
from .memories.cache import cached


@dataclass(frozen=True)
class Settings:
    """The settings of an engine that a store keeps."""

    passage_size: int
    language: str
    fusion: Fusion
    shards: int
    clues: int


@dataclass(frozen=True)
class Bundle:
    """What a store holds, as live objects."""

    settings: Settings
    memory_model: MemoryModel
    embedder: CheckedEmbedder | None
    corpus: Corpus


def save(
    folder: Path, corpus: Corpus, settings: Settings, model: MemoryModel, embedder: CheckedEmbedder | None
) -> None:
    """Write it all, memories first, then the rows that name them.

    Raises:
        StoreError: Where the folder is not ours or cannot be written; it is what it was.
    """
    store.check_target(folder)
    names = []
    for shard, memory in zip(corpus.shards, corpus.memories, strict=True):
        name = _memory_name(model, shard) if memory.nbytes else None
        if name is not None:
            store.keep_memory(folder, name, memory.save)
        names.append(name)
    place = {id: number for number, id in enumerate(corpus.documents)}
    index = corpus.index
    keys = [_vector_key(passage.text) if index.vectors is not None else None for passage in index.passages]
    vectors = {} if index.vectors is None else dict(zip(keys, index.vectors.matrix.astype("<f4"), strict=True))
    rows = store.Rows(
        meta={
            "settings": asdict(settings),
            "memory": {"config": model.config, "fingerprint": model.fingerprint},
            "embedder": None
            if embedder is None
            else {"config": embedder.embedder.config, "fingerprint": asdict(embedder.fingerprint)},
            "made": {
                "by": f"memorag-integrations {_version()}",
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        },
        documents=[
            (place[id], id, document.text, _json(document.metadata), index.languages[id], _json(document.host))
            for id, document in corpus.documents.items()
        ],
        passages=[
            _passage_row(number, passage, place, corpus, numbers.astype("<u4").tobytes(), key)
            for number, (passage, numbers, key) in enumerate(zip(index.passages, index.terms.rows, keys, strict=True))
        ],
        terms=list(enumerate(index.terms.vocabulary)),
        vectors=[(key, vector.tobytes()) for key, vector in vectors.items()],
        shards=[
            (number, json.dumps([document.id for document in shard.documents]), shard.content_hash, name)
            for number, (shard, name) in enumerate(zip(corpus.shards, names, strict=True))
        ],
    )
    store.write(folder, rows)


def load(folder: Path, embedder: str | Embedder | None, model: MemoryModel | None) -> Bundle:
    """Read a store; whatever is derived (FAISS, BM25 weights) is made again from its rows.

    Raises:
        StoreError: See `store.read`; also for an embedder or a memory model that only the caller can make again.
        EmbedderError: For another embedder than the store's.
    """
    rows = store.read(folder)
    with _whole(folder):
        settings = Settings(**{**rows.meta["settings"], "fusion": Fusion(**rows.meta["settings"]["fusion"])})
        made_by = None if rows.meta["embedder"] is None else _Maker.of(rows.meta["embedder"])
        memory_config, memory_fingerprint = rows.meta["memory"]["config"], rows.meta["memory"]["fingerprint"]
    checked = _embedder(made_by, resolve_embedder(embedder))
    memory_model = cached(_memory_model(memory_config, memory_fingerprint, model))
    with _whole(folder):
        documents = {
            id: Document(text, id, _mapping(metadata), None if host is None else _mapping(host))
            for _, id, text, metadata, _, host in rows.documents
        }
        index = _index(rows, list(documents.values()), checked)
        shards, memories = _memories(folder, rows, documents, memory_model)
    return Bundle(settings, memory_model, checked, Corpus(documents, shards, memories, index))


@dataclass(frozen=True)
class _Maker:
    """What made a store's vectors, and how to make it again (None: only the caller can)."""

    fingerprint: EmbedderFingerprint
    config: Mapping[str, Any] | None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> _Maker:
        stored = meta["fingerprint"]
        return cls(EmbedderFingerprint(stored["name"], stored["dimension"], tuple(stored["probe"])), meta["config"])


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Rows that do not fit together are damage; only what reads rows belongs inside, never a caller's model."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise StoreError(
            f"The store at {folder} is damaged ({type(error).__name__}: {error}). "
            f"Restore it from a copy, or memorize the documents again into another folder."
        ) from error


def needs_embedder(folder: Path) -> bool:
    """Whether the store's vectors were made by a model that its settings cannot make again."""
    meta = store.read_meta(folder).get("embedder")
    return meta is not None and meta["config"] is None


def _passage_row(
    number: int, passage: Passage, place: Mapping[str, int], corpus: Corpus, terms: bytes, key: bytes | None
) -> tuple[Any, ...]:
    document = corpus.documents[passage.document_id]
    cut = passage.start is not None and document.text[passage.start : passage.end] == passage.text
    return (
        number,
        passage.id,
        place[passage.document_id],
        passage.start,
        passage.end,
        passage.centre,
        None if cut else passage.text,
        None if passage.metadata is document.metadata else _json(passage.metadata),
        _json(passage.host),
        terms,
        key,
    )


def _index(rows: store.Rows, documents: Sequence[Document], embedder: CheckedEmbedder | None) -> Index:
    passages = []
    for _, id, place, start, stop, centre, text, metadata, host, _, _ in rows.passages:
        document = documents[place]
        passages.append(
            Passage(
                id,
                document.id,
                document.text[start:stop] if text is None else text,
                start,
                stop,
                centre,
                document.metadata if metadata is None else _mapping(metadata),
                None if host is None else _mapping(host),
            )
        )
    numbers = [np.frombuffer(row[9], dtype="<u4") for row in rows.passages]
    if max((int(row.max()) for row in numbers if row.size), default=-1) >= len(rows.terms):
        raise ValueError("its passages have terms that its vocabulary lacks")
    terms = TermIndex([row[1] for row in rows.terms], numbers)
    vectors = None
    if embedder is not None:
        dimension = embedder.fingerprint.dimension
        stored = {key: np.frombuffer(vector, dtype="<f4") for key, vector in rows.vectors}
        vectors = np.stack([stored[row[10]] for row in rows.passages])
        if vectors.shape[1] != dimension or not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
            raise ValueError(f"its vectors are not unit vectors of {dimension} dimensions")
        embedder.keep({text_hash(passage.text): vector for passage, vector in zip(passages, vectors, strict=True)})
    languages = {row[1]: row[4] for row in rows.documents}
    return Index(passages, languages, terms, embedder, vectors)


def _embedder(made_by: _Maker | None, given: Embedder | None) -> CheckedEmbedder | None:
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


def _memories(
    folder: Path, rows: store.Rows, documents: Mapping[str, Document], model: MemoryModel
) -> tuple[list[Shard], list[Memory]]:
    shards, memories = [], []
    for _, ids, content, name in rows.shards:
        shard = Shard(tuple(documents[id] for id in json.loads(ids)))
        if shard.content_hash != content:
            raise ValueError(f"the texts of {ids[:200]} are not those that were stored")
        shards.append(shard)
        memories.append(model.form(shard) if name is None else model.load(store.memory_folder(folder, name), shard))
    if {document.id for shard in shards for document in shard.documents} != set(documents):
        raise ValueError("some of its documents have no memory")
    return shards, memories


def _memory_name(model: MemoryModel, shard: Shard) -> str:
    return text_hash(model.fingerprint, shard.content_hash)[:40]


def _vector_key(text: str) -> bytes:
    return bytes.fromhex(text_hash(text))


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))


def _mapping(stored: str) -> dict[str, Any]:
    value = json.loads(stored)
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {stored[:80]}")
    return value


def _version() -> str:
    try:
        return version("memorag-integrations")
    except PackageNotFoundError:
        return "(not installed)"
