"""A retriever and the folder that it is saved to."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self, Unpack

from langchain_core.runnables import Runnable

from memorag_integrations.contracts import MemoryModel
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.arguments import (
    EngineSettings,
    check_engine_settings,
    check_memory,
)
from memorag_integrations.hosts.remote import download, is_remote, keep_with, upload
from memorag_integrations.hosts.retrieval_settings import (
    write_settings,
)
from memorag_integrations.store.store import exists

from .adapters import as_reranker
from .live_index import LiveIndex
from .settings import (
    EmbedModel,
    HostReranker,
    IndexSettings,
    checked_settings,
    embedder_of,
    with_saved,
)


class StoredRetriever(LiveIndex):
    """A retriever that is saved to a folder and loaded from it."""

    @abstractmethod
    def _retrieval_settings(self) -> dict[str, Any]:
        """The retriever's settings as data, for the store."""

    def save_local(self, folder: str | Path, fs: Any = None) -> None:
        """Save documents, passages, vectors, memories, settings of the engine and of the retriever.

        Args:
            folder: A folder, or a URL of fsspec ("s3://bucket/store", "memory://store").
            fs: A file system of fsspec that `folder` is a path in.

        Raises:
            StoreError: Where it cannot be written. An upload that fails leaves what was there before.
        """
        if is_remote(folder, fs):
            upload(self.save_local, folder, fs)
            return
        self.memo.save(folder)
        write_settings(Path(folder), self._retrieval_settings())

    @classmethod
    def load_local(
        cls,
        folder: str | Path,
        embedding: EmbedModel = None,
        *,
        k: int | None = None,
        memory: str | MemoryModel | None = None,
        reranker: HostReranker = None,
        fs: Any = None,
        **settings: Unpack[IndexSettings],
    ) -> Self:
        """Load what `save_local` wrote; nothing is encoded again, and nothing in the folder can run code. Settings of the
        retriever that are not passed are those it was saved with.

        Args:
            folder: The folder, or a URL of fsspec; of that a local copy is opened.
            embedding: The model it was made with, where that was a LangChain one.
            k: See the class.
            memory: The memory model, where that was one of your own.
            reranker: As in `from_documents`; stores do not keep it.
            fs: As in `save_local`.
            **settings: Further settings of the retriever.
        """
        own = checked_settings(k, settings)
        check_memory(memory, isinstance(memory, Runnable))
        if is_remote(folder, fs):
            copy = download(folder, fs)
            retriever = cls.load_local(copy.name, embedding, k=k, memory=memory, reranker=reranker, **settings)
            keep_with(retriever.memo, copy)
            return retriever
        own = with_saved(Path(folder), own)
        embedder = embedder_of(embedding)
        memo = MemoRAG.load(folder, embedder=embedder, memory=memory, reranker=as_reranker(reranker))
        return cls(memo=memo, **own)

    @classmethod
    def open_local(
        cls,
        folder: str | Path,
        embedding: EmbedModel = None,
        *,
        k: int | None = None,
        memory: str | MemoryModel | None = None,
        reranker: HostReranker = None,
        engine: EngineSettings | None = None,
        wait: float = 30.0,
        **settings: Unpack[IndexSettings],
    ) -> Self:
        """A corpus that lives in a folder: each change is in it, whole, when its call returns.

        Several processes may have it open. `retriever.memo.reload()` takes over what others changed.

        Args:
            folder: What `save_local` wrote, or where a store is made.
            embedding: For a new store as in `from_documents`, for one that is there as in `load_local`.
            k: See the class.
            memory: As `embedding`.
            reranker: As in `from_documents`; stores do not keep it.
            engine: Further settings of `MemoRAG`; a store that is there has its own, and refuses others.
            wait: Seconds to wait for another process that is writing.
            **settings: Further settings of the retriever. Those of a store that is there are overridden for this object.
        """
        own, further = checked_settings(k, settings), check_engine_settings(engine)
        check_memory(memory, isinstance(memory, Runnable))
        if is_remote(folder):
            raise InputError(
                f"A corpus lives in a local folder, found {str(folder)!r}. Use load_local(url) and save_local(url)."
            )
        there, own = exists(Path(folder)), with_saved(Path(folder), own)
        memo = MemoRAG.open(
            folder,
            embedder=embedder_of(embedding),
            memory=memory,
            wait=wait,
            **{"reranker": as_reranker(reranker), **further},
        )
        retriever = cls(memo=memo, **own)
        if not there:
            write_settings(Path(folder), retriever._retrieval_settings())
        return retriever
