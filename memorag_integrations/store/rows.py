"""A store's rows, read and written inside a transaction that the caller holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import StoreError
from .records import DocumentRow, PassageRow, ShardRow, State, Version, checksum
from .sqlite import FORMAT, sync

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


_SHARDS = "SELECT documents, content, folder FROM shards ORDER BY place"


def read_meta(database: sqlite3.Connection) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM meta")}


def new_identity() -> str:
    """By which a store and its copies are known from all others."""
    return uuid4().hex


def read_version(database: sqlite3.Connection, format: int) -> Version:
    if format < FORMAT:
        return Version(None, 0, "")
    [(stored,)] = database.execute("SELECT value FROM meta WHERE key = 'state'").fetchall() or [("",)]
    state = json.loads(stored)
    identity = state.get("identity")
    return Version(None if identity is None else str(identity), int(state["generation"]), str(state["digest"]))


def put_meta(database: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
    database.execute("DELETE FROM meta WHERE key != 'state'")
    database.executemany("INSERT INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in meta.items()])


def put_state(database: sqlite3.Connection, generation: int, identity: str) -> Version:
    version = Version(identity, generation, "")
    for _ in range(2):  # the digest is of a state that names its generation
        database.execute("INSERT OR REPLACE INTO meta VALUES ('state', ?)", (json.dumps(asdict(version)),))
        version = replace(version, digest=digest_of(database))
    return version


def digest_of(database: sqlite3.Connection) -> str:
    """Of the checksums of all documents, the shards, the settings and the generation: what is not read must not change."""
    generation = read_meta(database)["state"]["generation"]
    total = int.from_bytes(checksum(("generation", generation)))
    for query in (
        "SELECT number, place, id, seal, terms_seal FROM documents",
        "SELECT place, documents, content, folder FROM shards",
        "SELECT key, value FROM meta WHERE key != 'state'",
    ):
        for row in database.execute(query):
            total += int.from_bytes(checksum((query[:12], *row)))
    return f"{total % _MOD:032x}"


def read_state(database: sqlite3.Connection, version: Version, known: Mapping[str, bytes]) -> Examination:
    """The documents whose checksums are not known, and all else of a state but its vectors."""
    meta = read_meta(database)
    meta.pop("state", None)
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
    state = State(version, meta, [id for _, id, _ in stored], rows, shards, frozenset(broken))
    return Examination(state, lost)


def examine(folder: Path, database: sqlite3.Connection, format: int) -> Examination:
    """What can be read of a state that may not be as it was written.

    Raises:
        StoreError: Where the format is another.
    """
    if format < FORMAT:
        raise StoreError(f"The store at {folder} has format {format}. Open and change it once to carry it over.")
    stored = read_version(database, format)
    return replace(read_state(database, stored, {}), intact=stored.digest == digest_of(database))


def _passages(database: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[PassageRow]]:
    found: dict[int, list[PassageRow]] = {number: [] for number in numbers}
    where = "" if len(numbers) > _MANY else f"WHERE document IN ({', '.join(map(str, numbers))})"
    for number, *row in database.execute(f"SELECT document, {_PASSAGE} FROM passages {where} ORDER BY document, place"):
        if number in found:
            found[number].append(PassageRow(*row))
    return found


def put_documents(
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


def put_shards(database: sqlite3.Connection, shards: Sequence[ShardRow]) -> None:
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


def find_space(database: sqlite3.Connection, same: Names) -> int | None:
    for number, fingerprint in database.execute("SELECT number, fingerprint FROM spaces ORDER BY number"):
        if same(json.loads(fingerprint)):
            return int(number)
    return None


def read_vectors(database: sqlite3.Connection, space: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Those of these vectors that are there and as they were written."""
    query, wanted = "SELECT key, vector, seal FROM vectors WHERE space = ?", set(keys)
    if len(keys) > _MANY:
        rows = database.execute(query, (space,)).fetchall()
    else:
        rows = [row for key in keys for row in database.execute(f"{query} AND key = ?", (space, key))]
    return {key: vector for key, vector, stored in rows if key in wanted and checksum((key, vector)) == stored}


def count_broken(database: sqlite3.Connection, space: int) -> int:
    """How many vectors of a space are not as they were written."""
    rows = database.execute("SELECT key, vector, seal FROM vectors WHERE space = ?", (space,))
    return sum(checksum((key, vector)) != stored for key, vector, stored in rows)


def missing_vectors(database: sqlite3.Connection, space: int, keys: set[bytes]) -> list[bytes]:
    found = read_vectors(database, space, sorted(keys))
    return [key for key in sorted(keys) if key not in found]


def put_vectors(database: sqlite3.Connection, space: int, vectors: Mapping[bytes, bytes]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)",
        [(space, key, vector, checksum((key, vector))) for key, vector in vectors.items()],
    )


def fill(path: Path, state: State, vectors: Mapping[int, Mapping[bytes, bytes]], spaces: Mapping[int, str]) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("BEGIN")
        for place, id in enumerate(state.order):
            _put_document(database, state.rows[id], None, place)
        database.executemany("INSERT INTO spaces VALUES (?, ?)", spaces.items())
        for space, kept in vectors.items():
            put_vectors(database, space, kept)
        put_shards(database, state.shards)
        put_meta(database, state.meta)
        put_state(database, state.version.generation, state.version.identity or new_identity())
        database.execute("COMMIT")
    finally:
        database.close()
    sync(path)
