"""The store on disk: states of a corpus in SQLite, memories in folders beside it. It knows rows and files, not models.

Every change is one transaction. What the change needs is written before it, named by its content: vectors by the hash of
their text, memories by the hash of their text and their model. So a stop loses at most one batch of work, and no reader
ever sees half a change.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, StoreError
from . import format1, memory_files, original_memorag, tables
from .paths import DATABASE, is_fresh_name
from .records import DocumentRow, ShardRow, State, Version
from .sqlite import (
    FORMAT,
    create,
    damage,
    damaged,
    exists,
    fresh,
    missing_database,
    overwrite,
    reading,
    refused,
    writing,
)
from .tables import Examination, Names

__all__ = ["DATABASE", "FORMAT", "Examination", "Store", "check_target", "exists"]


LONGEST_WAIT = 2_000_000
"""Seconds, 23 days: SQLite counts milliseconds in 32 bits."""


@dataclass(frozen=True)
class Store:
    """A folder with a corpus in it.

    Args:
        folder: The folder.
        wait: Seconds to wait for another process that writes.
        identity: Which store it must be; None for whichever is there. Each method raises StoreError for another one.
    """

    folder: Path
    wait: float = 30.0
    identity: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.wait, bool) or not isinstance(self.wait, int | float) or not self.wait >= 0:
            raise InputError(f"wait must be a number of seconds, 0 or more; found {str(self.wait)[:80]!r}.")
        object.__setattr__(self, "wait", float(min(self.wait, LONGEST_WAIT)))

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def version(self) -> Version:
        """Which state the store has. Raises as `read` does."""
        with self._reading() as (database, format):
            return tables.read_version(database, format)

    def meta(self) -> dict[str, Any]:
        """The settings and fingerprints alone."""
        with self._reading() as (database, _):
            meta = tables.read_meta(database)
            meta.pop("state", None)
            return meta

    def read(self, known: Mapping[str, bytes] | None = None) -> State:
        """The state that the store holds.

        Args:
            known: Checksums of documents by id; a document whose checksum is still the same is not read.

        Raises:
            StoreError: Where there is no store, its format is newer, or something is not as it was written.
        """
        with self._reading() as (database, version):
            if version < FORMAT:
                return format1.read(database)[0]
            examination = tables.examine(database, version, known)
            if not examination.intact:
                raise ValueError("its state is not the one that was written")
            if examination.lost:
                names = ", ".join(repr(id[:80]) for id in examination.lost[:5])
                raise ValueError(f"{len(examination.lost)} of its documents are not as they were written: {names}")
            return examination.state

    def vectors(self, space: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these vectors that are there and as they were written."""
        with self._reading() as (database, version):
            if version < FORMAT:
                stored = format1.read(database)[1]
                return {key: stored[key] for key in keys if key in stored}
            return tables.read_vectors(database, space, keys)

    def space(self, same: Names) -> int | None:
        """The number of the embedder's space whose fingerprint `same` accepts; None where there is none."""
        with self._reading() as (database, version):
            if version < FORMAT:
                embedder = tables.read_meta(database)["embedder"]
                return 1 if embedder is not None and same(embedder["fingerprint"]) else None
            return tables.find_space(database, same)

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        with self._same_place(), reading(self.folder) as (database, version):
            self._check_identity(database, version)
            yield database, version

    @contextmanager
    def _same_place(self) -> Iterator[None]:
        if self.identity is not None and not exists(self.folder):
            raise StoreError(
                f"The store that was open at {self.folder} is not there any more: it was deleted or moved. Nothing was "
                f"written. Put it back, or open it where it is now; save(folder) keeps what is in memory in another folder."
            )
        yield

    def _check_identity(self, database: sqlite3.Connection, format: int) -> None:
        if self.identity is not None and tables.read_version(database, format).identity != self.identity:
            raise StoreError(
                f"The store at {self.folder} is not the one that was opened: it was made anew, or another store was put in "
                f"its place. Nothing was written. Open it again to work with what is there; save(folder) keeps what is in "
                f"memory in another folder."
            )

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, meta: Mapping[str, Any], *, new: bool = True) -> None:
        """Make an empty store where there is none, and carry one of an older format over.

        Args:
            meta: Settings and fingerprints of a new store.
            new: Whether one may be made; a store that is not there is a StoreError otherwise.
        """
        if new and self.identity is None and not exists(self.folder):
            check_target(self.folder)
            create(self.folder)
            with self.transaction() as database:
                if not tables.read_meta(database):
                    tables.write_meta(database, meta)
                    tables.write_version(database, None, 0)
            return
        with self.transaction():
            pass

    def keep_vectors(self, fingerprint: Mapping[str, Any], same: Names, vectors: Mapping[bytes, bytes]) -> int:
        """Write vectors into their embedder's space, before any state refers to them; the number of the space."""
        with self.transaction() as database:
            space = tables.find_space(database, same)
            if space is None:
                space = tables.add_space(database, fingerprint)
            tables.write_vectors(database, space, vectors)
            return space

    def commit(
        self,
        meta: Mapping[str, Any],
        checksums: Mapping[str, bytes],
        row: Callable[[str], DocumentRow],
        shards: Callable[[], Sequence[ShardRow]],
        *,
        expected: Version | None,
        vectors: Mapping[int, Callable[[Sequence[bytes]], Mapping[bytes, bytes]]],
    ) -> Version | None:
        """Make these documents and shards the state; only what differs is written. The new version.

        Args:
            meta: Settings and fingerprints.
            checksums: Of all documents, in their order.
            row: Gives the row of a document; called where the store has none with its checksum.
            shards: Gives all shards, once their memories are in the folder. Called inside the transaction, when no other
                process can remove those memories any more.
            expected: The version that this state was made from. Where the store has another one by now, also that of a
                copy that was put back, None is returned and nothing written. None accepts any.
            vectors: For each space, gives the vectors that passages refer to and the store lacks.

        Raises:
            StoreError: Where another writer holds the store, or the disk refuses; the store is what it was.
        """
        with self.transaction() as database:
            stored = tables.read_version(database, FORMAT)
            if expected is not None and not stored.is_state(expected):
                return None
            if stored.digest != tables.digest(database):
                raise damaged(self.folder, "its state is not the one that was written")
            keys = tables.write_documents(database, checksums, row)
            for space, vectors_of in vectors.items():
                lacking = tables.missing_vectors(database, space, keys)
                tables.write_vectors(database, space, vectors_of(lacking))
            tables.write_shards(database, shards())
            tables.write_meta(database, meta)
            return tables.write_version(database, stored.identity, stored.generation + 1)

    def rewrite(
        self,
        database: sqlite3.Connection,
        state: State,
        vectors: Mapping[int, Mapping[bytes, bytes]],
        spaces: Mapping[int, str],
    ) -> None:
        """End a `transaction` by writing every row anew: this state, these vectors, and nothing else."""
        with refused(self.folder), fresh(self.folder) as path:
            tables.fill(path, state, vectors, spaces)
            overwrite(database, path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction on a store of the format in use. A store of an older format is carried over first."""
        with self._same_place(), writing(self.folder, self.wait) as (database, version):
            self._check_identity(database, version)
            if version == FORMAT:
                yield database
                return
            with damage(self.folder):
                state, vectors = format1.read(database)
            for name in {row.folder for row in state.shards if row.folder}:
                memory_files.write_manifest(memory_files.locate(self.folder, name), name)
            embedder = state.meta["embedder"]
            spaces = {} if embedder is None else {1: json.dumps(embedder["fingerprint"])}
            self.rewrite(database, state, {1: vectors} if embedder else {}, spaces)
        with writing(self.folder, self.wait) as (database, _):
            yield database


def check_target(folder: Path) -> Path:
    """`folder`, if a store may be written there: not there yet, empty, or a store of ours.

    Raises:
        StoreError: Otherwise; nothing was touched.
    """
    there = exists(folder)
    if folder.is_dir():
        if there:
            with reading(folder):
                pass
        elif error := missing_database(folder):
            raise error
        elif any(not is_fresh_name(entry.name) for entry in folder.iterdir()):
            raise original_memorag.refusal(folder) or StoreError(
                f"Expected an empty folder or a store at {folder}, found other files. Pass another folder; these were left."
            )
        if not os.access(folder, os.W_OK):
            raise StoreError(f"The folder {folder} cannot be written to. Change its permissions, or pass another one.")
    elif folder.exists():
        raise StoreError(f"Expected a folder at {folder}, found a file. Pass another path; the file was left.")
    return folder
