"""MemoRAG for LangChain: `MemoRAGRetriever` in the place of `vectorstore.as_retriever()`."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from memorag_integrations.errors import MissingExtraError

if TYPE_CHECKING:
    from .adapters import LangChainEmbedder as LangChainEmbedder
    from .adapters import LangChainReranker as LangChainReranker
    from .llm import LangChainLLM as LangChainLLM
    from .memories import GistMemory as GistMemory
    from .memories import LLMMemory as LLMMemory
    from .retriever import MemoRAGRetriever as MemoRAGRetriever

_MODULES = {
    "GistMemory": "memories",
    "LLMMemory": "memories",
    "LangChainEmbedder": "adapters",
    "LangChainLLM": "llm",
    "LangChainReranker": "adapters",
    "MemoRAGRetriever": "retriever",
}
__all__ = sorted(_MODULES)

try:
    __version__ = version("memorag-integrations")
except PackageNotFoundError:  # used from a folder, without being installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec("langchain_core") is None:
        raise MissingExtraError("langchain_memorag", "langchain")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
