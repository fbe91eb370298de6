"""`MemoRAGRetriever`: in the place of `vectorstore.as_retriever()`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import set_config_context
from pydantic import ConfigDict, Field, SkipValidation

from memorag_integrations.contracts import Embedder, MemoryModel, Reranker
from memorag_integrations.engine import MemoRAG
from memorag_integrations.hosts.precut import assemble_documents
from memorag_integrations.index.index import Filters
from memorag_integrations.retrieval.query import Mode
from memorag_integrations.retrieval.reranking import Reranking

from .adapters import as_embedder, as_reranker, to_documents, to_langchain_document, to_precut_passages
from .live_index import LiveIndex


class MemoRAGRetriever(LiveIndex):
    """Memory-guided retrieval behind LangChain's retriever interface, and a `DocumentIndex` that may change.

    Every setting can be given at construction, and again for one call: `retriever.invoke(query, k=3)`.

    Args:
        memo: An engine that has memorized or loaded a corpus; the `from_…` constructors make one.
        k: Most documents of one query; 5, or as many as `budget` allows where that is given.
        budget: Most characters of one query's documents together, in the place of k or beside it.
        mode: "memorag", or a baseline: "plain", "bm25", "hybrid", "per-clue-union".
        filters: {metadata key: value or list of values}, or a function of the metadata.
        cutoff: Least score.
        merge: Whether evidence that touches in its document becomes one (documents we cut ourselves only).
        source_key: See `upsert`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    k: int | None = Field(default=None, ge=1)
    budget: int | None = Field(default=None, ge=1)
    mode: Mode = "memorag"
    filters: SkipValidation[Filters | None] = None
    cutoff: float = Field(default=0.0, ge=0, le=1)
    merge: bool = False

    # ── from what the app has ─────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        k: int | None = None,
        *,
        embedding: Embeddings | Embedder | str | None = None,
        memory: str | MemoryModel = "activation",
        reranker: BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None = None,
        show_progress: bool = False,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """Memorize documents; those longer than a passage are cut, with exact character offsets.

        Args:
            documents: LangChain documents; any iterable.
            k: See the class.
            embedding: A LangChain embedding model, "minilm", a sentence-transformers name or path, or None for BM25
                alone.
            memory: What forms the memory.
            reranker: What reads the best again: a LangChain compressor that reorders, a cross-encoder, or what `MemoRAG`
                takes.
            show_progress: Whether to show progress bars.
            engine: Further settings of `MemoRAG` (passage_size, language, …).
            **settings: Further settings of the retriever.
        """
        memo = MemoRAG(memory, as_embedder(embedding), **{"reranker": as_reranker(reranker), **(engine or {})})
        memo.memorize(to_documents(documents), progress=show_progress)
        return cls(memo=memo, k=k, **settings)

    @classmethod
    def from_chunks(
        cls,
        chunks: Iterable[Document],
        k: int | None = None,
        *,
        source_key: str = "source",
        embedding: Embeddings | Embedder | str | None = None,
        memory: str | MemoryModel = "activation",
        reranker: BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None = None,
        show_progress: bool = False,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """Memorize what a text splitter has cut: chunks are kept whole and given back as copies, untouched.

        Args:
            chunks: LangChain documents. Those with the same `source_key` in their metadata are of one text, in the order
                given, or by `start_index` where the splitter was told to add it.
            source_key: The metadata key that names the text a chunk is from.
            k, embedding, memory, reranker, show_progress, engine, **settings: As in `from_documents`.
        """
        memo = MemoRAG(memory, as_embedder(embedding), **{"reranker": as_reranker(reranker), **(engine or {})})
        documents, passages = assemble_documents(to_precut_passages(chunks, source_key))
        memo.memorize(documents, split=lambda document: passages[document.id], progress=show_progress)
        return cls(memo=memo, k=k, source_key=source_key, **settings)

    @classmethod
    def empty(
        cls,
        k: int | None = None,
        *,
        embedding: Embeddings | Embedder | str | None = None,
        memory: str | MemoryModel = "activation",
        reranker: BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None = None,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """A corpus of nothing yet, for `upsert`; asked, it finds nothing. Arguments as in `from_documents`."""
        memo = MemoRAG(memory, as_embedder(embedding), **{"reranker": as_reranker(reranker), **(engine or {})})
        memo.delete(())  # from now on there is a corpus, and it is empty
        return cls(memo=memo, k=k, **settings)

    # ── persistence ───────────────────────────────────────────────────────────────────────────────────────────────

    def save_local(self, folder: str | Path) -> None:
        """Save documents, passages, vectors, memories and settings of the engine to a folder."""
        self.memo.save(folder)

    @classmethod
    def load_local(
        cls,
        folder: str | Path,
        embedding: Embeddings | Embedder | str | None = None,
        *,
        memory: str | MemoryModel | None = None,
        reranker: BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """Load what `save_local` wrote; nothing is encoded again, and nothing in the folder can run code.

        Args:
            folder: The folder.
            embedding: The model it was made with, where that was a LangChain one.
            memory: Likewise the memory model.
            reranker: As in `from_documents`; stores do not keep it.
            **settings: Settings of the retriever.
        """
        memo = MemoRAG.load(folder, embedder=as_embedder(embedding), memory=memory, reranker=as_reranker(reranker))
        return cls(memo=memo, **settings)

    @classmethod
    def open_local(
        cls,
        folder: str | Path,
        embedding: Embeddings | Embedder | str | None = None,
        *,
        memory: str | MemoryModel | None = None,
        reranker: BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None = None,
        engine: dict[str, Any] | None = None,
        wait: float = 30.0,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """A corpus that lives in a folder: each change is in it, whole, when its call returns.

        Several processes may have it open. `retriever.memo.reload()` takes over what others changed.

        Args:
            folder: What `save_local` wrote, or where a store is made.
            embedding: For a new store as in `from_documents`, for one that is there as in `load_local`.
            memory: Likewise.
            reranker: As in `from_documents`; stores do not keep it.
            engine: Further settings of `MemoRAG`; a store that is there has its own, and refuses others.
            wait: Seconds to wait for another process that is writing.
            **settings: Settings of the retriever.
        """
        memo = MemoRAG.open(
            folder,
            embedder=as_embedder(embedding),
            memory=memory,
            wait=wait,
            **{"reranker": as_reranker(reranker), **(engine or {})},
        )
        return cls(memo=memo, **settings)

    # ── retrieval ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        budget: int | None = None,
        mode: Mode | None = None,
        filters: Filters | None = None,
        cutoff: float | None = None,
        merge: bool | None = None,
    ) -> list[Document]:
        how = self._how(k=k, budget=budget, mode=mode, filters=filters, cutoff=cutoff, merge=merge)
        with set_config_context({"callbacks": run_manager.get_child()}) as traced:
            found = traced.run(self.memo.retrieve, query, **how)
        return [to_langchain_document(evidence) for evidence in found]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        budget: int | None = None,
        mode: Mode | None = None,
        filters: Filters | None = None,
        cutoff: float | None = None,
        merge: bool | None = None,
    ) -> list[Document]:
        how = self._how(k=k, budget=budget, mode=mode, filters=filters, cutoff=cutoff, merge=merge)
        with set_config_context({"callbacks": run_manager.get_child()}) as traced:
            found = await asyncio.create_task(self.memo.aretrieve(query, **how), context=traced)
        return [to_langchain_document(evidence) for evidence in found]

    def _how(self, **call: Any) -> dict[str, Any]:
        how = {name: getattr(self, name) if value is None else value for name, value in call.items()}
        if call["budget"] is not None and call["k"] is None:
            how["k"] = None  # the call's budget stands in for the k of the construction
        return how
