"""Scores of passages: what the index says of a text, and what fusion makes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .documents import Passage

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LexicalWeights:
    """How much each token of a text matters, as a model has learnt to say.

    Args:
        tokens: Their numbers, uint32 [m], rising, each once.
        weights: float32 [m], positive.
    """

    tokens: NDArray[np.uint32]
    weights: Floats


@dataclass(frozen=True, eq=False)
class Candidates:
    """The passages that compete for one query, grouped by document and in the order of the text.

    Args:
        passages: [n].
        document: int32 [n], the number of each passage's document; equal numbers stand together.
        centre: float64 [n], the middle of each passage in its document, in characters; rising within a document.
        median_length: Of all the corpus's passages, in characters: the unit of distance in a text.
        rows: [n], the place of each passage in its index, rising; None where the candidates are all its passages.
    """

    passages: Sequence[Passage]
    document: NDArray[np.int32]
    centre: NDArray[np.float64]
    median_length: float
    rows: NDArray[np.intp] | None = None

    @cached_property
    def firsts(self) -> NDArray[np.intp]:
        """Row of the first candidate of each document, rising."""
        return np.flatnonzero(np.diff(self.document, prepend=-1))

    @cached_property
    def rows_of(self) -> Mapping[str, range]:
        """By id of a document, the rows of its candidates."""
        bounds = [*self.firsts.tolist(), len(self.passages)]
        return {self.passages[row].document_id: range(row, end) for row, end in pairwise(bounds)}

    def take(self, rows: NDArray[np.intp]) -> Candidates:
        """Those at `rows`, which must rise."""
        return Candidates(
            [self.passages[row] for row in rows],
            self.document[rows],
            self.centre[rows],
            self.median_length,
            rows if self.rows is None else self.rows[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What the index says of one text (a query or a clue), for every candidate.

    Args:
        text: The text.
        candidates: The n passages scored.
        bm25: float32 [n], zero where no term is shared; with an embedder's lexical weights beside it, or these alone, where
            it has such.
        dense: float32 [n], cosines; None without an embedder.
        terms: The text's terms that occur in the corpus, by number, with their idf.
        known_terms: Share of the text's terms that occur in the corpus, in [0, 1].
        vector: The text's own vector, float32 [dimension], or None.
        corpus_bm25: BM25 of every passage of the corpus, float32 [N], where the candidates are those that this text
            picked, so that clues may add others; None where they are all that may compete.
    """

    text: str
    candidates: Candidates
    bm25: Floats
    dense: Floats | None = None
    terms: Mapping[int, float] = field(default_factory=dict)
    known_terms: float = 0.0
    vector: Floats | None = None
    corpus_bm25: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Scores(Signals):
    """Signals, and what fusion makes of them. Computed once a text; memories and the ranking read the same.

    Args:
        local: float32 [n], local score: what each passage says by itself, as a z-score over the candidates.
        activation: float32 [n], neighbourhood score: `local` spread along each document.
    """

    local: Floats
    activation: Floats

    def of_documents(self, ids: Collection[str]) -> Scores:
        """The part of it that concerns these documents."""
        known = self.candidates.rows_of
        ranges = sorted((known[id] for id in ids if id in known), key=lambda rows: rows.start)
        rows = np.concatenate([np.zeros(0, np.intp), *ranges]).astype(np.intp)
        return Scores(
            text=self.text,
            candidates=self.candidates.take(rows),
            bm25=self.bm25[rows],
            dense=None if self.dense is None else self.dense[rows],
            terms=self.terms,
            known_terms=self.known_terms,
            vector=self.vector,
            local=self.local[rows],
            activation=self.activation[rows],
        )
