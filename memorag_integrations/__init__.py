"""Memory-guided retrieval: documents → memory and index → clues → evidence. Names are imported when first used.

A name whose extra is not installed can be imported all the same: so `import *` works, and so do annotations. Whoever
makes an object of it gets `MissingExtraError`, which names the extra.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answers.writer import Answer as Answer
    from .answers.writer import Writer as Writer
    from .clues import Clue as Clue
    from .clues import Grounding as Grounding
    from .clues import Recall as Recall
    from .clues import Usage as Usage
    from .documents import Document as Document
    from .documents import Passage as Passage
    from .encoders.bge_m3 import BGEM3Embedder as BGEM3Embedder
    from .encoders.rerankers import BGEM3Reranker as BGEM3Reranker
    from .encoders.rerankers import CrossEncoderReranker as CrossEncoderReranker
    from .engine import MemoRAG as MemoRAG
    from .errors import MemoRAGError as MemoRAGError
    from .evidence import Evidence as Evidence
    from .llms.huggingface import HuggingFaceLLM as HuggingFaceLLM
    from .memories.beacon import BeaconMemory as BeaconMemory
    from .memories.gist import GistMemory as GistMemory
    from .memories.llm import LLMMemory as LLMMemory
    from .memories.longcontext import LongContextMemory as LongContextMemory
    from .retrieval.fusion import Fusion as Fusion
    from .retrieval.reranking import Reranking as Reranking

_HOME = {
    "Answer": "answers.writer",
    "BGEM3Embedder": "encoders.bge_m3",
    "BGEM3Reranker": "encoders.rerankers",
    "BeaconMemory": "memories.beacon",
    "Clue": "clues",
    "CrossEncoderReranker": "encoders.rerankers",
    "Document": "documents",
    "Evidence": "evidence",
    "Fusion": "retrieval.fusion",
    "GistMemory": "memories.gist",
    "Grounding": "clues",
    "HuggingFaceLLM": "llms.huggingface",
    "LLMMemory": "memories.llm",
    "LongContextMemory": "memories.longcontext",
    "MemoRAG": "engine",
    "MemoRAGError": "errors",
    "Passage": "documents",
    "Recall": "clues",
    "Reranking": "retrieval.reranking",
    "Usage": "clues",
    "Writer": "answers.writer",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    except ImportError as error:
        from .errors import extra_of, stand_in

        if (extra := extra_of(error)) is None:
            raise
        return stand_in(name, extra)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
