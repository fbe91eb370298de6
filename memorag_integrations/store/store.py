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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import StoreError
from . import format1, memory_files, original_memorag, tables
from .records import DocumentRow, ShardRow, State
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
    writing,
)
from .tables import Examination, Names

__all__ = ["DATABASE", "FORMAT", "Examination", "Store", "check_target", "exists"]


@dataclass(frozen=True)
class Store:
    """A folder with a corpus in it.

    Args:
        folder: The folder.
        wait: Seconds to wait for another process that writes.
    """

    folder: Path
    wait: float = 30.0

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def generation(self) -> int:
        """The number of changes that the store has seen. Raises as `read` does."""
        with reading(self.folder) as (database, version):
            return tables.generation_of(tables.read_meta(database), version)[0]

    def meta(self) -> dict[str, Any]:
        """The settings and fingerprints alone."""
        with reading(self.folder) as (database, _):
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
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                return format1.read(database)[0]
            meta, generation, intact = _read_meta(database, version)
            if not intact:
                raise ValueError("its state is not the one that was written")
            examination = tables.read_state(database, generation, meta, known or {})
            if examination.lost:
                names = ", ".join(repr(id[:80]) for id in examination.lost[:5])
                raise ValueError(f"{len(examination.lost)} of its documents are not as they were written: {names}")
            return examination.state

    def examine(self) -> Examination:
        """What can be read of a state that may be damaged.

        Raises:
            StoreError: Where its rows cannot be read at all, or its format is another.
        """
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                raise StoreError(
                    f"The store at {self.folder} has format {version}. Open and change it once to carry it over."
                )
            meta, generation, intact = _read_meta(database, version)
            return replace(tables.read_state(database, generation, meta, {}), intact=intact)

    def vectors(self, space: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these vectors that are there and as they were written."""
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                stored = format1.read(database)[1]
                return {key: stored[key] for key in keys if key in stored}
            return tables.read_vectors(database, space, keys)

    def broken(self, space: int) -> int:
        """How many vectors of a space are not as they were written."""
        with reading(self.folder) as (database, _):
            return tables.count_broken_vectors(database, space)

    def space(self, same: Names) -> int | None:
        """The number of the embedder's space whose fingerprint `same` accepts; None where there is none."""
        with reading(self.folder) as (database, version):
            if version < FORMAT:
                embedder = tables.read_meta(database)["embedder"]
                return 1 if embedder is not None and same(embedder["fingerprint"]) else None
            return tables.find_space(database, same)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, meta: Mapping[str, Any]) -> None:
        """Make an empty store where there is none, and carry one of an older format over."""
        if not exists(self.folder):
            check_target(self.folder)
            create(self.folder)
            with self.transaction() as database:
                if not tables.read_meta(database):
                    tables.write_meta(database, meta)
                    tables.write_generation(database, 0)
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
        expected: int | None,
        vectors: Mapping[int, Callable[[Sequence[bytes]], Mapping[bytes, bytes]]],
    ) -> int | None:
        """Make these documents and shards the state; only what differs is written. The new generation.

        Args:
            meta: Settings and fingerprints.
            checksums: Of all documents, in their order.
            row: Gives the row of a document; called where the store has none with its checksum.
            shards: Gives all shards, once their memories are in the folder. Called inside the transaction, when no other
                process can remove those memories any more.
            expected: The generation that this state was made from. Where the store has another one by now, None is
                returned and nothing written. None accepts any.
            vectors: For each space, gives the vectors that passages refer to and the store lacks.

        Raises:
            StoreError: Where another writer holds the store, or the disk refuses; the store is what it was.
        """
        with self.transaction() as database:
            generation, digest = tables.generation_of(tables.read_meta(database), FORMAT)
            if expected is not None and generation != expected:
                return None
            if digest != tables.digest(database):
                raise damaged(self.folder, "its state is not the one that was written")
            keys = tables.write_documents(database, checksums, row)
            for space, vectors_of in vectors.items():
                lacking = tables.missing_vectors(database, space, keys)
                tables.write_vectors(database, space, vectors_of(lacking))
            tables.write_shards(database, shards())
            tables.write_meta(database, meta)
            tables.write_generation(database, generation + 1)
            return generation + 1

    def rewrite(self, state: State, vectors: Mapping[int, Mapping[bytes, bytes]], spaces: Mapping[int, str]) -> None:
        """Replace the database by a new one with this state and these vectors; to be called inside a `transaction`."""
        with refused(self.folder), fresh(self.folder) as path:
            tables.fill(path, state, vectors, spaces)
            os.replace(path, self.folder / DATABASE)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction on a store of the format in use. A store of an older format is carried over first."""
        with writing(self.folder, self.wait) as (database, version):
            if version == FORMAT:
                yield database
                return
            with damage(self.folder):
                state, vectors = format1.read(database)
            for name in {row.folder for row in state.shards if row.folder}:
                memory_files.write_manifest(memory_files.folder_of(self.folder, name), name)
            embedder = state.meta["embedder"]
            spaces = {} if embedder is None else {1: json.dumps(embedder["fingerprint"])}
            self.rewrite(state, {1: vectors} if embedder else {}, spaces)
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
        elif error := missing_database(folder):
            raise error
        elif any(not entry.name.startswith(FRESH) for entry in folder.iterdir()):
            raise original_memorag.refusal(folder) or StoreError(
                f"Expected an empty folder or a store at {folder}, found other files. Pass another folder; these were left."
            )
        if not os.access(folder, os.W_OK):
            raise StoreError(f"The folder {folder} cannot be written to. Change its permissions, or pass another one.")
    elif folder.exists():
        raise StoreError(f"Expected a folder at {folder}, found a file. Pass another path; the file was left.")
    return folder


def _read_meta(database: sqlite3.Connection, version: int) -> tuple[dict[str, Any], int, bool]:
    """Settings and fingerprints, the generation, and whether the digest is the one of what the tables hold."""
    meta = tables.read_meta(database)
    generation, digest = tables.generation_of(meta, version)
    del meta["state"]
    return meta, generation, digest == tables.digest(database)
