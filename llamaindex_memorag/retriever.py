"""`MemoRAGRetriever`: in the place of `index.as_retriever()`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.indices.base import BaseIndex
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts.mixin import PromptMixin
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from memorag_integrations.contracts import Embedder, MemoryModel, Reranker
from memorag_integrations.corpus.state import Corpus
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.precut import assemble_documents
from memorag_integrations.index.index import Filters
from memorag_integrations.retrieval.query import Mode
from memorag_integrations.retrieval.reranking import Reranking
from memorag_integrations.retrieval.selection import Selection
from memorag_integrations.store.store import exists

from .adapters import app_embed_model, as_embedder, as_reranker, to_documents, to_node, to_precut_passages
from .indexes import index_embed_model, index_nodes, index_vectors
from .live_index import LiveIndex

logger = logging.getLogger(__name__)

FROM_APP = "app"
"""Stands for: the embedding model the app has set in `Settings`, or none."""


class MemoRAGRetriever(LiveIndex, BaseRetriever):
    """Memory-guided retrieval behind LlamaIndex's retriever interface, over a corpus that may change as an index does.

    Args:
        memo: An engine that has memorized or loaded a corpus; the `from_…` constructors make one.
        similarity_top_k: Most nodes of one query; 5, or as many as `budget` allows where that is given.
        budget: Most characters of one query's nodes together, in the place of similarity_top_k or beside it.
        mode: "memorag", or a baseline: "plain", "bm25", "hybrid", "per-clue-union".
        filters: LlamaIndex `MetadataFilters`, {key: value or list}, or a function of the metadata.
        cutoff: Least score.
        merge: Whether evidence that touches in its document becomes one node (documents we cut ourselves only).
        provenance: Whether nodes tell what found them, under the metadata key `memorag`. LlamaIndex's `QueryFusionRetriever`
            knows nodes by a hash that metadata goes into: leave it out where results are fused with another retriever's.
        callback_manager, object_map, verbose: As in LlamaIndex.
    """

    def __init__(
        self,
        memo: MemoRAG,
        similarity_top_k: int | None = None,
        *,
        budget: int | None = None,
        mode: Mode = "memorag",
        filters: MetadataFilters | Filters | None = None,
        cutoff: float = 0.0,
        merge: bool = False,
        provenance: bool = True,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        Selection.of(similarity_top_k, budget, cutoff)
        self.memo = memo
        self._similarity_top_k = similarity_top_k
        self.budget = budget
        self.mode = mode
        self.filters = filters
        self.cutoff = cutoff
        self.merge = merge
        self.provenance = provenance
        super().__init__(callback_manager=callback_manager, object_map=object_map, verbose=verbose)

    @property
    def similarity_top_k(self) -> int | None:
        """Most nodes of one query; None where only the budget counts."""
        return 5 if self._similarity_top_k is None and self.budget is None else self._similarity_top_k

    @similarity_top_k.setter
    def similarity_top_k(self, value: int | None) -> None:
        Selection.of(value, self.budget, self.cutoff)
        self._similarity_top_k = value

    # ── from what the app has ─────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[BaseNode],
        similarity_top_k: int | None = None,
        *,
        embed_model: BaseEmbedding | Embedder | str | None = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: BaseNodePostprocessor | Reranker | Reranking | str | None = None,
        show_progress: bool = False,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """Memorize documents; they are cut into nodes with exact character offsets.

        Args:
            documents: LlamaIndex documents; any iterable.
            similarity_top_k: See the class.
            embed_model: A LlamaIndex embedding model, "minilm", a sentence-transformers name or path, None for BM25
                alone; by default the one the app has set in `Settings`, and none where it has set none.
            memory: What forms the memory.
            reranker: What reads the best again: a LlamaIndex postprocessor that reorders, or what `MemoRAG` takes.
            show_progress: Whether to show progress bars.
            engine: Further settings of `MemoRAG` (passage_size, language, …).
            **settings: Further settings of the retriever.
        """
        memo = _engine(embed_model, memory, reranker, engine)
        memo.memorize(to_documents(documents), progress=show_progress)
        return cls(memo, similarity_top_k, **settings)

    @classmethod
    def from_nodes(
        cls,
        nodes: Iterable[BaseNode],
        similarity_top_k: int | None = None,
        *,
        embed_model: BaseEmbedding | Embedder | str | None = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: BaseNodePostprocessor | Reranker | Reranking | str | None = None,
        show_progress: bool = False,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """Memorize nodes as they are: kept whole, given back as copies with id, text and metadata untouched.

        Neighbours are known by their offsets, else by their previous links, else by their order.
        """
        memo = _engine(embed_model, memory, reranker, engine)
        _memorize_nodes(memo, list(nodes), show_progress)
        return cls(memo, similarity_top_k, **settings)

    @classmethod
    def from_index(
        cls,
        index: BaseIndex[Any],
        similarity_top_k: int | None = None,
        *,
        memory: str | MemoryModel = "activation",
        reranker: BaseNodePostprocessor | Reranker | Reranking | str | None = None,
        show_progress: bool = False,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """Memorize the nodes of an index, with its own embedding model, and its vectors where it gives them out.

        Raises:
            InputError: Where the index's store does not list its nodes; the message says what to do.
        """
        if not isinstance(index, BaseIndex):
            raise InputError(f"Expected a LlamaIndex index, found {type(index).__name__}.")
        model = index_embed_model(index)
        memo = _engine(FROM_APP if model is None else model, memory, reranker, engine)
        nodes = index_nodes(index)
        if memo.embedder is not None:
            memo.embedder.keep(index_vectors(index, nodes))
        _memorize_nodes(memo, nodes, show_progress)
        return cls(memo, similarity_top_k, **settings)

    @classmethod
    def empty(
        cls,
        similarity_top_k: int | None = None,
        *,
        embed_model: BaseEmbedding | Embedder | str | None = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: BaseNodePostprocessor | Reranker | Reranking | str | None = None,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """A corpus of nothing yet, for `insert` and its like; asked, it finds nothing. Arguments as in `from_documents`."""
        memo = _engine(embed_model, memory, reranker, engine)
        memo.delete(())  # from now on there is a corpus, and it is empty
        return cls(memo, similarity_top_k, **settings)

    # ── persistence ───────────────────────────────────────────────────────────────────────────────────────────────

    def persist(self, persist_dir: str | Path) -> None:
        """Save documents, nodes, vectors, memories and settings of the engine to a folder."""
        self.memo.save(persist_dir)

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str | Path,
        similarity_top_k: int | None = None,
        *,
        embed_model: BaseEmbedding | Embedder | str | None = FROM_APP,
        memory: str | MemoryModel | None = None,
        reranker: BaseNodePostprocessor | Reranker | Reranking | str | None = None,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """Load what `persist` wrote; nothing is encoded again.

        Args:
            persist_dir: The folder.
            similarity_top_k: See the class.
            embed_model: The model it was made with, where that was a LlamaIndex one; by default the app's own.
            memory: Likewise the memory model.
            reranker: As in `from_documents`; stores do not keep it.
            **settings: Further settings of the retriever.
        """
        if embed_model is FROM_APP:
            embed_model = app_embed_model() if MemoRAG.needs_embedder(persist_dir) else None
        memo = MemoRAG.load(
            persist_dir, embedder=as_embedder(embed_model), memory=memory, reranker=as_reranker(reranker)
        )
        return cls(memo, similarity_top_k, **settings)

    @classmethod
    def open(
        cls,
        persist_dir: str | Path,
        similarity_top_k: int | None = None,
        *,
        embed_model: BaseEmbedding | Embedder | str | None = FROM_APP,
        memory: str | MemoryModel | None = None,
        reranker: BaseNodePostprocessor | Reranker | Reranking | str | None = None,
        engine: dict[str, Any] | None = None,
        wait: float = 30.0,
        **settings: Any,
    ) -> MemoRAGRetriever:
        """A corpus that lives in a folder: each change is in it, whole, when its call returns.

        Several processes may have it open. `retriever.memo.reload()` takes over what others changed.

        Args:
            persist_dir: What `persist` wrote, or where a store is made.
            similarity_top_k: See the class.
            embed_model: For a new store as in `from_documents`, for one that is there as in `from_persist_dir`.
            memory: Likewise.
            reranker: As in `from_documents`; stores do not keep it.
            engine: Further settings of `MemoRAG`; a store that is there has its own, and refuses others.
            wait: Seconds to wait for another process that is writing.
            **settings: Further settings of the retriever.
        """
        if embed_model is FROM_APP:
            own = not exists(Path(persist_dir)) or MemoRAG.needs_embedder(persist_dir)
            embed_model = app_embed_model() if own else None
        memo = MemoRAG.open(
            persist_dir,
            embedder=as_embedder(embed_model),
            memory=memory,
            wait=wait,
            **{"reranker": as_reranker(reranker), **(engine or {})},
        )
        return cls(memo, similarity_top_k, **settings)

    # ── retrieval ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _get_prompt_modules(self) -> dict[str, PromptMixin]:
        """The memory's prompts are the retriever's under "memory:…", where it is one of `llamaindex_memorag`'s own."""
        model = self.memo.memory_model.model
        return {"memory": model} if isinstance(model, PromptMixin) else {}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        before = self.memo.corpus
        return self._nodes(self.memo.retrieve(query_bundle.query_str, **self._how()), before)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        before = self.memo.corpus
        return self._nodes(await self.memo.aretrieve(query_bundle.query_str, **self._how()), before)

    def _how(self) -> dict[str, Any]:
        return {
            "k": self.similarity_top_k,
            "budget": self.budget,
            "mode": self.mode,
            "filters": _filters(self.filters, self.memo),
            "cutoff": self.cutoff,
            "merge": self.merge,
        }

    def _nodes(self, evidence: Sequence[Evidence], before: Corpus) -> list[NodeWithScore]:
        """Nodes of what was found in the corpus of `before`, or in one that took its place meanwhile."""
        documents = [before.documents.get(piece.document_id) or self.memo.get(piece.document_id) for piece in evidence]
        return [to_node(piece, document, self.provenance) for piece, document in zip(evidence, documents, strict=True)]


def _engine(
    embed_model: BaseEmbedding | Embedder | str | None,
    memory: str | MemoryModel,
    reranker: BaseNodePostprocessor | Reranker | Reranking | str | None,
    settings: dict[str, Any] | None,
) -> MemoRAG:
    if embed_model is FROM_APP:
        embed_model = app_embed_model()
        if embed_model is None:
            logger.info("No embedding model is set in Settings: BM25 alone. Pass embed_model= for dense scores.")
    return MemoRAG(memory, as_embedder(embed_model), **{"reranker": as_reranker(reranker), **(settings or {})})


def _memorize_nodes(memo: MemoRAG, nodes: Sequence[BaseNode], show_progress: bool) -> None:
    documents, passages = assemble_documents(to_precut_passages(nodes))
    memo.memorize(documents, split=lambda document: passages[document.id], progress=show_progress)


def _filters(filters: MetadataFilters | Filters | None, memo: MemoRAG) -> Filters | None:
    if not isinstance(filters, MetadataFilters):
        return filters
    metadata: dict[str, dict[str, Any]] = {}
    accept = build_metadata_filter_fn(metadata.__getitem__, filters)

    def one(values: Any) -> bool:
        metadata["one"] = dict(values)
        return accept("one")

    return one
