"""BM25 over the passages' terms, on bm25s."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from ..contracts import Floats

K1 = 1.2
B = 0.75


class TermIndex:
    """Terms of passages, by number, and their BM25 weights (Robertson et al. 1994; idf as in Lucene).

    The weights depend on the whole corpus, so they are worked out when first asked for after a change.
    """

    def __init__(self, vocabulary: Iterable[str] = (), rows: Iterable[NDArray[np.uint32]] = ()) -> None:
        self._ids: dict[str, int] = {term: number for number, term in enumerate(vocabulary)}
        self._rows: list[NDArray[np.uint32]] = list(rows)
        self._bm25: object | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def vocabulary(self) -> list[str]:
        return list(self._ids)

    @property
    def rows(self) -> Sequence[NDArray[np.uint32]]:
        """Term numbers of each passage, in order, repeats kept."""
        return self._rows

    def add(self, terms: Sequence[str]) -> None:
        """Append one passage."""
        ids = self._ids
        self._rows.append(np.array([ids.setdefault(term, len(ids)) for term in terms], dtype=np.uint32))
        self._bm25 = None

    def known(self, terms: Sequence[str]) -> list[int]:
        """Numbers of those terms that occur in the corpus."""
        return [self._ids[term] for term in terms if term in self._ids]

    def idf(self, numbers: Sequence[int]) -> dict[int, float]:
        """Inverse document frequency of terms by number, as BM25 weighs them."""
        if not numbers:
            return {}
        found = self._weights().scores["indptr"]  # type: ignore[attr-defined]
        n = len(self._rows)
        frequency = {number: int(found[number + 1] - found[number]) for number in numbers}
        return {number: log(1 + (n - df + 0.5) / (df + 0.5)) for number, df in frequency.items()}

    def score(self, numbers: Sequence[int]) -> Floats:
        """BM25 of every passage for the terms with these numbers, float32 [n]."""
        if not numbers:
            return np.zeros(len(self._rows), dtype=np.float32)
        return np.asarray(self._weights().get_scores_from_ids(list(numbers)), dtype=np.float32)  # type: ignore[attr-defined]

    def prepare(self) -> None:
        """Work the weights out now, so that the first query need not."""
        if self._ids:
            self._weights()

    def _weights(self) -> object:
        if self._bm25 is None:
            from bm25s import BM25
            from bm25s.tokenization import Tokenized

            logging.getLogger("bm25s").setLevel(logging.INFO)  # it logs at DEBUG whatever the app has set
            bm25 = BM25(k1=K1, b=B, method="lucene")
            bm25.index(Tokenized(ids=self._rows, vocab=dict(self._ids)), create_empty_token=False, show_progress=False)
            self._bm25 = bm25
        return self._bm25
