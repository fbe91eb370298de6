"""Metadata as JSON and back: JSON's own values as they are, dates, sets, UUIDs, paths and the like in a tagged form.

A tagged value is {"$memorag": TAG, "value": …}:

    tag                                   value                     example
    datetime, date, time                  ISO 8601                  "2024-05-01T09:30:00+02:00"
    timedelta                             [days, seconds, microseconds]
    uuid, path, posix-path, windows-path  text                      "notes/first.md"
    decimal                               text                      "12.50"
    tuple, set, frozenset                 list of encoded values
    dict                                  list of [key, value]: a mapping whose keys are not all text

Numbers of numpy become Python's. Stores that were written before there were tags hold plain JSON, and read as they did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID

import numpy as np

from ..errors import InputError

TAG = "$memorag"

DEEPEST = 100
"""Levels of lists and mappings in a value, at most. Copying, comparing and JSON go to the bottom of Python's stack."""

MOST_DIGITS = 4_000
"""Digits of a whole number, at most. Python refuses to write or read longer ones by default."""

_MOST_BITS = int(MOST_DIGITS * 3.3219)

_PLAIN: Sequence[tuple[type, Callable[[Any], Any]]] = ((str, str.__str__), (int, int), (float, float))
"""JSON's own types; their subclasses (an IntEnum, say) are stored as what they are made of."""

_TEXT: Sequence[tuple[type, str, Callable[[Any], Any]]] = (
    (datetime, "datetime", datetime.isoformat),  # before date: a datetime is a date, too
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (UUID, "uuid", str),
    (Path, "path", str),  # before the pure paths: a Path is one of them
    (PureWindowsPath, "windows-path", str),
    (PurePosixPath, "posix-path", str),
    (Decimal, "decimal", str),
    (timedelta, "timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
)

_DECODE: Mapping[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": UUID,
    "path": Path,
    "windows-path": PureWindowsPath,
    "posix-path": PurePosixPath,
    "decimal": Decimal,
    "timedelta": lambda value: timedelta(*value),
    "tuple": lambda value: tuple(map(_decoded, value)),
    "set": lambda value: set(map(_decoded, value)),
    "frozenset": lambda value: frozenset(map(_decoded, value)),
    "dict": lambda value: {_decoded(key): _decoded(item) for key, item in value},
}


def encode_metadata(metadata: Mapping[str, Any], owner: str, *, deepest: int = DEEPEST) -> dict[str, Any]:
    """`metadata` as JSON holds it; `decode_metadata` gives the same values back.

    Args:
        metadata: Any mapping.
        owner: Whose metadata it is, for the message of an error.
        deepest: Levels of lists and mappings in a value, at most.

    Raises:
        InputError: For a value of a type that is not in the table above, with the key that holds it; for a value that holds
            itself, or is nested deeper; for a number of more than `MOST_DIGITS` digits; for a key that is no text; for what is no mapping.
    """
    if not isinstance(metadata, Mapping):
        raise InputError(f"The metadata of {owner} must be a mapping, found {type(metadata).__name__}.")
    items = []
    for key, value in metadata.items():
        if not isinstance(key, str):
            raise InputError(
                f"The keys of the metadata of {owner} must be text, found {key!r}, which is a {type(key).__name__}. Convert "
                f"it first, for example with str(...)."
            )
        try:
            items.append((key, str.__str__(key), _encoded(value, "", deepest)))
        except _NoForm as error:
            place = f" (at {key}{error.place})" if error.place else ""
            raise InputError(
                f"The metadata of {owner} must be what JSON can hold, dates, sets, tuples, UUIDs or paths, but {key!r} is a "
                f"{error.kind}{place}. Convert it first, for example with str(...)."
            ) from None
        except (_TooDeep, RecursionError):
            raise InputError(
                f"The metadata of {owner} is nested too deeply at {key[:80]!r}, more than {deepest} levels: does that value "
                f"hold itself? Store a text of it, for example json.dumps(...)."
            ) from None
    return _mapping_of(items)


def decode_metadata(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What `encode_metadata` was given.

    Raises:
        ValueError, TypeError: For a tagged value that is not as it was written.
    """
    decoded = _decoded(dict(stored))
    if not isinstance(decoded, dict):
        raise TypeError(f"expected a mapping, found {str(stored)[:80]}")
    return decoded


def plain_metadata(value: Any) -> Any:
    """`value` for people and other programs, in plain JSON without tags: dates in ISO 8601, sets and tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): plain_metadata(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain_metadata, value), key=lambda item: json.dumps(item, default=str))
    if isinstance(value, list | tuple):
        return [plain_metadata(item) for item in value]
    if isinstance(value, np.generic):
        return plain_metadata(_of_numpy(value))
    if isinstance(value, timedelta):
        return value.total_seconds()
    for kind, _, text in _TEXT:
        if isinstance(value, kind):
            return text(value)
    return value


class _NoForm(Exception):
    """A value that has no form in JSON: its type, and its place below the key that holds it, such as ".tags[2]"."""

    def __init__(self, value: Any, place: str, kind: str = "") -> None:
        super().__init__(place)
        self.kind, self.place = kind or type(value).__name__, place


class _TooDeep(Exception):
    """A value that is nested deeper than is allowed."""


def _encoded(value: Any, place: str, deepest: int) -> Any:
    if deepest < 0:
        raise _TooDeep
    if isinstance(value, np.generic):
        value = _of_numpy(value)
    if value is None or isinstance(value, bool):
        return value
    for plain, convert in _PLAIN:
        if isinstance(value, plain):
            if isinstance(value, int) and value.bit_length() > _MOST_BITS:
                raise _NoForm(value, place, f"whole number of more than {MOST_DIGITS:,} digits")
            return convert(value)
    if isinstance(value, Mapping):
        return _mapping_of(
            [(key, _key(key, place), _encoded(item, f"{place}.{key}", deepest - 1)) for key, item in value.items()]
        )
    if isinstance(value, list | tuple | set | frozenset):
        items = [_encoded(item, f"{place}[{i}]", deepest - 1) for i, item in enumerate(value)]
        if isinstance(value, list):
            return items
        if isinstance(value, tuple):
            return {TAG: "tuple", "value": items}
        return {TAG: "set" if isinstance(value, set) else "frozenset", "value": sorted(items, key=json.dumps)}
    for kind, tag, text in _TEXT:
        if isinstance(value, kind) and _readable(tag, written := text(value)):
            return {TAG: tag, "value": written}
    raise _NoForm(value, place)


def _key(key: Any, place: str) -> Any:
    """A key of a mapping: text, a number, True, False or None."""
    if key is None or isinstance(key, str | int | float | np.number):
        return _encoded(key, place, 0)
    raise _NoForm(key, place)


def _mapping_of(items: Sequence[tuple[Any, Any, Any]]) -> dict[str, Any]:
    """A mapping of (key, encoded key, encoded value): as it is where all keys are text, else as a list of pairs."""
    if all(isinstance(key, str) and key != TAG for key, _, _ in items):
        return {key: value for _, key, value in items}
    return {TAG: "dict", "value": [[key, value] for _, key, value in items]}


def _readable(tag: str, written: Any) -> bool:
    """Whether a text can be read again: some libraries' "no date" calls itself a datetime."""
    try:
        _DECODE[tag](written)
        return True
    except (ValueError, TypeError, ArithmeticError):
        return False


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TAG, "value"} and (decode := _DECODE.get(str(value[TAG]))) is not None:
        return decode(value["value"])
    return {key: _decoded(item) for key, item in value.items()}


def _of_numpy(value: np.generic) -> Any:
    """A number, a text or a date of numpy as Python's own; anything else as it is."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else value.astype("datetime64[us]").item()
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else value.astype("timedelta64[us]").item()
    if isinstance(value, np.bool_ | np.number | np.str_ | np.bytes_):
        found = value.item()
        return float(found) if isinstance(value, np.floating) and not isinstance(found, float) else found
    return value
