"""What may lie in a store's folder: files and folders of the store's own, by names of its own form.

A store may come from anybody. So nothing in it is followed, opened or removed that could be something else: no links, no
second names of other files, no FIFOs, sockets or devices, no names that lead out of the folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError, StoreError

DATABASE = "memorag.sqlite3"
JOURNAL = f"{DATABASE}-journal"
"""By which SQLite takes back what was broken off."""
MEMORIES = "memories"
"""The folder beside the database with what memories keep for themselves."""
FRESH = f".{DATABASE}."
"""How files begin that are written beside the database; a stop may leave one behind."""

_FRESH = re.compile(rf"{re.escape(FRESH)}[0-9a-f]{{32}}")  # .memorag.sqlite3.0f3c…, 32 digits
_MEMORY = re.compile(r"[0-9a-f]{40}")  # 1b3fe12abe18cf78ff154650f4bd3b66854552a0
_UNFINISHED = re.compile(r"\.[0-9a-f]{40}\.[0-9a-f]{32}")  # .1b3fe1….0f3c…

_WAL = (f"{DATABASE}-wal", f"{DATABASE}-shm")
_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
"""With which a journal begins; one that ends with it names another journal, which SQLite would delete."""

_SPARSE = 1000
"""Times that a file may be larger than its room on the disk; compressing file systems stay below."""
_SMALL = 1 << 26
"""Bytes up to which a file may have any size in relation to its room."""


def is_fresh_name(name: str) -> bool:
    """Whether this is how a store names a file that is not finished."""
    return _FRESH.fullmatch(name) is not None


def is_memory_name(name: object) -> bool:
    """Whether this is how a store names the folder of a memory."""
    return isinstance(name, str) and _MEMORY.fullmatch(name) is not None


def is_unfinished_name(name: str) -> bool:
    """Whether this is how a store names the folder of a memory that is not finished."""
    return _UNFINISHED.fullmatch(name) is not None


def as_folder(given: object) -> Path:
    """A folder as it was passed, as a path.

    Raises:
        InputError: For what is no path of a folder: an empty one, one with NUL, other types.
    """
    name = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(name, str) or not str(given) or "\0" in name:
        raise InputError(f"Expected the path of a folder, a str or a Path, found {str(given)[:80]!r}.")
    return Path(name)


def status(path: Path) -> os.stat_result | None:
    """Of what is at a path, a link itself; None where nothing is."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise
    except OSError as error:  # a name of 300 characters, a path beyond the limit, links in a circle
        raise StoreError(
            f"{str(path)[:200]} cannot be used ({error.strerror or error}). Nothing was opened. Pass another folder."
        ) from error


def check_layout(folder: Path) -> None:
    """Look at the names of a store, without following or opening anything.

    Raises:
        StoreError: Where one of them is not what a store keeps under it.
    """
    _check_file(folder, DATABASE, names=_fresh_names(folder))
    _check_file(folder, JOURNAL)
    _check_journal(folder / JOURNAL)
    for name in _WAL:
        if status(folder / name) is not None:
            raise StoreError(
                f"Found {name} in the store at {folder}: no store has one. Nothing was opened. If it came from another "
                f"program, close that, or let it checkpoint and leave SQLite's WAL mode."
            )
    check_folder(folder / MEMORIES)


def check_folder(path: Path) -> None:
    """Raises StoreError where there is something at this path that is no folder itself."""
    found = status(path)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise _refused(path, "a folder", found)


def check_tree(path: Path) -> None:
    """Raises StoreError where this folder, or anything below it, is neither a folder nor a plain file of one name."""
    check_folder(path)
    for entry in _below(path):
        found = status(entry)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            _check_plain(entry, found)


def size_of(folder: Path) -> int:
    """Bytes of all plain files in a folder; links are not followed."""
    sizes = [found.st_size for path in _below(folder) if (found := status(path)) and stat.S_ISREG(found.st_mode)]
    return sum(sizes)


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=False):
        yield from (Path(place, name) for name in (*folders, *files))


def _check_file(folder: Path, name: str, names: int = 1) -> None:
    path = folder / name
    for last in (False, False, True):  # a file that is being made has a second name for a moment
        found = status(path)
        if found is None or (stat.S_ISREG(found.st_mode) and found.st_nlink <= names):
            break
        if last or not stat.S_ISREG(found.st_mode):
            _check_plain(path, found, names)
        names = _fresh_names(folder) if name == DATABASE else 1


def _fresh_names(folder: Path) -> int:
    """How many names of a store's own its database has: one, and those it was made under."""
    own = status(folder / DATABASE)
    if own is None or own.st_nlink == 1:
        return 1
    fresh = [status(folder / name) for name in os.listdir(folder) if is_fresh_name(name)]
    return 1 + sum(found is not None and (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino) for found in fresh)


def _check_plain(path: Path, found: os.stat_result, names: int = 1) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "a plain file", found)
    if found.st_nlink > names:
        raise StoreError(
            f"{path} is a file that has {found.st_nlink} names (hard links), so that a change of the store would change "
            f"what is elsewhere. Nothing was opened. Copy the folder (`cp -r`, not `cp -l`), and use the copy."
        )
    blocks = getattr(found, "st_blocks", None)  # of 512 bytes; not everywhere
    if blocks is not None and found.st_size > _SMALL and found.st_size > _SPARSE * 512 * (blocks + 1):
        raise StoreError(
            f"{path} says that it has {found.st_size:,} bytes, and takes {512 * blocks:,} on the disk. Nothing was read. "
            f"Restore it from a copy."
        )


def _check_journal(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.seek(-len(_MAGIC), os.SEEK_END)
            foreign = file.tell() > 0 and file.read(len(_MAGIC)) == _MAGIC
    except OSError:  # none, one that has just ended, or one that is shorter than that
        return
    if foreign:
        raise StoreError(
            f"{path} names a journal of several databases, which no store has; SQLite would delete what it names. Nothing "
            f"was opened. Restore the store from a copy."
        )


def _refused(path: Path, expected: str, found: os.stat_result) -> StoreError:
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a file",
    }
    what = kinds.get(stat.S_IFMT(found.st_mode), "something else")
    return StoreError(
        f"Expected {expected} at {path}, found {what}. A store holds files and folders of its own alone; nothing was opened. "
        f"Restore it from a copy, or memorize the documents again into another folder."
    )
