"""Format 1 of stores, of the first releases: it is read, and carried over to format 2, but never written.

meta(key, value)               settings, fingerprints: JSON
documents(place, id, text, metadata, language, host)
passages(place, id, document, start, stop, centre, text, metadata, host, terms, vector)
                               terms: uint32, numbers in `terms`; vector: a key in `vectors`
terms(number, term)            the vocabulary of all
vectors(key, vector)           float32, little-endian, by SHA-256 of the passage's text
shards(place, documents, content, folder)
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from typing import Any

import numpy as np

from ..documents import GIVEN
from .records import DocumentRow, PassageRow, ShardRow, State, Version, pack_terms

SCHEMA = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE documents(\n    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, metadata TEXT NOT "
    "NULL, language TEXT NOT NULL,\n    host TEXT)",
    "CREATE TABLE passages(\n    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document INTEGER NOT NULL REFERENCES "
    "documents(place),\n    start INTEGER, stop INTEGER, centre REAL NOT NULL, text TEXT, metadata TEXT, host TEXT,\n"
    "    terms BLOB NOT NULL, vector BLOB REFERENCES vectors(key))",
    "CREATE TABLE terms(number INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE)",
    "CREATE TABLE vectors(key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE shards(place INTEGER PRIMARY KEY, documents TEXT NOT NULL, content TEXT NOT NULL, folder TEXT)",
)
"""Its tables as SQLite keeps them; whatever has others, or views and triggers, is no such store."""

_TABLES = ("documents", "passages", "terms", "vectors", "shards")


def read(database: sqlite3.Connection) -> tuple[State, dict[bytes, bytes]]:
    """The state of such a store, as rows of the format in use, and its vectors by key.

    Raises:
        ValueError, KeyError, TypeError, IndexError: Where its rows do not fit together.
    """
    meta: dict[str, Any] = {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM meta")}
    tables = {table: database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in _TABLES}
    size = meta["settings"]["passage_size"]
    terms = [term for _, term in tables["terms"]]
    of_document = defaultdict(list)
    for row in tables["passages"]:
        of_document[row[2]].append(row)
    rows = {}
    for place, id, text, metadata, language, host in tables["documents"]:
        passages = of_document.pop(place, [])
        vocabulary, blobs = pack_terms([np.frombuffer(row[9], dtype="<u4") for row in passages], terms.__getitem__)
        cut_by_us = all(row[6] is None and row[7] is None and row[8] is None for row in passages)
        rows[id] = DocumentRow(
            id=id,
            text=text,
            metadata=metadata,
            host=host,
            language=language,
            cut=f"{size} characters" if cut_by_us else GIVEN,
            vocabulary=vocabulary,
            passages=[
                PassageRow(pid, start, stop, centre, text_, meta_, host_, blob, vector)
                for (_, pid, _, start, stop, centre, text_, meta_, host_, _, vector), blob in zip(
                    passages, blobs, strict=True
                )
            ],
        )
    if of_document:
        raise ValueError("some of its passages are of no document")
    shards = [ShardRow(documents, content, folder) for _, documents, content, folder in tables["shards"]]
    return State(Version(None, 0, ""), meta, list(rows), rows, shards, checksummed=False), dict(tables["vectors"])
