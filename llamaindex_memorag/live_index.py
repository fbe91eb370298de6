"""Documents are inserted, updated and deleted behind a retriever, by the names of LlamaIndex's `BaseIndex`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.ingestion import run_transformations
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.storage.docstore.types import RefDocInfo

from memorag_integrations.corpus.edits import check_versions
from memorag_integrations.corpus.revise import Change
from memorag_integrations.documents import GIVEN
from memorag_integrations.drivers import in_thread_cancellable
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.passage_ids import host_id
from memorag_integrations.hosts.precut import PrecutPassage, assemble_documents
from memorag_integrations.hosts.precut_edits import (
    current_documents,
    insert_passages,
    refresh_passages,
    remove_passages,
)

from .nodes import cut_nodes, same_hash, stored_precut_passage, to_documents, to_precut_passages, without_objects
from .vectors import embeds_metadata, use_vectors

logger = logging.getLogger(__name__)


class LiveIndex:
    """Documents come, change and go, by the names and with the semantics of LlamaIndex's `BaseIndex`.

    Every change costs what changed, and is whole: whatever goes wrong leaves the corpus as it was. Each tells what was
    encoded and what was reused. `show_progress` and `cancel` are those of `MemoRAG.memorize`; each method has an async
    twin that leaves the event loop free, and takes the same arguments.

    Documents become nodes by the retriever's `transformations`; without them they are cut by our splitter.
    """

    memo: MemoRAG
    object_map: dict[str, Any]
    transformations: list[TransformComponent] | None

    def insert(
        self, document: BaseNode, *, show_progress: bool = False, cancel: threading.Event | None = None
    ) -> Change:
        """Insert a new document.

        Raises:
            InputError: Where there is a document with its id already: an index would keep both versions.
        """
        [new] = to_documents([document])
        taken = InputError(
            f"There is a document with the id {new.id[:80]!r} already. Use update_ref_doc(document) for a new version of it."
        )
        if self._makes_nodes:
            if new.id in current_documents(self.memo):
                raise taken
            return self._insert_as_nodes([document], show_progress, cancel)
        try:
            return self.memo.add(new, progress=show_progress, cancel=cancel)
        except InputError as error:
            if self.memo.get(new.id) is None:
                raise
            raise taken from error

    def insert_nodes(
        self, nodes: Sequence[BaseNode], *, show_progress: bool = False, cancel: threading.Event | None = None
    ) -> Change:
        """Insert nodes, kept whole. A node joins the nodes of its source document that are there, at its place among
        them; one whose id is there already takes that one's place. Embeddings that nodes bring are used.

        Raises:
            InputError: For nodes of a document that was given as a whole, or embeddings of different dimensions.
        """
        bare, objects = without_objects(nodes)
        change = insert_passages(
            self.memo, self._passages(bare), stored_precut_passage, progress=show_progress, cancel=cancel
        )
        self.object_map |= objects
        return change

    def delete_ref_doc(
        self,
        ref_doc_id: str,
        delete_from_docstore: bool = False,
        *,
        show_progress: bool = False,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Remove a document with all its nodes; where there is none, that is logged, and nothing happens.

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
        """Remove nodes that were kept whole. A document whose last node is gone is gone.

        Raises:
            InputError: For ids of nodes that we cut ourselves: those change with their document.
        """
        entries = current_documents(self.memo).values()
        cut_here = {
            id
            for entry in entries
            if entry.cut != GIVEN
            for passage in entry.passages
            for id in (passage.id, host_id(passage))
        }
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
        """Put a new version in the place of a document and all its nodes, or insert it where it is new.

        Raises:
            InputError: For a version without any text (see `delete_ref_doc`).
        """
        if self._makes_nodes:
            return self._insert_as_nodes([document], show_progress, cancel)
        return self.memo.upsert(to_documents([document]), progress=show_progress, cancel=cancel)

    def refresh_ref_docs(
        self,
        documents: Sequence[BaseNode],
        *,
        show_progress: bool = False,
        cancel: threading.Event | None = None,
    ) -> list[bool]:
        """Insert documents that are new, and new versions of those that changed, by LlamaIndex's hash of text and
        metadata. No document is deleted.

        Returns:
            For each document, whether it was inserted.

        Raises:
            InputError: For a new version without any text.
        """
        new = list(to_documents(documents))
        if not self._makes_nodes:
            change = refresh_passages(self.memo, new, same_hash, progress=show_progress, cancel=cancel)
            inserted = {*change.added, *change.replaced}
            return [document.id in inserted for document in new]
        stored = current_documents(self.memo)
        changed = [one.id not in stored or not same_hash(stored[one.id], one) for one in new]
        if any(changed):
            chosen = [document for document, differs in zip(documents, changed, strict=True) if differs]
            self._insert_as_nodes(chosen, show_progress, cancel)
        return changed

    @property
    def ref_doc_info(self) -> dict[str, RefDocInfo]:
        """Ids of the nodes of each document, and its metadata."""
        return {
            id: RefDocInfo(node_ids=[host_id(p) for p in entry.passages], metadata=dict(entry.document.metadata))
            for id, entry in current_documents(self.memo).items()
        }

    # ── documents → nodes → passages ──────────────────────────────────────────────────────────────────────────────

    @property
    def _makes_nodes(self) -> bool:
        """Whether documents are made nodes by LlamaIndex's rules: by transformations, or because the corpus's vectors are
        of texts with their metadata, as LlamaIndex writes these.
        """
        return self.transformations is not None or embeds_metadata(self.memo)

    def _nodes_of(self, documents: Sequence[BaseNode], show_progress: bool) -> list[BaseNode]:
        if self.transformations is None:
            return cut_nodes(documents, self.memo.splitter)
        return list(run_transformations(list(documents), self.transformations, show_progress=show_progress))

    def _insert_as_nodes(
        self, documents: Sequence[BaseNode], show_progress: bool, cancel: threading.Event | None
    ) -> Change:
        """Insert documents as nodes; these are the new versions of documents that are there."""
        given = list(to_documents(documents))
        stored = current_documents(self.memo)
        check_versions(document for document in given if document.id in stored)
        nodes, objects = without_objects(self._nodes_of(documents, show_progress))
        passages = self._passages(nodes)
        change = insert_passages(
            self.memo,
            passages,
            stored_precut_passage,
            replaced={document.id for document in given},
            progress=show_progress,
            cancel=cancel,
        )
        self.object_map |= objects
        return change

    def _passages(
        self, nodes: Sequence[BaseNode], known: Mapping[str, Sequence[float]] | None = None
    ) -> list[PrecutPassage]:
        """Nodes as passages that are kept whole; the vectors they bring are taken over."""
        to_precut_passages(nodes[:1])  # what is no node is refused before any work
        return to_precut_passages(nodes, use_vectors(self.memo, nodes, known))

    def _memorize(self, documents: Sequence[BaseNode], objects: Sequence[BaseNode], show_progress: bool) -> None:
        """From now on the corpus is these documents, and the nodes `objects`."""
        if self.transformations is not None:
            list(to_documents(documents))  # what is no document is refused before any work
            self._memorize_nodes([*self._nodes_of(documents, show_progress), *objects], show_progress)
        elif documents or not objects:
            self.memo.memorize(to_documents(documents), progress=show_progress)
            if objects:
                self.insert_nodes(objects, show_progress=show_progress)
        else:
            self._memorize_nodes(objects, show_progress)

    def _memorize_nodes(
        self,
        nodes: Sequence[BaseNode],
        show_progress: bool,
        known: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """From now on the corpus is these nodes.

        Args:
            nodes: The nodes.
            show_progress: Whether to show progress bars.
            known: Vectors by node id, of the store that the nodes are from.
        """
        bare, objects = without_objects(nodes)
        documents, passages = assemble_documents(self._passages(bare, known))
        self.memo.memorize(documents, split=lambda document: passages[document.id], progress=show_progress)
        self.object_map |= objects

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
