"""Edits of single passages that a host has cut itself.

`MemoRAG.add` and its like change whole documents. A host also inserts and removes single passages; the document is then
assembled again from all passages it has. A host's index ignores ids that are not there, where the engine refuses them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..contracts import Progress
from ..corpus.edits import Documents, check_versions
from ..corpus.revise import Change
from ..corpus.state import Corpus
from ..documents import GIVEN, Document, Passage, read_documents
from ..engine import MemoRAG
from ..errors import InputError
from ..index.documents import IndexedDocument
from .precut import PrecutPassage, assemble_documents

logger = logging.getLogger(__name__)

ToPrecut = Callable[[Passage], PrecutPassage]
"""Makes the `PrecutPassage` again that a stored passage was made of."""


@dataclass(frozen=True)
class Removal:
    """What `remove_passages` removed.

    Args:
        documents, passages: Ids of those that were there.
        change: The change of the corpus.
    """

    documents: Sequence[str]
    passages: Sequence[str]
    change: Change


@dataclass
class _NextState:
    """The state that an edit makes. It is computed again where another process changed the store meanwhile.

    Args:
        documents: All documents, in their order.
        passages: Passages of the documents that are assembled again, by document id.
        removed_documents, removed_passages: Ids of what is not in it any more.
    """

    documents: list[Document | IndexedDocument] = field(default_factory=list)
    passages: dict[str, list[Passage]] = field(default_factory=dict)
    removed_documents: Sequence[str] = ()
    removed_passages: Sequence[str] = ()

    def split(self, document: Document) -> Sequence[Passage]:
        return self.passages[document.id]


def insert_passages(
    memo: MemoRAG,
    passages: Iterable[PrecutPassage],
    to_precut: ToPrecut,
    *,
    replaced: Collection[str] = (),
    progress: bool | Progress = True,
    cancel: threading.Event | None = None,
) -> Change:
    """Insert passages into their documents. A passage whose id is there already takes the old one's place, or moves to
    another document where it belongs to another one now.

    Args:
        memo: The engine.
        passages: Whole passages of a host; those without any text are left out.
        to_precut: See `ToPrecut`.
        replaced: Ids of documents whose other passages are removed: these are their new versions.
        progress, cancel: As in `MemoRAG.memorize`.

    Raises:
        InputError: Where two passages have one id, the new version of a passage holds no text, or the document was given
            as a whole.
    """
    all_passages = list(passages)
    new = {passage.id: passage for passage in all_passages if passage.text.strip()}
    blank = [passage.id for passage in all_passages if not passage.text.strip()]
    if len(new) + len(blank) < len(all_passages):
        raise InputError("Two passages have the same id. A node's or chunk's id must be unique in a corpus.")
    state = _NextState()

    def edit(corpus: Corpus) -> Sequence[Document | IndexedDocument]:
        stored = precut_passages(corpus.entries)
        for id in blank:
            if id in stored:
                raise InputError(f"The new version of passage {id[:80]!r} holds no text. Delete it to take it out.")
        if blank:
            logger.warning("%d of %d passages hold no text and were left out.", len(blank), len(all_passages))
        leaving = [id for id in new if id in stored]
        leaving += [id for id, passage in stored.items() if id not in new and passage.document_id in replaced]
        _assemble(state, corpus, new, leaving, to_precut, replaced)
        return state.documents

    return memo.edit(edit, split=state.split, progress=progress, cancel=cancel)


def remove_passages(
    memo: MemoRAG,
    documents: Collection[str],
    passages: Collection[str],
    to_precut: ToPrecut,
    *,
    whole: bool = True,
    progress: bool | Progress = True,
    cancel: threading.Event | None = None,
) -> Removal:
    """Remove documents and single passages; ids that are not there are ignored. A document without passages is removed.

    Args:
        memo: The engine.
        documents: Ids of documents.
        passages: Ids of passages that a host has cut.
        to_precut: See `ToPrecut`.
        whole: Whether an id in `documents` may name a document whose passages a host has cut.
        progress, cancel: As in `MemoRAG.memorize`.
    """
    state = _NextState()

    def edit(corpus: Corpus) -> Sequence[Document | IndexedDocument]:
        entries = corpus.entries
        stored = precut_passages(entries) if passages else {}
        state.removed_documents = [id for id in documents if id in entries and (whole or entries[id].cut != GIVEN)]
        state.removed_passages = [id for id in passages if id in stored]
        _assemble(state, corpus, {}, state.removed_passages, to_precut)
        removed = set(state.removed_documents)
        return [document for document in state.documents if _id(document) not in removed]

    change = memo.edit(edit, split=state.split, progress=progress, cancel=cancel)
    return Removal(state.removed_documents, state.removed_passages, change)


def refresh_passages(
    memo: MemoRAG,
    documents: Documents,
    same: Callable[[IndexedDocument, Document], bool],
    *,
    progress: bool | Progress = True,
    cancel: threading.Event | None = None,
) -> Change:
    """Insert documents that are new and new versions of those that changed; none is removed.

    Args:
        memo: The engine.
        documents: Documents; those without any text are left out.
        same: Whether a stored document equals a given one, so that it is left alone.
        progress, cancel: As in `MemoRAG.memorize`.

    Raises:
        InputError: Where the new version of a document holds no text.
    """
    by_id = {document.id: document for document in read_documents(documents)}

    def edit(corpus: Corpus) -> list[Document | IndexedDocument]:
        entries = corpus.entries
        changed = {
            id: document for id, document in by_id.items() if id not in entries or not same(entries[id], document)
        }
        check_versions(document for id, document in changed.items() if id in entries)
        added = [document for id, document in changed.items() if id not in entries]
        filled = [document for document in added if document.text.strip()]
        if len(filled) < len(added):
            logger.warning("%d documents hold no text and were left out.", len(added) - len(filled))
        return [*(changed.get(id, entry) for id, entry in entries.items()), *filled]

    return memo.edit(edit, progress=progress, cancel=cancel)


def current_documents(memo: MemoRAG) -> Mapping[str, IndexedDocument]:
    """The documents of the corpus; none where nothing was memorized yet. Raises InputError for a closed corpus."""
    return memo.live.state_or_empty.entries


def precut_passages(entries: Mapping[str, IndexedDocument]) -> dict[str, Passage]:
    """The passages that a host has cut, by id."""
    return {passage.id: passage for entry in entries.values() if entry.cut == GIVEN for passage in entry.passages}


def _assemble(
    state: _NextState,
    corpus: Corpus,
    new: Mapping[str, PrecutPassage],
    leaving: Sequence[str],
    to_precut: ToPrecut,
    replaced_documents: Collection[str] = (),
) -> None:
    """Write into `state` the corpus with the new passages and without the leaving ones; only documents that an edit
    touches are assembled again.
    """
    leaving_ids, targets = set(leaving), {passage.document_id: None for passage in new.values()}
    for id in targets:
        if id in corpus.entries and corpus.entries[id].cut != GIVEN and id not in replaced_documents:
            raise InputError(
                f"Document {id[:80]!r} was given as a whole, and passages of it cannot be inserted. Give its new version "
                f"as a whole again, or delete it first."
            )
    untouched, replaced = set(), set()
    passages: list[PrecutPassage] = []
    for id, entry in corpus.entries.items():
        loses = leaving_ids and entry.cut == GIVEN and any(passage.id in leaving_ids for passage in entry.passages)
        if id not in targets and not loses:
            untouched.add(id)
            continue
        if entry.cut != GIVEN:
            continue  # given as a whole before: its new version takes its place
        for passage in entry.passages:
            successor = new.get(passage.id)
            if passage.id not in leaving_ids:
                passages.append(to_precut(passage))
            elif successor is not None and successor.document_id == id:
                passages.append(successor)
                replaced.add(passage.id)
    passages += [passage for id, passage in new.items() if id not in replaced]
    documents, state.passages = assemble_documents(passages)
    assembled = {document.id: document for document in documents}
    stored = [entry if id in untouched else assembled.pop(id, None) for id, entry in corpus.entries.items()]
    state.documents = [*(document for document in stored if document is not None), *assembled.values()]


def _id(document: Document | IndexedDocument) -> str:
    return document.document.id if isinstance(document, IndexedDocument) else document.id
