"""A retriever that is used as an index is: saved, opened, asked for engines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self, Unpack

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.llms import LLM as HostLLM
from llama_index.core.schema import TransformComponent

from memorag_integrations.contracts import MemoryModel
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.arguments import (
    EngineSettings,
    check_embedder,
    check_engine_settings,
    check_memory,
)
from memorag_integrations.hosts.remote import download, is_remote, keep_with, upload
from memorag_integrations.hosts.retrieval_settings import write_settings
from memorag_integrations.store.store import exists

from .adapters import app_embed_model, app_transformations, as_embedder, as_reranker
from .live_index import LiveIndex
from .settings import (
    FROM_APP,
    EmbedModel,
    HostReranker,
    RetrieverSettings,
    check_settings,
    llm_or_error,
    retrieval_part,
    saved_settings,
)


class IndexRetriever(LiveIndex, BaseRetriever):
    """What an index of LlamaIndex offers besides retrieval: it is saved and opened, and makes engines over itself."""

    @classmethod
    @abstractmethod
    def _over(cls, memo: MemoRAG, settings: Mapping[str, Any]) -> Self:
        """A retriever over an engine, with these settings."""

    @abstractmethod
    def _retrieval_settings(self) -> dict[str, Any]:
        """The retriever's settings as data, for the store."""

    @abstractmethod
    def _own_settings(self) -> dict[str, Any]:
        """The retriever's settings as its constructor takes them."""

    def as_retriever(self, similarity_top_k: int | None = None, **settings: Unpack[RetrieverSettings]) -> Self:
        """Another retriever over the same corpus, with these settings in the place of this one's."""
        check_settings(similarity_top_k, settings)
        own = self._own_settings()
        if similarity_top_k is not None or settings.get("budget") is not None:
            own["similarity_top_k"] = similarity_top_k
        return self._over(self.memo, {**own, **settings})

    def as_query_engine(self, llm: HostLLM | None = None, **settings: Any) -> BaseQueryEngine:
        """A `MemoRAGQueryEngine` over this corpus.

        Args:
            llm: What writes the answer; by default the one the app has set in `Settings`.
            **settings: Of the retriever (`as_retriever`) and of `RetrieverQueryEngine.from_args`.
        """
        engines = import_module(".query_engine", __package__)  # it is made of retrievers
        own, others = retrieval_part(settings)
        made: BaseQueryEngine = engines.MemoRAGQueryEngine.from_args(self.as_retriever(**own), llm, **others)
        return made

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

        llm, (own, others) = llm_or_error(llm), retrieval_part(settings)
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
    ) -> Self:
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
        saved = saved_settings(Path(persist_dir), similarity_top_k, settings)
        if embed_model is FROM_APP:
            embed_model = app_embed_model() if MemoRAG.needs_embedder(persist_dir) else None
        embedder = check_embedder(as_embedder(embed_model), "embed_model", "a LlamaIndex BaseEmbedding")
        memo = MemoRAG.load(persist_dir, embedder=embedder, memory=memory, reranker=as_reranker(reranker))
        return cls._over(memo, {**saved, **settings, "transformations": transformations or app_transformations()})

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
    ) -> Self:
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
        saved = saved_settings(Path(persist_dir), similarity_top_k, settings)
        memo = MemoRAG.open(
            persist_dir,
            embedder=embedder,
            memory=memory,
            wait=wait,
            **{"reranker": as_reranker(reranker), **further},
        )
        retriever = cls._over(memo, {**saved, **settings, "transformations": transformations or app_transformations()})
        if not there:
            write_settings(Path(persist_dir), retriever._retrieval_settings())
        return retriever
