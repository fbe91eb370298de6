"""Memories on disk: one folder each, named by content, complete or absent, with the checksum of every file.

DIR/memories/NAME/             what the memory itself saved: safetensors and JSON
DIR/memories/NAME/files.json   the name, size and XXH3 of each file, and a checksum of this list ("seal")
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import xxhash

from ..errors import MemoRAGError, MemoryModelError, StoreError
from .paths import MEMORIES, check_folder, check_tree, is_memory_name, is_unfinished_name
from .sqlite import refused, sync

T = TypeVar("T")

MANIFEST = "files.json"

_CHUNK = 1 << 24
"""Bytes that are read at once."""
_LARGEST = 1 << 24
"""Bytes of a manifest, at most: a line for each file."""
_ABANDONED = 3600.0
"""Seconds after which unfinished work that nobody touched is taken to be interrupted."""


def folder_of(folder: Path, name: str) -> Path:
    """Where a memory of this name is, or will be; nothing on the way there leads out of the store.

    Raises:
        MemoryModelError: For a name that no memory has.
        StoreError: Where the folder of the memories is a link, or no folder.
    """
    if not is_memory_name(name):
        raise MemoryModelError(
            f"Expected the name of a memory's folder, 40 digits of a hash, found {str(name)[:80]!r}. Nothing was opened. "
            f"`memorag repair` forms the memory again from its documents."
        )
    check_folder(folder / MEMORIES)
    return folder / MEMORIES / name


def locate(folder: Path, name: str) -> Path:
    """The folder of a memory, if there are plain files and folders in it alone.

    Raises:
        MemoryModelError: Otherwise.
    """
    path = folder_of(folder, name)
    try:
        check_tree(path)
        if not path.is_dir():
            raise FileNotFoundError(f"there is no folder {path}")
    except (StoreError, OSError) as error:
        raise _unusable(path, error) from error
    return path


def exists(folder: Path, name: str) -> bool:
    """Whether there is something under a memory's name."""
    return folder_of(folder, name).is_dir()


def keep(folder: Path, name: str, save: Callable[[Path], object]) -> None:
    """Save a memory under the name of its content, completely or not at all. One that is there already is kept.

    Raises:
        StoreError: Where the disk refuses.
    """
    target = folder_of(folder, name)
    if target.is_dir():
        return
    unfinished = target.with_name(f".{name}.{uuid4().hex}")
    try:
        with refused(folder):
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            save(unfinished)
            write_manifest(unfinished, name)
            if not target.is_dir():  # another process may have been as fast
                os.replace(unfinished, target)
            sync(target.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_manifest(path: Path, name: str) -> None:
    """Write the size and checksum of every file of a memory beside them, and have all of it on the disk."""
    files = {file.relative_to(path).as_posix(): _hash(file) for file in sorted(path.rglob("*")) if file.is_file()}
    files.pop(MANIFEST, None)
    manifest = {"name": name, "files": files}
    (path / MANIFEST).write_text(json.dumps({**manifest, "seal": _checksum(manifest)}), "utf-8")
    for file in (*(path / file for file in files), path / MANIFEST, path):
        sync(file)


def check(folder: Path, name: str) -> Path:
    """The folder of a memory, after a check that every file in it is as it was written.

    Raises:
        MemoryModelError: Otherwise; the message names the file.
    """
    path = locate(folder, name)
    try:
        manifest: Any = json.loads(_bounded(path / MANIFEST))
        expected = {"name": name, "files": manifest["files"]}
        if manifest["seal"] != _checksum(expected):
            raise ValueError(f"{MANIFEST} is not as it was written")
        for file, size_and_hash in expected["files"].items():
            if not _is_inside(file):
                raise ValueError(f"{file[:80]!r} is no name of a file in it")
            if _hash(path / file) != size_and_hash:
                raise ValueError(f"{file} is not as it was written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _unusable(path, error) from error
    return path


def load(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of a memory's files, which may hold anything.

    Raises:
        MemoryModelError: Where they do not hold what they must.
    """
    try:
        return read(path)
    except MemoRAGError:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> MemoryModelError:
    return MemoryModelError(
        f"The memory at {path} cannot be used ({type(error).__name__}: {error}). `memorag repair` forms it again from its "
        f"documents."
    )


def _is_inside(file: str) -> bool:
    """Whether a name from a manifest is of a file below the memory's folder."""
    parts = file.split("/")
    return "\0" not in file and not any(part in ("", ".", "..") for part in parts) and not Path(file).is_absolute()


def _bounded(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path.name} is larger than {_LARGEST:,} bytes")
    return path.read_text("utf-8")


def drop(folder: Path, name: str) -> None:
    """Remove a memory, if it is there."""
    shutil.rmtree(folder_of(folder, name), ignore_errors=True)


def drop_all_but(folder: Path, names: Iterable[str]) -> None:
    """Remove the memories with other names, and what interrupted work left unfinished.

    What does not have the form of a memory's folder stays.
    """
    kept = set(names)
    check_folder(folder / MEMORIES)
    for orphan in (folder / MEMORIES).glob("*"):
        ours = is_memory_name(orphan.name) or (is_unfinished_name(orphan.name) and abandoned(orphan))
        if ours and orphan.name not in kept and not orphan.is_symlink():
            shutil.rmtree(orphan, ignore_errors=True)


def abandoned(path: Path) -> bool:
    """Whether unfinished work has not been touched for so long that it must have been interrupted.

    A time in the future means that a clock was set back; then the work may still be going on.
    """
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED
    except OSError:
        return False


def _hash(path: Path) -> list[Any]:
    """Size in bytes and XXH3 of a file."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return [path.stat().st_size, digest.hexdigest()]


def _checksum(manifest: dict[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(manifest, sort_keys=True).encode())
