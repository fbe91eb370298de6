"""The store on disk: rows in SQLite, a folder for each memory. Knows files, not models.

DIR/memorag.sqlite3            application id "MRAG", user version = FORMAT
  meta(key, value)               settings, fingerprints: JSON
  documents(…)                   id, text, metadata, language, what its host keeps with it
  passages(…)                    place and text (NULL: as it stands in the document), terms, key of the vector
  terms(number, term)            the vocabulary
  vectors(key, vector)           float32, little-endian, by hash of the passage's text
  shards(…)                      documents of each memory, hash of their texts, the memory's folder if it has one
DIR/memories/NAME/             what the memory itself saved: safetensors and JSON
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from .errors import StoreError

FORMAT = 1
APPLICATION_ID = int.from_bytes(b"MRAG", "big")
DATABASE = "memorag.sqlite3"
MEMORIES = "memories"

_SMALLEST = 512
"""Bytes of SQLite's smallest page: a shorter file holds no database, though SQLite opens it as an empty one."""

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents(
    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, metadata TEXT NOT NULL, language TEXT NOT NULL,
    host TEXT);
CREATE TABLE passages(
    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document INTEGER NOT NULL REFERENCES documents(place),
    start INTEGER, stop INTEGER, centre REAL NOT NULL, text TEXT, metadata TEXT, host TEXT,
    terms BLOB NOT NULL, vector BLOB REFERENCES vectors(key));
CREATE TABLE terms(number INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
CREATE TABLE vectors(key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE shards(place INTEGER PRIMARY KEY, documents TEXT NOT NULL, content TEXT NOT NULL, folder TEXT);
"""
_COLUMNS = {"documents": 6, "passages": 11, "terms": 2, "vectors": 2, "shards": 4}


@dataclass(frozen=True)
class Rows:
    """A store's content: `meta` as Python values, and the rows of each table in the order of its columns."""

    meta: Mapping[str, Any]
    documents: Sequence[tuple[Any, ...]]
    passages: Sequence[tuple[Any, ...]]
    terms: Sequence[tuple[Any, ...]]
    vectors: Sequence[tuple[Any, ...]]
    shards: Sequence[tuple[Any, ...]]


def exists(folder: Path) -> bool:
    """Whether there is a store's database in this folder."""
    return (folder / DATABASE).is_file()


def check_target(folder: Path) -> Path:
    """`folder`, if a store may be written there: not there yet, empty, or a store of ours.

    Raises:
        StoreError: Otherwise; nothing was touched.
    """
    if folder.is_dir():
        if any(folder.iterdir()) and not (folder / DATABASE).is_file():
            raise StoreError(
                f"Expected an empty folder or a store at {folder}, found other files. Pass another folder; these were left."
            )
        if (folder / DATABASE).is_file():
            with _reading(folder):
                pass
        if not os.access(folder, os.W_OK):
            raise StoreError(f"The folder {folder} cannot be written to. Change its permissions, or pass another one.")
    elif folder.exists():
        raise StoreError(f"Expected a folder at {folder}, found a file. Pass another path; the file was left.")
    return folder


def write(folder: Path, rows: Rows) -> None:
    """Put `rows` in the place of what the store held: the file is written beside the old one, then takes its name.

    Memory folders that `rows.shards` does not name are removed afterwards.

    Raises:
        StoreError: Where the disk refuses; the store is what it was.
    """
    fresh = folder / f".{DATABASE}.{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(fresh, isolation_level=None)) as database:
            database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")
            database.execute(f"PRAGMA application_id={APPLICATION_ID}")
            database.execute(f"PRAGMA user_version={FORMAT}")
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in rows.meta.items()]
            )
            for table, columns in _COLUMNS.items():
                marks = ", ".join("?" * columns)
                database.executemany(f"INSERT INTO {table} VALUES ({marks})", getattr(rows, table))
            database.execute("COMMIT")
        _sync(fresh)
        os.replace(fresh, folder / DATABASE)
        _sync(folder)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"The store at {folder} could not be written ({error}); what it held before is untouched."
        ) from error
    finally:
        with suppress(OSError):
            fresh.unlink()
    named = {row[3] for row in rows.shards if row[3]}
    for orphan in (folder / MEMORIES).glob("*"):
        if orphan.name not in named:
            shutil.rmtree(orphan, ignore_errors=True)


def read(folder: Path) -> Rows:
    """Everything the store holds but its memories.

    Raises:
        StoreError: Where there is no store, it is damaged, or its format is newer than `FORMAT`.
    """
    with _reading(folder) as database:
        meta = _meta(database)
        tables = {table: database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in _COLUMNS}
    return Rows(meta, **tables)


def read_meta(folder: Path) -> dict[str, Any]:
    """The settings and fingerprints alone. Raises as `read` does."""
    with _reading(folder) as database:
        return _meta(database)


def _meta(database: sqlite3.Connection) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM meta")}


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / DATABASE
    try:
        found = sorted(entry.name for entry in folder.iterdir())[:5] if folder.is_dir() else []
        readable = not path.is_file() or os.access(path, os.R_OK)
    except PermissionError:
        readable = False
    if not readable:
        raise StoreError(
            f"The store at {folder} cannot be read. Check the permissions of the folder and what is in it."
        )
    if not folder.is_dir():
        raise StoreError(f"Expected a store folder at {folder}, found {'a file' if folder.exists() else 'nothing'}.")
    if not path.is_file():
        raise StoreError(
            f"Expected a store at {folder}, with {DATABASE} in it; found {', '.join(found) or 'an empty folder'}. "
            f"Make one with memorize(documents, save_dir=…) or `memorag memorize PATH --store {folder}`."
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            owner = database.execute("PRAGMA application_id").fetchone()[0]
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if path.stat().st_size < _SMALLEST:
                raise sqlite3.DatabaseError("the file is empty or cut short")
            if owner != APPLICATION_ID:
                raise StoreError(
                    f"{path} is an SQLite file, but not a store of memorag-integrations. It was left as it is."
                )
            if version > FORMAT:
                raise StoreError(
                    f"The store at {folder} has format {version}; this version reads up to {FORMAT}. "
                    f"Upgrade memorag-integrations to open it."
                )
            yield database
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"The store at {folder} is damaged ({error}). Restore it from a copy, or memorize the documents again "
            f"into another folder."
        ) from error


def memory_folder(folder: Path, name: str) -> Path:
    return folder / MEMORIES / name


def keep_memory(folder: Path, name: str, save: Any) -> None:
    """Have a memory save itself under its content's name, whole or not at all; one that is there already is left."""
    target = memory_folder(folder, name)
    if target.is_dir():
        return
    fresh = target.with_name(f".{name}.{uuid4().hex}")
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        save(fresh)
        os.replace(fresh, target)
    except OSError as error:
        raise StoreError(f"A memory could not be written to {folder} ({error}); the store is what it was.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
