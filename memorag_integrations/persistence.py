"""The engine's memory of itself: a store it was loaded from, or lives in."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .answers.writer import Writer
from .contracts import LLM, Embedder, MemoryModel, Reranker
from .corpus.state import Corpus
from .errors import InputError, MemoRAGError, StoreError
from .memories.recall_cache import CachedMemoryModel
from .retrieval.reranking import Reranking
from .store import load as bundle
from .store import store
from .store.save import Settings, Shelf, commit, describe, seals_of
from .store.store import Store

if TYPE_CHECKING:
    from .corpus.splitter import Splitter
    from .encoders.checked import CheckedEmbedder
    from .retrieval.fusion import Fusion

logger = logging.getLogger(__name__)


class Persisting:
    """What `MemoRAG` keeps on disk."""

    memory_model: CachedMemoryModel
    embedder: CheckedEmbedder | None
    splitter: Splitter
    language: str
    fusion: Fusion
    shards: int
    clues: int
    reranking: Reranking | None
    _corpus: Corpus | None
    _writing: threading.Lock
    _home: Store | None = None
    """The store that every change goes to."""
    _source: tuple[Path, int] | None = None
    """The store that the corpus was last loaded from or saved to, and its generation then."""
    _changed = False
    """Whether the corpus is another one since."""
    _closed = False

    if TYPE_CHECKING:

        def __init__(self, memory: Any = ..., embedder: Any = ..., **settings: Any) -> None: ...

        @property
        def corpus(self) -> Corpus: ...

    # ── a corpus in RAM, and a store it is saved to ───────────────────────────────────────────────────────────────

    def save(self, folder: str | Path, *, wait: float = 30.0) -> None:
        """Make the corpus the state of the store in `folder`; what is there already is not written again.

        Args:
            folder: Not there yet, empty, or a store.
            wait: Seconds to wait for another process that writes to it.

        Raises:
            StoreError: Where the folder holds something that is not a store of ours, cannot be written, or was changed
                by somebody else since this corpus was loaded from it; the store is what it was.
        """
        with self._writing:
            self._save(Path(folder), wait)

    async def asave(self, folder: str | Path, *, wait: float = 30.0) -> None:
        await asyncio.to_thread(self.save, folder, wait=wait)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        embedder: str | Embedder | None = None,
        memory: str | MemoryModel | None = None,
        generator: LLM | Writer | None = None,
        reranker: str | Reranker | Reranking | None = None,
    ) -> Self:
        """What a store holds, ready to be asked; nothing is encoded again.

        Changes of it stay in RAM until they are saved; see `open` for a corpus that lives in its folder.

        Args:
            folder: The store.
            embedder: The one it was made with, where only you can make it again (a host's model).
            memory: Likewise the memory model.
            generator, reranker: As in the constructor; stores do not keep them.

        Raises:
            StoreError: For a folder that is not a store, is damaged, is of a newer format, or needs what was not passed.
            EmbedderError: For another embedder than the store's; the message names both.
            MemoryModelError: Where a memory is not as it was written.
        """
        reranking = Reranking.of(reranker)
        memo = cls._loaded(Path(folder), embedder, memory, generator, unfinished=False)
        memo.reranking = reranking
        return memo

    @classmethod
    async def aload(cls, folder: str | Path, **how: Any) -> Self:
        """`load` off the event loop."""
        return await asyncio.to_thread(lambda: cls.load(folder, **how))

    # ── a corpus that lives in a store ────────────────────────────────────────────────────────────────────────────

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        embedder: str | Embedder | None = None,
        memory: str | MemoryModel | None = None,
        generator: LLM | Writer | None = None,
        reranker: str | Reranker | Reranking | None = None,
        wait: float = 30.0,
        **settings: Any,
    ) -> Self:
        """A corpus that lives in a folder: each change is in the store, whole, when its call returns.

        Several processes may have the same folder open and change it; each change is made to the state that the others
        left. What they changed is seen after a change of one's own, or `reload`.

        Args:
            folder: A store, or where one is made.
            embedder, memory: As in the constructor for a new store; for one that is there, as in `load`.
            generator, reranker: As in the constructor.
            wait: Seconds to wait for another process that is writing; 0 refuses at once.
            **settings: Of the constructor. A store that is there has its own; others are refused.

        Raises:
            StoreError: As `load`; and later from each change, where another process writes for longer than `wait`.
        """
        if isinstance(wait, bool) or not isinstance(wait, int | float) or wait < 0:
            raise InputError(f"wait must be a number of seconds, 0 or more; found {wait!r}.")
        home, reranking = Store(Path(folder), float(wait)), Reranking.of(reranker)
        if not store.exists(home.folder):
            memo = cls("activation" if memory is None else memory, embedder, generator=generator, **settings)
            home.prepare(describe(memo._settings(), memo.memory_model, memo.embedder))
        memo = cls._loaded(home.folder, embedder, memory, generator, unfinished=True)
        stored = asdict(memo._settings())
        for name, value in settings.items():
            wanted = asdict(value) if name == "fusion" and value is not None else value
            if wanted != stored.get(name):
                raise InputError(
                    f"The store at {folder} was made with {name}={stored.get(name)!r}, found {value!r}. Leave it out, or "
                    f"make another store."
                )
        memo._home, memo.reranking = home, reranking
        return memo

    @classmethod
    async def aopen(cls, folder: str | Path, **how: Any) -> Self:
        """`open` off the event loop."""
        return await asyncio.to_thread(lambda: cls.open(folder, **how))

    def reload(self) -> bool:
        """Take over what others changed in the store since; True where they did. Reads what is new alone.

        Raises:
            InputError: Where there is no store behind this corpus, or changes in RAM would be lost.
        """
        with self._writing:
            if self._source is None:
                raise InputError("There is no store to reload: make this object with MemoRAG.load or MemoRAG.open.")
            if self._changed:
                raise InputError("The corpus was changed in RAM, and reload would lose that. Save it first.")
            return self._reload()

    async def areload(self) -> bool:
        return await asyncio.to_thread(self.reload)

    def close(self) -> None:
        """Let go of corpus and memories; everything was written when it changed. Closing twice does no harm."""
        with self._writing:
            self._corpus, self._closed = None, True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── what a store says ─────────────────────────────────────────────────────────────────────────────────────────

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
        if self.embedder is not None:
            self.embedder.keep(stored.corpus.vectors, None if stored.embedder is None else stored.embedder.weights)
        self._corpus = self._corpus or stored.corpus

    def info(self) -> dict[str, Any]:
        """What is memorized and by which settings, for people and JSON."""
        corpus = self.corpus
        return {
            "documents": len(corpus.documents),
            "passages": len(corpus.index),
            "characters": sum(len(document.text) for document in corpus.documents.values()),
            "languages": sorted(corpus.index.languages),
            "memory": self.memory_model.fingerprint,
            "memories": len(corpus.memories),
            "memory_tokens": sum(memory.token_count for memory in corpus.memories),
            "memory_bytes": sum(memory.nbytes for memory in corpus.memories),
            "embedder": "none (BM25 alone)" if self.embedder is None else str(self.embedder.fingerprint),
            "passage_size": self.splitter.size,
        }

    # ── the steps ─────────────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def _loaded(
        cls,
        folder: Path,
        embedder: str | Embedder | None,
        memory: str | MemoryModel | None,
        generator: LLM | Writer | None,
        *,
        unfinished: bool,
    ) -> Self:
        stored = bundle.load(folder, embedder, memory, unfinished=unfinished)
        settings = stored.settings
        memo = cls(
            stored.memory_model,
            generator=generator,
            passage_size=settings.passage_size,
            language=settings.language,
            fusion=settings.fusion,
            shards=settings.shards,
            clues=settings.clues,
        )
        memo.embedder, memo._corpus = stored.embedder, stored.corpus
        memo._source = (folder.resolve(), stored.generation)
        return memo

    def _settings(self) -> Settings:
        return Settings(self.splitter.size, self.language, self.fusion, self.shards, self.clues)

    def _shelf(self, home: Store) -> Shelf:
        return Shelf(home, self.memory_model, self.embedder)

    def _save(self, folder: Path, wait: float = 30.0) -> None:
        home, corpus = Store(folder, wait), self.corpus
        home.prepare(describe(self._settings(), self.memory_model, self.embedder))
        expected = self._source[1] if self._source is not None and self._source[0] == folder.resolve() else None
        generation = commit(self._shelf(home), corpus, self._settings(), expected)
        if generation is None:
            raise StoreError(
                f"The store at {folder} was changed by somebody else since this corpus was loaded from it. Load it again "
                f"and repeat your changes, or use MemoRAG.open, which makes them to what is there."
            )
        if self._home is None or expected is not None:
            self._source, self._changed = (folder.resolve(), generation), False

    def _reload(self) -> bool:
        """Take over the state of the store behind this corpus."""
        assert self._source is not None
        folder, generation = self._source
        home = self._home or Store(folder)
        if home.generation() == generation:
            return False
        before = self._corpus or Corpus.empty(self.embedder is not None)
        state = home.read(seals_of(before))
        self._corpus, found = bundle.restored(self._shelf(home), state, before)
        self._source = (folder, found)
        return True
