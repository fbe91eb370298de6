"""Whether an object has the members of a protocol. Classes are looked at; no property is evaluated.

`isinstance(value, Protocol)` of Python 3.11 reads every property of `value`: a memory model would open its checkpoint,
or raise for a window that is not known yet. Python 3.12 looks at the class alone; the functions here do so everywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T")

_ABSENT = object()


def conforms(value: object, protocol: Callable[..., T]) -> TypeGuard[T]:
    """Whether `value` has every member of `protocol`.

    Args:
        value: Any object. A class is not one of its instances, so it never conforms.
        protocol: A class that derives from `typing.Protocol`.
    """
    return not missing_members(value, protocol)


def missing_members(value: object, protocol: Callable[..., Any]) -> list[str]:
    """The members of `protocol` that `value` lacks, in the order in which the protocol declares them.

    A method counts as missing, too, where it is None, or where the class of `value` derives from the protocol and
    inherits the declaration that has no body. An object that passes attributes on by `__getattr__` is asked for its
    methods alone, since to ask it for a property would evaluate it; it has the properties if it passes on all methods.
    """
    members = protocol_members(protocol)
    if isinstance(value, type):
        return list(members)
    missing, forwarded = set(), set()
    for name, declared in members.items():
        found = inspect.getattr_static(value, name, _ABSENT)
        if found is _ABSENT and declared is not None and callable(_forwarded(value, name)):
            forwarded.add(name)
        elif found is _ABSENT or (declared is not None and not _is_method(found, declared)):
            missing.add(name)
    methods = {name for name, declared in members.items() if declared is not None}
    if forwarded and not missing & methods:
        return []
    return [name for name in members if name in missing]


def protocol_members(protocol: Callable[..., Any]) -> dict[str, FunctionType | None]:
    """The public members of a protocol and of those it derives from: a method's declaration, None for a property."""
    members: dict[str, FunctionType | None] = {}
    assert isinstance(protocol, type)
    for base in reversed(protocol.__mro__):
        if not getattr(base, "_is_protocol", False):
            continue
        names = [*base.__dict__, *inspect.get_annotations(base)]
        for name in names:
            if not name.startswith("_"):
                found = base.__dict__.get(name)
                members[name] = found if isinstance(found, FunctionType) else None
    return members


def _forwarded(value: object, name: str) -> object:
    """What `__getattr__` gives for a name that neither the class of `value` nor `value` itself has; None for nothing."""
    forwards = inspect.getattr_static(type(value), "__getattr__", None) is not None
    return getattr(value, name, None) if forwards else None


def _is_method(found: object, declared: FunctionType) -> bool:
    """Whether what a class holds under a method's name can be called, or makes something that can be."""
    if found is None or (found is declared and _has_no_body(declared)):
        return False
    return callable(found) or hasattr(type(found), "__get__")


def _has_no_body(declared: FunctionType) -> bool:
    """Whether a function is a declaration: a docstring or `...`, nothing else."""
    code: CodeType = declared.__code__
    return not code.co_names and set(code.co_consts) <= {declared.__doc__, None}
