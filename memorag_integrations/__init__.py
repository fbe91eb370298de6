"""Memory-guided retrieval: documents → memory and index → clues → evidence. Names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clues import Clue as Clue
    from .clues import Grounding as Grounding
    from .clues import Recall as Recall
    from .clues import Usage as Usage
    from .documents import Document as Document
    from .documents import Passage as Passage
    from .engine import MemoRAG as MemoRAG
    from .errors import MemoRAGError as MemoRAGError
    from .evidence import Evidence as Evidence
    from .fusion import Fusion as Fusion
    from .index.bge import BGEM3Embedder as BGEM3Embedder
    from .memories.beacon import BeaconMemory as BeaconMemory
    from .memories.gist import GistMemory as GistMemory
    from .memories.huggingface import HuggingFaceLLM as HuggingFaceLLM
    from .memories.llm import LLMMemory as LLMMemory
    from .memories.longcontext import LongContextMemory as LongContextMemory
    from .rerankers import BGEM3Reranker as BGEM3Reranker
    from .rerankers import CrossEncoderReranker as CrossEncoderReranker
    from .reranking import Reranking as Reranking
    from .writer import Answer as Answer
    from .writer import Writer as Writer

_HOME = {
    "Answer": "writer",
    "BGEM3Embedder": "index.bge",
    "BGEM3Reranker": "rerankers",
    "BeaconMemory": "memories.beacon",
    "Clue": "clues",
    "CrossEncoderReranker": "rerankers",
    "Document": "documents",
    "Evidence": "evidence",
    "Fusion": "fusion",
    "GistMemory": "memories.gist",
    "Grounding": "clues",
    "HuggingFaceLLM": "memories.huggingface",
    "LLMMemory": "memories.llm",
    "LongContextMemory": "memories.longcontext",
    "MemoRAG": "engine",
    "MemoRAGError": "errors",
    "Passage": "documents",
    "Recall": "clues",
    "Reranking": "reranking",
    "Usage": "clues",
    "Writer": "writer",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
