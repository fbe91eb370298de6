"""The store's SQLite file: opening, checking, locking. Every error of SQLite becomes a `StoreError`.

memorag.sqlite3                application id "MRAG", user version = FORMAT
  meta(key, value)             settings, fingerprints, and "state": identity, generation, digest of all that follows: JSON
  documents(…)                 number, place in the order, id, text, metadata, host, language, what cut it, its terms, checksums
  passages(…)                  by document and place: id, range, text unless it is a slice, metadata, host, terms, vector
  vectors(space, key, …)       float32, little-endian, by space and SHA-256 of the passage's text, with a checksum each
  spaces(number, fingerprint)  embedders of the vectors; a fingerprint of 0 dimensions stands for lexical weights: numbers
                               of tokens, uint32, then the weight of each, float32
  shards(…)                    documents of each memory, hash of their texts, the memory's folder if it has one

The columns `seal` and `terms_seal` hold checksums.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ..errors import MemoRAGError, StoreError
from . import format1, original_memorag
from .paths import DATABASE, FRESH, JOURNAL, MEMORIES, check_layout, status

FORMAT = 2
APPLICATION_ID = int.from_bytes(b"MRAG", "big")

READ_WAIT = 60.0
"""Seconds that a reader waits for a writer's commit, and a commit for the readers; then it is an error."""

_SMALLEST = 512
"""Bytes of SQLite's smallest page. SQLite opens a shorter file as an empty database, but it is a damaged one."""

SCHEMA = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE documents(number INTEGER PRIMARY KEY, place INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, "
    "text TEXT NOT NULL, metadata TEXT NOT NULL, host TEXT, language TEXT NOT NULL, cut TEXT NOT NULL, "
    "vocabulary TEXT NOT NULL, seal BLOB NOT NULL, terms_seal BLOB NOT NULL)",
    "CREATE TABLE passages(document INTEGER NOT NULL REFERENCES documents(number), place INTEGER NOT NULL, "
    "id TEXT NOT NULL UNIQUE, start INTEGER, stop INTEGER, centre REAL NOT NULL, text TEXT, metadata TEXT, host TEXT, "
    "terms BLOB NOT NULL, vector BLOB)",
    "CREATE INDEX passages_of ON passages(document, place)",
    "CREATE TABLE vectors(space INTEGER NOT NULL, key BLOB NOT NULL, vector BLOB NOT NULL, seal BLOB NOT NULL)",
    "CREATE UNIQUE INDEX vectors_of ON vectors(space, key)",
    "CREATE TABLE spaces(number INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL)",
    "CREATE TABLE shards(number INTEGER PRIMARY KEY, place INTEGER NOT NULL, documents TEXT NOT NULL, "
    "content TEXT NOT NULL, folder TEXT)",
)


_connections: set[object] = set()
"""A token for each connection of this process."""
_inherited = False
"""Whether this process was forked while its parent had a connection: SQLite's own locks may be held for ever here."""


def _forked() -> None:
    global _inherited
    _inherited = _inherited or bool(_connections)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def _connected(folder: Path) -> Iterator[None]:
    """Where SQLite is used.

    Raises:
        StoreError: In a process that was forked while it was used.
    """
    if _inherited:
        raise StoreError(
            f"The store at {folder} cannot be used in this process: it was forked while another thread was using a store. "
            f'Fork while no call is under way, or start processes by multiprocessing\'s "spawn" or "forkserver".'
        )
    token = object()
    _connections.add(token)
    try:
        yield
    finally:
        _connections.discard(token)


def exists(folder: Path) -> bool:
    """Whether there is something under the name of a store's database in this folder."""
    return status(folder / DATABASE) is not None


@contextmanager
def reading(folder: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A connection that sees one state of the database, whatever others write meanwhile, and the format.

    Raises:
        StoreError: Where there is no store, it is damaged, or its format is newer than `FORMAT`.
    """
    path = _present(folder)
    with _connected(folder), damage(folder), closing(_opened(path)) as database:
        database.execute("BEGIN")
        yield database, _format(folder, path, database)


@contextmanager
def writing(folder: Path, wait: float) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A transaction that no other overlaps, and the format of the database. Any exception rolls it back.

    Args:
        wait: Seconds to wait for another writer; 0 for none.

    Raises:
        StoreError: Where another writer holds the store for longer, the disk refuses, or as `reading`.
    """
    while True:
        path = _present(folder)
        if not os.access(folder, os.W_OK) or not os.access(path, os.W_OK):
            raise StoreError(f"The store at {folder} cannot be written to. Change its permissions, or copy it.")
        with _connected(folder), damage(folder), closing(_opened(path)) as database:
            inode = os.stat(path).st_ino
            database.execute(f"PRAGMA busy_timeout={int(1000 * wait)}")
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise StoreError(
                        f"Another process is writing to the store at {folder}, and was for {wait:g} s. Try again, or "
                        f"wait longer (wait=seconds)."
                    ) from error
                raise
            if _present(folder) != path or os.stat(path).st_ino != inode:
                continue  # while this waited, another folder was put in the place of this one
            database.execute(f"PRAGMA busy_timeout={int(1000 * READ_WAIT)}")
            version = _format(folder, path, database)
            with refused(folder):
                yield database, version
                if database.in_transaction:
                    database.execute("COMMIT")
            return


def create(folder: Path) -> None:
    """Make an empty database in a folder that has none. One that another process makes meanwhile is kept.

    Raises:
        StoreError: Where the disk refuses.
    """
    with refused(folder), fresh(folder) as path, suppress(FileExistsError):
        os.link(path, folder / DATABASE)


def overwrite(database: sqlite3.Connection, path: Path) -> None:
    """End a transaction by putting what another database holds into this one, whole or not at all.

    The file stays the same one, for whoever else has it open. SQLite's backup cannot run inside a transaction; so the
    connection keeps its lock when the transaction ends, and nobody else writes in between.

    Args:
        database: In a transaction of `writing`.
        path: Of the other database.
    """
    database.execute("PRAGMA locking_mode=EXCLUSIVE")
    database.execute("COMMIT")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source:
        source.backup(database)


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """An empty database beside the present one, already on the disk; it is removed when the block ends."""
    path = folder / f"{FRESH}{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _connected(folder), closing(_new_database(path)) as database:
            database.execute("PRAGMA synchronous=OFF")
            database.execute("BEGIN")
            for statement in SCHEMA:
                database.execute(statement)
            database.execute(f"PRAGMA application_id={APPLICATION_ID}")
            database.execute(f"PRAGMA user_version={FORMAT}")
            database.execute("COMMIT")
        sync(path)
        yield path
        sync(folder)
    finally:
        with suppress(OSError):
            path.unlink()


def _new_database(path: Path) -> sqlite3.Connection:
    """A connection that makes the file. An absolute path: some builds of SQLite take "file:x" for a URI."""
    return sqlite3.connect(path.absolute(), isolation_level=None)


@contextmanager
def damage(folder: Path) -> Iterator[None]:
    """Errors of reading, and of rows that do not fit together, become the error of a damaged store."""
    try:
        yield
    except MemoRAGError:
        raise
    except (
        sqlite3.Error,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        RecursionError,
        OverflowError,
        AttributeError,
    ) as error:
        raise damaged(folder, error) from error


@contextmanager
def refused(folder: Path) -> Iterator[None]:
    """Errors of writing become a `StoreError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"The store at {folder} could not be written ({error}); what it held before is untouched. Make room there, "
            f"or pass another folder."
        ) from error


def missing_database(folder: Path) -> StoreError | None:
    """The error for a folder that has a store's other files but not its database; None for any other folder."""
    remains = [name for name in (MEMORIES, JOURNAL) if status(folder / name) is not None]
    if exists(folder) or not remains:
        return None
    return StoreError(
        f"The store at {folder} has lost its {DATABASE}; found {' and '.join(remains)} alone. The documents were in it, so "
        f"nothing can be made again from the rest, and nothing was changed. Restore the file from a copy, or memorize the "
        f"documents again into another folder."
    )


def damaged(folder: Path, why: object) -> StoreError:
    return StoreError(
        f"The store at {folder} is damaged ({why}). `memorag verify` tells what is, `memorag repair` makes again what can "
        f"be; else restore it from a copy, or memorize the documents again into another folder."
    )


def sync(path: Path) -> None:
    """Have what was written to a file or folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _present(folder: Path) -> Path:
    """The database of a store; raises StoreError where there is none, or it cannot be read."""
    path = folder / DATABASE
    try:
        there = exists(folder)
        names = sorted(entry.name for entry in folder.iterdir())[:5] if folder.is_dir() else []
    except PermissionError:
        raise _unreadable(folder) from None
    if not there and (refusal := original_memorag.refusal(folder)):
        raise refusal
    if not folder.is_dir():
        raise StoreError(f"Expected a store folder at {folder}, found {'a file' if folder.exists() else 'nothing'}.")
    if not there and (error := missing_database(folder)):
        raise error
    if not there:
        raise StoreError(
            f"Expected a store at {folder}, with {DATABASE} in it; found {', '.join(names) or 'an empty folder'}. "
            f"Make one with memorize(documents, save_dir=…) or `memorag memorize PATH --store {folder}`."
        )
    check_layout(folder)
    if not os.access(path, os.R_OK):
        raise _unreadable(folder)
    return path


def _unreadable(folder: Path) -> StoreError:
    return StoreError(f"The store at {folder} cannot be read. Check the permissions of the folder and what is in it.")


def _opened(path: Path) -> sqlite3.Connection:
    """A connection. It rolls an interrupted write back where it may write, and only reads where it may not."""
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    journal = status(path.with_name(JOURNAL))
    if not writable and journal is not None and journal.st_size:
        raise StoreError(
            f"A write to the store at {path.parent} was broken off and must be taken back, but nothing can be written "
            f"there. Open it once with write permission, or copy the folder with {JOURNAL}."
        )
    if path.stat().st_size < _SMALLEST:
        raise sqlite3.DatabaseError("the file is empty or cut short")
    uri = f"{path.resolve().as_uri()}?mode={'rw' if writable else 'ro'}"
    database = sqlite3.connect(uri, uri=True, timeout=READ_WAIT, isolation_level=None)
    database.execute("PRAGMA trusted_schema=OFF")
    database.execute("PRAGMA cell_size_check=ON")
    database.execute("PRAGMA synchronous=EXTRA")
    return database


def _format(folder: Path, path: Path, database: sqlite3.Connection) -> int:
    """The format of a database; raises where it is no store of ours, or its format is newer."""
    owner = database.execute("PRAGMA application_id").fetchone()[0]
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if owner != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file, but not a store of memorag-integrations. It was left as it is.")
    if version > FORMAT:
        raise StoreError(
            f"The store at {folder} has format {version}; this version reads up to {FORMAT}. "
            f"Upgrade memorag-integrations to open it."
        )
    if version not in (1, FORMAT):
        raise StoreError(
            f"The store at {folder} has format {version}, which there never was; this version reads 1 to {FORMAT}. It was left "
            f"as it is. Restore it from a copy."
        )
    schema = {sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    if schema != set(SCHEMA if version == FORMAT else format1.SCHEMA):
        raise sqlite3.DatabaseError("its tables are not those of a store")
    return version
