"""Documents are inserted, updated and deleted behind a retriever, by the names of LlamaIndex's `BaseIndex`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.types import RefDocInfo

from memorag_integrations.corpus.revise import Change
from memorag_integrations.documents import GIVEN
from memorag_integrations.drivers import in_thread_cancellable
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.precut_edits import (
    current_documents,
    insert_passages,
    refresh_passages,
    remove_passages,
)

from .adapters import same_hash, stored_precut_passage, to_documents, to_precut_passages

logger = logging.getLogger(__name__)


class LiveIndex:
    """Documents come, change and go, by the names and with the semantics of LlamaIndex's `BaseIndex`.

    Every change costs what changed, and is whole: whatever goes wrong leaves the corpus as it was. Each tells what was
    encoded and what was reused. `show_progress` and `cancel` are those of `MemoRAG.memorize`; each method has an async
    twin that leaves the event loop free, and takes the same arguments.
    """

    memo: MemoRAG

    def insert(
        self, document: BaseNode, *, show_progress: bool = False, cancel: threading.Event | None = None
    ) -> Change:
        """Take in a new document; it is cut into nodes with exact character offsets.

        Raises:
            InputError: Where there is a document with its id already: an index would keep both versions.
        """
        [new] = to_documents([document])
        try:
            return self.memo.add(new, progress=show_progress, cancel=cancel)
        except InputError as error:
            if self.memo.get(new.id) is None:
                raise
            raise InputError(
                f"There is a document with the id {new.id[:80]!r} already. Use update_ref_doc(document) for a new version "
                f"of it."
            ) from error

    def insert_nodes(
        self, nodes: Sequence[BaseNode], *, show_progress: bool = False, cancel: threading.Event | None = None
    ) -> Change:
        """Take in nodes, kept whole. A node joins the nodes of its source document that are there, at its place among
        them; one whose id is there already takes that one's place.

        Raises:
            InputError: For nodes of a document that was given as a whole.
        """
        return insert_passages(
            self.memo, to_precut_passages(nodes), stored_precut_passage, progress=show_progress, cancel=cancel
        )

    def delete_ref_doc(
        self,
        ref_doc_id: str,
        delete_from_docstore: bool = False,
        *,
        show_progress: bool = False,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Take a document out with all its nodes; where there is none, that is logged, and nothing happens.

        Args:
            ref_doc_id: Its id.
            delete_from_docstore: Callers of an index pass it; here is one store, and what is deleted is gone from it.
        """
        removal = remove_passages(
            self.memo, [ref_doc_id], [], stored_precut_passage, progress=show_progress, cancel=cancel
        )
        if not removal.documents:
            logger.warning("ref_doc_id %.80s not found, nothing deleted.", ref_doc_id)
        return removal.change

    def delete_nodes(
        self,
        node_ids: Sequence[str],
        delete_from_docstore: bool = False,
        *,
        show_progress: bool = False,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Take out nodes that were kept whole. A document whose last node is gone is gone.

        Raises:
            InputError: For ids of nodes that we cut ourselves: those change with their document.
        """
        entries = current_documents(self.memo).values()
        cut_here = {passage.id for entry in entries if entry.cut != GIVEN for passage in entry.passages}
        if cut := [id for id in node_ids if id in cut_here]:
            raise InputError(
                f"Node {cut[0][:80]!r} was cut from a document that was given as a whole. Use delete_ref_doc(ref_doc_id) "
                f"or update_ref_doc(document)."
            )
        removal = remove_passages(self.memo, [], node_ids, stored_precut_passage, progress=show_progress, cancel=cancel)
        missing = len(set(node_ids)) - len(removal.passages)
        if missing:
            logger.warning("%d of %d nodes not found.", missing, len(set(node_ids)))
        return removal.change

    def update_ref_doc(
        self, document: BaseNode, *, show_progress: bool = False, cancel: threading.Event | None = None
    ) -> Change:
        """Put a new version in the place of a document and all its nodes, or take it in where it is new.

        Raises:
            InputError: For a version without any text (see `delete_ref_doc`).
        """
        return self.memo.upsert(to_documents([document]), progress=show_progress, cancel=cancel)

    def refresh_ref_docs(
        self,
        documents: Sequence[BaseNode],
        *,
        show_progress: bool = False,
        cancel: threading.Event | None = None,
    ) -> list[bool]:
        """Take in documents that are new, and new versions of those that changed, by LlamaIndex's hash of text and
        metadata. No document is deleted.

        Returns:
            For each document, whether it was taken in.

        Raises:
            InputError: For a new version without any text.
        """
        new = list(to_documents(documents))
        change = refresh_passages(self.memo, new, same_hash, progress=show_progress, cancel=cancel)
        taken = {*change.added, *change.replaced}
        return [document.id in taken for document in new]

    @property
    def ref_doc_info(self) -> dict[str, RefDocInfo]:
        """Ids of the nodes of each document, and its metadata."""
        return {
            id: RefDocInfo(node_ids=[p.id for p in entry.passages], metadata=dict(entry.document.metadata))
            for id, entry in current_documents(self.memo).items()
        }

    # ── async twins ───────────────────────────────────────────────────────────────────────────────────────────────

    async def ainsert(self, document: BaseNode, **how: Any) -> Change:
        """`insert` off the event loop. Cancelling the task ends the work and keeps the corpus there was; so do all twins."""
        return await in_thread_cancellable(self.insert, document, **how)

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **how: Any) -> Change:
        return await in_thread_cancellable(self.insert_nodes, nodes, **how)

    async def adelete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **how: Any) -> Change:
        return await in_thread_cancellable(self.delete_ref_doc, ref_doc_id, delete_from_docstore, **how)

    async def adelete_nodes(self, node_ids: Sequence[str], delete_from_docstore: bool = False, **how: Any) -> Change:
        return await in_thread_cancellable(self.delete_nodes, node_ids, delete_from_docstore, **how)

    async def aupdate_ref_doc(self, document: BaseNode, **how: Any) -> Change:
        return await in_thread_cancellable(self.update_ref_doc, document, **how)

    async def arefresh_ref_docs(self, documents: Sequence[BaseNode], **how: Any) -> list[bool]:
        return await in_thread_cancellable(self.refresh_ref_docs, documents, **how)
