"""The store on disk: states of a corpus in SQLite, memories in folders beside it. Knows rows and files, not models.

A change is one transaction; what it needs is written before it by content (vectors by the hash of their text, memories
by the hash of theirs and their model), so a stop loses at most a batch, and nobody ever sees half a change.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import StoreError
from . import format1, memory_files
from . import original_memorag as original_store
from .records import DocumentRow, PassageRow, ShardRow, State, checksum
from .sqlite import (
    DATABASE,
    FORMAT,
    FRESH,
    create,
    damage,
    damaged,
    exists,
    fresh,
    missing_database,
    reading,
    refused,
    sync,
    writing,
)

__all__ = ["DATABASE", "FORMAT", "Store", "check_target", "exists"]

_DOCUMENT = "id, text, metadata, host, language, cut, vocabulary, seal, terms_seal"
_PASSAGE = "id, start, stop, centre, text, metadata, host, terms, vector"
_MOD = 1 << 128
_MANY = 500
"""Rows from which a table is read through instead of looked up."""

Names = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Examination:
    """A state as it is found.

    Args:
        state: What is as it was written.
        lost: Ids of documents that are not, and are in its order alone.
        intact: Whether its settings, its shards and the list of its documents are those that were written.
    """

    state: State
    lost: Sequence[str]
    intact: bool = True


@dataclass(frozen=True)
class Store:
    """A folder with a corpus in it.

    Args:
        folder: Where.
        wait: Seconds to wait for another process that writes.
    """

    folder: Path
    wait: float = 30.0

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def generation(self) -> int:
        """How many changes it has seen; raises as `read` does."""
        with reading(self.folder) as (database, version):
            return _stored_state(_meta(database), version)[0]

    def meta(self) -> dict[str, Any]:
        """The settings and fingerprints alone."""
        with reading(self.folder) as (database, _):
            meta = _meta(database)
            meta.pop("state", None)
            return meta

    def read(self, known: Mapping[str, bytes] | None = None) -> State:
        """One whole state.

        Args:
            known: Checksums of documents that need not be read if they are still the same.

        Raises:
            StoreError: Where there is no store, its format is newer, or something is not as it was written.
        """
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                return format1.read(database)[0]
            meta = _meta(database)
            generation, digest = _stored_state(meta, version)
            if digest != _digest(database):
                raise ValueError("its state is not the one that was written")
            meta.pop("state")
            found = _state(database, generation, meta, known or {})
            if found.lost:
                names = ", ".join(repr(id[:80]) for id in found.lost[:5])
                raise ValueError(f"{len(found.lost)} of its documents are not as they were written: {names}")
            return found.state

    def examine(self) -> Examination:
        """What can be read of a state that may not be as it was written.

        Raises:
            StoreError: Where its rows cannot be read at all, or its format is another.
        """
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                raise StoreError(
                    f"The store at {self.folder} has format {version}. Open and change it once to carry it over."
                )
            meta = _meta(database)
            generation, digest = _stored_state(meta, version)
            intact = digest == _digest(database)
            meta.pop("state")
            return replace(_state(database, generation, meta, {}), intact=intact)

    def vectors(self, space: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these vectors that are there and whole."""
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                stored = format1.read(database)[1]
                return {key: stored[key] for key in keys if key in stored}
            return _vectors(database, space, keys)

    def broken(self, space: int) -> int:
        """How many vectors of a space are not as they were written."""
        with reading(self.folder) as (database, _):
            rows = database.execute("SELECT key, vector, seal FROM vectors WHERE space = ?", (space,))
            return sum(checksum((key, vector)) != stored for key, vector, stored in rows)

    def space(self, same: Names) -> int | None:
        """The number of the embedder's space that `same` says yes to, by its fingerprint."""
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                maker = _meta(database)["embedder"]
                return 1 if maker is not None and same(maker["fingerprint"]) else None
            return _space(database, same)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, meta: Mapping[str, Any]) -> None:
        """Make an empty store where there is none, and bring one of an older format over."""
        if not exists(self.folder):
            check_target(self.folder)
            create(self.folder)
            with self.transaction() as database:
                if not _meta(database):
                    _put_meta(database, meta)
                    _put_state(database, 0)
            return
        with self.transaction():
            pass

    def keep_vectors(self, fingerprint: Mapping[str, Any], same: Names, vectors: Mapping[bytes, bytes]) -> int:
        """Put vectors into their embedder's space, outside of any state; the number of the space."""
        with self.transaction() as database:
            space = _space(database, same)
            if space is None:
                found = database.execute(
                    "INSERT INTO spaces(fingerprint) VALUES (?) RETURNING number", (json.dumps(dict(fingerprint)),)
                )
                space = int(found.fetchone()[0])
            _put_vectors(database, space, vectors)
            return space

    def commit(
        self,
        meta: Mapping[str, Any],
        checksums: Mapping[str, bytes],
        row: Callable[[str], DocumentRow],
        shards: Callable[[], Sequence[ShardRow]],
        *,
        expected: int | None,
        vectors: Mapping[int, Callable[[Sequence[bytes]], Mapping[bytes, bytes]]],
    ) -> int | None:
        """Make these documents and shards the state; only what differs is written. The new generation.

        Args:
            meta: Settings and fingerprints.
            checksums: Of all documents, in their order.
            row: The rows of a document, asked for where the store has none with its checksum.
            shards: All of them, their memories in the folder; asked for when nobody else can take these away any more.
            expected: The generation that this state was made from: None is returned, and nothing written, where the
                store has gone on since. None for whatever there is.
            vectors: For each space, what gives those that passages name and the store lacks.

        Raises:
            StoreError: Where another writer holds it, or the disk refuses; the store is what it was.
        """
        with self.transaction() as database:
            generation, digest = _stored_state(_meta(database), FORMAT)
            if expected is not None and generation != expected:
                return None
            if digest != _digest(database):
                raise damaged(self.folder, "its state is not the one that was written")
            keys = _put_documents(database, checksums, row)
            for space, lacking in vectors.items():
                _put_vectors(database, space, lacking(_missing(database, space, keys)))
            _put_shards(database, shards())
            _put_meta(database, meta)
            _put_state(database, generation + 1)
            return generation + 1

    def rewrite(self, state: State, vectors: Mapping[int, Mapping[bytes, bytes]], spaces: Mapping[int, str]) -> None:
        """Put a new database in the place of the one there is, with this state and vectors in it; in a `transaction`."""
        with refused(self.folder), fresh(self.folder) as path:
            _fill(path, state, vectors, spaces)
            os.replace(path, self.folder / DATABASE)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction on a store of the format in use; one of an older format is carried over first."""
        with writing(self.folder, self.wait) as (database, version):
            if version == FORMAT:
                yield database
                return
            with damage(self.folder):
                state, vectors = format1.read(database)
            for folder in {row.folder for row in state.shards if row.folder}:
                memory_files.write_manifest(memory_files.folder_of(self.folder, folder), folder)
            maker = state.meta["embedder"]
            spaces = {} if maker is None else {1: json.dumps(maker["fingerprint"])}
            self.rewrite(state, {1: vectors} if maker else {}, spaces)
        with writing(self.folder, self.wait) as (database, _):
            yield database


def check_target(folder: Path) -> Path:
    """`folder`, if a store may be written there: not there yet, empty, or a store of ours.

    Raises:
        StoreError: Otherwise; nothing was touched.
    """
    if folder.is_dir():
        if exists(folder):
            with reading(folder):
                pass
        elif gone := missing_database(folder):
            raise gone
        elif any(not entry.name.startswith(FRESH) for entry in folder.iterdir()):
            raise original_store.refusal(folder) or StoreError(
                f"Expected an empty folder or a store at {folder}, found other files. Pass another folder; these were left."
            )
        if not os.access(folder, os.W_OK):
            raise StoreError(f"The folder {folder} cannot be written to. Change its permissions, or pass another one.")
    elif folder.exists():
        raise StoreError(f"Expected a folder at {folder}, found a file. Pass another path; the file was left.")
    return folder


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_SHARDS = "SELECT documents, content, folder FROM shards ORDER BY place"


def _meta(database: sqlite3.Connection) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM meta")}


def _stored_state(meta: Mapping[str, Any], version: int) -> tuple[int, str]:
    if version < FORMAT:
        return 0, ""
    return int(meta["state"]["generation"]), str(meta["state"]["digest"])


def _put_meta(database: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
    database.execute("DELETE FROM meta WHERE key != 'state'")
    database.executemany("INSERT INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in meta.items()])


def _put_state(database: sqlite3.Connection, generation: int) -> None:
    state = json.dumps({"generation": generation, "digest": ""})
    database.execute("INSERT OR REPLACE INTO meta VALUES ('state', ?)", (state,))
    state = json.dumps({"generation": generation, "digest": _digest(database)})
    database.execute("INSERT OR REPLACE INTO meta VALUES ('state', ?)", (state,))


def _digest(database: sqlite3.Connection) -> str:
    """Of the checksums of all documents, the shards, the settings and the generation: what is not read must not change."""
    generation = _meta(database)["state"]["generation"]
    total = int.from_bytes(checksum(("generation", generation)))
    for query in (
        "SELECT number, place, id, seal, terms_seal FROM documents",
        "SELECT place, documents, content, folder FROM shards",
        "SELECT key, value FROM meta WHERE key != 'state'",
    ):
        for row in database.execute(query):
            total += int.from_bytes(checksum((query[:12], *row)))
    return f"{total % _MOD:032x}"


def _state(
    database: sqlite3.Connection, generation: int, meta: Mapping[str, Any], known: Mapping[str, bytes]
) -> Examination:
    """The documents whose checksums are not known, and all else of a state but its vectors."""
    stored = database.execute("SELECT number, id, seal FROM documents ORDER BY place").fetchall()
    wanted = [number for number, id, checksum in stored if known.get(id) != checksum]
    passages = _passages(database, wanted)
    rows: dict[str, DocumentRow] = {}
    broken, lost = [], []
    for number in wanted:
        row = database.execute(f"SELECT {_DOCUMENT} FROM documents WHERE number = ?", (number,)).fetchone()
        id, text, metadata, host, language, cut, vocabulary, own, terms = row
        document = DocumentRow(id, text, metadata, host, language, cut, vocabulary, passages[number])
        if document.checksum != own:
            lost.append(id)
            continue
        if document.terms_checksum != terms:
            broken.append(id)
        rows[id] = document
    shards = [ShardRow(*row) for row in database.execute(_SHARDS)]
    state = State(generation, meta, [id for _, id, _ in stored], rows, shards, frozenset(broken))
    return Examination(state, lost)


def _passages(database: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[PassageRow]]:
    found: dict[int, list[PassageRow]] = {number: [] for number in numbers}
    where = "" if len(numbers) > _MANY else f"WHERE document IN ({', '.join(map(str, numbers))})"
    for number, *row in database.execute(f"SELECT document, {_PASSAGE} FROM passages {where} ORDER BY document, place"):
        if number in found:
            found[number].append(PassageRow(*row))
    return found


def _put_documents(
    database: sqlite3.Connection,
    checksums: Mapping[str, bytes],
    row: Callable[[str], DocumentRow],
) -> set[bytes]:
    """Write the documents that differ and the order of all; the keys of the vectors that those written name."""
    known = {
        id: (number, place, stored)
        for number, place, id, stored in database.execute("SELECT number, place, id, seal FROM documents")
    }
    for id in known.keys() - checksums.keys():
        _delete_document(database, known[id][0])
        database.execute("DELETE FROM documents WHERE number = ?", (known[id][0],))
    keys: set[bytes] = set()
    last, changed = -1, []
    for id, wanted in checksums.items():
        number, place, stored = known.get(id, (None, -1, None))
        if stored == wanted:
            if place <= last:
                place = last + 1
                database.execute("UPDATE documents SET place = ? WHERE number = ?", (place, number))
            last = place
            continue
        last = max(place, last + 1)
        changed.append((id, number, last))
        if number is not None:  # all before any is written: a passage's id may move to another document
            _delete_document(database, number)
    for id, number, place in changed:
        keys |= _put_document(database, row(id), number, place)
    return keys


def _delete_document(database: sqlite3.Connection, number: int) -> None:
    database.execute("DELETE FROM passages WHERE document = ?", (number,))


def _put_document(database: sqlite3.Connection, row: DocumentRow, number: int | None, place: int) -> set[bytes]:
    own = (
        row.id,
        row.text,
        row.metadata,
        row.host,
        row.language,
        row.cut,
        row.vocabulary,
        row.checksum,
        row.terms_checksum,
    )
    found = database.execute(
        f"INSERT OR REPLACE INTO documents(number, place, {_DOCUMENT}) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
        (number, place, *own),
    )
    number = int(found.fetchone()[0])
    database.executemany(
        f"INSERT INTO passages(document, place, {_PASSAGE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(number, at, *passage) for at, passage in enumerate(row.passages)],
    )
    return {passage.vector for passage in row.passages if passage.vector is not None}


def _put_shards(database: sqlite3.Connection, shards: Sequence[ShardRow]) -> None:
    """Write the shards that differ and the order of all."""
    stored = database.execute("SELECT number, place, documents, content, folder FROM shards")
    known = {ShardRow(*row): (number, place) for number, place, *row in stored}
    wanted = set(shards)
    gone = [(number,) for row, (number, _) in known.items() if row not in wanted]
    database.executemany("DELETE FROM shards WHERE number = ?", gone)
    last = -1
    for row in shards:
        number, place = known.get(row, (None, -1))
        last, moved = max(place, last + 1), place <= last
        if number is None:
            database.execute("INSERT INTO shards VALUES (NULL, ?, ?, ?, ?)", (last, *row))
        elif moved:
            database.execute("UPDATE shards SET place = ? WHERE number = ?", (last, number))


def _space(database: sqlite3.Connection, same: Names) -> int | None:
    for number, fingerprint in database.execute("SELECT number, fingerprint FROM spaces ORDER BY number"):
        if same(json.loads(fingerprint)):
            return int(number)
    return None


def _vectors(database: sqlite3.Connection, space: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Those of these vectors that are there and as they were written."""
    query, wanted = "SELECT key, vector, seal FROM vectors WHERE space = ?", set(keys)
    if len(keys) > _MANY:
        rows = database.execute(query, (space,)).fetchall()
    else:
        rows = [row for key in keys for row in database.execute(f"{query} AND key = ?", (space, key))]
    return {key: vector for key, vector, stored in rows if key in wanted and checksum((key, vector)) == stored}


def _missing(database: sqlite3.Connection, space: int, keys: set[bytes]) -> list[bytes]:
    found = _vectors(database, space, sorted(keys))
    return [key for key in sorted(keys) if key not in found]


def _put_vectors(database: sqlite3.Connection, space: int, vectors: Mapping[bytes, bytes]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)",
        [(space, key, vector, checksum((key, vector))) for key, vector in vectors.items()],
    )


def _fill(path: Path, state: State, vectors: Mapping[int, Mapping[bytes, bytes]], spaces: Mapping[int, str]) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("BEGIN")
        for place, id in enumerate(state.order):
            _put_document(database, state.rows[id], None, place)
        database.executemany("INSERT INTO spaces VALUES (?, ?)", spaces.items())
        for space, kept in vectors.items():
            _put_vectors(database, space, kept)
        _put_shards(database, state.shards)
        _put_meta(database, state.meta)
        _put_state(database, state.generation)
        database.execute("COMMIT")
    finally:
        database.close()
    sync(path)
