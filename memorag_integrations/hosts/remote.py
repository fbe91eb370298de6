"""Stores on file systems of fsspec ("s3://…", "memory://…"): a local copy is opened, and an upload is complete or absent.

Object stores cannot rename a folder. An upload goes to a folder of its own, and the last thing written is one small file
that names it; a reader follows that file. So whatever ends an upload, readers find the whole store there was before.

    STORE/memorag-current.json      {"format": 1, "folder": "upload-…", "files": {path: bytes}}
    STORE/upload-…/…                the store
"""

from __future__ import annotations

import json
import logging
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from ..errors import MissingExtraError, StoreError

logger = logging.getLogger(__name__)

CURRENT = "memorag-current.json"
_PREFIX = "upload-"
_FORMAT = 1


def is_remote(folder: str | Path, fs: Any = None) -> bool:
    """Whether a folder is one of fsspec: a URL, or a path in a file system that was passed."""
    return fs is not None or (isinstance(folder, str) and "://" in folder)


def upload(save: Callable[[Path], None], folder: str | Path, fs: Any = None) -> None:
    """Save a store to a file system of fsspec.

    Args:
        save: Saves it to a local folder that is not there yet.
        folder: A URL, or a path in `fs`.
        fs: The file system.

    Raises:
        StoreError: Where the upload fails; what was there before is there as it was.
    """
    system, root = _resolved(folder, fs)
    with tempfile.TemporaryDirectory(prefix="memorag-") as temporary:
        local = Path(temporary) / "store"
        save(local)
        files = {path.relative_to(local).as_posix(): path for path in sorted(local.rglob("*")) if path.is_file()}
        name = f"{_PREFIX}{uuid4().hex}"
        before = _current(system, root, missing_ok=True)
        try:
            for relative, path in files.items():
                target = f"{root}/{name}/{relative}"
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.put_file(str(path), target)
            listed = {relative: path.stat().st_size for relative, path in files.items()}
            for relative, size in listed.items():
                if system.size(f"{root}/{name}/{relative}") != size:
                    raise OSError(f"{relative} did not arrive whole")
            current = {"format": _FORMAT, "folder": name, "files": listed}
            system.pipe_file(f"{root}/{CURRENT}", json.dumps(current).encode("utf-8"))
        except Exception as error:  # whatever a file system raises
            _remove(system, f"{root}/{name}")
            raise StoreError(
                f"The upload to {folder} failed: {error}. What was there before is as it was. Try again."
            ) from error
    if before is not None:
        _remove(system, f"{root}/{before['folder']}")


def download(folder: str | Path, fs: Any = None) -> tempfile.TemporaryDirectory[str]:
    """A local copy of a store on a file system of fsspec; it is deleted with the object that is returned (`keep_with`).

    Args:
        folder: A URL, or a path in `fs`: what `upload` wrote, or a store that was copied there as it is.
        fs: The file system.

    Raises:
        StoreError: Where there is no store, or a file of it is missing or not whole.
    """
    system, root = _resolved(folder, fs)
    copy = tempfile.TemporaryDirectory(prefix="memorag-")
    try:
        current = _current(system, root, missing_ok=False)
        source = root if current is None else f"{root}/{current['folder']}"
        sizes: dict[str, int | None] = {} if current is None else dict(current["files"])
        if current is None:
            sizes = dict.fromkeys(str(path)[len(source) + 1 :] for path in system.find(source))
        for relative, size in sizes.items():
            target = Path(copy.name) / _safe(relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(f"{source}/{relative}", str(target))
            if size is not None and target.stat().st_size != size:
                raise OSError(f"{relative} is not whole")
        return copy
    except Exception as error:  # whatever a file system raises
        copy.cleanup()
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"The store at {folder} cannot be read: {error}.") from error


def keep_with(owner: object, copy: tempfile.TemporaryDirectory[str]) -> None:
    """Keep a local copy for as long as `owner` lives: memories may be read from it later."""
    weakref.finalize(owner, copy.cleanup)


def _resolved(folder: str | Path, fs: Any) -> tuple[Any, str]:
    """The file system, and the path in it."""
    if fs is None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtraError(f"A store at {folder}", "remote") from error
        try:
            fs, path = url_to_fs(str(folder))
        except (ValueError, ImportError) as error:
            raise StoreError(f"There is no file system for {folder}: {error}.") from error
    else:
        path = fs._strip_protocol(str(folder))
    return fs, str(path).rstrip("/")


def _current(system: Any, root: str, *, missing_ok: bool) -> dict[str, Any] | None:
    """What names the store at `root`; None where it lies there as it is, or nothing does."""
    path = f"{root}/{CURRENT}"
    if not system.exists(path):
        if missing_ok or system.exists(f"{root}/memorag.sqlite3"):
            return None
        raise StoreError(f"Expected a store at {root}, found none. Save one with persist or save_local.")
    try:
        current = json.loads(system.cat_file(path))
        name, files = str(current["folder"]), dict(current["files"])
        if current["format"] != _FORMAT or not name.startswith(_PREFIX) or "/" in name:
            raise ValueError(f"found {str(current)[:80]}")
        return {"folder": name, "files": {str(_safe(file)): int(size) for file, size in files.items()}}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} does not name a store: {error}.") from error


def _safe(relative: str) -> PurePosixPath:
    """A path below the store. Raises StoreError for one that leads out of it."""
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in relative:
        raise StoreError(f"The store names a file outside of itself: {relative!r}.")
    return path


def _remove(system: Any, folder: str) -> None:
    with suppress(Exception):
        system.rm(folder, recursive=True)
