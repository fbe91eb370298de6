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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError
from . import format1, memory_files
from . import original_memorag as original_store
from .paths import DATABASE, is_fresh_name
from .records import DocumentRow, ShardRow, State, Version
from .rows import (
    Names,
    digest_of,
    fill,
    find_space,
    missing_vectors,
    new_identity,
    put_documents,
    put_meta,
    put_shards,
    put_state,
    put_vectors,
    read_meta,
    read_state,
    read_vectors,
    read_version,
)
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

__all__ = ["DATABASE", "FORMAT", "Store", "check_target", "exists"]


@dataclass(frozen=True)
class Store:
    """A folder with a corpus in it.

    Args:
        folder: Where.
        wait: Seconds to wait for another process that writes.
        identity: Which store it must be; None for whatever is there. Every method raises StoreError for another one.
    """

    folder: Path
    wait: float = 30.0
    identity: str | None = None

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def version(self) -> Version:
        """Which state it has; raises as `read` does."""
        with self._reading() as (database, version):
            return read_version(database, version)

    def meta(self) -> dict[str, Any]:
        """The settings and fingerprints alone."""
        with self._reading() as (database, _):
            meta = read_meta(database)
            meta.pop("state", None)
            return meta

    def read(self, known: Mapping[str, bytes] | None = None) -> State:
        """One whole state.

        Args:
            known: Checksums of documents that need not be read if they are still the same.

        Raises:
            StoreError: Where there is no store, its format is newer, or something is not as it was written.
        """
        with self._reading() as (database, version):
            if version < FORMAT:
                return format1.read(database)[0]
            stored = read_version(database, version)
            if stored.digest != digest_of(database):
                raise ValueError("its state is not the one that was written")
            found = read_state(database, stored, known or {})
            if found.lost:
                names = ", ".join(repr(id[:80]) for id in found.lost[:5])
                raise ValueError(f"{len(found.lost)} of its documents are not as they were written: {names}")
            return found.state

    def vectors(self, space: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these vectors that are there and whole."""
        with self._reading() as (database, version):
            if version < FORMAT:
                stored = format1.read(database)[1]
                return {key: stored[key] for key in keys if key in stored}
            return read_vectors(database, space, keys)

    def space(self, same: Names) -> int | None:
        """The number of the embedder's space that `same` says yes to, by its fingerprint."""
        with self._reading() as (database, version):
            if version < FORMAT:
                maker = read_meta(database)["embedder"]
                return 1 if maker is not None and same(maker["fingerprint"]) else None
            return find_space(database, same)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        with self._same_place(), reading(self.folder) as (database, version):
            self._check_identity(database, version)
            yield database, version

    @contextmanager
    def _same_place(self) -> Iterator[None]:
        """Where a store that was opened must still be."""
        if self.identity is not None and not exists(self.folder):
            raise StoreError(
                f"The store that was open at {self.folder} is not there any more: it was deleted or moved. Nothing was "
                f"written. Put it back, or open it where it is now; save(folder) keeps what is in memory in another folder."
            )
        yield

    def _check_identity(self, database: sqlite3.Connection, version: int) -> None:
        if self.identity is not None and read_version(database, version).identity != self.identity:
            raise StoreError(
                f"The store at {self.folder} is another one than was opened: it was made anew, or replaced by another "
                f"store. Nothing was written. Open it again to work with what is there; save(folder) keeps what is in "
                f"memory in another folder."
            )

    def prepare(self, meta: Mapping[str, Any], *, new: bool = True) -> None:
        """Make an empty store where there is none, and bring one of an older format over.

        Args:
            meta: Settings and fingerprints of a store that is made.
            new: Whether one may be made; StoreError otherwise.
        """
        if new and self.identity is None and not exists(self.folder):
            check_target(self.folder)
            create(self.folder)
            with self.transaction() as database:
                if not read_meta(database):
                    put_meta(database, meta)
                    put_state(database, 0, new_identity())
            return
        with self.transaction():
            pass

    def keep_vectors(self, fingerprint: Mapping[str, Any], same: Names, vectors: Mapping[bytes, bytes]) -> int:
        """Put vectors into their embedder's space, outside of any state; the number of the space."""
        with self.transaction() as database:
            space = find_space(database, same)
            if space is None:
                found = database.execute(
                    "INSERT INTO spaces(fingerprint) VALUES (?) RETURNING number", (json.dumps(dict(fingerprint)),)
                )
                space = int(found.fetchone()[0])
            put_vectors(database, space, vectors)
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
            row: The rows of a document, asked for where the store has none with its checksum.
            shards: All of them, their memories in the folder; asked for when nobody else can take these away any more.
            expected: The version that this state was made from: None is returned, and nothing written, where the
                store has gone on since, or back to a copy. None for whatever there is.
            vectors: For each space, what gives those that passages name and the store lacks.

        Raises:
            StoreError: Where another writer holds it, or the disk refuses; the store is what it was.
        """
        with self.transaction() as database:
            stored = read_version(database, FORMAT)
            if expected is not None and not stored.is_state(expected):
                return None
            if stored.digest != digest_of(database):
                raise damaged(self.folder, "its state is not the one that was written")
            keys = put_documents(database, checksums, row)
            for space, lacking in vectors.items():
                put_vectors(database, space, lacking(missing_vectors(database, space, keys)))
            put_shards(database, shards())
            put_meta(database, meta)
            return put_state(database, stored.generation + 1, stored.identity or new_identity())

    def rewrite(
        self,
        database: sqlite3.Connection,
        state: State,
        vectors: Mapping[int, Mapping[bytes, bytes]],
        spaces: Mapping[int, str],
    ) -> None:
        """End a `transaction` by writing all rows anew: this state and these vectors, and nothing else."""
        with refused(self.folder), fresh(self.folder) as path:
            fill(path, state, vectors, spaces)
            overwrite(database, path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction on a store of the format in use; one of an older format is carried over first."""
        with self._same_place(), writing(self.folder, self.wait) as (database, version):
            self._check_identity(database, version)
            if version == FORMAT:
                yield database
                return
            with damage(self.folder):
                state, vectors = format1.read(database)
            for folder in {row.folder for row in state.shards if row.folder}:
                memory_files.write_manifest(memory_files.locate(self.folder, folder), folder)
            maker = state.meta["embedder"]
            spaces = {} if maker is None else {1: json.dumps(maker["fingerprint"])}
            self.rewrite(database, state, {1: vectors} if maker else {}, spaces)
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
        elif any(not is_fresh_name(entry.name) for entry in folder.iterdir()):
            raise original_store.refusal(folder) or StoreError(
                f"Expected an empty folder or a store at {folder}, found other files. Pass another folder; these were left."
            )
        if not os.access(folder, os.W_OK):
            raise StoreError(f"The folder {folder} cannot be written to. Change its permissions, or pass another one.")
    elif folder.exists():
        raise StoreError(f"Expected a folder at {folder}, found a file. Pass another path; the file was left.")
    return folder
