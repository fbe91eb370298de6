"""Metadata filters: which passages may compete."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from numbers import Number
from typing import Any

from ..errors import InputError, MemoRAGError
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
    """`filters` as a function of the metadata. A caller's own function gets a copy of the metadata.

    Raises:
        InputError: For an operator that is not in `OPERATORS`, an operand of the wrong type, an async function, or what is
            no filter. When it is called: where a caller's function raises, or answers with what is to be awaited or iterated.
    """
    if callable(filters):
        return _checked(filters)
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


def _checked(predicate: Predicate) -> Predicate:
    """A caller's function, given a copy of the metadata; what it answers is checked."""
    function: Any = predicate
    while isinstance(function, partial):
        function = function.func
    if _answers_later(function) or _answers_later(getattr(function, "__call__", None)):  # noqa: B004
        raise _not_yes_or_no(predicate, "an async or a generator function")

    def accept(metadata: Mapping[str, Any]) -> bool:
        try:
            answer: Any = predicate(_copied(metadata))
            if inspect.isawaitable(answer) or isinstance(answer, AsyncIterable | Iterator):
                if inspect.iscoroutine(answer):
                    answer.close()  # or Python warns that it was never awaited
                raise _not_yes_or_no(predicate, f"{type(answer).__name__} as its answer")
            return bool(answer)
        except MemoRAGError:
            raise
        except Exception as error:
            raise InputError(
                f"The filter {_name(predicate)} raised {type(error).__name__}. A filter is called with the metadata of each "
                f"passage, and some may lack a key: use metadata.get(…)."
            ) from error

    return accept


def _answers_later(function: Any) -> bool:
    """Whether a call gives something to be awaited or iterated, which is true whatever comes of it."""
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or inspect.isgeneratorfunction(function)
    )


def _not_yes_or_no(predicate: Predicate, found: str) -> InputError:
    return InputError(
        f"A filter must be a plain function of the metadata that says yes or no; found {found} in {_name(predicate)}. What "
        f"must be waited for is asked before the query: pass its result, such as {{'id': {{'$in': […]}}}}."
    )


def _name(predicate: Predicate) -> str:
    return str(getattr(predicate, "__qualname__", type(predicate).__name__))


def _copied(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that may be changed without harm."""
    if all(value is None or isinstance(value, str | Number | date | time | timedelta) for value in metadata.values()):
        return dict(metadata)
    return deepcopy(dict(metadata))


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
                f"The filter operator {operator} cannot compare {key!r}: a passage holds a value of type "
                f"{type(metadata[key]).__name__}, the filter {operand!r} ({type(operand).__name__}). Use values of one type."
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
