"""The original MemoRAG's names and calls, over this engine: change the import, and a script for it runs here.

    from memorag_integrations.compat import MemoRAG

docs/migration.md has each call side by side, and what is done otherwise. What cannot be honoured is refused by name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent as Agent
    from .lite import MemoRAGLite as MemoRAGLite
    from .models import Memory as Memory
    from .models import Model as Model
    from .pipeline import MemoRAG as MemoRAG

_HOME = {"Agent": "agent", "MemoRAG": "pipeline", "MemoRAGLite": "lite", "Memory": "models", "Model": "models"}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
