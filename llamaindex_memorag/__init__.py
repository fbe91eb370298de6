"""MemoRAG for LlamaIndex: `MemoRAGRetriever` in the place of `index.as_retriever()`, `MemoRAGQueryEngine` on top of it."""

from importlib import import_module
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

_HOME = {
    "GistMemory": "memories",
    "LLMMemory": "memories",
    "LlamaIndexEmbedder": "adapters",
    "LlamaIndexLLM": "llm",
    "LlamaIndexReranker": "adapters",
    "MemoRAGQueryEngine": "query_engine",
    "MemoRAGRetriever": "retriever",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec("llama_index") is None or find_spec("llama_index.core") is None:
        raise MissingExtraError("llamaindex_memorag", "llamaindex")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
