"""The index of a corpus: passages, their vectors and their terms. For a text it gives every candidate's signals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..scores import Candidates, Floats, Signals
from ..text import terms as analysis
from ..text.tokenizer import Tokenizer
from .admitted import Admitted
from .bm25 import Row, TermIndex, Vocabulary
from .documents import IndexedDocument
from .filters import Filters as Filters
from .filters import filter_predicate
from .phrases import lift_phrases
from .vectors import VectorIndex

Weights = Mapping[int, float]
"""Weights of terms in a query, by number."""

EVERYTHING = 50_000
"""Up to so many passages, each is a candidate for every text. Above, candidates are picked (see `PICK`)."""

PICK = 1_000
"""Above `EVERYTHING`, the candidates are all passages of the documents that hold the best so many of a signal."""


def _renumbered(entries: Sequence[IndexedDocument], rows: Sequence[Row]) -> list[IndexedDocument]:
    """The documents with these terms, one row a passage."""
    ends = np.cumsum([len(entry.passages) for entry in entries]).tolist()
    return [
        replace(entry, terms=tuple(rows[end - len(entry.passages) : end]))
        for entry, end in zip(entries, ends, strict=True)
    ]


_WORD = re.compile(r"[^\W\d_][\w'’-]*")  # "Baird", "AX-4410", "keeper's"


class Index:
    """One state of the index: passages grouped by document, with terms and vectors. It never changes.

    Args:
        entries: The documents, in their order.
        terms: The terms of their passages, in the same order.
        vectors: The vectors, in the same order; None for BM25 alone.
    """

    def __init__(
        self, entries: Sequence[IndexedDocument], terms: TermIndex, vectors: VectorIndex | None = None
    ) -> None:
        self.entries = entries
        self.by_id = {entry.document.id: entry for entry in entries}
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
    def empty(cls, dense: bool, tokenizer: Tokenizer | None = None) -> Index:
        """An index over nothing, with vectors to come or without; its terms will be ours, or the tokenizer's."""
        return cls(
            [],
            TermIndex.over([], Vocabulary(tokenizer=tokenizer)),
            VectorIndex(np.zeros((0, 0), np.float32)) if dense else None,
        )

    def derive(self, entries: Sequence[IndexedDocument], vectors: Mapping[str, Floats]) -> Index:
        """The state over these documents. Those that this state holds are taken over.

        Where its vocabulary holds too many terms that no passage has any more, the next state gets another one, and
        `entries` that are numbered by it.

        Args:
            entries: The documents, in their order; the terms of new ones are numbered by this index's vocabulary.
            vectors: The vector of each passage of the new ones, by its key; empty where this index has no vectors.
        """
        first_row = {}
        row = 0
        for entry in self.entries:
            first_row[id(entry)] = row
            row += len(entry.passages)
        source: list[int] = []
        new_terms: list[Row] = []
        keys: list[str] = []
        for entry in entries:
            if (begin := first_row.get(id(entry))) is not None:
                source += range(begin, begin + len(entry.passages))
            else:
                source += [-1] * len(entry.passages)
                new_terms += entry.terms
                keys += entry.keys
        rows = np.array(source, dtype=np.intp)
        terms = self.terms.derive(rows, new_terms)
        if terms.crowded:
            terms = terms.compacted()
            entries = _renumbered(entries, terms.rows)
        if self.vectors is None:
            return Index(entries, terms)
        return Index(entries, terms, self.vectors.derive(rows, [vectors[key] for key in keys]))

    def vectors_of(self, keys: Sequence[str]) -> dict[str, Floats]:
        """The vectors of those of these keys that are in the index.

        Args:
            keys: `text_hash` of texts.
        """
        if self.vectors is None or not keys:
            return {}
        wanted = set(keys)
        all_keys = (key for entry in self.entries for key in entry.keys)
        rows = {key: row for row, key in enumerate(all_keys) if key in wanted}
        return {key: self.vectors.matrix[row] for key, row in rows.items()}

    def __len__(self) -> int:
        return len(self.passages)

    def names(self, row: int) -> dict[int, str]:
        """The names in a passage: words that it writes with a capital and never without, by the number of their term.

        Args:
            row: Of the passage.
        """
        language = self.entries[int(self._document[row])].language
        words = dict.fromkeys(_WORD.findall(self.passages[row].text))
        written_small = set(self._term_numbers(" ".join(word for word in words if not word[0].isupper()), language))
        names: dict[int, str] = {}
        for word in words:
            if word[0].isupper():
                for number in self._term_numbers(word, language):
                    if number not in written_small:
                        names.setdefault(number, word)
        return names

    def _term_numbers(self, text: str, language: str) -> list[int]:
        """The numbers of a text's terms, those that the vocabulary has."""
        numbers = (
            self.terms.vocabulary.find(term) for term in analysis.terms(text, language, self.terms.vocabulary.tokenizer)
        )
        return [number for number in numbers if number is not None]

    def signals(
        self, texts: Sequence[str], vectors: Floats | None, filters: Filters | Admitted | None = None
    ) -> list[Signals]:
        """The signals of each text, all over the same candidates: the passages that any of the texts picks.

        Args:
            texts: A query, or several texts that are searched for side by side.
            vectors: float32 [len(texts), dimension] from the same embedder, or None for BM25 alone.
            filters: Which passages may compete, or what `admitted` said of them.
        """
        known = [self._known_terms(text) for text in texts]
        allowed = self._allowed(filters)
        if self._all_compete(allowed):
            return self._signals(texts, known, vectors, self._candidates(allowed), lift=True)
        if len(texts) > 1:
            # BM25 of every passage for every text would be large: it is computed again for the candidates.
            corpus_bm25 = (self._bm25(weights) for weights, _ in known)
            return self._signals(
                texts, known, vectors, self._candidates(self._pick(corpus_bm25, vectors, allowed)), lift=True
            )
        bm25 = self._query_bm25(texts[0], known[0][0])
        return self._signals(texts, known, vectors, self._candidates(self._pick([bm25], vectors, allowed)), bm25)

    def more_signals(
        self, query: Signals, texts: Sequence[str], vectors: Floats | None, filters: Filters | Admitted | None = None
    ) -> list[Signals]:
        """The signals of a query and of its clues, all over the same candidates: the query's, and what the clues pick.

        What is known of the query is not computed again.

        Args:
            query: The query's signals, of this index and with the same filters.
            texts: The clues, at least one.
            vectors: float32 [len(texts), dimension] from the same embedder, or None for BM25 alone.
            filters: Which passages may compete, or what `admitted` said of them.

        Returns:
            The query's signals, then those of each clue. The query's are the object that was passed where its candidates
            are all that may compete.
        """
        if query.vector is None:
            vectors = None
        known = [self._known_terms(text) for text in texts]
        allowed = None if len(self) <= EVERYTHING else self._allowed(filters)
        if self._all_compete(allowed):
            return [query, *self._signals(texts, known, vectors, query.candidates)]
        corpus_bm25 = (self._bm25(weights) for weights, _ in known)
        rows = np.union1d(self._rows(query.candidates), self._pick(corpus_bm25, vectors, allowed))
        candidates = self._candidates(rows)
        return [self._widened(query, candidates), *self._signals(texts, known, vectors, candidates)]

    def _signals(
        self,
        texts: Sequence[str],
        known: Sequence[tuple[Weights, float]],
        vectors: Floats | None,
        candidates: Candidates,
        corpus_bm25: Floats | None = None,
        lift: bool = False,
    ) -> list[Signals]:
        """The signals of each text over these candidates.

        Args:
            known: `_known_terms` of each text.
            corpus_bm25: BM25 of every passage for the one text, where it was needed to pick the candidates.
            lift: Whether the texts are queries, so that what they quote is wanted as it stands.
        """
        rows = candidates.rows
        dense = None
        if self.vectors is not None and vectors is not None:
            dense = self.vectors.score(vectors, rows)
        signals = []
        for i, (text, (weights, share)) in enumerate(zip(texts, known, strict=True)):
            if corpus_bm25 is not None:
                bm25 = corpus_bm25
            else:
                bm25 = self._query_bm25(text, weights) if lift else self._bm25(weights)
            signals.append(
                Signals(
                    text=text,
                    candidates=candidates,
                    bm25=bm25 if rows is None else bm25[rows],
                    dense=None if dense is None else dense[i],
                    terms={number: idf * weights[number] for number, idf in self.terms.idf(list(weights)).items()},
                    known_terms=share,
                    vector=None if vectors is None else vectors[i],
                    corpus_bm25=corpus_bm25,
                )
            )
        return signals

    def _widened(self, query: Signals, candidates: Candidates) -> Signals:
        """A query's signals over more candidates; only the passages that are new are scored."""
        rows, dense = self._rows(candidates), None
        corpus_bm25 = query.corpus_bm25
        if corpus_bm25 is None:
            corpus_bm25 = self._query_bm25(query.text, self._known_terms(query.text)[0])
        if self.vectors is not None and query.vector is not None and query.dense is not None:
            known = np.isin(rows, self._rows(query.candidates))
            dense = np.empty(len(rows), dtype=np.float32)
            dense[known] = query.dense
            dense[~known] = self.vectors.score(query.vector[None], rows[~known])[0]
        return Signals(
            text=query.text,
            candidates=candidates,
            bm25=corpus_bm25[rows],
            dense=dense,
            terms=query.terms,
            known_terms=query.known_terms,
            vector=query.vector,
            corpus_bm25=corpus_bm25,
        )

    def _known_terms(self, text: str) -> tuple[Weights, float]:
        """The weights of those of a text's terms that occur in the corpus, and the share of these among all."""
        query = analysis.query_terms(text, self.languages, self.terms.vocabulary.tokenizer)
        known = self._numbers(query.weights)
        share = sum(known.values()) / sum(query.weights.values()) if query.weights else 0.0
        return {**self._numbers(query.joined), **known}, share

    def _numbers(self, weights: Mapping[str, float]) -> Weights:
        return {number: weight for term, weight in weights.items() for number in self.terms.known([term])}

    def _bm25(self, weights: Weights) -> Floats:
        """BM25 of every passage, float32 [passages]."""
        return self.terms.score(list(weights), list(weights.values()))

    def _query_bm25(self, query: str, weights: Weights) -> Floats:
        """The same, passages that hold what the query quotes before all others."""
        return lift_phrases(query, self._bm25(weights), self.passages, self.terms, self.languages)

    def _candidates(self, rows: NDArray[np.intp] | None) -> Candidates:
        return self._everything if rows is None else self._everything.take(rows)

    def _rows(self, candidates: Candidates) -> NDArray[np.intp]:
        return np.arange(len(self)) if candidates.rows is None else candidates.rows

    def _all_compete(self, allowed: NDArray[np.intp] | None) -> bool:
        """Whether every passage that may compete is a candidate for every text."""
        return len(self) <= EVERYTHING or (allowed is not None and len(allowed) <= EVERYTHING)

    def _pick(
        self, corpus_bm25: Iterable[Floats], vectors: Floats | None, allowed: NDArray[np.intp] | None
    ) -> NDArray[np.intp]:
        """Rows of the passages in the documents that the best of each signal are in, rising."""
        rows = np.arange(len(self)) if allowed is None else allowed
        best = [rows[np.argsort(-bm25[rows], kind="stable")[:PICK]] for bm25 in corpus_bm25]
        if self.vectors is not None and vectors is not None:
            if allowed is None:
                best += self.vectors.search(vectors, PICK)
            else:
                best += list(rows[np.argsort(-self.vectors.score(vectors, rows), axis=1, kind="stable")[:, :PICK]])
        picked = np.flatnonzero(np.isin(self._document, self._document[np.concatenate(best)]))
        return picked if allowed is None else np.intersect1d(picked, allowed)

    def _allowed(self, filters: Filters | Admitted | None) -> NDArray[np.intp] | None:
        """Rows of the passages that may compete, rising; None for all."""
        admitted = filters if isinstance(filters, Admitted) else self.admitted(filters)
        return None if admitted is None else admitted.rows

    def admitted(self, filters: Filters | None) -> Admitted | None:
        """The passages that a filter admits; None for all. The filter is asked once for each metadata object.

        Raises:
            InputError: As `filter_predicate`.
        """
        if filters is None:
            return None
        accept = filter_predicate(filters)
        verdicts: dict[int, bool] = {}  # passages that we cut share their document's metadata
        for passage in self.passages:
            if (key := id(passage.metadata)) not in verdicts:
                verdicts[key] = bool(accept(passage.metadata))
        mask = np.array([verdicts[id(passage.metadata)] for passage in self.passages], dtype=bool)
        return None if mask.all() else Admitted.of(mask, self._document, self.passages)
