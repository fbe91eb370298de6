"""The engine over time: documents come, change and go, and the corpus follows at the cost of what changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace as with_
from pathlib import Path
from typing import Any, TypeVar

from .contracts import Progress
from .corpus.revise import Change, Reviser, Split, with_text
from .corpus.state import Corpus
from .documents import Document, own, read_documents
from .errors import InputError
from .index.documents import IndexedDocument
from .persistence import Persisting
from .progress import reporting
from .store.save import commit, describe
from .store.store import Store

Documents = str | Document | Iterable[str | Document]
Wanted = Callable[[Corpus], Sequence[Document | IndexedDocument]]
T = TypeVar("T")


class Changing(Persisting):
    """What `MemoRAG` does to a corpus that is there.

    Every change is whole: it is made to a copy, written to the store that the corpus lives in, if it lives in one, and
    then takes the old one's place. Whatever goes wrong before leaves the corpus and the store as they were.

    `split`, `progress` and `cancel` are those of `memorize`; so are the errors of documents that cannot be stored.
    """

    def add(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Take in new documents; those that are there are left as they are.

        Raises:
            InputError: For an id that is there already (see `replace`, `upsert`), or no document with any text.
        """
        new = with_text(list(read_documents(documents)))

        def wanted(before: Corpus) -> list[Document | IndexedDocument]:
            for document in new:
                if document.id in before.entries:
                    raise InputError(
                        f"There is a document with the id {document.id[:80]!r} already. Use replace(documents) for a new "
                        f"version of it, or upsert(documents) for both."
                    )
            return [*before.entries.values(), *new]

        return self._change(wanted, split, progress, cancel)

    def replace(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Put new versions in the place of documents with the same ids.

        Raises:
            InputError: For an id that is not there, or a version without any text (see `delete`).
        """
        new = {document.id: document for document in read_documents(documents)}
        check_versions(new.values())

        def wanted(before: Corpus) -> list[Document | IndexedDocument]:
            check_present(new, before)
            return [new.get(id, entry) for id, entry in before.entries.items()]

        return self._change(wanted, split, progress, cancel)

    def upsert(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Put documents in the place of those with the same ids, and take in the others.

        Raises:
            InputError: For a new version without any text (see `delete`), or no document with any.
        """
        every = list(read_documents(documents))
        blank = [document for document in every if not document.text.strip()]
        new = {document.id: document for document in every if document.text.strip()}

        def wanted(before: Corpus) -> list[Document | IndexedDocument]:
            check_versions(document for document in blank if document.id in before.entries)
            with_text(every)
            kept = [new.get(id, entry) for id, entry in before.entries.items()]
            return [*kept, *(document for id, document in new.items() if id not in before.entries)]

        return self._change(wanted, split, progress, cancel)

    def delete(
        self, ids: str | Iterable[str], *, progress: bool | Progress = True, cancel: threading.Event | None = None
    ) -> Change:
        """Take documents out.

        Args:
            ids: Of the documents.

        Raises:
            InputError: For an id that is not there; none is taken out then.
        """
        gone = dict.fromkeys([ids] if isinstance(ids, str) else ids)

        def wanted(before: Corpus) -> list[Document | IndexedDocument]:
            check_present(gone, before)
            return [entry for id, entry in before.entries.items() if id not in gone]

        return self._change(wanted, None, progress, cancel)

    def refresh(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Make the corpus these documents: new ones are added, changed ones replaced, those not named deleted.

        Raises:
            InputError: Where no document holds any text (see `delete`).
        """
        new = with_text(list(read_documents(documents)))
        return self._change(lambda before: new, split, progress, cancel)

    async def aadd(self, documents: Documents, **how: Any) -> Change:
        """`add` off the event loop. Cancelling the task ends the work and keeps the corpus there was; so do all twins."""
        return await off_loop(self.add, documents, **how)

    async def areplace(self, documents: Documents, **how: Any) -> Change:
        return await off_loop(self.replace, documents, **how)

    async def aupsert(self, documents: Documents, **how: Any) -> Change:
        return await off_loop(self.upsert, documents, **how)

    async def adelete(self, ids: str | Iterable[str], **how: Any) -> Change:
        return await off_loop(self.delete, ids, **how)

    async def arefresh(self, documents: Documents, **how: Any) -> Change:
        return await off_loop(self.refresh, documents, **how)

    def get(self, id: str) -> Document | None:
        """The document with this id, or None. Its metadata is a copy."""
        found = None if self._corpus is None else self._corpus.documents.get(id)
        return None if found is None else own(found)

    def _change(
        self,
        wanted: Wanted,
        split: Split | None,
        progress: bool | Progress,
        cancel: threading.Event | None,
        save_dir: Path | None = None,
    ) -> Change:
        """Make the corpus what `wanted` says of the one there is, in RAM and in the store.

        Where another process changed the store meanwhile, what it did is taken over, and `wanted` is asked again; what
        was encoded for the first try is not encoded again.
        """
        with self._writing, reporting(progress) as report:
            if self._closed:
                raise InputError("This corpus is closed. Open it again: MemoRAG.open(folder).")
            home = self._home if save_dir is None else Store(save_dir)
            if self._home is not None and home is not None and home.folder.resolve() != self._home.folder.resolve():
                raise InputError(
                    f"This corpus lives in {self._home.folder}, and its changes go there. Use save({str(save_dir)!r}) for "
                    f"a copy."
                )
            artifacts = None if home is None else self._artifacts(home)
            if home is not None:
                home.prepare(describe(self._settings(), self.memory_model, self.embedder))
            reviser = Reviser(self.splitter, self.memory_model, self.embedder, self.language, artifacts, report, cancel)
            encoded = formed = 0
            while True:
                before = self._corpus or Corpus.empty(self.embedder is not None)
                try:
                    corpus, change = reviser.revise(before, wanted(before), split)
                except InputError:
                    if self._home is None or not self._reload():
                        raise
                    continue  # what others did since may be just what this asks for
                encoded, formed = encoded + change.encoded, formed + change.formed
                if artifacts is None:
                    self._changed = self._changed or bool(change)
                    break
                expected = self._source[1] if self._home is not None and self._source is not None else None
                same = not change and list(before.entries) == list(corpus.entries)
                if same and expected is not None and artifacts.store.generation() == expected:
                    break  # others need not look at what is as it was
                generation = commit(artifacts, corpus, self._settings(), expected)
                if generation is not None:
                    self._source, self._changed = (artifacts.store.folder.resolve(), generation), False
                    break
                self._reload()
            self._corpus = corpus
            return with_(change, encoded=encoded, formed=formed)


async def off_loop(work: Callable[..., T], *arguments: Any, **how: Any) -> T:
    """`work` in a thread; cancelling the task sets its `cancel`, unless the caller has one of their own."""
    cancel = how.pop("cancel", None) or threading.Event()
    try:
        return await asyncio.to_thread(work, *arguments, cancel=cancel, **how)
    except asyncio.CancelledError:
        cancel.set()
        raise


def check_versions(documents: Iterable[Document]) -> None:
    """Raises InputError for a new version of a document without any text."""
    for document in documents:
        if not document.text.strip():
            raise InputError(
                f"The new version of document {document.id[:80]!r} holds no text. Use delete(id) to take it out."
            )


def check_present(ids: Iterable[str], corpus: Corpus) -> None:
    """Raises InputError for an id that is not there."""
    for id in ids:
        if not isinstance(id, str) or id not in corpus.entries:
            raise InputError(
                f"Expected the id of a document of the corpus, found {str(id)[:80]!r}. Nothing was changed; "
                f"memo.corpus.documents has the ids there are."
            )
