"""Passages that a host has cut already: kept whole, and put together to the documents they are from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..documents import Document, Passage, clean_text

JOIN = "\n"
_SPARSE = 4


@dataclass(frozen=True)
class Given:
    """One passage as a host has it.

    Args:
        id: The host's own.
        document_id: Of the document it was cut from.
        text: Kept as it is, but for characters that are not valid Unicode.
        start, end: Character range in that document, or None where the host does not say.
        follows: Id of the passage before it in the document, where the host says.
        metadata: The host's own, JSON only.
        host: What the host needs to give its object back.
    """

    id: str
    document_id: str
    text: str
    start: int | None = None
    end: int | None = None
    follows: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] | None = None


def put_together(given: Iterable[Given]) -> tuple[list[Document], dict[str, list[Passage]]]:
    """Documents, and each document's passages in the order of its text.

    Neighbours are known by offset, else by `follows`, else by the order given. Where all offsets of a document are
    known, its text holds every passage at its place, blank where no passage is; otherwise it is the passages' texts
    one after another, and only their `centre` tells where they stand.
    """
    groups: dict[str, list[Given]] = {}
    for piece in given:
        groups.setdefault(piece.document_id, []).append(piece)
    documents, passages = [], {}
    for id, pieces in groups.items():
        if all(piece.start is not None and piece.end is not None for piece in pieces):
            pieces.sort(key=lambda piece: piece.start or 0)
        else:
            pieces = _chained(pieces)
        text, centres = _laid_out(pieces)
        documents.append(Document(text, id))
        passages[id] = [
            Passage(piece.id, id, clean_text(piece.text), piece.start, piece.end, centre, piece.metadata, piece.host)
            for piece, centre in zip(pieces, centres, strict=True)
            if piece.text.strip()
        ]
    return documents, passages


def _laid_out(pieces: Sequence[Given]) -> tuple[str, list[float]]:
    """The document's text and the middle of each passage in it."""
    if all(piece.start is not None and piece.end == piece.start + len(piece.text) for piece in pieces):
        size, known = max(piece.end or 0 for piece in pieces), sum(len(piece.text) for piece in pieces)
        if size <= _SPARSE * known + 10_000:
            text = [" "] * size
            for piece in pieces:
                text[piece.start : piece.end] = piece.text
            return "".join(text), [((piece.start or 0) + (piece.end or 0)) / 2 for piece in pieces]
    centres, at = [], 0
    for piece in pieces:
        centres.append(at + len(piece.text) / 2)
        at += len(piece.text) + len(JOIN)
    return JOIN.join(piece.text for piece in pieces), centres


def _chained(pieces: Sequence[Given]) -> list[Given]:
    """Pieces in the order of their links, each chain where its head stood; without links as they were given."""
    by_id = {piece.id: piece for piece in pieces}
    after: dict[str, Given] = {}
    for piece in pieces:
        if piece.follows in by_id and piece.follows != piece.id:
            after.setdefault(piece.follows, piece)
    heads = [piece for piece in pieces if after.get(piece.follows or "") is not piece]
    out: dict[str, Given] = {}
    for head in [*heads, *pieces]:  # the second round reaches what stands in a ring of links
        link: Given | None = head
        while link is not None and link.id not in out:
            out[link.id] = link
            link = after.get(link.id)
    return list(out.values())
