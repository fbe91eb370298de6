"""`MemoRAGRetriever`: in the place of `index.as_retriever()`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.indices.base import BaseIndex
from llama_index.core.llms import LLM as HostLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts.mixin import PromptMixin
from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore, QueryBundle, TransformComponent
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.types import MetadataFilters

from memorag_integrations.contracts import Embedder, MemoryModel, Reranker
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.arguments import (
    ENGINE_HINTS,
    EngineSettings,
    check_embedder,
    check_engine,
    check_engine_settings,
    check_memory,
    check_mode,
    check_names,
    check_retrieval,
)
from memorag_integrations.hosts.remote import download, is_remote, keep_with, upload
from memorag_integrations.hosts.retrieval_settings import read_settings, write_settings
from memorag_integrations.index.filters import Filters
from memorag_integrations.retrieval.query import Mode
from memorag_integrations.retrieval.reranking import Reranking
from memorag_integrations.store.store import exists

from .adapters import app_embed_model, app_transformations, as_embedder, as_reranker
from .filters import filters_from_data, filters_to_data, to_filters
from .indexes import docstore_nodes, index_nodes
from .live_index import LiveIndex
from .nodes import to_node
from .tracing import traced
from .vectors import index_embed_model, index_vectors

logger = logging.getLogger(__name__)

FROM_APP = "app"
"""Stands for: the embedding model that the app has set in `Settings`, or none."""

EmbedModel = BaseEmbedding | Embedder | str | None
HostReranker = BaseNodePostprocessor | Reranker | Reranking | str | None

_CONSTRUCTORS = (
    "MemoRAGRetriever.from_documents(documents), .from_nodes(nodes), .from_index(index) or .from_defaults(…)"
)

HINTS: Mapping[str, str] = {
    **dict.fromkeys(("k", "top_k", "top_n", "n_results", "limit"), "similarity_top_k="),
    **dict.fromkeys(("filter", "where", "metadata_filters"), "filters="),
    **dict.fromkeys(("embedding", "embeddings", "embedder", "embedding_model", "embed"), "embed_model="),
    **dict.fromkeys(("score_threshold", "similarity_cutoff", "threshold"), "cutoff="),
    **dict.fromkeys(("node_parser", "text_splitter", "splitter"), "transformations=[…]"),
    **dict.fromkeys(
        ("chunk_size", "chunk_overlap"), "transformations=[SentenceSplitter(…)] or engine={'passage_size': …}"
    ),
    **dict.fromkeys(("vector_store_query_mode", "retriever_mode", "search_type"), "mode="),
    "search_kwargs": "similarity_top_k= and filters=",
    "llm": "memory=LLMMemory(llm) for a memory that asks it, or MemoRAGQueryEngine for answers",
    "node_postprocessors": "reranker= for one that reorders, or MemoRAGQueryEngine(…, node_postprocessors=…)",
    "return_provenance": "provenance=",
    "progress": "show_progress=",
    "storage_context": "MemoRAGRetriever.open(folder)",
    "service_context": "embed_model= and Settings",
    "folder": "persist_dir=",
    **ENGINE_HINTS,
}


class RetrieverSettings(TypedDict, total=False):
    """Settings of a retriever; see `MemoRAGRetriever`."""

    budget: int | None
    mode: Mode
    filters: MetadataFilters | Filters | None
    cutoff: float
    merge: bool
    provenance: bool
    callback_manager: CallbackManager | None
    objects: Sequence[IndexNode] | None
    object_map: dict[str, Any] | None
    verbose: bool


class MemoRAGRetriever(LiveIndex, BaseRetriever):
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
        self.memo = check_engine(memo, _CONSTRUCTORS)
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

    # ── other objects of LlamaIndex ───────────────────────────────────────────────────────────────────────────────

    def as_retriever(
        self, similarity_top_k: int | None = None, **settings: Unpack[RetrieverSettings]
    ) -> MemoRAGRetriever:
        """Another retriever over the same corpus, with these settings in the place of this one's."""
        check_settings(similarity_top_k, settings)
        own = {name: getattr(self, name) for name in ("budget", "mode", "filters", "cutoff", "merge", "provenance")}
        own |= {"callback_manager": self.callback_manager, "object_map": self.object_map, "verbose": self._verbose}
        k = self._similarity_top_k if similarity_top_k is None and settings.get("budget") is None else similarity_top_k
        return type(self)(self.memo, k, **{**own, "transformations": self.transformations, **settings})

    def as_query_engine(self, llm: HostLLM | None = None, **settings: Any) -> BaseQueryEngine:
        """A `MemoRAGQueryEngine` over this corpus.

        Args:
            llm: What writes the answer; by default the one the app has set in `Settings`.
            **settings: Of the retriever (`as_retriever`) and of `RetrieverQueryEngine.from_args`.
        """
        from .query_engine import MemoRAGQueryEngine

        own, others = _retrieval_part(settings)
        return MemoRAGQueryEngine.from_args(self.as_retriever(**own), llm, **others)

    def as_chat_engine(
        self, chat_mode: ChatMode = ChatMode.BEST, llm: HostLLM | None = None, **settings: Any
    ) -> BaseChatEngine:
        """A chat engine of LlamaIndex over this corpus, as an index makes one.

        Args:
            chat_mode: As in LlamaIndex: context, condense plus context (the best), condense question, or simple.
            llm: What answers; by default the one the app has set in `Settings`.
            **settings: Of the retriever (`as_retriever`) and of the chat engine.

        Raises:
            InputError: Where there is no LLM, or for a mode that LlamaIndex has given up.
        """
        from llama_index.core.chat_engine import (
            CondensePlusContextChatEngine,
            CondenseQuestionChatEngine,
            ContextChatEngine,
            SimpleChatEngine,
        )

        from .query_engine import llm_or_error

        llm, (own, others) = llm_or_error(llm), _retrieval_part(settings)
        if chat_mode == ChatMode.CONDENSE_QUESTION:
            engine = self.as_query_engine(llm, **own)
            return CondenseQuestionChatEngine.from_defaults(query_engine=engine, llm=llm, **others)
        if chat_mode == ChatMode.SIMPLE:
            return SimpleChatEngine.from_defaults(llm=llm, **others)
        if chat_mode == ChatMode.CONTEXT:
            return ContextChatEngine.from_defaults(retriever=self.as_retriever(**own), llm=llm, **others)
        if chat_mode in (ChatMode.CONDENSE_PLUS_CONTEXT, ChatMode.BEST):
            return CondensePlusContextChatEngine.from_defaults(retriever=self.as_retriever(**own), llm=llm, **others)
        raise InputError(f"There is no chat mode {chat_mode!r} here. Use an agent with a tool of as_query_engine().")

    # ── persistence ───────────────────────────────────────────────────────────────────────────────────────────────

    def persist(self, persist_dir: str | Path, fs: Any = None) -> None:
        """Save documents, nodes, vectors, memories, settings of the engine and of the retriever.

        Args:
            persist_dir: A folder, or a URL of fsspec ("s3://bucket/store", "memory://store").
            fs: A file system of fsspec that `persist_dir` is a path in.

        Raises:
            StoreError: Where it cannot be written. An upload that fails leaves what was there before.
        """
        if is_remote(persist_dir, fs):
            upload(self.persist, persist_dir, fs)
            return
        self.memo.save(persist_dir)
        write_settings(Path(persist_dir), self._retrieval_settings())

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str | Path,
        similarity_top_k: int | None = None,
        *,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel | None = None,
        reranker: HostReranker = None,
        fs: Any = None,
        transformations: Sequence[TransformComponent] | None = None,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """Load what `persist` wrote; nothing is encoded again. Settings of the retriever that are not passed are those it
        was saved with.

        Args:
            persist_dir: The folder, or a URL of fsspec; of that a local copy is opened.
            similarity_top_k: See the class.
            embed_model: The model it was made with, where that was a LlamaIndex one; by default the app's own.
            memory: Likewise the memory model.
            reranker: As in `from_documents`; stores do not keep it.
            fs: As in `persist`.
            transformations: What cuts documents that are inserted later; stores do not keep it.
            **settings: Further settings of the retriever.
        """
        check_settings(similarity_top_k, settings)
        check_memory(memory, isinstance(memory, HostLLM))
        if is_remote(persist_dir, fs):
            copy = download(persist_dir, fs)
            retriever = cls.from_persist_dir(
                copy.name, similarity_top_k, embed_model=embed_model, memory=memory, reranker=reranker,
                transformations=transformations, **settings,
            )  # fmt: skip
            keep_with(retriever.memo, copy)
            return retriever
        saved = _saved_settings(Path(persist_dir), similarity_top_k, settings)
        if embed_model is FROM_APP:
            embed_model = app_embed_model() if MemoRAG.needs_embedder(persist_dir) else None
        embedder = check_embedder(as_embedder(embed_model), "embed_model", "a LlamaIndex BaseEmbedding")
        memo = MemoRAG.load(persist_dir, embedder=embedder, memory=memory, reranker=as_reranker(reranker))
        return cls(memo, transformations=transformations or app_transformations(), **{**saved, **settings})

    @classmethod
    def open(
        cls,
        persist_dir: str | Path,
        similarity_top_k: int | None = None,
        *,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel | None = None,
        reranker: HostReranker = None,
        transformations: Sequence[TransformComponent] | None = None,
        engine: EngineSettings | None = None,
        wait: float = 30.0,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """A corpus that lives in a folder: each change is in it, whole, when its call returns.

        Several processes may have it open. `retriever.memo.reload()` takes over what others changed.

        Args:
            persist_dir: What `persist` wrote, or where a store is made.
            similarity_top_k: See the class.
            embed_model: For a new store as in `from_documents`, for one that is there as in `from_persist_dir`.
            memory: Likewise.
            reranker: As in `from_documents`; stores do not keep it.
            transformations: As in `from_documents`; stores do not keep it.
            engine: Further settings of `MemoRAG`; a store that is there has its own, and refuses others.
            wait: Seconds to wait for another process that is writing.
            **settings: Further settings of the retriever. Those of a store that is there are overridden for this object.
        """
        check_settings(similarity_top_k, settings)
        check_memory(memory, isinstance(memory, HostLLM))
        further = check_engine_settings(engine)
        if is_remote(persist_dir):
            raise InputError(
                f"A corpus lives in a local folder, found {str(persist_dir)!r}. Use from_persist_dir(url) and persist(url)."
            )
        there = exists(Path(persist_dir))
        if embed_model is FROM_APP:
            embed_model = app_embed_model() if not there or MemoRAG.needs_embedder(persist_dir) else None
        embedder = check_embedder(as_embedder(embed_model), "embed_model", "a LlamaIndex BaseEmbedding")
        saved = _saved_settings(Path(persist_dir), similarity_top_k, settings)
        memo = MemoRAG.open(
            persist_dir,
            embedder=embedder,
            memory=memory,
            wait=wait,
            **{"reranker": as_reranker(reranker), **further},
        )
        retriever = cls(memo, transformations=transformations or app_transformations(), **{**saved, **settings})
        if not there:
            write_settings(Path(persist_dir), retriever._retrieval_settings())
        return retriever

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


def check_settings(similarity_top_k: int | None, settings: Mapping[str, Any]) -> None:
    """Refuse names and values of a retriever's settings with which no query could be answered."""
    check_names(
        "MemoRAGRetriever",
        settings,
        [*RetrieverSettings.__annotations__, "similarity_top_k", "embed_model", "memory"],
        HINTS,
    )
    filters = to_filters(settings.get("filters"))
    mode, cutoff = settings.get("mode", "memorag"), settings.get("cutoff", 0.0)
    check_retrieval(similarity_top_k, settings.get("budget"), cutoff, mode, filters, settings.get("merge", False))
    for name in ("provenance", "verbose"):
        if not isinstance(settings.get(name, False), bool):
            raise InputError(f"{name} must be True or False, found {settings[name]!r}.")
    for node in settings.get("objects") or ():
        if not isinstance(node, IndexNode):
            raise InputError(f"objects takes IndexNode objects, found {type(node).__name__}.")


def _bundle(query: str | QueryBundle) -> QueryBundle:
    return QueryBundle(query) if isinstance(query, str) else query


def _retrieval_part(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the retriever, and the others."""
    names = {*RetrieverSettings.__annotations__, "similarity_top_k"} - {"callback_manager", "verbose"}
    own = {name: value for name, value in settings.items() if name in names}
    return own, {name: value for name, value in settings.items() if name not in names}


def _saved_settings(folder: Path, similarity_top_k: int | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a store keeps of its retriever, those that are passed in their place."""
    saved = read_settings(folder)
    if "filters" in settings:
        saved.pop("filters", None)
    elif "filters" in saved:
        saved["filters"] = filters_from_data(saved["filters"])
    k = saved.pop("k", None)
    if similarity_top_k is not None or settings.get("budget") is not None:
        saved.pop("budget", None)
        k = similarity_top_k
    return {**saved, "similarity_top_k": k}
