"""What a filter admits: passages, and documents as a whole or in part; and text that stands in excluded passages alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..documents import Passage
from ..text.terms import chunk_terms
from .bm25 import TermIndex

RUN = 4
"""Terms in a row, stop words apart, that are not said by chance."""

RARE = 3
"""Most passages that hold a rare term."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Admitted:
    """The passages that a filter admits, less than all.

    Args:
        mask: bool [passages of the index].
        rows: Rows of those that it admits, rising.
        whole: Ids of the documents of which it admits every passage.
        parts: By id of each document of which it admits some passages, these passages.
    """

    mask: NDArray[np.bool_]
    rows: Rows
    whole: Set[str]
    parts: Mapping[str, Sequence[Passage]]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], document: NDArray[np.int32], passages: Sequence[Passage]) -> Admitted:
        """What a mask of an index's passages comes to.

        Args:
            mask: bool [n].
            document: int32 [n], the number of each passage's document.
            passages: [n].
        """
        rows = np.flatnonzero(mask)
        excluded = np.unique(document[~mask])
        in_part = np.isin(document[rows], excluded)
        parts: dict[str, list[Passage]] = {}
        for row in rows[in_part]:
            parts.setdefault(passages[row].document_id, []).append(passages[row])
        firsts = np.unique(document[rows[~in_part]], return_index=True)[1]
        whole = {passages[row].document_id for row in rows[~in_part][firsts]}
        return cls(mask, rows, whole, parts)

    def __contains__(self, document_id: str) -> bool:
        """Whether it admits any passage of the document."""
        return document_id in self.whole or document_id in self.parts


class ExcludedText:
    """Finds text that stands in the excluded passages of an index alone. What the query says itself is not counted.

    A text holds such text where one of its words stands in excluded passages alone, and is rare there, a name or a number;
    or where a run of `RUN` terms (all terms of a shorter text) stands in an excluded passage, in none that is admitted.
    Other words of a language model's own are no sign of what it has read.

    Args:
        index: The terms of the passages.
        languages: Theirs, as ISO 639-1 codes.
        admitted: What the filter admits.
        query: The query.
    """

    def __init__(self, index: TermIndex, languages: Sequence[str], admitted: Admitted, query: str) -> None:
        self._index, self._languages, self._mask = index, languages, admitted.mask
        self._rows: dict[int, Rows] = {}
        self._asked = {
            n for language in languages for numbers in self._numbers(query, language).values() for n in numbers
        }

    def within(self, text: str) -> bool:
        """Whether `text` holds any."""
        for language in self._languages:
            chunks = self._numbers(text, language)
            if any(self._tells(chunk, number) for (_, chunk), numbers in chunks.items() for number in set(numbers)):
                return True
            sequence = [number for numbers in chunks.values() for number in numbers]
            runs = {tuple(sequence[i : i + RUN]) for i in range(max(1, len(sequence) - RUN + 1))}
            if any(self._excluded(run) for run in runs if run and -1 not in run and not self._asked.issuperset(run)):
                return True
        return False

    def _numbers(self, text: str, language: str) -> dict[tuple[int, str], list[int]]:
        """The numbers of the terms of each chunk, by its place and text; -1 for a term that no passage has."""
        vocabulary, numbers = self._index.vocabulary, {}
        for place, (chunk, terms) in enumerate(chunk_terms(text, language, vocabulary.tokenizer)):
            found = [vocabulary.find(term) for term in terms]
            numbers[place, chunk] = [-1 if n is None or not len(self._holding(n)) else n for n in found]
        return numbers

    def _tells(self, chunk: str, number: int) -> bool:
        """Whether a word is known from excluded passages alone, and is more than a common word of a language."""
        if number == -1 or number in self._asked:
            return False
        rows = self._holding(number)
        distinctive = len(rows) <= RARE or chunk[0].isupper() or any(map(str.isdigit, chunk))
        return distinctive and not self._mask[rows].any()

    def _excluded(self, run: tuple[int, ...]) -> bool:
        """Whether these terms stand in a row in an excluded passage, and in none that is admitted."""
        by_size = sorted(map(self._holding, set(run)), key=len)
        rows = by_size[0]
        for others in by_size[1:]:
            rows = np.intersect1d(rows, others, assume_unique=True)
        admitted = self._mask[rows]
        return self._stands(run, rows[~admitted]) and not self._stands(run, rows[admitted])

    def _stands(self, run: tuple[int, ...], rows: Rows) -> bool:
        """Whether these terms stand in a row in any of these passages."""
        for row in rows:
            terms = self._index.rows[row]
            begins = np.ones(max(0, len(terms) - len(run) + 1), dtype=bool)
            for i, number in enumerate(run):
                begins &= terms[i : i + len(begins)] == number
            if begins.any():
                return True
        return False

    def _holding(self, number: int) -> Rows:
        if number not in self._rows:
            self._rows[number] = self._index.rows_of(number)
        return self._rows[number]
