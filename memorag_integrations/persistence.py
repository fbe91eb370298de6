"""The engine's memory of itself: save, load, take over what another run has encoded."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from . import bundle, registry, store
from .contracts import LLM, Embedder, MemoryModel
from .errors import MemoRAGError
from .writer import Writer

if TYPE_CHECKING:
    from .corpus import Corpus
    from .documents import Splitter
    from .fusion import Fusion
    from .index.embedders import CheckedEmbedder

logger = logging.getLogger(__name__)


class Persisting:
    """What `MemoRAG` keeps on disk."""

    memory_model: MemoryModel
    embedder: CheckedEmbedder | None
    splitter: Splitter
    language: str
    fusion: Fusion
    shards: int
    clues: int
    _corpus: Corpus | None
    _writing: threading.Lock

    if TYPE_CHECKING:

        @property
        def corpus(self) -> Corpus: ...

    def save(self, folder: str | Path) -> None:
        """Write documents, passages, vectors, terms, memories and settings to `folder`; all of it or nothing.

        Raises:
            StoreError: Where the folder holds something that is not a store of ours, or cannot be written.
        """
        with self._writing:
            self._save(Path(folder))

    async def asave(self, folder: str | Path) -> None:
        await asyncio.to_thread(self.save, folder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        embedder: str | Embedder | None = None,
        memory: str | MemoryModel | None = None,
        generator: LLM | Writer | None = None,
    ) -> Self:
        """What `save` wrote, ready to be asked; nothing is encoded again.

        Args:
            folder: The store.
            embedder: The one it was made with, where only you can make it again (a host's model).
            memory: Likewise the memory model.
            generator: As in the constructor; stores do not keep it.

        Raises:
            StoreError: For a folder that is not a store, is damaged, is of a newer format, or needs what was not passed.
            EmbedderError: For another embedder than the store's; the message names both.
        """
        model = registry.memory_by_name(memory) if isinstance(memory, str) else memory
        stored = bundle.load(Path(folder), embedder, model)
        settings = stored.settings
        memo = cls(
            stored.memory_model,  # type: ignore[call-arg]
            generator=generator,
            passage_size=settings.passage_size,
            language=settings.language,
            fusion=settings.fusion,
            shards=settings.shards,
            clues=settings.clues,
        )
        memo.embedder, memo._corpus = stored.embedder, stored.corpus
        return memo

    @classmethod
    async def aload(cls, folder: str | Path, **how: Any) -> Self:
        """`load` off the event loop."""
        return await asyncio.to_thread(lambda: cls.load(folder, **how))

    @staticmethod
    def needs_embedder(folder: str | Path) -> bool:
        """Whether `load` has to be given the embedder: the store has vectors of a model that only its owner can make."""
        return bundle.needs_embedder(Path(folder))

    def reuse(self, folder: str | Path) -> None:
        """Take over the vectors and memories of a store, so that texts it holds are not encoded again by `memorize`.

        What another embedder or memory model made is left where it is; where there is no store yet, nothing happens.
        """
        if not store.exists(Path(folder)):
            return
        own = None if self.embedder is None else self.embedder.embedder
        try:
            stored = bundle.load(Path(folder), own, self.memory_model)
        except MemoRAGError as error:
            logger.info("Nothing to reuse in %s: %s", folder, error)
            return
        if self.embedder is not None and stored.embedder is not None:
            self.embedder.keep(stored.embedder.vectors)
        self._corpus = self._corpus or stored.corpus

    def info(self) -> dict[str, Any]:
        """What is memorized and by which settings, for people and JSON."""
        corpus = self.corpus
        return {
            "documents": len(corpus.documents),
            "passages": len(corpus.index),
            "characters": sum(len(document.text) for document in corpus.documents.values()),
            "languages": sorted(set(corpus.index.languages.values())),
            "memory": self.memory_model.fingerprint,
            "memories": len(corpus.memories),
            "memory_tokens": sum(memory.token_count for memory in corpus.memories),
            "memory_bytes": sum(memory.nbytes for memory in corpus.memories),
            "embedder": "none (BM25 alone)" if self.embedder is None else str(self.embedder.fingerprint),
            "passage_size": self.splitter.size,
        }

    def _save(self, folder: Path) -> None:
        settings = bundle.Settings(self.splitter.size, self.language, self.fusion, self.shards, self.clues)
        bundle.save(folder, self.corpus, settings, self.memory_model, self.embedder)
