"""The admitted part of a shard, as a shard of its own, and the way from places in it back to the documents."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..clues import Grounding, Recall
from ..documents import Document, Passage, Shard
from ..index.admitted import Admitted


class Stretch(NamedTuple):
    """A stretch of a document in its excerpt.

    Args:
        at: Where it begins in the excerpt.
        start, end: Its range in the document; start is None for a text that does not stand there as it is.
    """

    at: int
    start: int | None
    end: int


@dataclass(frozen=True)
class Excerpts:
    """The admitted part of a shard.

    Args:
        shard: Documents under their own ids: those that are admitted as a whole as they are, of the others the text of
            their admitted passages, without metadata.
        stretches: Of each document that is admitted in part, by id.
    """

    shard: Shard
    stretches: Mapping[str, Sequence[Stretch]]

    @classmethod
    def of(cls, shard: Shard, admitted: Admitted) -> Excerpts:
        documents, stretches = [], {}
        for document in shard.documents:
            if document.id in admitted.whole:
                documents.append(document)
            elif document.id in admitted.parts:
                text, stretches[document.id] = _excerpt(document.text, admitted.parts[document.id])
                documents.append(Document(text, document.id))
        return cls(Shard(tuple(documents)), stretches)

    def in_documents(self, recall: Recall) -> Recall:
        """`recall` with its places in the documents instead of the excerpts."""
        clues = [
            replace(clue, grounding=clue.grounding and self._place(clue.grounding)) if clue.grounding else clue
            for clue in recall.clues
        ]
        return replace(recall, clues=tuple(clues))

    def _place(self, grounding: Grounding) -> Grounding | None:
        stretches = self.stretches.get(grounding.document_id)
        if stretches is None:
            return grounding
        at, start, end = stretches[max(0, bisect_right([s.at for s in stretches], grounding.start) - 1)]
        if start is None:
            return None
        begin = min(start + max(0, grounding.start - at), end)
        return replace(grounding, start=begin, end=max(begin, min(start + grounding.end - at, end)))


def _excerpt(text: str, passages: Sequence[Passage]) -> tuple[str, list[Stretch]]:
    """The passages' text, in the order of the document, what they share once; and where it is from.

    Args:
        text: The document's.
        passages: Some of its passages, in their order.
    """
    known = [place for place in (passage_range(text, passage) for passage in passages) if place]
    ranges: list[list[int]] = []
    for start, end in sorted(known):
        if ranges and not text[ranges[-1][1] : start].strip():
            ranges[-1][1] = max(ranges[-1][1], end)
        else:
            ranges.append([start, end])
    pieces: list[tuple[str, int | None, int]] = [(text[start:end], start, end) for start, end in ranges]
    pieces += [(passage.text, None, 0) for passage in passages if passage_range(text, passage) is None]
    stretches, at = [], 0
    for piece, begin, stop in pieces:
        stretches.append(Stretch(at, begin, stop))
        at += len(piece) + len(Shard.SEPARATOR)
    return Shard.SEPARATOR.join(piece for piece, _, _ in pieces), stretches


def passage_range(text: str, passage: Passage) -> tuple[int, int] | None:
    """Where a passage stands in its document's text, letter for letter: at its offsets, or about its middle, which counts
    in this text where the offsets of a host count in another. None where it does not."""
    length = len(passage.text)
    for start in (passage.start, round(passage.centre - length / 2)):
        if start is not None and start >= 0 and text.startswith(passage.text, start):
            return start, start + length
    return None
