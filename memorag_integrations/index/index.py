"""All passages of a corpus, their vectors and their terms: one text in, every candidate's signals out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..scores import Candidates, Floats, Signals
from ..text import terms as analysis
from .bm25 import Row, TermIndex, Vocabulary
from .documents import Entry
from .vectors import VectorIndex

Filters = Mapping[str, Any] | Callable[[Mapping[str, Any]], bool]
"""Which passages may compete: {key: value, or a list of allowed values} of their metadata, or a predicate over it."""

EVERYTHING = 50_000
"""Passages up to which each is a candidate for every query; above it, the best of each signal pick documents."""

PICK = 1_000
"""Passages of each signal that pick documents, above `EVERYTHING`."""


class Index:
    """One state of the index: passages grouped by document, and what is known of each. It never changes.

    Args:
        entries: The documents, in their order.
        terms: The terms of their passages, in the same order.
        vectors: The vectors, in the same order; None for BM25 alone.
    """

    def __init__(self, entries: Sequence[Entry], terms: TermIndex, vectors: VectorIndex | None = None) -> None:
        self.entries = entries
        self.terms = terms
        self.vectors = vectors
        self.passages = [passage for entry in entries for passage in entry.passages]
        self.languages = list(dict.fromkeys(entry.language for entry in entries))
        self._document = np.repeat(
            np.arange(len(entries), dtype=np.int32), [len(entry.passages) for entry in entries]
        ).astype(np.int32)
        self._everything = Candidates(
            self.passages,
            self._document,
            np.array([passage.centre for passage in self.passages], dtype=np.float64),
            float(np.median([len(passage.text) for passage in self.passages])) if self.passages else 1.0,
        )

    @classmethod
    def empty(cls, dense: bool) -> Index:
        """An index over nothing, with vectors to come or without."""
        return cls([], TermIndex.over([], Vocabulary()), VectorIndex(np.zeros((0, 0), np.float32)) if dense else None)

    def derive(self, entries: Sequence[Entry], vectors: Mapping[str, Floats]) -> Index:
        """The state over these entries. What stands here already is taken over; the others must be numbered by this
        vocabulary.

        Args:
            entries: The documents, in their order.
            vectors: Of each passage of the new ones, by its key; nothing where this index has no vectors.
        """
        first = {}
        at = 0
        for entry in self.entries:
            first[id(entry)] = at
            at += len(entry.passages)
        source: list[int] = []
        fresh: list[Row] = []
        keys: list[str] = []
        for entry in entries:
            if (begin := first.get(id(entry))) is not None:
                source += range(begin, begin + len(entry.passages))
            else:
                source += [-1] * len(entry.passages)
                fresh += entry.terms
                keys += entry.keys
        rows = np.array(source, dtype=np.intp)
        terms = self.terms.derive(rows, fresh)
        if self.vectors is None:
            return Index(entries, terms)
        return Index(entries, terms, self.vectors.derive(rows, [vectors[key] for key in keys]))

    def vectors_of(self, keys: Sequence[str]) -> dict[str, Floats]:
        """The vectors of those of these texts that some passage has, by `text_hash` of the text."""
        if self.vectors is None or not keys:
            return {}
        wanted = set(keys)
        every = (key for entry in self.entries for key in entry.keys)
        rows = {key: row for row, key in enumerate(every) if key in wanted}
        return {key: self.vectors.matrix[row] for key, row in rows.items()}

    def __len__(self) -> int:
        return len(self.passages)

    def signals(self, texts: Sequence[str], vectors: Floats | None, filters: Filters | None = None) -> list[Signals]:
        """What this index says of each text, all over the same candidates: whatever one of them picks.

        Args:
            texts: The query first, then whatever else searches for it (clues).
            vectors: float32 [len(texts), dimension] from the same embedder, or None for BM25 alone.
            filters: Which passages may compete.
        """
        known = [self._known_terms(text) for text in texts]
        rows = self._pick([weights for weights, _ in known], vectors, filters)
        candidates = self._everything if rows is None else self._everything.take(rows)
        dense = None
        if self.vectors is not None and vectors is not None:
            dense = self.vectors.score(vectors, rows)
        out = []
        for i, (text, (weights, share)) in enumerate(zip(texts, known, strict=True)):
            bm25 = self._bm25(weights)
            out.append(
                Signals(
                    text=text,
                    candidates=candidates,
                    bm25=bm25 if rows is None else bm25[rows],
                    dense=None if dense is None else dense[i],
                    terms={number: idf * weights[number] for number, idf in self.terms.idf(list(weights)).items()},
                    known_terms=share,
                    vector=None if vectors is None else vectors[i],
                )
            )
        return out

    def _known_terms(self, text: str) -> tuple[dict[int, float], float]:
        """Numbers and weights of those of a text's terms that occur in the corpus, and the share of these among all."""
        query = analysis.query_terms(text, self.languages)
        known = self._numbers(query.weights)
        share = sum(known.values()) / sum(query.weights.values()) if query.weights else 0.0
        return self._numbers(query.joined) | known, share

    def _numbers(self, weights: Mapping[str, float]) -> dict[int, float]:
        return {number: weight for term, weight in weights.items() for number in self.terms.known([term])}

    def _bm25(self, weights: Mapping[int, float]) -> Floats:
        return self.terms.score(list(weights), list(weights.values()))

    def _pick(
        self, texts: Sequence[Mapping[int, float]], vectors: Floats | None, filters: Filters | None
    ) -> NDArray[np.intp] | None:
        """Rows of the candidates, rising; None for all."""
        allowed = None if filters is None else self._allowed(filters)
        if len(self) <= EVERYTHING or (allowed is not None and len(allowed) <= EVERYTHING):
            return allowed
        rows = np.arange(len(self)) if allowed is None else allowed
        best = [rows[np.argsort(-self._bm25(weights)[rows], kind="stable")[:PICK]] for weights in texts]
        if self.vectors is not None and vectors is not None:
            if allowed is None:
                best += self.vectors.search(vectors, PICK)
            else:
                best += list(rows[np.argsort(-self.vectors.score(vectors, rows), axis=1, kind="stable")[:, :PICK]])
        picked = np.flatnonzero(np.isin(self._document, self._document[np.concatenate(best)]))
        return picked if allowed is None else np.intersect1d(picked, allowed)

    def _allowed(self, filters: Filters) -> NDArray[np.intp]:
        accept = filters if callable(filters) else _equality(filters)
        return np.flatnonzero(np.array([bool(accept(passage.metadata)) for passage in self.passages], dtype=bool))


def _equality(filters: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    if not isinstance(filters, Mapping):
        raise InputError(
            f"filters must be a mapping from metadata keys to values, or a function of the metadata that says yes or "
            f"no; found {type(filters).__name__}."
        )
    wanted = {
        key: list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        for key, value in filters.items()
    }
    return lambda metadata: all(key in metadata and metadata[key] in values for key, values in wanted.items())
