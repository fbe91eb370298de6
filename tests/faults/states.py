"""A store held against lists: the state of a corpus as hashes, and what of an open store does not fit together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.synthetic import Words
from memorag_integrations import Document, MemoRAG
from memorag_integrations.store.maintenance import verify

State = dict[str, str]
"""Ids of documents, in their order, and the hashes of what they hold."""


def hash_of(document: Document) -> str:
    return hashlib.sha256(json.dumps([document.text, dict(document.metadata)]).encode()).hexdigest()[:16]


def state_of(documents: Mapping[str, Document]) -> State:
    return {id: hash_of(document) for id, document in documents.items()}


def same(one: State, other: State) -> bool:
    """Whether the documents are the same and stand in the same order."""
    return list(one.items()) == list(other.items())


def unsound(memo: MemoRAG, folder: Path) -> list[str]:
    """What of an open store does not fit together, a sentence each: rows, vectors, memories, passages."""
    problems = verify(folder)
    corpus = memo.corpus
    covered = [document.id for shard in corpus.shards for document in shard.documents]
    if sorted(covered) != sorted(corpus.documents):
        problems.append("The memories are not over the documents.")
    for entry in corpus.entries.values():
        if any(p.text != entry.document.text[p.start : p.end] for p in entry.passages if p.start is not None):
            problems.append(f"Passages of {entry.document.id!r} are of another text.")
    if memo.embedder is not None:
        texts = {key: p.text for e in corpus.entries.values() for key, p in zip(e.keys, e.passages, strict=True)}
        vectors, expected = corpus.index.vectors_of(list(texts)), Words().embed_queries(list(texts.values()))
        if any(not np.allclose(vectors[key], row) for key, row in zip(texts, expected, strict=True)):
            problems.append("Some vectors are of other texts.")
    return problems
