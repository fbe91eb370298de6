"""`MemoRAGRetriever`: in the place of `index.as_retriever()`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, Unpack

from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.indices.base import BaseIndex
from llama_index.core.llms import LLM as HostLLM
from llama_index.core.prompts.mixin import PromptMixin
from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore, QueryBundle, TransformComponent
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.types import MetadataFilters

from memorag_integrations.contracts import MemoryModel
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.arguments import (
    EngineSettings,
    check_embedder,
    check_engine,
    check_engine_settings,
    check_memory,
    check_mode,
    check_names,
)
from memorag_integrations.index.filters import Filters
from memorag_integrations.retrieval.query import Mode

from .adapters import app_embed_model, app_transformations, as_embedder, as_reranker
from .filters import filters_to_data, to_filters
from .index_retriever import IndexRetriever
from .indexes import docstore_nodes, index_nodes
from .nodes import to_node
from .settings import (
    CONSTRUCTORS,
    FROM_APP,
    HINTS,
    EmbedModel,
    HostReranker,
    RetrieverSettings,
    check_settings,
)
from .tracing import traced
from .vectors import index_embed_model, index_vectors

logger = logging.getLogger(__name__)


class MemoRAGRetriever(IndexRetriever):
    """Memory-guided retrieval behind LlamaIndex's retriever interface, over a corpus that may change as an index does.

    Args:
        memo: An engine that has memorized or loaded a corpus; the `from_…` constructors make one.
        similarity_top_k: Most nodes of one query; 5, or as many as `budget` allows where that is given.
        budget: Most characters of one query's nodes together, in the place of similarity_top_k or beside it.
        mode: "memorag", or a baseline: "plain", "bm25", "hybrid", "per-clue-union".
        filters: LlamaIndex `MetadataFilters`, {key: value, list or {operator: value}}, or a function of the metadata.
        cutoff: Least score, in [0, 1].
        merge: Whether evidence that touches in its document becomes one node (documents we cut ourselves only).
        provenance: Whether nodes tell in their metadata, under the key `memorag`, what found them. Without it a node is
            equal for every query, as fusion retrievers and vector stores need it; `explain` tells the same.
        transformations: What cuts documents that are inserted later; None for our own splitter.
        callback_manager, objects, object_map, verbose: As in LlamaIndex.

    Raises:
        InputError: For a value that no query could be answered with, or what is no engine.
        ArgumentError: For a name that is no argument; the message says which one is meant.
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
        provenance: bool = False,
        transformations: Sequence[TransformComponent] | None = None,
        callback_manager: CallbackManager | None = None,
        objects: Sequence[IndexNode] | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
        **unknown: Any,
    ) -> None:
        check_names("MemoRAGRetriever", unknown, [*RetrieverSettings.__annotations__, "similarity_top_k"], HINTS)
        self.memo = check_engine(memo, CONSTRUCTORS)
        check_settings(similarity_top_k, {"budget": budget, "mode": mode, "filters": filters, "cutoff": cutoff})
        check_mode(mode, memo.embedder is not None)
        self._similarity_top_k = similarity_top_k
        self.budget = budget
        self.mode: Mode = mode
        self.filters = filters
        self.cutoff = cutoff
        self.merge = merge
        self.provenance = provenance
        self.transformations = None if transformations is None else list(transformations)
        super().__init__(callback_manager=callback_manager, object_map=dict(object_map or {}), verbose=verbose)
        self.object_map |= {node.index_id: node.obj for node in objects or () if node.obj is not None}

    @property
    def similarity_top_k(self) -> int | None:
        """Most nodes of one query; None where only the budget counts."""
        return 5 if self._similarity_top_k is None and self.budget is None else self._similarity_top_k

    @similarity_top_k.setter
    def similarity_top_k(self, value: int | None) -> None:
        check_settings(value, {"budget": self.budget})
        self._similarity_top_k = value

    # ── from what the app has ─────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[BaseNode],
        similarity_top_k: int | None = None,
        *,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        transformations: Sequence[TransformComponent] | None = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """Memorize documents.

        Args:
            documents: LlamaIndex documents; any iterable.
            similarity_top_k: See the class.
            embed_model: A LlamaIndex embedding model, "minilm", a sentence-transformers name or path, None for BM25
                alone; by default the one the app has set in `Settings`, and none where it has set none.
            memory: What forms the memory.
            reranker: What reads the best again: a LlamaIndex postprocessor that reorders, or what `MemoRAG` takes.
            transformations: What makes nodes of documents; by default what the app has set in `Settings`
                (`transformations`, `node_parser`, `chunk_size`). Where neither is set, our splitter cuts the documents.
            show_progress: Whether to show progress bars.
            engine: Further settings of `MemoRAG` (passage_size, language, …).
            **settings: Further settings of the retriever; `objects` are memorized, too.
        """
        retriever = cls._make(
            similarity_top_k, settings, embed_model, memory, reranker, engine, transformations=transformations
        )
        given = list(documents)
        objects = list(settings.get("objects") or ())
        if retriever.transformations is None:
            retriever.transformations = app_transformations()
        if retriever.transformations is None:
            logger.info("Documents are cut by memorag's own splitter. Pass transformations=[…] for another.")
        retriever._memorize(given, objects, show_progress)
        return retriever

    @classmethod
    def from_nodes(
        cls,
        nodes: Iterable[BaseNode],
        similarity_top_k: int | None = None,
        *,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """Memorize nodes as they are: kept whole, given back as copies with id, text and metadata untouched.

        Neighbours are known by their offsets, else by their previous links, else by their order. Embeddings that nodes
        bring are used where they are of `embed_model`; nothing is embedded twice.
        """
        retriever = cls._make(similarity_top_k, settings, embed_model, memory, reranker, engine)
        retriever._memorize_nodes([*nodes, *(settings.get("objects") or ())], show_progress)
        return retriever

    @classmethod
    def from_index(
        cls,
        index: BaseIndex[Any],
        similarity_top_k: int | None = None,
        *,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """Memorize the nodes of an index: with its own embedding model, its vectors where its store gives them out, its
        objects and its transformations.

        Raises:
            InputError: Where the index's store does not list its nodes; the message says what to do.
        """
        if not isinstance(index, BaseIndex):
            raise InputError(f"Expected a LlamaIndex index, found {type(index).__name__}.")
        model = index_embed_model(index) if embed_model is FROM_APP else None
        retriever = cls._make(similarity_top_k, settings, model or embed_model, memory, reranker, engine)
        retriever.transformations = list(getattr(index, "_transformations", None) or []) or None
        retriever.object_map = {**getattr(index, "_object_map", {}), **retriever.object_map}
        nodes = [*index_nodes(index), *(settings.get("objects") or ())]
        known = index_vectors(index, nodes) if retriever.memo.embedder is not None else {}
        retriever._memorize_nodes(nodes, show_progress, known)
        return retriever

    @classmethod
    def from_defaults(
        cls,
        index: BaseIndex[Any] | None = None,
        nodes: Iterable[BaseNode] | None = None,
        docstore: BaseDocumentStore | None = None,
        similarity_top_k: int | None = None,
        *,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """`from_index`, or `from_nodes` of nodes or of a document store's, as other LlamaIndex retrievers have it.

        Raises:
            InputError: Where not just one of index, nodes and docstore is given, or no node of the docstore holds text.
        """
        given = [
            name for name, value in (("index", index), ("nodes", nodes), ("docstore", docstore)) if value is not None
        ]
        if len(given) != 1:
            raise InputError(f"Pass exactly one of index, nodes and docstore; found {', '.join(given) or 'none'}.")
        if index is not None:
            return cls.from_index(
                index, similarity_top_k, embed_model=embed_model, memory=memory, reranker=reranker,
                show_progress=show_progress, engine=engine, **settings,
            )  # fmt: skip
        return cls.from_nodes(
            nodes if nodes is not None else docstore_nodes(docstore),  # type: ignore[arg-type]
            similarity_top_k, embed_model=embed_model, memory=memory, reranker=reranker,
            show_progress=show_progress, engine=engine, **settings,
        )  # fmt: skip

    @classmethod
    def empty(
        cls,
        similarity_top_k: int | None = None,
        *,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        transformations: Sequence[TransformComponent] | None = None,
        engine: EngineSettings | None = None,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """A corpus of nothing yet, for `insert` and its like; asked, it finds nothing. Arguments as in `from_documents`."""
        retriever = cls._make(
            similarity_top_k, settings, embed_model, memory, reranker, engine, transformations=transformations
        )
        if retriever.transformations is None:
            retriever.transformations = app_transformations()
        retriever.memo.delete(())  # from now on there is a corpus, and it is empty
        return retriever

    @classmethod
    def _make(
        cls,
        similarity_top_k: int | None,
        settings: Mapping[str, Any],
        embed_model: EmbedModel,
        memory: str | MemoryModel,
        reranker: HostReranker,
        engine: Mapping[str, Any] | None,
        **own: Any,
    ) -> MemoRAGRetriever:
        """A retriever over an engine without a corpus; all arguments are checked, and no work is done."""
        check_settings(similarity_top_k, settings)
        further = check_engine_settings(engine)
        check_memory(memory, isinstance(memory, HostLLM))
        if embed_model is FROM_APP:
            embed_model = app_embed_model()
            if embed_model is None:
                logger.info("No embedding model is set in Settings: BM25 alone. Pass embed_model= for dense scores.")
        embedder = check_embedder(as_embedder(embed_model), "embed_model", "a LlamaIndex BaseEmbedding")
        check_mode(settings.get("mode", "memorag"), embedder is not None)
        memo = MemoRAG(memory, embedder, **{"reranker": as_reranker(reranker), **further})
        return cls(memo, similarity_top_k, **settings, **own)

    @classmethod
    def _over(cls, memo: MemoRAG, settings: Mapping[str, Any]) -> Self:
        return cls(memo, **settings)

    def _own_settings(self) -> dict[str, Any]:
        names = ("budget", "mode", "filters", "cutoff", "merge", "provenance", "transformations", "callback_manager")
        own = {name: getattr(self, name) for name in names}
        return {
            **own,
            "similarity_top_k": self._similarity_top_k,
            "object_map": self.object_map,
            "verbose": self._verbose,
        }

    def _retrieval_settings(self) -> dict[str, Any]:
        """The retriever's settings as data, for the store."""
        return {
            "k": self._similarity_top_k,
            "budget": self.budget,
            "mode": self.mode,
            "cutoff": self.cutoff,
            "merge": self.merge,
            "provenance": self.provenance,
            "filters": filters_to_data(self.filters),
        }

    # ── retrieval ─────────────────────────────────────────────────────────────────────────────────────────────────

    def explain(self, str_or_query_bundle: str | QueryBundle) -> list[Evidence]:
        """The evidence behind `retrieve`: for each node its place, its scores, and what found it (`to_json()`)."""
        bundle = _bundle(str_or_query_bundle)
        return self.memo.retrieve(bundle.query_str, **self._arguments(bundle))

    async def aexplain(self, str_or_query_bundle: str | QueryBundle) -> list[Evidence]:
        """`explain` off the event loop."""
        bundle = _bundle(str_or_query_bundle)
        return await self.memo.aretrieve(bundle.query_str, **await self._aarguments(bundle))

    def _get_prompt_modules(self) -> dict[str, PromptMixin]:
        """The memory's prompts are the retriever's under "memory:…", where it is one of `llamaindex_memorag`'s own."""
        model = self.memo.memory_model.model
        return {"memory": model} if isinstance(model, PromptMixin) else {}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        entries = self.memo.corpus.entries
        with traced():
            evidence = self.memo.retrieve(query_bundle.query_str, **self._arguments(query_bundle))
        return self._nodes(evidence, entries)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        entries = self.memo.corpus.entries
        with traced():
            evidence = await self.memo.aretrieve(query_bundle.query_str, **await self._aarguments(query_bundle))
        return self._nodes(evidence, entries)

    def _arguments(self, bundle: QueryBundle) -> dict[str, Any]:
        """The arguments of `MemoRAG.retrieve`."""
        vector = None
        if texts := self._texts_to_embed(bundle):
            assert self.memo.embedder is not None
            vector = self.memo.embedder.embed_queries(texts).mean(axis=0)
        return self._with_vector(bundle, vector)

    async def _aarguments(self, bundle: QueryBundle) -> dict[str, Any]:
        vector = None
        if texts := self._texts_to_embed(bundle):
            assert self.memo.embedder is not None
            vector = (await self.memo.embedder.aembed_queries(texts)).mean(axis=0)
        return self._with_vector(bundle, vector)

    def _texts_to_embed(self, bundle: QueryBundle) -> list[str]:
        """What is to be embedded in the query's place (HyDE); nothing where the query is, or its vector came with it."""
        dense = self.memo.embedder is not None and self.mode != "bm25"
        if not dense or bundle.embedding is not None or bundle.custom_embedding_strs is None:
            return []
        return [text for text in bundle.custom_embedding_strs if text.strip()]

    def _with_vector(self, bundle: QueryBundle, vector: Any) -> dict[str, Any]:
        return {
            "k": self.similarity_top_k,
            "budget": self.budget,
            "mode": self.mode,
            "filters": to_filters(self.filters),
            "cutoff": self.cutoff,
            "merge": self.merge,
            "vector": bundle.embedding if vector is None else vector,
        }

    def _nodes(self, evidence: Sequence[Evidence], entries: Mapping[str, Any]) -> list[NodeWithScore]:
        """Nodes of the evidence that was found among these documents, or among those that replaced them meanwhile."""
        return [to_node(piece, entries.get(piece.document_id), self.provenance) for piece in evidence]


def _bundle(query: str | QueryBundle) -> QueryBundle:
    return QueryBundle(query) if isinstance(query, str) else query
