"""MemoRAG for LlamaIndex: `MemoRAGRetriever` in the place of `index.as_retriever()`, `MemoRAGQueryEngine` on top of it."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from memorag_integrations.errors import MissingExtraError

if TYPE_CHECKING:
    from .adapters import LlamaIndexEmbedder as LlamaIndexEmbedder
    from .adapters import LlamaIndexReranker as LlamaIndexReranker
    from .llm import LlamaIndexLLM as LlamaIndexLLM
    from .memories import GistMemory as GistMemory
    from .memories import LLMMemory as LLMMemory
    from .query_engine import MemoRAGQueryEngine as MemoRAGQueryEngine
    from .retriever import MemoRAGRetriever as MemoRAGRetriever
    from .tracing import MemoRAGFusionEvent as MemoRAGFusionEvent
    from .tracing import MemoRAGRecallEvent as MemoRAGRecallEvent

_MODULES = {
    "GistMemory": "memories",
    "LLMMemory": "memories",
    "LlamaIndexEmbedder": "adapters",
    "LlamaIndexLLM": "llm",
    "LlamaIndexReranker": "adapters",
    "MemoRAGFusionEvent": "tracing",
    "MemoRAGQueryEngine": "query_engine",
    "MemoRAGRecallEvent": "tracing",
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
    if find_spec("llama_index") is None or find_spec("llama_index.core") is None:
        raise MissingExtraError("llamaindex_memorag", "llamaindex")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
