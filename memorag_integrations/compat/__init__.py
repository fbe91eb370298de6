"""The original MemoRAG's names and calls, over this engine: change the import, and a script for it runs here.

    from memorag_integrations.compat import MemoRAG

docs/migration.md has each call side by side, and what is done otherwise. What cannot be honoured is refused by name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent as Agent
    from .full import MemoRAG as MemoRAG
    from .lite import MemoRAGLite as MemoRAGLite
    from .models import Memory as Memory
    from .models import Model as Model

_HOME = {"Agent": "agent", "MemoRAG": "full", "MemoRAGLite": "lite", "Memory": "models", "Model": "models"}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    except ImportError as error:
        from ..errors import MissingExtraError, extra_of

        if (extra := extra_of(error)) is None:
            raise
        raise MissingExtraError(f"compat.{name}", extra) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
