"""Documents are upserted and deleted behind a retriever, by the names of LangChain's `DocumentIndex`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.indexing.base import DeleteResponse, DocumentIndex, UpsertResponse
from pydantic import SkipValidation

from memorag_integrations.documents import GIVEN
from memorag_integrations.drivers import in_thread_cancellable
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.precut_edits import current_documents, insert_passages, precut_passages, remove_passages

from .documents import (
    SOURCE_KEY,
    from_texts,
    stored_precut_passage,
    to_documents,
    to_precut_passages,
    to_stored_item,
    with_ids,
)

logger = logging.getLogger(__name__)


class LiveIndex(DocumentIndex):
    """A `DocumentIndex`, for `langchain_core.indexing.index` and for callers of their own.

    Every change costs what changed, and is whole: whatever goes wrong leaves the corpus as it was. `show_progress` and
    `cancel` are the `progress` and `cancel` of `MemoRAG.memorize`. The async twins leave the event loop free.
    """

    memo: SkipValidation[MemoRAG]
    source_key: str | None = None

    def upsert(  # type: ignore[override]
        self, items: Sequence[Document], /, *, show_progress: bool = False, cancel: threading.Event | None = None
    ) -> UpsertResponse:
        """Take in items; one whose id is there already takes that one's place. What is the same is not encoded again.

        An item is a document, cut where it is longer than a passage. Where the corpus was made `from_chunks`, or the
        retriever has a `source_key`, it is a chunk: kept whole, it joins the chunks of the same source, at its
        `start_index` or behind them.

        Args:
            items: Those without an id get one, made from text and metadata; of two with the same id the last counts.

        Returns:
            Ids of all items, in their order; those without any text are in `failed`, and were not taken in.

        Raises:
            InputError: For what is no document, metadata that JSON cannot hold, or a chunk of a source that was taken
                in as a document.
        """
        every = [item.model_copy(update={"id": id}) for item, id in with_ids(items)]
        filled = {item.id: item for item in every if item.page_content.strip()}
        blank = [str(item.id) for item in every if not item.page_content.strip()]
        key = self._chunk_key()
        if not filled:
            pass
        elif key is None:
            self.memo.upsert(to_documents(filled.values()), progress=show_progress, cancel=cancel)
        else:
            insert_passages(
                self.memo,
                to_precut_passages(filled.values(), key),
                stored_precut_passage,
                progress=show_progress,
                cancel=cancel,
            )
        if blank:
            logger.warning("%d of %d items hold no text and were not taken in.", len(blank), len(every))
        return UpsertResponse(succeeded=[str(item.id) for item in every if item.page_content.strip()], failed=blank)

    def delete(  # type: ignore[override]
        self,
        ids: list[str] | None = None,
        *,
        show_progress: bool = False,
        cancel: threading.Event | None = None,
    ) -> DeleteResponse:
        """Take out items; ids that are not there are passed over.

        Args:
            ids: Of documents, or of chunks that were kept whole. A source whose last chunk is gone is gone.

        Raises:
            InputError: Without ids; it is a ValueError, too.
        """
        if ids is None or isinstance(ids, str):
            raise InputError(f"delete takes a list of ids, found {ids!r}.")
        unique = list(dict.fromkeys(ids))
        removal = remove_passages(
            self.memo, unique, unique, stored_precut_passage, whole=False, progress=show_progress, cancel=cancel
        )
        removed = {*removal.documents, *removal.passages}
        succeeded = [id for id in unique if id in removed]
        return DeleteResponse(num_deleted=len(succeeded), succeeded=succeeded, num_failed=0, failed=[])

    def add_documents(
        self, documents: Sequence[Document], ids: Sequence[str | None] | None = None, **how: Any
    ) -> list[str]:
        """`upsert` as vector stores have it.

        Args:
            documents: As in `upsert`.
            ids: One for each document, in the place of its own.
            **how: As in `upsert`.

        Returns:
            Ids of the documents that were taken in.
        """
        items = list(documents)
        if ids is not None:
            if len(ids) != len(items):
                raise InputError(f"ids must be as many as documents ({len(items)}), found {len(ids)}.")
            items = [item.model_copy(update={"id": id}) for item, id in zip(items, ids, strict=True)]
        return list(self.upsert(items, **how)["succeeded"])

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **how: Any,
    ) -> list[str]:
        """`upsert` of texts; metadatas and ids are one for each text. Returns the ids of those that were taken in."""
        return list(self.upsert(from_texts(texts, metadatas, ids), **how)["succeeded"])

    def get(self, ids: Sequence[str], /, **kwargs: Any) -> list[Document]:
        """The items with these ids, as they came in; those that are not there are left out."""
        entries = current_documents(self.memo)
        chunks = precut_passages(entries)
        found = []
        for id in dict.fromkeys(ids):
            if id in chunks:
                found.append(to_stored_item(chunks[id]))
            elif id in entries and entries[id].cut != GIVEN:
                found.append(to_stored_item(entries[id].document))
        return found

    async def aupsert(self, items: Sequence[Document], /, **how: Any) -> UpsertResponse:
        """`upsert` off the event loop. Cancelling the task ends the work and keeps the corpus there was."""
        return await in_thread_cancellable(self.upsert, items, **how)

    async def aadd_documents(self, documents: Sequence[Document], **how: Any) -> list[str]:
        """`add_documents` off the event loop."""
        return await in_thread_cancellable(self.add_documents, documents, **how)

    async def aadd_texts(
        self, texts: Iterable[str], metadatas: Sequence[Mapping[str, Any]] | None = None, **how: Any
    ) -> list[str]:
        """`add_texts` off the event loop."""
        return await in_thread_cancellable(self.add_texts, texts, metadatas, **how)

    async def adelete(self, ids: list[str] | None = None, **how: Any) -> DeleteResponse:
        """`delete` off the event loop."""
        return await in_thread_cancellable(self.delete, ids, **how)

    def _chunk_key(self) -> str | None:
        """The metadata key that names a chunk's source, where items are chunks: the retriever's, else the corpus's own."""
        if self.source_key is not None:
            return self.source_key
        for entry in current_documents(self.memo).values():
            if entry.cut == GIVEN:
                return str((entry.passages[0].host or {}).get(SOURCE_KEY, "source"))
        return None
