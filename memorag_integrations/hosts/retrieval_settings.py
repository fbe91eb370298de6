"""The settings of a host's retriever, kept beside the store it was saved with: one JSON file, which a load may override."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import InputError, StoreError
from ..index.filters import Filters, filter_predicate
from ..text.metadata import TAG, decode_metadata, encode_metadata
from .arguments import check_retrieval

FILE = "retriever.json"
_FORMAT = 1
_TYPES: Mapping[str, tuple[type, ...]] = {
    "k": (int, type(None)),
    "budget": (int, type(None)),
    "mode": (str,),
    "cutoff": (int, float),
    "merge": (bool,),
    "provenance": (bool,),
    "filters": (dict, type(None)),
    "source_key": (str, type(None)),
}


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep settings in the folder of a store: whole, or as they were.

    Args:
        folder: Of the store.
        settings: Some of k, budget, mode, cutoff, merge, provenance, filters (as JSON), source_key.

    Raises:
        StoreError: Where the file cannot be written.
    """
    unfinished = folder / f"{FILE}.{uuid4().hex}"
    try:
        unfinished.write_text(json.dumps({"format": _FORMAT, **settings}, indent=1), "utf-8")
        os.replace(unfinished, folder / FILE)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreError(f"The retriever's settings cannot be written to {folder / FILE}: {error}.") from error


def read_settings(folder: Path) -> dict[str, Any]:
    """What `write_settings` kept; nothing where there is no such file, as in stores of the engine alone.

    Raises:
        StoreError: For a file that is not as it was written, or is of a newer version.
    """
    try:
        stored = json.loads((folder / FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"Expected the retriever's settings as JSON in {folder / FILE}: {error}. {_REMEDY}") from error
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise StoreError(
            f"Expected settings of format {_FORMAT} in {folder / FILE}, found {str(stored)[:80]}. Upgrade memorag-integrations "
            f"if a newer version wrote it. {_REMEDY}"
        )
    settings = {name: value for name, value in stored.items() if name in _TYPES}
    wrong = [name for name, value in settings.items() if not _fits(value, _TYPES[name])]
    if not wrong:
        try:
            check_retrieval(
                settings.get("k"),
                settings.get("budget"),
                settings.get("cutoff", 0.0),
                settings.get("mode", "memorag"),
                None,
                settings.get("merge", False),
            )
            return settings
        except InputError as error:
            raise StoreError(
                f"The retriever's settings in {folder / FILE} cannot be used: {error} {_REMEDY}"
            ) from error
    raise StoreError(f"{wrong[0]} in {folder / FILE} is {settings[wrong[0]]!r}, which it cannot be. {_REMEDY}")


def filters_to_data(filters: Filters | None) -> dict[str, Any] | None:
    """Filters as JSON. Of a function only its name is kept: a load then asks for the filters."""
    if callable(filters):
        return {_FUNCTION: getattr(filters, "__qualname__", type(filters).__name__)}
    return None if filters is None else encode_metadata(filters, "the filters")


def filters_from_data(data: Mapping[str, Any] | None) -> Filters | None:
    """What `filters_to_data` was given.

    Raises:
        StoreError: Where it was a function, or is of another host: without it, passages that it excludes would be found.
    """
    if data is None:
        return None
    other = next((key for key in data if key.startswith("$") and key not in ("$and", "$or", "$not", TAG)), None)
    if other is not None:
        raise StoreError(
            f"The store was saved with filters that cannot be made again here ({other[1:]}: {str(data[other])[:80]}). Pass "
            f"filters=, or filters=None to search everything."
        )
    try:
        filters: Filters = decode_metadata(data)
        filter_predicate(filters)
        return filters
    except (ValueError, TypeError) as error:
        raise StoreError(f"The filters that the store was saved with cannot be used: {error} Pass filters=.") from error


_FUNCTION = "$function"

_REMEDY = "Delete that file to go on with the default settings; documents and memories are not in it."


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)
