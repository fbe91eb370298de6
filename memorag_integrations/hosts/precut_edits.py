"""A host's own pieces in a corpus that is there: they join the documents they are from, and leave them.

`MemoRAG.add` and its like change whole documents. A host also changes single passages that it cut itself; the document
is then put together anew from all it has. And a host's index passes over what is not there, where the engine refuses it.
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
from .precut import Given, put_together

logger = logging.getLogger(__name__)

Back = Callable[[Passage], Given]
"""The piece that a kept passage was made of."""


@dataclass(frozen=True)
class Taken:
    """What was taken out.

    Args:
        documents, passages: Ids of those that were there.
        change: What that did to the corpus.
    """

    documents: Sequence[str]
    passages: Sequence[str]
    change: Change


@dataclass
class _Next:
    """What the next state is made of, worked out anew where another process was faster.

    Args:
        documents: All of it, in its order.
        passages: Of the documents that are put together.
        taken_documents, taken_passages: Ids of what is not in it any more.
    """

    documents: list[Document | IndexedDocument] = field(default_factory=list)
    passages: dict[str, list[Passage]] = field(default_factory=dict)
    taken_documents: Sequence[str] = ()
    taken_passages: Sequence[str] = ()

    def cut(self, document: Document) -> Sequence[Passage]:
        return self.passages[document.id]


def put(
    memo: MemoRAG,
    pieces: Iterable[Given],
    back: Back,
    *,
    progress: bool | Progress = True,
    cancel: threading.Event | None = None,
) -> Change:
    """Have pieces join the documents they are from. One whose id is there already takes that one's place, or moves to
    another document where it is from another one now.

    Args:
        memo: The engine.
        pieces: Whole passages of a host; those without any text are left out.
        back: See `Back`.
        progress, cancel: As in `MemoRAG.memorize`.

    Raises:
        InputError: Where two pieces have one id, the new version of a piece holds no text, or a document was not given
            in pieces and so cannot take one in.
    """
    every = list(pieces)
    new = {piece.id: piece for piece in every if piece.text.strip()}
    blank = [piece.id for piece in every if not piece.text.strip()]
    if len(new) + len(blank) < len(every):
        raise InputError("Two pieces have the same id. A node's or chunk's id must be unique in a corpus.")
    state = _Next()

    def wanted(before: Corpus) -> Sequence[Document | IndexedDocument]:
        there = given_passages(before.entries)
        for id in blank:
            if id in there:
                raise InputError(f"The new version of passage {id[:80]!r} holds no text. Delete it to take it out.")
        if blank:
            logger.warning("%d of %d pieces hold no text and were left out.", len(blank), len(every))
        _arrange(state, before, new, [id for id in new if id in there], back)
        return state.documents

    return memo.edit(wanted, split=state.cut, progress=progress, cancel=cancel)


def take_out(
    memo: MemoRAG,
    documents: Collection[str],
    pieces: Collection[str],
    back: Back,
    *,
    whole: bool = True,
    progress: bool | Progress = True,
    cancel: threading.Event | None = None,
) -> Taken:
    """Take out documents and single pieces; what is not there is passed over. A document without pieces is gone.

    Args:
        memo: The engine.
        documents: Ids.
        pieces: Ids of passages that a host gave.
        back: See `Back`.
        whole: Whether an id in `documents` may be of one that was given in pieces.
        progress, cancel: As in `MemoRAG.memorize`.
    """
    state = _Next()

    def wanted(before: Corpus) -> Sequence[Document | IndexedDocument]:
        entries = before.entries
        there = given_passages(entries) if pieces else {}
        state.taken_documents = [id for id in documents if id in entries and (whole or entries[id].cut != GIVEN)]
        state.taken_passages = [id for id in pieces if id in there]
        _arrange(state, before, {}, state.taken_passages, back)
        gone = set(state.taken_documents)
        return [one for one in state.documents if _id(one) not in gone]

    change = memo.edit(wanted, split=state.cut, progress=progress, cancel=cancel)
    return Taken(state.taken_documents, state.taken_passages, change)


def renew(
    memo: MemoRAG,
    documents: Documents,
    same: Callable[[IndexedDocument, Document], bool],
    *,
    progress: bool | Progress = True,
    cancel: threading.Event | None = None,
) -> Change:
    """Take in documents that are new and new versions of those that changed; none is taken out.

    Args:
        memo: The engine.
        documents: Those without any text are left out.
        same: Whether a document that is there is not to be touched.
        progress, cancel: As in `MemoRAG.memorize`.

    Raises:
        InputError: Where the new version of a document holds no text.
    """
    every = {document.id: document for document in read_documents(documents)}

    def wanted(before: Corpus) -> list[Document | IndexedDocument]:
        entries = before.entries
        new = {id: one for id, one in every.items() if id not in entries or not same(entries[id], one)}
        check_versions(document for id, document in new.items() if id in entries)
        added = [document for id, document in new.items() if id not in entries]
        filled = [document for document in added if document.text.strip()]
        if len(filled) < len(added):
            logger.warning("%d documents hold no text and were left out.", len(added) - len(filled))
        return [*(new.get(id, entry) for id, entry in entries.items()), *filled]

    return memo.edit(wanted, progress=progress, cancel=cancel)


def entries_of(memo: MemoRAG) -> Mapping[str, IndexedDocument]:
    """The documents there are; none where nothing was memorized yet. Raises InputError for a closed corpus."""
    return memo.live.state_or_empty.entries


def given_passages(entries: Mapping[str, IndexedDocument]) -> dict[str, Passage]:
    """The passages that a host cut itself, by id."""
    return {p.id: p for entry in entries.values() if entry.cut == GIVEN for p in entry.passages}


def _arrange(state: _Next, before: Corpus, new: Mapping[str, Given], leaving: Sequence[str], back: Back) -> None:
    """`before` with new pieces in it, and without those that are leaving; only documents they touch are put together."""
    out, targets = set(leaving), {piece.document_id: None for piece in new.values()}
    for id in targets:
        if id in before.entries and before.entries[id].cut != GIVEN:
            raise InputError(
                f"Document {id[:80]!r} was given as a whole, and pieces of it cannot join it. Give its new version as a "
                f"whole again, or delete it first."
            )
    kept, placed = set(), set()
    pieces: list[Given] = []
    for id, entry in before.entries.items():
        touched = id in targets or (out and entry.cut == GIVEN and any(p.id in out for p in entry.passages))
        if not touched:
            kept.add(id)
            continue
        for passage in entry.passages:
            successor = new.get(passage.id)
            if passage.id not in out:
                pieces.append(back(passage))
            elif successor is not None and successor.document_id == id:
                pieces.append(successor)
                placed.add(passage.id)
    pieces += [piece for id, piece in new.items() if id not in placed]
    documents, state.passages = put_together(pieces)
    made = {document.id: document for document in documents}
    there = [entry if id in kept else made.pop(id, None) for id, entry in before.entries.items()]
    state.documents = [*(one for one in there if one is not None), *made.values()]


def _id(one: Document | IndexedDocument) -> str:
    return one.document.id if isinstance(one, IndexedDocument) else one.id
