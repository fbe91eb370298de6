"""What a filter admits: passages, and documents as a whole or in part; and text that stands in excluded passages alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
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

BATCH = 5_000
"""Runs that are looked for in one pass: so few that a run of their terms fits one 64-bit number."""

Rows = NDArray[np.intp]
Run = tuple[int, ...]
"""Numbers of terms that stand one after another."""


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
    """Finds texts that hold text which stands in the excluded passages of an index alone.

    A text holds such text where one of its words stands in excluded passages alone, and is rare there, a name or a number;
    or where a run of `RUN` terms (all terms of a shorter text) stands in an excluded passage, in none that is admitted.
    What the query says itself is not counted. Other words of a language model's own are no sign of what it has read.

    Args:
        index: The terms of the passages.
        languages: Theirs, as ISO 639-1 codes.
        admitted: What the filter admits.
        query: The query.
    """

    def __init__(self, index: TermIndex, languages: Sequence[str], admitted: Admitted, query: str) -> None:
        self._index, self._languages, self._mask = index, languages, admitted.mask
        self._rows: dict[int, Rows] = {}
        self._asked = {n for language in languages for _, numbers in self._numbers(query, language) for n in numbers}

    def among(self, texts: Iterable[str]) -> set[str]:
        """Those of the texts that hold any, in one pass over the terms of the index."""
        found: set[str] = set()
        runs: dict[Run, set[str]] = {}
        for text in dict.fromkeys(texts):
            for language in self._languages:
                chunks = self._numbers(text, language)
                if any(self._tells(chunk, number) for chunk, numbers in chunks for number in set(numbers)):
                    found.add(text)
                for run in _runs([number for _, numbers in chunks for number in numbers]):
                    if not self._asked.issuperset(run):
                        runs.setdefault(run, set()).add(text)
        suspects = [run for run, holders in runs.items() if not holders <= found]
        return found.union(*(runs[run] for run in self._excluded(suspects)))

    def _numbers(self, text: str, language: str) -> list[tuple[str, list[int]]]:
        """Each chunk of a text, and the numbers of its terms; -1 for a term that no passage has."""
        vocabulary, numbers = self._index.vocabulary, []
        for chunk, terms in chunk_terms(text, language, vocabulary.tokenizer):
            found = [vocabulary.find(term) for term in terms]
            numbers.append((chunk, [-1 if n is None or not len(self._holding(n)) else n for n in found]))
        return numbers

    def _tells(self, chunk: str, number: int) -> bool:
        """Whether a word is known from excluded passages alone, and is more than a common word of a language."""
        if number == -1 or number in self._asked:
            return False
        rows = self._holding(number)
        distinctive = len(rows) <= RARE or chunk[0].isupper() or any(map(str.isdigit, chunk))
        return distinctive and not self._mask[rows].any()

    def _holding(self, number: int) -> Rows:
        if number not in self._rows:
            self._rows[number] = self._index.passages_with(number)
        return self._rows[number]

    def _excluded(self, runs: Sequence[Run]) -> set[Run]:
        """Those of the runs whose terms stand in a row in an excluded passage, and in none that is admitted."""
        if not runs:
            return set()
        lengths = np.array([len(row) for row in self._index.rows])
        terms = np.concatenate(self._index.rows)
        row_of = np.repeat(np.arange(len(lengths)), lengths)
        found: set[Run] = set()
        for length in range(1, RUN + 1):
            of_length = [run for run in runs if len(run) == length]
            for batch in (of_length[i : i + BATCH] for i in range(0, len(of_length), BATCH)):
                codes, at = _codes(batch, terms)
                inside = row_of[at] == row_of[at + length - 1]
                wanted, at = codes[-len(batch) :], at[inside]
                there = codes[: -len(batch)][inside]
                admitted = self._mask[row_of[at]]
                alone = np.isin(wanted, there[~admitted]) & ~np.isin(wanted, there[admitted])
                found.update(batch[i] for i in np.flatnonzero(alone))
        return found


def _codes(runs: Sequence[Run], terms: NDArray[np.uint32]) -> tuple[NDArray[np.int64], Rows]:
    """Equal runs of terms as equal numbers.

    Args:
        runs: Of one length, at most `BATCH`.
        terms: Of all passages, one after another.

    Returns:
        The number of the run at each of some places in `terms`, then of each of `runs`; and these places: those where
        nothing but terms of the runs stands.
    """
    known, within_runs = np.unique(np.array(runs, dtype=np.int64), return_inverse=True)
    number_of = np.zeros(max(int(terms.max(initial=0)), int(known[-1])) + 1, dtype=np.int64)
    number_of[known] = np.arange(1, len(known) + 1)
    numbers, length, base = number_of[terms], len(runs[0]), len(known) + 1
    places = max(0, len(numbers) - length + 1)
    whole = np.ones(places, dtype=bool)
    for i in range(length):
        whole &= numbers[i : i + places] > 0
    at = np.flatnonzero(whole)
    codes = np.zeros(len(at) + len(runs), dtype=np.int64)
    of_runs = within_runs.reshape(len(runs), length) + 1
    for i in range(length):
        codes = codes * base + np.concatenate([numbers[at + i], of_runs[:, i]])
    return codes, at


def _runs(numbers: Sequence[int]) -> set[Run]:
    """The runs of `RUN` terms, or the one of all; none with a term that no passage has."""
    runs = {tuple(numbers[i : i + RUN]) for i in range(max(1, len(numbers) - RUN + 1))}
    return {run for run in runs if run and -1 not in run}
