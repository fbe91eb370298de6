"""A corpus and its settings to a store's rows and back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
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
    try:
        settings = Settings(**{**rows.meta["settings"], "fusion": Fusion(**rows.meta["settings"]["fusion"])})
        checked = _embedder(rows.meta["embedder"], embedder)
        memory_model = _memory_model(rows.meta["memory"], model)
        documents = {
            id: Document(text, id, json.loads(metadata), None if host is None else json.loads(host))
            for _, id, text, metadata, _, host in rows.documents
        }
        index = _index(rows, list(documents.values()), checked)
        shards, memories = _memories(folder, rows, documents, memory_model)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"The store at {folder} is damaged ({type(error).__name__}: {error}). Restore it from a copy, or memorize again."
        ) from error
    return Bundle(settings, memory_model, checked, Corpus(documents, shards, memories, index))


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
                document.metadata if metadata is None else json.loads(metadata),
                None if host is None else json.loads(host),
            )
        )
    terms = TermIndex([row[1] for row in rows.terms], [np.frombuffer(row[9], dtype="<u4") for row in rows.passages])
    vectors = None
    if embedder is not None:
        dimension = embedder.fingerprint.dimension
        stored = {key: np.frombuffer(vector, dtype="<f4") for key, vector in rows.vectors}
        vectors = np.stack([stored[row[10]] for row in rows.passages])
        if vectors.shape[1] != dimension or not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
            raise StoreError(
                f"Its vectors are not unit vectors of {dimension} dimensions. Memorize the documents again."
            )
        embedder.keep({text_hash(passage.text): vector for passage, vector in zip(passages, vectors, strict=True)})
    languages = {row[1]: row[4] for row in rows.documents}
    return Index(passages, languages, terms, embedder, vectors)


def _embedder(meta: Mapping[str, Any] | None, given: str | Embedder | None) -> CheckedEmbedder | None:
    if meta is None:
        if given is not None:
            raise StoreError(
                "The store was made without an embedder (BM25 alone), but one was passed. "
                "Leave it out, or memorize the documents again with it."
            )
        return None
    stored = meta["fingerprint"]
    expected = EmbedderFingerprint(stored["name"], stored["dimension"], tuple(stored["probe"]))
    resolved = resolve_embedder(given)
    if resolved is not None:
        return CheckedEmbedder(resolved, expected).verify()
    if meta["config"] is None:
        raise StoreError(
            f"The store's vectors were made by {expected}, which only you can make again: "
            f"pass the same embedding model to load."
        )
    return CheckedEmbedder(build_embedder(meta["config"]), expected)


def _memory_model(meta: Mapping[str, Any], given: MemoryModel | None) -> MemoryModel:
    model: MemoryModel
    if given is not None:
        model = given
    elif meta["config"] is None:
        raise StoreError(
            f"The store's memory was made by {meta['fingerprint']}, which only you can make again: "
            f"pass the same memory model to load."
        )
    else:
        model = registry.build(registry.MEMORY_MODELS, meta["config"])
    if model.fingerprint != meta["fingerprint"]:
        raise StoreError(
            f"The store's memory was made by {meta['fingerprint']}, but {model.fingerprint} was given. "
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
            raise StoreError(
                f"The texts of {ids[:200]} are not those that were stored: the store is damaged. Restore it from a copy."
            )
        shards.append(shard)
        memories.append(model.form(shard) if name is None else model.load(store.memory_folder(folder, name), shard))
    return shards, memories


def _memory_name(model: MemoryModel, shard: Shard) -> str:
    return text_hash(model.fingerprint, shard.content_hash)[:40]


def _vector_key(text: str) -> bytes:
    return bytes.fromhex(text_hash(text))


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))


def _version() -> str:
    try:
        return version("memorag-integrations")
    except PackageNotFoundError:
        return "(not installed)"
