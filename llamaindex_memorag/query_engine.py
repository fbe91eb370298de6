"""`MemoRAGQueryEngine`: the retriever under LlamaIndex's own response synthesizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import BaseSynthesizer, ResponseMode
from llama_index.core.response_synthesizers.context_only import ContextOnly
from llama_index.core.response_synthesizers.no_text import NoText
from llama_index.core.schema import BaseNode

from memorag_integrations.errors import InputError

from .adapters import app_llm
from .retriever import MemoRAGRetriever

_WITHOUT_LLM = {ResponseMode.NO_TEXT: NoText, ResponseMode.CONTEXT_ONLY: ContextOnly}


class MemoRAGQueryEngine(RetrieverQueryEngine):
    """A `RetrieverQueryEngine` over `MemoRAGRetriever`: streaming, async and response modes are LlamaIndex's own."""

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[BaseNode],
        llm: LLM | None = None,
        *,
        similarity_top_k: int | None = None,
        retriever: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGQueryEngine:
        """Memorize documents and answer from them.

        Args:
            documents: LlamaIndex documents.
            llm: What writes the answer; by default the one the app has set in `Settings`.
            similarity_top_k: Most nodes the answer is written from.
            retriever: Further arguments of `MemoRAGRetriever.from_documents`.
            **settings: Further arguments of `RetrieverQueryEngine.from_args` (streaming, response_mode, …).

        Raises:
            InputError: Where there is no LLM to write with; before anything is memorized.
        """
        settings = _with_llm(llm, settings)
        found = MemoRAGRetriever.from_documents(documents, similarity_top_k, **(retriever or {}))
        return cls.from_args(found, **settings)

    @classmethod
    def from_args(  # type: ignore[override]
        cls,
        retriever: BaseRetriever,
        llm: LLM | None = None,
        response_synthesizer: BaseSynthesizer | None = None,
        **settings: Any,
    ) -> MemoRAGQueryEngine:
        """As in LlamaIndex, but without an LLM it is an error, not an OpenAI default."""
        settings = _with_llm(llm, {**settings, "response_synthesizer": response_synthesizer})
        engine: MemoRAGQueryEngine = super().from_args(retriever, **settings)  # type: ignore[assignment]
        return engine


def _with_llm(llm: LLM | None, settings: dict[str, Any]) -> dict[str, Any]:
    llm, synthesizer = llm or app_llm(), settings.get("response_synthesizer")
    if llm is None:
        silent = _WITHOUT_LLM.get(settings.get("response_mode"))  # type: ignore[arg-type]
        if synthesizer is None and silent is None:
            raise InputError(
                "A query engine needs an LLM to write answers with, and neither the call nor Settings has one. "
                "Pass llm=…, set Settings.llm, or use MemoRAGRetriever for the evidence alone."
            )
        llm = MockLLM()  # never asked: the synthesizer brings its own, or writes nothing
        if synthesizer is None and silent is not None:
            synthesizer = silent(llm=llm)  # LlamaIndex's factory would look for OpenAI even here
    return {**settings, "llm": llm, "response_synthesizer": synthesizer}
