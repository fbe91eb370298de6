"""`MemoRAGRetriever`: in the place of `vectorstore.as_retriever()`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Unpack

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
    adispatch_custom_event,
    dispatch_custom_event,
)
from langchain_core.documents import Document
from langchain_core.retrievers import LangSmithRetrieverParams
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import set_config_context
from pydantic import ConfigDict, Field, SkipValidation, model_validator

from memorag_integrations.contracts import MemoryModel
from memorag_integrations.engine import MemoRAG
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.arguments import (
    EngineSettings,
    check_engine,
    check_engine_settings,
    check_memory,
    check_mode,
    check_names,
    check_retrieval,
)
from memorag_integrations.hosts.precut import assemble_documents
from memorag_integrations.hosts.provenance import provenance_of
from memorag_integrations.hosts.retrieval_settings import (
    filters_to_data,
)
from memorag_integrations.index.filters import Filters
from memorag_integrations.retrieval.query import Mode
from memorag_integrations.retrieval.trace import Trace, watching
from memorag_integrations.threads import in_thread

from .adapters import LangChainEmbedder, as_reranker
from .documents import from_texts, to_documents, to_langchain_document, to_precut_passages
from .llm import NOSTREAM
from .settings import (
    CONSTRUCTORS,
    HINTS,
    EmbedModel,
    HostReranker,
    IndexSettings,
    RetrieverSettings,
    checked_settings,
    embedder_of,
    normalized,
    second,
)
from .stored_retriever import StoredRetriever

TRACE_EVENT = "memorag"
"""Name of the custom event that a retrieval dispatches to its callbacks: what was recalled, weighed and found."""


class MemoRAGRetriever(StoredRetriever):
    """Memory-guided retrieval behind LangChain's retriever interface, and a `DocumentIndex` that may change.

    Every setting can be given at construction, and again for one call: `retriever.invoke(query, k=3)`.

    Args:
        memo: An engine that has memorized or loaded a corpus; the `from_…` constructors make one.
        k: Most documents of one query; 5, or as many as `budget` allows where that is given.
        budget: Most characters of one query's documents together, in the place of k or beside it.
        mode: "memorag", or a baseline: "plain", "bm25", "hybrid", "per-clue-union".
        filters: {metadata key: value, list or {operator: value}}, or a function of the metadata. `filter` is the same.
        cutoff: Least score, in [0, 1].
        merge: Whether evidence that touches in its document becomes one (documents we cut ourselves only).
        provenance: Whether documents tell in their metadata, under the key `memorag`, what found them. Without it a
            document is equal for every query, as ensembles and vector stores need it; `explain` tells the same.
            `return_provenance` is the same.
        source_key: See `upsert`.
        search_kwargs, search_type: As vector stores have it: `{"k": …, "filter": …, "score_threshold": …}`.

    Raises:
        ValidationError: For a value that no query could be answered with, or a name that is no argument; the message says
            which one is meant.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    k: int | None = Field(default=None, ge=1)
    budget: int | None = Field(default=None, ge=1)
    mode: Mode = "memorag"
    filters: SkipValidation[Filters | None] = None
    cutoff: float = Field(default=0.0, ge=0, le=1)
    merge: bool = False
    provenance: bool = False

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        settings = normalized(values)
        check_engine(settings.get("memo"), CONSTRUCTORS)
        check_names("MemoRAGRetriever", settings, list(cls.model_fields), HINTS)
        return settings

    @model_validator(mode="after")
    def _fitting(self) -> MemoRAGRetriever:
        check_retrieval(self.k, self.budget, self.cutoff, self.mode, self.filters, self.merge)
        check_mode(self.mode, self.memo.embedder is not None)
        return self

    # ── from what the app has ─────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        embedding: EmbedModel | int = None,
        *,
        k: int | None = None,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        **settings: Unpack[IndexSettings],
    ) -> MemoRAGRetriever:
        """Memorize documents; those longer than a passage are cut, with exact character offsets.

        Args:
            documents: LangChain documents; any iterable.
            embedding: A LangChain embedding model, "minilm", a sentence-transformers name or path, or None for BM25
                alone.
            k: See the class.
            memory: What forms the memory.
            reranker: What reads the best again: a LangChain compressor that reorders, a cross-encoder, or what `MemoRAG`
                takes.
            show_progress: Whether to show progress bars.
            engine: Further settings of `MemoRAG` (passage_size, language, …).
            **settings: Further settings of the retriever.
        """
        embedding, k = second(embedding, k)
        own = checked_settings(k, settings)
        memo = _engine(embedding, memory, reranker, engine, own)
        memo.memorize(to_documents(documents), progress=show_progress)
        return cls(memo=memo, **own)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: EmbedModel | int = None,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        k: int | None = None,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        **settings: Unpack[IndexSettings],
    ) -> MemoRAGRetriever:
        """Memorize texts.

        Args:
            texts: The texts.
            metadatas: One for each text.
            ids: Likewise.
            embedding, k, memory, reranker, show_progress, engine, **settings: As in `from_documents`.
        """
        documents = from_texts(texts, metadatas, ids)
        return cls.from_documents(
            documents, embedding, k=k, memory=memory, reranker=reranker, show_progress=show_progress, engine=engine,
            **settings,
        )  # fmt: skip

    @classmethod
    def from_chunks(
        cls,
        chunks: Iterable[Document],
        embedding: EmbedModel | int = None,
        *,
        source_key: str = "source",
        k: int | None = None,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        **settings: Unpack[RetrieverSettings],
    ) -> MemoRAGRetriever:
        """Memorize what a text splitter has cut: chunks are kept whole and given back as copies, untouched.

        Args:
            chunks: LangChain documents. Those with the same `source_key` in their metadata are of one text, in the order
                given, or by `start_index` where the splitter was told to add it.
            source_key: The metadata key that names the text a chunk is from.
            embedding, k, memory, reranker, show_progress, engine, **settings: As in `from_documents`.
        """
        embedding, k = second(embedding, k)
        own = {**checked_settings(k, settings), "source_key": source_key}
        memo = _engine(embedding, memory, reranker, engine, own)
        documents, passages = assemble_documents(to_precut_passages(chunks, source_key))
        memo.memorize(documents, split=lambda document: passages[document.id], progress=show_progress)
        return cls(memo=memo, **own)

    @classmethod
    def empty(
        cls,
        embedding: EmbedModel | int = None,
        *,
        k: int | None = None,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        engine: EngineSettings | None = None,
        **settings: Unpack[IndexSettings],
    ) -> MemoRAGRetriever:
        """A corpus of nothing yet, for `upsert`; asked, it finds nothing. Arguments as in `from_documents`."""
        embedding, k = second(embedding, k)
        own = checked_settings(k, settings)
        memo = _engine(embedding, memory, reranker, engine, own)
        memo.delete(())  # from now on there is a corpus, and it is empty
        return cls(memo=memo, **own)

    @classmethod
    async def afrom_documents(
        cls, documents: Iterable[Document], embedding: EmbedModel = None, **how: Any
    ) -> MemoRAGRetriever:
        """`from_documents` off the event loop."""
        return await in_thread(lambda: cls.from_documents(documents, embedding, **how))

    @classmethod
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: EmbedModel = None,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        **how: Any,
    ) -> MemoRAGRetriever:
        """`from_texts` off the event loop."""
        return await in_thread(lambda: cls.from_texts(texts, embedding, metadatas, **how))

    @classmethod
    async def afrom_chunks(
        cls, chunks: Iterable[Document], embedding: EmbedModel = None, **how: Any
    ) -> MemoRAGRetriever:
        """`from_chunks` off the event loop."""
        return await in_thread(lambda: cls.from_chunks(chunks, embedding, **how))

    def as_retriever(self, *, k: int | None = None, **settings: Unpack[IndexSettings]) -> MemoRAGRetriever:
        """Another retriever over the same corpus, with these settings in the place of this one's."""
        new = checked_settings(k, settings)
        own = {name: getattr(self, name) for name in type(self).model_fields}
        if new.get("budget") is not None and new.get("k") is None:
            own["k"] = None
        return type(self)(**{**own, **{name: value for name, value in new.items() if name != "k" or value is not None}})

    def _retrieval_settings(self) -> dict[str, Any]:
        """The retriever's settings as data, for the store."""
        names = ("k", "budget", "mode", "cutoff", "merge", "provenance", "source_key")
        return {**{name: getattr(self, name) for name in names}, "filters": filters_to_data(self.filters)}

    # ── retrieval ─────────────────────────────────────────────────────────────────────────────────────────────────

    def explain(self, query: str, **call: Any) -> list[Evidence]:
        """The evidence behind `invoke`: for each document its place, its scores, and what found it (`to_json()`).

        Args:
            query: The query.
            **call: Settings for this call, as in `invoke`.
        """
        how, _ = self._call(call)
        return self.memo.retrieve(query, **how)

    async def aexplain(self, query: str, **call: Any) -> list[Evidence]:
        """`explain` off the event loop."""
        how, _ = self._call(call)
        return await self.memo.aretrieve(query, **how)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **call: Any
    ) -> list[Document]:
        how, provenance = self._call(call)
        trace, callbacks = Trace(), run_manager.get_child()
        with _watched(trace, callbacks) as context:
            evidence = context.run(self.memo.retrieve, query, **how)
        dispatch_custom_event(TRACE_EVENT, _traced(trace, evidence), config={"callbacks": callbacks})
        return [to_langchain_document(piece, provenance) for piece in evidence]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **call: Any
    ) -> list[Document]:
        how, provenance = self._call(call)
        trace, callbacks = Trace(), run_manager.get_child()
        with _watched(trace, callbacks) as context:
            evidence = await asyncio.create_task(self.memo.aretrieve(query, **how), context=context)
        await adispatch_custom_event(TRACE_EVENT, _traced(trace, evidence), config={"callbacks": callbacks})
        return [to_langchain_document(piece, provenance) for piece in evidence]

    def _call(self, call: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """The arguments of `MemoRAG.retrieve` for one call, and whether provenance is asked for."""
        settings = normalized({name: value for name, value in call.items() if name != "verbose"})
        check_names("invoke", settings, _OF_A_CALL, HINTS)
        given = {name: value for name, value in settings.items() if value is not None}
        how = {name: given.get(name, getattr(self, name)) for name in _OF_A_CALL}
        if "budget" in given and "k" not in given:
            how["k"] = None  # the call's budget stands in for the k of the construction
        return how, bool(how.pop("provenance"))

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        """What LangSmith shows beside a run: the retriever, and the embedding model."""
        params = LangSmithRetrieverParams(ls_retriever_name="memorag", ls_vector_store_provider="memorag")
        if self.memo.embedder is not None:
            embedder = self.memo.embedder.embedder
            model = embedder.model if isinstance(embedder, LangChainEmbedder) else embedder
            params["ls_embedding_provider"] = type(model).__name__
            named = getattr(model, "model", None) or getattr(model, "model_name", None) or embedder.name
            params["ls_embedding_model"] = str(named)
        return params


_OF_A_CALL = ("k", "budget", "mode", "filters", "cutoff", "merge", "provenance")


@contextmanager
def _watched(trace: Trace, callbacks: Any) -> Iterator[Context]:
    """A context in which models called are children of the retriever's run, and hidden from LangGraph's token stream."""
    with (
        watching(trace.steps.append),
        set_config_context({"callbacks": callbacks, "tags": [NOSTREAM]}) as context,
    ):
        yield context


def _traced(trace: Trace, evidence: Sequence[Evidence]) -> dict[str, Any]:
    return {"steps": trace.to_json(), "evidence": [provenance_of(piece) for piece in evidence]}


def _engine(
    embedding: EmbedModel,
    memory: str | MemoryModel,
    reranker: HostReranker,
    engine: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> MemoRAG:
    """An engine without a corpus; all arguments are checked, and no work is done."""
    further, embedder = check_engine_settings(engine), embedder_of(embedding)
    check_memory(memory, isinstance(memory, Runnable))
    check_mode(settings.get("mode", "memorag"), embedder is not None)
    return MemoRAG(memory, embedder, **{"reranker": as_reranker(reranker), **further})
