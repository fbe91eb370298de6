"""Whether an object has a protocol's members is told by its class; no property is evaluated. Pure Python.

`python tests/test_conformance.py` runs it with any Python that has neither pytest nor numpy.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cached_property, partialmethod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

if __name__ == "__main__":  # by itself, without the package's dependencies
    file = Path(__file__).parents[1] / "memorag_integrations" / "contracts" / "conformance.py"
    spec = importlib.util.spec_from_file_location("conformance", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    conforms, missing_members, protocol_members = module.conforms, module.missing_members, module.protocol_members
else:
    from memorag_integrations.contracts.conformance import conforms, missing_members, protocol_members


@runtime_checkable
class Reader(Protocol):
    @property
    def window(self) -> int:
        """Its window."""

    limit: int

    def read(self, text: str) -> str: ...

    def close(self) -> None:
        """Let go of it."""

    async def aread(self, text: str) -> str:
        return self.read(text)


@runtime_checkable
class Writer(Reader, Protocol):
    def write(self, text: str) -> None: ...


class Evaluated(Exception):
    """A property was read."""


class Full:
    limit = 3

    @property
    def window(self) -> int:
        raise Evaluated

    def read(self, text: str) -> str:
        return text

    def close(self) -> None: ...

    async def aread(self, text: str) -> str:
        return text


class Inheriting(Reader):
    limit = 3

    @property
    def window(self) -> int:
        raise Evaluated

    def read(self, text: str) -> str:
        return text


class Forwarding:
    """Passes every attribute on."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_the_members_of_a_protocol() -> None:
    assert list(protocol_members(Reader)) == ["window", "read", "close", "aread", "limit"]
    assert list(protocol_members(Writer)) == ["window", "read", "close", "aread", "limit", "write"]


def test_no_property_is_evaluated() -> None:
    assert conforms(Full(), Reader)
    assert missing_members(Full(), Writer) == ["write"]

    class Cached(Full):
        @cached_property
        def window(self) -> int:  # type: ignore[override]
            raise Evaluated

    assert conforms(Cached(), Reader)
    assert conforms(Forwarding(Full()), Reader)


def test_all_that_is_missing_is_named() -> None:
    assert missing_members(object(), Reader) == ["window", "read", "close", "aread", "limit"]
    assert missing_members(Forwarding(object()), Reader) == ["window", "read", "close", "aread", "limit"]
    without = type("Without", (), {"window": 1, "limit": 1, "read": Full.read, "close": None, "aread": 3})
    assert missing_members(without(), Reader) == ["close", "aread"]


def test_a_declaration_that_is_inherited_is_no_method() -> None:
    assert missing_members(Inheriting(), Reader) == ["close"]
    closing = type("Closing", (Inheriting,), {"close": lambda self: None})
    assert conforms(closing(), Reader)


def test_an_object_that_forwards_something_else_lacks_the_properties() -> None:
    """Pydantic's models have a `__getattr__`, for their private attributes."""

    class Own(Forwarding):
        limit = 3

        def read(self, text: str) -> str:
            return text

        def close(self) -> None: ...

        async def aread(self, text: str) -> str:
            return text

    assert missing_members(Own(object()), Reader) == ["window"]


def test_members_of_every_sort() -> None:
    class Odd:
        def __init__(self) -> None:
            self.window = 3
            self.limit = 4
            self.read = lambda text: text

        @staticmethod
        def close() -> None: ...

        async def _read(self, text: str) -> str:
            return text

        aread = partialmethod(_read, "text")

    assert conforms(Odd(), Reader)

    class Slots(Full):
        __slots__ = ("limit",)

    assert conforms(Slots(), Reader)


def test_a_class_is_no_instance_of_itself() -> None:
    assert missing_members(Full, Reader) == ["window", "read", "close", "aread", "limit"]
    assert not conforms(Full, Reader)


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
    print(sys.version.split()[0], "passed")
