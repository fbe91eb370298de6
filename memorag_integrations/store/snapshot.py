"""An engine as a pickle or a copy: a corpus in RAM travels as a snapshot of its store, one that lives in a store as its folder.

A snapshot is a ZIP of a store folder. It is the caller who pickles; nothing here reads a pickle.
"""

from __future__ import annotations

import io
import pickle
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InputError, StoreError

VERSION = 1


def packed(save: Callable[[Path], None]) -> bytes:
    """A store as bytes.

    Args:
        save: Saves it to a folder that is not there yet.
    """
    with tempfile.TemporaryDirectory(prefix="memorag-") as temporary:
        folder = Path(temporary) / "store"
        save(folder)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    file.write(path, path.relative_to(folder).as_posix())
        return archive.getvalue()


def unpacked(snapshot: bytes) -> tempfile.TemporaryDirectory[str]:
    """A folder with the store of a snapshot; it is deleted with the object that is returned.

    Raises:
        StoreError: Where the bytes are not a snapshot, or name a file outside of it.
    """
    temporary = tempfile.TemporaryDirectory(prefix="memorag-")
    try:
        with zipfile.ZipFile(io.BytesIO(snapshot)) as file:
            for entry in file.infolist():
                path = PurePosixPath(entry.filename)
                if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
                    raise StoreError(f"The snapshot names a file outside of itself: {entry.filename!r}.")
                target = Path(temporary.name) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read(entry))
        return temporary
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        temporary.cleanup()
        raise StoreError(
            f"Expected a snapshot of a store: {error}. Make it again, or save the store and load it."
        ) from error


def check_version(state: Mapping[str, Any]) -> None:
    """Raises StoreError for the state of a pickle that this version cannot read."""
    if state.get("version") != VERSION:
        raise StoreError(
            f"Expected a pickle of version {VERSION}, found {state.get('version')!r}: it was made by another version of "
            f"memorag-integrations. Pickles are for copies between processes; keep a corpus with save(folder)."
        )


def check_travel(**models: object) -> None:
    """Refuse models that cannot go to another process; see `check_travels`."""
    for name, model in models.items():
        check_travels(name, model)


def check_travels(name: str, model: object) -> None:
    """Refuse a model that cannot go to another process, such as one that holds weights or a lock.

    Raises:
        InputError: With what to do.
    """
    for dumps in (pickle.dumps, _by_value()):
        try:
            if dumps is not None:
                dumps(model)
                return
        except Exception as error:  # a lock, an open file, a class that is not found by name
            reason = error
    raise InputError(
        f"The {name} {type(model).__name__} cannot be pickled: {reason}. Save the store, and open it in the other process "
        f"with a {name} made there: MemoRAG.load(folder, …)."
    ) from reason


def _by_value() -> Callable[[object], bytes] | None:
    """What clusters pickle classes with that are defined in a script, where it is installed."""
    try:
        from cloudpickle import dumps
    except ImportError:
        return None
    found: Callable[[object], bytes] = dumps
    return found


def keep_with(owner: object, temporary: tempfile.TemporaryDirectory[str]) -> None:
    """Keep a folder for as long as `owner` lives: memories may be read from it later."""
    weakref.finalize(owner, temporary.cleanup)
