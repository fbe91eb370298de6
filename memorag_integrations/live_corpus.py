"""A corpus over time: the state there is, the store it was loaded from or lives in, and every change of both."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

from .contracts import Embedder, MemoryModel, Progress
from .corpus.edits import Edit
from .corpus.revise import Change, Reviser, Split
from .corpus.splitter import Splitter
from .corpus.state import Corpus
from .documents import Document, own
from .encoders.checked import CheckedEmbedder
from .errors import InputError, MemoRAGError, StoreError
from .memories.recall_cache import CachedMemoryModel, cached
from .progress import reporting
from .store import snapshot
from .store.load import load_corpus, restore_latest
from .store.paths import as_folder
from .store.records import Version
from .store.save import Settings, StoreArtifacts, checksums_of, commit, describe
from .store.store import Store, check_target, exists
from .text.tokenizer import AnyTokenizer, Tokenizer

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class LiveCorpus:
    """The current state of a corpus, and the models that make its next states.

    A state never changes; a change makes another one and puts it in the place of the current one. So whoever reads a
    state is never disturbed. One change runs at a time.

    Args:
        settings: Of the engine, as a store keeps them.
        memory_model: Forms memories.
        embedder: Encodes passages, or None for BM25 alone.
        splitter: Cuts documents into passages.
        state: The current state; None before anything was memorized.
        home: The store that every change goes to, for a corpus that lives in its store.
        source: The folder of the store that the state was last loaded from or saved to, and which state that was.
        tokenizer: Cuts texts into words in the place of our own analysis, or None.
    """

    settings: Settings
    memory_model: CachedMemoryModel
    embedder: CheckedEmbedder | None
    splitter: Splitter
    state: Corpus | None = None
    home: Store | None = None
    source: tuple[Path, Version] | None = None
    tokenizer: Tokenizer | None = None
    _unsaved: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _process: int = field(default_factory=os.getpid, init=False, repr=False)

    @classmethod
    def new(
        cls, settings: Settings, model: CachedMemoryModel, embedder: CheckedEmbedder | None, words: AnyTokenizer | None
    ) -> LiveCorpus:
        """A corpus in RAM that is still empty."""
        tokenizer = Tokenizer.of(words)
        settings = with_(settings, tokenizer=None if tokenizer is None else tokenizer.name)
        return cls(settings, model, embedder, Splitter(settings.passage_size), tokenizer=tokenizer)

    @property
    def current(self) -> Corpus:
        """The state there is.

        Raises:
            InputError: Where nothing was memorized yet, or the corpus is closed.
        """
        if self._closed:
            raise InputError("This corpus is closed. Load or open it again.")
        if self.state is None:
            raise InputError("Nothing is memorized yet. Call memorize(documents), or MemoRAG.load(folder).")
        return self.state

    @property
    def state_or_empty(self) -> Corpus:
        """The state there is; an empty one where nothing was memorized yet. Raises InputError for a closed corpus."""
        if self.state is None and not self._closed:
            return Corpus.empty(self.embedder is not None, self.tokenizer)
        return self.current

    def get(self, id: str) -> Document | None:
        """The document with this id, or None. Its metadata is a copy."""
        if not isinstance(id, str):
            raise InputError(f"Expected the id of a document, a str, found {type(id).__name__}.")
        document = None if self.state is None else self.state.documents.get(id)
        return None if document is None else own(document)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change at a time.

        Raises:
            StoreError: In a process that was forked off, where the corpus has a store: what the parent was doing with it is
                not known here.
        """
        if os.getpid() != self._process:
            if self.source is not None:
                raise StoreError(
                    f"The corpus of the store at {self.source[0]} was opened in another process, from which this one was "
                    f"forked. It can be asked here; to change or reload it, open it again: MemoRAG.open(folder)."
                )
            self._lock, self._process = threading.Lock(), os.getpid()
        with self._lock:
            yield

    def apply(
        self,
        edit: Edit,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
        save_dir: str | Path | None = None,
    ) -> Change:
        """Make the corpus what `edit` says, in RAM and in the store.

        Every change is whole: whatever goes wrong leaves the corpus and the store as they were.

        Args:
            edit: The documents of the next state, given the state there is.
            split: The passages of documents that are not ours to cut.
            progress: See `MemoRAG.memorize`.
            cancel: Ends the work when set; the corpus stays as it was.
            save_dir: Folder of a store to save to, for a corpus that does not live in one.
        """
        if cancel is not None and not callable(getattr(cancel, "is_set", None)):
            raise InputError(f"cancel must be a threading.Event, found {type(cancel).__name__}.")
        with self._alone(), reporting(progress) as report:
            target = self._target(save_dir)
            artifacts = None if target is None else StoreArtifacts(target, self.memory_model, self.embedder)
            if target is not None:
                target.prepare(self._description(), new=self.home is None)
            language = self.settings.language
            reviser = Reviser(self.splitter, self.memory_model, self.embedder, language, artifacts, report, cancel)
            encoded = formed = 0
            while True:
                before = self.state_or_empty
                try:
                    corpus, change = reviser.revise(before, edit(before), split)
                except InputError:
                    if self.home is None or not self._reload():
                        raise
                    continue  # another process may have made just the change that this one asks for
                # What an earlier round encoded and formed is not made again, but it was made by this call.
                encoded, formed = encoded + change.encoded, formed + change.formed
                if artifacts is None:
                    self._unsaved = self._unsaved or bool(change)
                    break
                if self._committed(artifacts, before, corpus, change):
                    break
                self._reload()  # another process was faster: the edit is made to the state that it left
            self.state = corpus
            return with_(change, encoded=encoded, formed=formed)

    def _target(self, save_dir: str | Path | None) -> Store | None:
        """The store that a change goes to, or None."""
        if self._closed:
            raise InputError("This corpus is closed. Open it again: MemoRAG.open(folder).")
        if save_dir is None:
            return self.home
        target = Store(check_target(as_folder(save_dir)))
        if self.home is not None and target.folder.resolve() != self.home.folder.resolve():
            raise InputError(
                f"This corpus lives in {self.home.folder}, and its changes go there. Use save({str(target.folder)!r}) for a "
                f"copy."
            )
        return target

    def _committed(self, artifacts: StoreArtifacts, before: Corpus, corpus: Corpus, change: Change) -> bool:
        """Whether the store now holds `corpus`; False where another process changed the store meanwhile."""
        expected = self.source[1] if self.home is not None and self.source is not None else None
        same = not change and list(before.entries) == list(corpus.entries)
        if same and expected is not None and artifacts.store.version() == expected:
            return True  # nothing is written: other processes need not read again what is as it was
        version = commit(artifacts, corpus, self.settings, expected)
        if version is None:
            return False
        self._follow(artifacts.store.folder, version)
        return True

    def _follow(self, folder: Path, version: Version) -> None:
        """The state is this one of the store in `folder` from now on; another store there is refused."""
        self.source, self._unsaved = (folder.resolve(), version), False
        if self.home is not None:
            self.home = with_(self.home, identity=version.identity)

    def _description(self) -> dict[str, Any]:
        return describe(self.settings, self.memory_model, self.embedder)

    def save(self, folder: str | Path, wait: float = 30.0) -> None:
        """Make the corpus the state of the store in `folder`. See `MemoRAG.save`."""
        folder = as_folder(folder)
        with self._alone():
            expected = self.source[1] if self.source is not None and self.source[0] == folder.resolve() else None
            target, corpus = Store(folder, wait, None if expected is None else expected.identity), self.current
            target.prepare(self._description(), new=expected is None)
            artifacts = StoreArtifacts(target, self.memory_model, self.embedder)
            version = commit(artifacts, corpus, self.settings, expected)
            if version is None:
                raise StoreError(
                    f"The store at {folder} was changed by somebody else since this corpus was loaded from it. Load it "
                    f"again and repeat your changes, or use MemoRAG.open, which makes them to what is there."
                )
            if self.home is None or expected is not None:
                self._follow(folder, version)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        embedder: str | Embedder | None,
        memory: str | MemoryModel | None,
        tokenizer: AnyTokenizer | None = None,
        *,
        unfinished: bool = False,
    ) -> LiveCorpus:
        """The corpus that a store holds. See `MemoRAG.load`.

        Args:
            folder: The store.
            embedder, memory, tokenizer: What made it, where only the caller can make that again.
            unfinished: Whether a store that nothing was written to yet is an empty corpus, or an error.
        """
        folder = as_folder(folder)
        words = Tokenizer.of(tokenizer)
        stored = load_corpus(folder, embedder, memory, words, unfinished=unfinished)
        splitter = Splitter(stored.settings.passage_size)
        return cls(
            *(stored.settings, stored.memory_model, stored.embedder, splitter, stored.corpus),
            source=(folder.resolve(), stored.version),
            tokenizer=words,
        )

    @classmethod
    def open(
        cls,
        folder: str | Path,
        embedder: str | Embedder | None,
        memory: str | MemoryModel | None,
        tokenizer: AnyTokenizer | None = None,
        *,
        new: Callable[[], LiveCorpus],
        settings: Mapping[str, Any],
        wait: float = 30.0,
    ) -> LiveCorpus:
        """The corpus that lives in a store. See `MemoRAG.open`.

        Args:
            folder: The store, or where one is made.
            embedder, memory, tokenizer: As in `load`.
            new: Makes the corpus, still empty, whose models and settings a new store gets.
            settings: What the caller gave by name; the settings of a store that is there must be the same.
            wait: Seconds to wait for another process that is writing.

        Raises:
            InputError: For settings other than the store's, or a `wait` that is no number of seconds.
        """
        home = Store(as_folder(folder), wait)
        if not exists(home.folder):
            home.prepare(new()._description())
        live = cls.load(folder, embedder, memory, tokenizer, unfinished=True)
        live.settings.check_same(settings, folder)
        assert live.source is not None
        live.home = with_(home, identity=live.source[1].identity)
        return live

    def reload(self) -> bool:
        """Take over what others changed in the store since; True where they did. See `MemoRAG.reload`."""
        with self._alone():
            if self.source is None:
                raise InputError("There is no store to reload: make this object with MemoRAG.load or MemoRAG.open.")
            if self._unsaved:
                raise InputError("The corpus was changed in RAM, and reload would lose that. Save it first.")
            return self._reload()

    def _reload(self) -> bool:
        """Take over the state of the store behind this corpus; False where it is the one there is."""
        assert self.source is not None
        folder, version = self.source
        home = self.home or Store(folder, identity=version.identity)
        if home.version() == version:
            return False
        before = self.state_or_empty
        stored = home.read(checksums_of(before))
        self.state, found = restore_latest(StoreArtifacts(home, self.memory_model, self.embedder), stored, before)
        self._follow(folder, found)
        return True

    def copied(self) -> LiveCorpus:
        """The same state over the same models, to be changed apart from this one."""
        with self._alone():
            embedder = None if self.embedder is None else self.embedder.copied()
            live = with_(self, embedder=embedder)
            live._unsaved, live._closed = self._unsaved, self._closed
        return live

    def to_state(self) -> dict[str, Any]:
        """What another process needs to have the same corpus: its folder, or a snapshot, and the models.

        Raises:
            InputError: For a model that cannot be pickled, or a corpus that is closed.
        """
        embedder = None if self.embedder is None else self.embedder.embedder
        memory = self.memory_model.model
        state: dict[str, Any] = {
            "version": snapshot.VERSION,
            "settings": self.settings,
            # one with a config is made again from the store
            "embedder": embedder if embedder is None or embedder.config is None or self.state is None else None,
            "memory": memory if memory.config is None or self.state is None else None,
            "tokenizer": self.tokenizer,
        }
        for name in ("embedder", "memory", "tokenizer"):
            snapshot.check_travels(name, state[name])
        if self.state is None and not self._closed:
            return state
        if self.home is not None:
            return {**state, "folder": str(self.home.folder.resolve()), "wait": self.home.wait}
        return {**state, "snapshot": snapshot.packed(lambda folder: self.copied().save(folder))}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> LiveCorpus:
        """The corpus of `to_state`.

        Raises:
            StoreError: For a state of another version, or a folder that is not there any more.
        """
        snapshot.check_version(state)
        embedder, memory, tokenizer = state["embedder"], state["memory"], state.get("tokenizer")
        if "folder" in state:
            home = Store(Path(state["folder"]), state["wait"])
            live = cls.load(home.folder, embedder, memory, tokenizer, unfinished=True)
            live.home = home
            return live
        if "snapshot" in state:
            temporary = snapshot.unpacked(state["snapshot"])
            live = cls.load(temporary.name, embedder, memory, tokenizer)
            live.source = None  # it is a copy in RAM, and may be saved anywhere
            snapshot.keep_with(live, temporary)
            return live
        return cls.new(state["settings"], cached(memory), CheckedEmbedder.of(embedder), tokenizer)

    def close(self) -> None:
        """Let go of corpus and memories; everything was written when it changed. Closing twice does no harm."""
        with self._lock if os.getpid() == self._process else nullcontext():
            self.state, self._closed = None, True

    def reuse(self, folder: str | Path) -> None:
        """Take over the vectors and memories of a store, so that `memorize` does not encode its texts again.

        What another embedder or memory model made is left where it is; where there is no store yet, nothing happens.
        """
        folder = as_folder(folder)
        if not exists(folder):
            return
        embedder = None if self.embedder is None else self.embedder.embedder
        try:
            stored = load_corpus(folder, embedder, self.memory_model, self.tokenizer)
        except MemoRAGError as error:
            logger.info("Nothing to reuse in %s: %s", folder, error)
            return
        if self.embedder is not None:
            self.embedder.keep(stored.corpus.vectors, None if stored.embedder is None else stored.embedder.weights)
        self.state = self.state or stored.corpus

    def info(self) -> dict[str, Any]:
        """What is memorized and by which settings, for people and JSON."""
        return {
            **self.current.info(),
            "memory": self.memory_model.fingerprint,
            "embedder": "none (BM25 alone)" if self.embedder is None else str(self.embedder.fingerprint),
            "passage_size": self.settings.passage_size,
        }


def restored(over: Callable[..., Any], state: Mapping[str, Any], *parts: object) -> Any:
    """What a pickle of an engine becomes: an engine over the corpus of `state`, with the other parts that it had."""
    return over(LiveCorpus.of_state(state), *parts)
