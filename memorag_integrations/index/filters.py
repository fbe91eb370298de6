"""Metadata filters: which passages may compete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ..errors import InputError, raised_as
from ..text.metadata import plain_metadata

Predicate = Callable[[Mapping[str, Any]], bool]
Filters = Mapping[str, Any] | Predicate
"""Which passages may compete, by their metadata:

    {"kind": "novel"}                                     equal
    {"kind": ["novel", "letter"]}                         one of
    {"year": {"$gte": 1900, "$lt": 1950}}                 every operator holds; see `OPERATORS`
    {"$or": [{"kind": "novel"}, {"year": {"$gt": 2000}}]} `$and`, `$or` of filters, `$not` of one
    lambda metadata: …                                    a function of the metadata that says yes or no
"""

_Test = Callable[[Any, Any], bool]


def filter_predicate(filters: Filters) -> Predicate:
    """`filters` as a function of the metadata.

    Raises:
        InputError: For an operator that is not in `OPERATORS`, an operand of the wrong type, or what is no filter.
    """
    if callable(filters):
        return _of_caller(filters)
    if not isinstance(filters, Mapping):
        raise InputError(
            f"filters must be a mapping from metadata keys to values, or a function of the metadata that says yes or "
            f"no; found {type(filters).__name__}."
        )
    try:
        tests = [_clause(key, value) for key, value in filters.items()]
    except RecursionError:
        raise InputError("The filters are nested too deeply. Join conditions in one $and or $or.") from None
    return lambda metadata: all(test(metadata) for test in tests)


def _of_caller(function: Predicate) -> Predicate:
    """A caller's function of the metadata, whose exceptions and answers are checked."""

    def accepts(metadata: Mapping[str, Any]) -> bool:
        with raised_as(
            InputError, f"The filter function could not be asked about metadata with the keys {_keys(metadata)}"
        ):
            return bool(function(metadata))

    return accepts


def _keys(metadata: Mapping[str, Any]) -> str:
    return ", ".join(repr(key)[:40] for key in list(metadata)[:10]) or "(none)"


def _clause(key: str, value: Any) -> Predicate:
    if key in ("$and", "$or"):
        return _combination(key, value)
    if key == "$not":
        denied = filter_predicate(value)
        return lambda metadata: not denied(metadata)
    if isinstance(key, str) and key.startswith("$"):
        raise _unknown(key)
    if isinstance(value, Mapping) and any(isinstance(name, str) and name.startswith("$") for name in value):
        return _condition(key, value)
    if isinstance(value, list | tuple | set | frozenset):
        return _condition(key, {"$in": list(value)})
    return _condition(key, {"$eq": value})


def _combination(operator: str, value: Any) -> Predicate:
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"The filter operator {operator} takes a list of at least one filter, found {value!r}.")
    members = [filter_predicate(member) for member in value]
    combine = all if operator == "$and" else any
    return lambda metadata: combine(member(metadata) for member in members)


def _condition(key: str, operators: Mapping[str, Any]) -> Predicate:
    """All operators hold for the value of one key."""
    tests: list[Predicate] = []
    for operator, operand in operators.items():
        if operator == "$not":
            denied = _clause(key, operand)
            tests.append(lambda metadata, denied=denied: not denied(metadata))  # type: ignore[misc]
        else:
            tests.append(_comparison(key, operator, operand))
    return lambda metadata: all(test(metadata) for test in tests)


def _comparison(key: str, operator: str, operand: Any) -> Predicate:
    if operator not in OPERATORS:
        raise _unknown(operator)
    test, kinds, expected = OPERATORS[operator]
    if kinds is not None and (not isinstance(operand, kinds) or isinstance(operand, bool)):
        raise InputError(
            f"The filter operator {operator} of {key!r} takes {expected}, found {operand!r} ({type(operand).__name__})."
        )
    absent = operator in ("$ne", "$nin")

    def holds(metadata: Mapping[str, Any]) -> bool:
        if key not in metadata:
            return absent
        try:
            return test(metadata[key], operand)
        except (ArithmeticError, RecursionError, TypeError, ValueError):
            raise InputError(
                f"The filter operator {operator} cannot compare {key!r}: a passage holds {metadata[key]!r} "
                f"({type(metadata[key]).__name__}), the filter {operand!r} ({type(operand).__name__}). Use values of one "
                f"type."
            ) from None

    return holds


def _unknown(operator: str) -> InputError:
    return InputError(
        f"There is no filter operator {operator!r}. Use one of {', '.join([*OPERATORS, '$and', '$or', '$not'])}, or a "
        f"function of the metadata."
    )


def _pair(value: Any, operand: Any) -> tuple[Any, Any]:
    """A stored value and an operand as they can be compared: a date with its ISO form, a moment with a day."""
    if isinstance(value, datetime):
        if isinstance(operand, str):
            return _parsed(value, operand, datetime.fromisoformat)
        if isinstance(operand, date) and not isinstance(operand, datetime):
            return value, datetime.combine(operand, time(), value.tzinfo)
        return value, operand
    if isinstance(value, date):
        if isinstance(operand, str):
            return _parsed(value, operand, date.fromisoformat)
        if isinstance(operand, datetime):
            return datetime.combine(value, time(), operand.tzinfo), operand
        return value, operand
    if isinstance(operand, str) and not isinstance(value, str) and isinstance(plain := plain_metadata(value), str):
        return plain, operand  # a UUID, a path, a decimal by its text
    return value, operand


def _parsed(value: Any, operand: str, parse: Callable[[str], Any]) -> tuple[Any, Any]:
    try:
        return value, parse(operand)
    except ValueError:
        return plain_metadata(value), operand


def _equal(value: Any, operand: Any) -> bool:
    one, other = _pair(value, operand)
    return bool(one == other) or bool(value == operand)


def _among(value: Any, operands: Sequence[Any]) -> bool:
    return any(_equal(value, operand) for operand in operands)


def _ordered(compare: Callable[[Any, Any], bool]) -> _Test:
    return lambda value, operand: bool(compare(*_pair(value, operand)))


_ORDERED = (int, float, str, date, time, timedelta, Decimal)
_LISTS = (list, tuple, set, frozenset)

OPERATORS: Mapping[str, tuple[_Test, tuple[type, ...] | None, str]] = {
    "$eq": (_equal, None, "any value"),
    "$ne": (lambda value, operand: not _equal(value, operand), None, "any value"),
    "$gt": (_ordered(lambda value, operand: value > operand), _ORDERED, "a number, a text or a date"),
    "$gte": (_ordered(lambda value, operand: value >= operand), _ORDERED, "a number, a text or a date"),
    "$lt": (_ordered(lambda value, operand: value < operand), _ORDERED, "a number, a text or a date"),
    "$lte": (_ordered(lambda value, operand: value <= operand), _ORDERED, "a number, a text or a date"),
    "$in": (_among, _LISTS, "a list"),
    "$nin": (lambda value, operands: not _among(value, operands), _LISTS, "a list"),
}
"""Each operator: its test of (stored value, operand), the types of its operand, and these in words. A passage without the
key passes `$ne` and `$nin` alone."""
