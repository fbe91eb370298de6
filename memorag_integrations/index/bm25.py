"""BM25 over the terms of passages, in segments, so that the cost of a change depends on what changed.

A segment holds the inverted lists of the passages that came in one change. It never changes. Each state of a corpus maps
the passages of a segment to their present rows, or to -1 where they are deleted (as Lucene does).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from math import log

import numpy as np
from numpy.typing import NDArray

from ..scores import Floats
from ..text.terms import ANALYSIS, terms
from ..text.tokenizer import Tokenizer

K1 = 1.2
B = 0.75

MOST_SEGMENTS = 8
"""From so many segments on, all but the largest are merged. Every segment costs a look-up for each term of a query."""

SPARE = 1_000
"""Terms that a vocabulary may always keep beyond twice those that occur, so that small corpora are not renumbered often."""

Row = NDArray[np.uint32]
"""Term numbers of one passage, in order, repeats kept."""


class Vocabulary:
    """Terms and their numbers. It only grows, and states of a corpus share it.

    So it comes to hold terms that no passage has any more. Once these are too many, the next state gets a vocabulary of
    its own (`TermIndex.compacted`); the states before it keep this one.

    Args:
        terms: Numbered from 0 on.
        tokenizer: What makes the terms, where that is the user's own.
    """

    def __init__(self, terms: Sequence[str] = (), tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer
        self._terms = list(terms)
        self._numbers = {term: number for number, term in enumerate(self._terms)}
        self._lock = threading.Lock()  # copies of a corpus share it, and may change at the same time

    def __len__(self) -> int:
        return len(self._terms)

    @property
    def analysis(self) -> str:
        """What makes the terms, in one line with a blank in it."""
        return ANALYSIS if self.tokenizer is None else self.tokenizer.analysis

    def analyse(self, text: str, language: str) -> Row:
        """The numbers of the terms of a text. Raises TokenizerError as `text.terms.terms`."""
        return self.number(terms(text, language, self.tokenizer))

    def number(self, terms: Sequence[str]) -> Row:
        """The numbers of these terms; a new term gets the next number."""
        numbers = self._numbers
        if any(term not in numbers for term in terms):
            with self._lock:
                for term in terms:
                    if term not in numbers:
                        self._terms.append(term)
                        numbers[term] = len(self._terms) - 1
        return np.array([numbers[term] for term in terms], dtype=np.uint32)

    def find(self, term: str) -> int | None:
        return self._numbers.get(term)

    def term(self, number: int) -> str:
        return self._terms[number]


@dataclass(frozen=True, eq=False)
class Segment:
    """Inverted lists of some passages.

    Args:
        terms: Numbers of the terms that occur, int64 [t], rising.
        starts: Where each term's list begins, int64 [t + 1].
        passages: The lists one after another: numbers of passages within the segment, int32.
        counts: How often the term occurs in each of these, float32.
        size: Number of passages in the segment.
    """

    terms: NDArray[np.int64]
    starts: NDArray[np.int64]
    passages: NDArray[np.int32]
    counts: Floats
    size: int

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Segment:
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        numbers = np.concatenate(rows).astype(np.int64) if len(rows) else np.zeros(0, np.int64)
        owner = np.repeat(np.arange(len(rows), dtype=np.int64), lengths)
        pairs, counts = np.unique(numbers * max(len(rows), 1) + owner, return_counts=True)
        terms, first = np.unique(pairs // max(len(rows), 1), return_index=True)
        return cls(
            terms,
            np.append(first, len(pairs)).astype(np.int64),
            (pairs % max(len(rows), 1)).astype(np.int32),
            counts.astype(np.float32),
            len(rows),
        )

    def living_terms(self, row_of: NDArray[np.int32]) -> NDArray[np.int64]:
        """Numbers of the terms that occur in some passage that has a row, rising."""
        if not len(self.terms):
            return self.terms
        return self.terms[np.logical_or.reduceat(row_of[self.passages] >= 0, self.starts[:-1])]

    def postings(self, number: int) -> slice:
        """Where the list of a term is in `passages` and `counts`; empty where the term does not occur."""
        at = int(np.searchsorted(self.terms, number))
        if at == len(self.terms) or self.terms[at] != number:
            return slice(0, 0)
        return slice(int(self.starts[at]), int(self.starts[at + 1]))


class TermIndex:
    """One state: the terms of n passages and their BM25 weights (Robertson et al. 1994; idf as in Lucene).

    Args:
        vocabulary: Numbers the terms.
        rows: The terms of each passage.
        segments: Inverted lists, and the row of each of their passages, or -1.
        least: At least so many terms of the vocabulary occur in some passage; counted where None.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        rows: Sequence[Row],
        segments: Sequence[tuple[Segment, NDArray[np.int32]]],
        least: int | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.rows = rows
        self._segments = segments
        self._lengths = np.array([len(row) for row in rows], dtype=np.float64)
        mean = float(self._lengths.mean()) if len(rows) else 0.0
        self._norms = (K1 * (1 - B + B * self._lengths / max(mean, 1e-9))).astype(np.float32)
        self.crowded = False
        """Whether the vocabulary holds so many terms that no passage has that `compacted` is worth its cost."""
        if least is None or len(vocabulary) > 2 * least + SPARE:
            least = len(self._living_terms())
            # well below the limit above, or a state close to it would be counted at every change
            self.crowded = len(vocabulary) > (3 * least + SPARE) // 2
        self._least = least

    @classmethod
    def over(cls, rows: Sequence[Row], vocabulary: Vocabulary) -> TermIndex:
        """An index in one segment."""
        return cls(vocabulary, rows, [(Segment.of(rows), np.arange(len(rows), dtype=np.int32))])

    def derive(self, source: NDArray[np.intp], fresh: Sequence[Row]) -> TermIndex:
        """The state after a change.

        Args:
            source: For each passage of the new state its row in this one, or -1 for the next of `fresh`.
            fresh: Terms of the new passages, as numbers of this index's vocabulary.
        """
        new_rows = iter(fresh)
        rows = [self.rows[row] if row >= 0 else next(new_rows) for row in source]
        moved = np.full(len(self.rows) + 1, -1, dtype=np.int32)  # the last, at index -1, is for passages deleted before
        moved[source[source >= 0]] = np.flatnonzero(source >= 0)
        segments = [(segment, moved[row_of]) for segment, row_of in self._segments]
        segments = [(segment, row_of) for segment, row_of in segments if 2 * (row_of >= 0).sum() > segment.size]
        if len(segments) >= MOST_SEGMENTS:
            segments = [max(segments, key=lambda pair: pair[0].size)]
        covered = np.zeros(len(rows), dtype=bool)
        for _, row_of in segments:
            covered[row_of[row_of >= 0]] = True
        if not covered.all():
            rest = np.flatnonzero(~covered)
            segments.append((Segment.of([rows[row] for row in rest]), rest.astype(np.int32)))
        removed = self._lengths.sum() - self._lengths[source[source >= 0]].sum()
        return TermIndex(self.vocabulary, rows, segments, max(0, self._least - int(removed)))

    def compacted(self) -> TermIndex:
        """The same state with a vocabulary of the terms that occur. Their order and every score stay."""
        living = self._living_terms()
        new = np.zeros(int(living[-1]) + 1 if len(living) else 0, dtype=np.uint32)
        new[living] = np.arange(len(living), dtype=np.uint32)
        vocabulary = Vocabulary([self.vocabulary.term(int(number)) for number in living], self.vocabulary.tokenizer)
        return TermIndex.over([new[row] for row in self.rows], vocabulary)

    def _living_terms(self) -> NDArray[np.int64]:
        """Numbers of the terms that occur in some passage of this state, rising."""
        living = [segment.living_terms(row_of) for segment, row_of in self._segments]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *living]))

    def __len__(self) -> int:
        return len(self.rows)

    def known(self, terms: Sequence[str]) -> list[int]:
        """The numbers of those of these terms that occur in some passage of this state."""
        numbers = [self.vocabulary.find(term) for term in terms]
        return [number for number in numbers if number is not None and self._frequency(number)]

    def idf(self, numbers: Sequence[int]) -> dict[int, float]:
        """Inverse document frequency of terms by number, as BM25 weighs them."""
        return {number: self._idf(self._frequency(number)) for number in numbers}

    def passages_with(self, number: int) -> NDArray[np.intp]:
        """Rows of the passages that hold the term with this number."""
        lists = [self._live(number, *part)[0] for part in self._segments]
        return np.concatenate([np.zeros(0, np.intp), *lists]).astype(np.intp)

    def score(self, numbers: Sequence[int], weights: Sequence[float] | None = None) -> Floats:
        """BM25 of every passage for some terms, float32 [n].

        Args:
            numbers: Of the terms; a term named twice counts twice.
            weights: Factor of each term's score; 1 without.
        """
        scores = np.zeros(len(self.rows), dtype=np.float32)
        for number, weight in zip(numbers, weights or repeat(1.0), strict=False):
            postings = [self._live(number, *pair) for pair in self._segments]
            idf = np.float32(weight * self._idf(sum(len(rows) for rows, _ in postings)))
            for rows, counts in postings:
                scores[rows] += idf * (counts / (counts + self._norms[rows]))
        return scores

    def holding(self, numbers: Sequence[int]) -> NDArray[np.intp]:
        """Passages that hold every one of these terms, at least one, rising."""
        held = np.zeros(len(self.rows), dtype=np.int32)
        for number in set(numbers):
            for pair in self._segments:
                held[self._live(number, *pair)[0]] += 1
        return np.flatnonzero(held == len(set(numbers)))

    def _idf(self, frequency: int) -> float:
        return log(1 + (len(self.rows) - frequency + 0.5) / (frequency + 0.5))

    def _frequency(self, number: int) -> int:
        return sum(len(self._live(number, *pair)[0]) for pair in self._segments)

    @staticmethod
    def _live(number: int, segment: Segment, row_of: NDArray[np.int32]) -> tuple[NDArray[np.int32], Floats]:
        """The present rows of the passages that hold a term, and how often each holds it."""
        postings = segment.postings(number)
        rows, counts = row_of[segment.passages[postings]], segment.counts[postings]
        live = rows >= 0
        return (rows, counts) if live.all() else (rows[live], counts[live])
