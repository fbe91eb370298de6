"""Models that a store names: built from its settings without trusting them.

A store may come from anybody. Its word never runs code, opens a connection, or reads a model out of the store itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import registry
from ..encoders.pretrained import StoredName
from ..errors import MemoRAGError, StoreError

_MODEL = ("model", "model_name_or_path")
"""Settings that name a model: a folder, or a repository of the hub."""

_IGNORED = ("folder", "cache_dir", "token")
"""Settings that say where files are kept, or by whose right they are had: they are the caller's to give."""

_REPOSITORY = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?")  # BAAI/bge-m3, all-MiniLM-L6-v2


def build_stored(table: Mapping[str, str], config: object, store: Path) -> Any:
    """The embedder or memory model that a store names.

    A repository of the hub is used where it is on this machine already, and never downloaded. Settings of folders and
    caches are ignored.

    Args:
        table: The classes by name; see `registry`.
        config: As stored: {"kind": a name in `table`, …: its constructor's arguments}.
        store: The store's folder.

    Raises:
        StoreError: For settings that no version wrote, and for a model inside the store.
        MemoRAGError: What the model's constructor raises.
    """
    try:
        return registry.build(table, _settings(config, store))
    except MemoRAGError:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise StoreError(
            f"The store at {store} names a model by settings that cannot be used ({type(error).__name__}: {error}). Pass the "
            f"model that made it: load(folder, embedder=…, memory=…)."
        ) from error


def _settings(config: object, store: Path) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        raise StoreError(
            f"Expected the settings of a model in the store at {store}, found {str(config)[:80]!r}. Restore it from a copy, "
            f"or pass the model that made it: load(folder, embedder=…, memory=…)."
        )
    settings: dict[str, Any] = {}
    for name, value in config.items():
        if name in _IGNORED:
            continue
        if name in _MODEL:
            value = _model(value, store)
        elif name == "llm":
            value = _settings(value, store)
            if "model" in value and not Path(value["model"]).is_dir():  # a store never notes another one
                raise StoreError(
                    f"The store at {store} names the language model {str(value['model'])[:200]!r}, which is no folder here. Pass "
                    f"the memory model that made it: load(folder, memory=…)."
                )
        settings[name] = value
    return settings


def _model(name: object, store: Path) -> StoredName:
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise StoreError(
            f"Expected the name or folder of a model in the settings of the store at {store}, found {str(name)[:80]!r}. Pass "
            f"the model that made it: load(folder, embedder=…, memory=…)."
        )
    path = Path(name).expanduser()
    home = store.resolve()
    for place in (Path.cwd() / path, path.resolve(), path.parent.resolve() / path.name):
        if place.is_relative_to(home) or place.is_relative_to(store.absolute()):
            raise StoreError(
                f"The store at {store} names a model inside itself, {name[:200]!r}. It is not opened: what reads models reads "
                f"more than numbers. If you trust the model, copy it elsewhere and pass it: load(folder, embedder=…, "
                f"memory=…)."
            )
    if not path.is_dir() and _REPOSITORY.fullmatch(name) is None:
        raise StoreError(
            f"The store at {store} names the model {name[:200]!r}, which is neither a folder here nor the name of a "
            f"repository. Pass the model that made it: load(folder, embedder=…, memory=…)."
        )
    return StoredName(name)
