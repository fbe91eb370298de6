"""What memories say under a filter, without what it excludes: the last fence, whatever a memory knows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..clues import Clue, Grounding, Recall
from ..index.admitted import Admitted, ExcludedText
from .excerpts import passage_range
from .state import Corpus


def without_excluded(corpus: Corpus, query: str, recalls: Sequence[Recall], admitted: Admitted) -> list[Recall]:
    """The recalls of a query without clues that are grounded in excluded text, and without clues, draft answers and
    warnings that hold text which stands in excluded passages alone (`ExcludedText`).

    Args:
        corpus: The corpus.
        query: The query.
        recalls: Of memories over the corpus's documents.
        admitted: What the filter admits.
    """
    fence = _Fence(corpus, admitted)
    recalls = [replace(recall, clues=tuple(filter(fence.passes, recall.clues))) for recall in recalls]
    texts = [text for recall in recalls for text in (recall.answer or "", *recall.warnings)]
    texts += [clue.text for recall in recalls for clue in recall.clues if not fence.quotes(clue)]
    index = corpus.index
    excluded = ExcludedText(index.terms, index.languages, admitted, query).among(texts)
    return [
        replace(
            recall,
            clues=tuple(clue for clue in recall.clues if clue.text not in excluded or fence.quotes(clue)),
            answer=None if recall.answer in excluded else recall.answer,
            warnings=tuple(warning for warning in recall.warnings if warning not in excluded),
        )
        for recall in recalls
    ]


@dataclass(frozen=True)
class _Fence:
    """The places of clues, held against what a filter admits."""

    corpus: Corpus
    admitted: Admitted

    def passes(self, clue: Clue) -> bool:
        """Whether a clue is of admitted documents and, where it has a place, stands in admitted passages."""
        if clue.document_id is not None and clue.document_id not in self.admitted:
            return False
        return clue.grounding is None or self._stands_in_admitted(clue.grounding)

    def quotes(self, clue: Clue) -> bool:
        """Whether a clue that passes is what stands at its place, letter for letter."""
        place = clue.grounding
        return place is not None and clue.text == self.corpus.texts[place.document_id][place.start : place.end]

    def _stands_in_admitted(self, place: Grounding) -> bool:
        """Whether all of a place but blanks lies in admitted passages."""
        if place.document_id in self.admitted.whole:
            return True
        if place.document_id not in self.admitted.parts:
            return False
        text, at = self.corpus.texts[place.document_id], place.start
        ranges = self._ranges(place.document_id)
        while at < place.end:
            number = bisect_right(ranges, (at, len(text))) - 1
            if number >= 0 and ranges[number][1] > at:
                at = ranges[number][1]
            elif text[at : at + 1].isspace():
                at += 1
            else:
                return False
        return True

    def _ranges(self, document_id: str) -> list[tuple[int, int]]:
        """Ranges of the admitted passages of a document, joined where they overlap, rising. A host's offsets may count in a
        text of its own; clues that are made of passages have those."""
        if document_id not in self._known_ranges:
            text, passages = self.corpus.texts[document_id], self.admitted.parts[document_id]
            places = [place for passage in passages if (place := passage_range(text, passage))]
            places += [(p.start, p.end) for p in passages if p.start is not None and p.end is not None]
            joined: list[tuple[int, int]] = []
            for start, end in sorted(places):
                if joined and start <= joined[-1][1]:
                    joined[-1] = joined[-1][0], max(end, joined[-1][1])
                else:
                    joined.append((start, end))
            self._known_ranges[document_id] = joined
        return self._known_ranges[document_id]

    @cached_property
    def _known_ranges(self) -> dict[str, list[tuple[int, int]]]:
        return {}
