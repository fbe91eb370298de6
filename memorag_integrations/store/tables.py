"""The tables of a store: rows to SQL and back, inside a transaction that `store` opens. Schema: see `sqlite`."""

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

Names = Callable[[Mapping[str, Any]], bool]
"""Whether a stored fingerprint names the embedder that is meant."""

_DOCUMENT = "id, text, metadata, host, language, cut, vocabulary, seal, terms_seal"
_PASSAGE = "id, start, stop, centre, text, metadata, host, terms, vector"

_DIGESTED = (
    "SELECT number, place, id, seal, terms_seal FROM documents",
    "SELECT place, documents, content, folder FROM shards",
    "SELECT key, value FROM meta WHERE key != 'state'",
)
"""What the digest covers. The first 12 characters of each query go into it: another wording changes every digest."""

_DIGESTS = 1 << 128

_MANY = 500
"""From so many keys on, a table is read from end to end instead of looked up key by key."""


@dataclass(frozen=True)
class Examination:
    """What could be read of a stored state.

    Args:
        state: The state; it holds the rows that are as they were written.
        lost: Ids of the documents whose rows are not as they were written; the state names them in its order alone.
        intact: Whether the settings, the shards and the list of documents are as they were written.
    """

    state: State
    lost: Sequence[str]
    intact: bool = True


# ── settings and state ────────────────────────────────────────────────────────────────────────────────────────────


def read_meta(database: sqlite3.Connection) -> dict[str, Any]:
    """Settings, fingerprints and which state this is."""
    return {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM meta")}


def write_meta(database: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
    """Replace settings and fingerprints."""
    database.execute("DELETE FROM meta WHERE key != 'state'")
    database.executemany("INSERT INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in meta.items()])


def new_identity() -> str:
    """A random name, by which a store and its copies are told from all other stores."""
    return uuid4().hex


def read_version(database: sqlite3.Connection, format: int) -> Version:
    """Which state of which store this is, as it was noted."""
    if format < FORMAT:
        return Version(None, 0, "")
    [(stored,)] = database.execute("SELECT value FROM meta WHERE key = 'state'").fetchall() or [("",)]
    state = json.loads(stored)
    identity = state.get("identity")
    return Version(None if identity is None else str(identity), int(state["generation"]), str(state["digest"]))


def write_version(database: sqlite3.Connection, identity: str | None, generation: int) -> Version:
    """Note the identity, the generation and the digest of what the tables hold; the last step of a change.

    Args:
        identity: Of the store; None gives it one.
    """
    version = Version(identity or new_identity(), generation, "")
    for _ in range(2):  # the digest covers the generation that is noted
        database.execute("INSERT OR REPLACE INTO meta VALUES ('state', ?)", (json.dumps(asdict(version)),))
        version = replace(version, digest=digest(database))
    return version


def digest(database: sqlite3.Connection) -> str:
    """A checksum of all documents' checksums, the shards, the settings and the generation.

    It reveals a change in a row that a reader does not read, such as a document that is known already.
    """
    generation = read_meta(database)["state"]["generation"]
    total = int.from_bytes(checksum(("generation", generation)))
    for query in _DIGESTED:
        for row in database.execute(query):
            total += int.from_bytes(checksum((query[:12], *row)))
    return f"{total % _DIGESTS:032x}"


def examine(database: sqlite3.Connection, format: int, known: Mapping[str, bytes] | None = None) -> Examination:
    """What can be read of a state that may be damaged, without its vectors.

    Args:
        known: Checksums of documents by id; a document whose checksum is the same is not read.

    Raises:
        StoreError: Where the format is another.
    """
    if format < FORMAT:
        raise StoreError(f"The store has format {format}. Open and change it once to carry it over.")
    version, meta = read_version(database, format), read_meta(database)
    del meta["state"]
    known = known or {}
    stored = database.execute("SELECT number, id, seal FROM documents ORDER BY place").fetchall()
    to_read = [number for number, id, stored_checksum in stored if known.get(id) != stored_checksum]
    passages = _read_passages(database, to_read)
    rows: dict[str, DocumentRow] = {}
    broken_terms, lost = [], []
    for number in to_read:
        row = database.execute(f"SELECT {_DOCUMENT} FROM documents WHERE number = ?", (number,)).fetchone()
        id, text, metadata, host, language, cut, vocabulary, row_checksum, terms_checksum = row
        if not isinstance(vocabulary, str):
            vocabulary = ""  # of another length than was written: the terms are broken, and made again
        document = DocumentRow(id, text, metadata, host, language, cut, vocabulary, passages[number])
        typed = all(isinstance(value, str) for value in (id, text, metadata, language, cut, host or ""))
        if not typed or document.checksum != row_checksum:
            lost.append(id)
            continue
        if document.terms_checksum != terms_checksum:
            broken_terms.append(id)
        rows[id] = document
    shards = [
        ShardRow(*row) for row in database.execute("SELECT documents, content, folder FROM shards ORDER BY place")
    ]
    state = State(version, meta, [id for _, id, _ in stored], rows, shards, frozenset(broken_terms))
    return Examination(state, lost, version.digest == digest(database))


def _read_passages(database: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[PassageRow]]:
    """The passages of the documents with these numbers."""
    passages: dict[int, list[PassageRow]] = {number: [] for number in numbers}
    where = "" if len(numbers) > _MANY else f"WHERE document IN ({', '.join(map(str, numbers))})"
    for number, *row in database.execute(f"SELECT document, {_PASSAGE} FROM passages {where} ORDER BY document, place"):
        if number in passages:
            passages[number].append(PassageRow(*row))
    return passages


# ── documents and shards ──────────────────────────────────────────────────────────────────────────────────────────


def write_documents(
    database: sqlite3.Connection, checksums: Mapping[str, bytes], row: Callable[[str], DocumentRow]
) -> set[bytes]:
    """Make these the documents, in this order; only those that differ are written.

    Args:
        checksums: Of all documents, by id, in their order.
        row: Gives the row of a document that differs.

    Returns:
        The keys of the vectors that the documents written refer to.
    """
    stored = {
        id: (number, place, stored_checksum)
        for number, place, id, stored_checksum in database.execute("SELECT number, place, id, seal FROM documents")
    }
    for id in stored.keys() - checksums.keys():
        _delete_passages(database, stored[id][0])
        database.execute("DELETE FROM documents WHERE number = ?", (stored[id][0],))
    keys: set[bytes] = set()
    last, changed = -1, []
    for id, new_checksum in checksums.items():
        number, place, stored_checksum = stored.get(id, (None, -1, None))
        if stored_checksum == new_checksum:
            if place <= last:
                place = last + 1
                database.execute("UPDATE documents SET place = ? WHERE number = ?", (place, number))
            last = place
            continue
        last = max(place, last + 1)
        changed.append((id, number, last))
        if number is not None:  # all before any is written: a passage's id may move to another document
            _delete_passages(database, number)
    for id, number, place in changed:
        keys |= write_document(database, row(id), number, place)
    return keys


def _delete_passages(database: sqlite3.Connection, number: int) -> None:
    database.execute("DELETE FROM passages WHERE document = ?", (number,))


def write_document(database: sqlite3.Connection, row: DocumentRow, number: int | None, place: int) -> set[bytes]:
    """Write one document and its passages, which must not be there; the keys of the vectors that it refers to.

    Args:
        row: The document.
        number: The number it has in the store already; None for a new one.
        place: Its place in the order.
    """
    fields = (row.id, row.text, row.metadata, row.host, row.language, row.cut, row.vocabulary)
    inserted = database.execute(
        f"INSERT OR REPLACE INTO documents(number, place, {_DOCUMENT}) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
        (number, place, *fields, row.checksum, row.terms_checksum),
    )
    number = int(inserted.fetchone()[0])
    database.executemany(
        f"INSERT INTO passages(document, place, {_PASSAGE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(number, at, *passage) for at, passage in enumerate(row.passages)],
    )
    return {passage.vector for passage in row.passages if passage.vector is not None}


def write_shards(database: sqlite3.Connection, shards: Sequence[ShardRow]) -> None:
    """Make these the shards, in this order; only those that differ are written."""
    rows = database.execute("SELECT number, place, documents, content, folder FROM shards")
    stored = {ShardRow(*row): (number, place) for number, place, *row in rows}
    kept = set(shards)
    gone = [(number,) for row, (number, _) in stored.items() if row not in kept]
    database.executemany("DELETE FROM shards WHERE number = ?", gone)
    last = -1
    for row in shards:
        number, place = stored.get(row, (None, -1))
        last, moved = max(place, last + 1), place <= last
        if number is None:
            database.execute("INSERT INTO shards VALUES (NULL, ?, ?, ?, ?)", (last, *row))
        elif moved:
            database.execute("UPDATE shards SET place = ? WHERE number = ?", (last, number))


# ── vectors ───────────────────────────────────────────────────────────────────────────────────────────────────────


def find_space(database: sqlite3.Connection, same: Names) -> int | None:
    """The number of the embedder's space whose fingerprint `same` accepts; None where there is none."""
    for number, fingerprint in database.execute("SELECT number, fingerprint FROM spaces ORDER BY number"):
        if same(json.loads(fingerprint)):
            return int(number)
    return None


def add_space(database: sqlite3.Connection, fingerprint: Mapping[str, Any]) -> int:
    """The number of a new space for this embedder."""
    inserted = database.execute(
        "INSERT INTO spaces(fingerprint) VALUES (?) RETURNING number", (json.dumps(dict(fingerprint)),)
    )
    return int(inserted.fetchone()[0])


def read_vectors(database: sqlite3.Connection, space: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Those of these vectors that are there and as they were written."""
    query, wanted = "SELECT key, vector, seal FROM vectors WHERE space = ?", set(keys)
    if len(keys) > _MANY:
        rows = database.execute(query, (space,)).fetchall()
    else:
        rows = [row for key in keys for row in database.execute(f"{query} AND key = ?", (space, key))]
    return {key: vector for key, vector, stored in rows if key in wanted and checksum((key, vector)) == stored}


def missing_vectors(database: sqlite3.Connection, space: int, keys: set[bytes]) -> list[bytes]:
    """The keys of those vectors that are not there, or not as they were written."""
    present = read_vectors(database, space, sorted(keys))
    return [key for key in sorted(keys) if key not in present]


def count_broken_vectors(database: sqlite3.Connection, space: int) -> int:
    """How many vectors of a space are not as they were written."""
    rows = database.execute("SELECT key, vector, seal FROM vectors WHERE space = ?", (space,))
    return sum(checksum((key, vector)) != stored for key, vector, stored in rows)


def write_vectors(database: sqlite3.Connection, space: int, vectors: Mapping[bytes, bytes]) -> None:
    """Write vectors into a space, over those with the same keys."""
    database.executemany(
        "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)",
        [(space, key, vector, checksum((key, vector))) for key, vector in vectors.items()],
    )


def fill(path: Path, state: State, vectors: Mapping[int, Mapping[bytes, bytes]], spaces: Mapping[int, str]) -> None:
    """Write a whole state into an empty database, and have it on the disk.

    Args:
        path: The database's file.
        state: The state.
        vectors: For each space, its vectors by key.
        spaces: For each space, the embedder's fingerprint as JSON.
    """
    database = sqlite3.connect(path.absolute(), isolation_level=None)  # "file:x" may be taken for a URI
    try:
        database.execute("BEGIN")
        for place, id in enumerate(state.order):
            write_document(database, state.rows[id], None, place)
        database.executemany("INSERT INTO spaces VALUES (?, ?)", spaces.items())
        for space, vectors_of_space in vectors.items():
            write_vectors(database, space, vectors_of_space)
        write_shards(database, state.shards)
        write_meta(database, state.meta)
        write_version(database, state.version.identity, state.version.generation)
        database.execute("COMMIT")
    finally:
        database.close()
    sync(path)
