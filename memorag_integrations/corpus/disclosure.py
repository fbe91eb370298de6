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
    fence = _Fence(corpus, query, admitted)
    return [fence.passed(recall) for recall in recalls]


@dataclass(frozen=True)
class _Fence:
    corpus: Corpus
    query: str
    admitted: Admitted

    def passed(self, recall: Recall) -> Recall:
        return replace(
            recall,
            clues=tuple(clue for clue in recall.clues if self._passes(clue)),
            answer=recall.answer if recall.answer and not self._excluded.within(recall.answer) else None,
            warnings=tuple(warning for warning in recall.warnings if not self._excluded.within(warning)),
        )

    def _passes(self, clue: Clue) -> bool:
        if clue.document_id is not None and clue.document_id not in self.admitted:
            return False
        if clue.grounding is not None and not self._stands_in_admitted(clue.grounding):
            return False
        return not self._excluded.within(clue.text)

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

    @cached_property
    def _excluded(self) -> ExcludedText:
        index = self.corpus.index
        return ExcludedText(index.terms, index.languages, self.admitted, self.query)
