"""All passages of a corpus, their vectors and their terms: one text in, every candidate's signals out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contracts import Candidates, Floats, Progress, Signals
from ..documents import Document, Passage
from ..errors import Cancelled, InputError
from . import analysis
from .embedders import CheckedEmbedder
from .terms import TermIndex
from .vectors import VectorIndex

Filters = Mapping[str, Any] | Callable[[Mapping[str, Any]], bool]
"""Which passages may compete: {key: value, or a list of allowed values} of their metadata, or a predicate over it."""

EVERYTHING = 50_000
"""Passages up to which each is a candidate for every query; above it, the best of each signal pick documents."""

PICK = 1_000
"""Passages of each signal that pick documents, above `EVERYTHING`."""


class Index:
    """Passages grouped by document, and what is known of each.

    Args:
        passages: Grouped by document, in the order of the text.
        languages: ISO code of each document, by id.
        terms: Their terms, in the same order.
        embedder: What made `vectors`, or None for BM25 alone.
        vectors: float32 [n, dimension], in the same order.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        languages: Mapping[str, str],
        terms: TermIndex,
        embedder: CheckedEmbedder | None = None,
        vectors: Floats | None = None,
    ) -> None:
        self.passages = list(passages)
        self.languages = dict(languages)
        self.terms = terms
        self.embedder = embedder
        self.vectors: VectorIndex | None = None
        if embedder is not None and vectors is not None:
            self.vectors = VectorIndex(embedder.dimension)
            self.vectors.add(vectors)
        number = {id: i for i, id in enumerate(dict.fromkeys(passage.document_id for passage in self.passages))}
        self._document = np.array([number[passage.document_id] for passage in self.passages], dtype=np.int32)
        self._everything = Candidates(
            self.passages,
            self._document,
            np.array([passage.centre for passage in self.passages], dtype=np.float64),
            float(np.median([len(passage.text) for passage in self.passages])) if self.passages else 1.0,
        )

    @classmethod
    def build(
        cls,
        documents: Sequence[Document],
        passages: Sequence[Passage],
        embedder: CheckedEmbedder | None,
        language: str,
        progress: Progress,
        cancel: threading.Event | None = None,
    ) -> Index:
        """Index `passages` of `documents`: detect languages, take terms, embed what was not embedded before."""
        languages = {
            document.id: analysis.detect_language(document.text) if language == "auto" else language
            for document in documents
        }
        terms = TermIndex()
        for done, passage in enumerate(passages, 1):
            terms.add(analysis.terms(passage.text, languages[passage.document_id]))
            if done % 256 == 0 or done == len(passages):
                if cancel is not None and cancel.is_set():
                    raise Cancelled("Cancelled while passages were indexed; the corpus is as it was before.")
                progress("indexing terms", done, len(passages))
        terms.prepare()
        vectors = None
        if embedder is not None:
            vectors = embedder.embed_passages([passage.text for passage in passages], progress, cancel)
        return cls(passages, languages, terms, embedder, vectors)

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
        rows = self._pick([numbers for numbers, _ in known], vectors, filters)
        candidates = self._everything if rows is None else self._everything.take(rows)
        dense = None
        if self.vectors is not None and vectors is not None:
            dense = self.vectors.score(vectors, rows)
        out = []
        for i, (text, (numbers, share)) in enumerate(zip(texts, known, strict=True)):
            bm25 = self.terms.score(numbers)
            out.append(
                Signals(
                    text=text,
                    candidates=candidates,
                    bm25=bm25 if rows is None else bm25[rows],
                    dense=None if dense is None else dense[i],
                    terms=self.terms.idf(numbers),
                    known_terms=share,
                    vector=None if vectors is None else vectors[i],
                )
            )
        return out

    def _known_terms(self, text: str) -> tuple[list[int], float]:
        terms = analysis.query_terms(text, dict.fromkeys(self.languages.values()))
        numbers = self.terms.known(terms)
        return numbers, len(numbers) / len(terms) if terms else 0.0

    def _pick(
        self, texts: Sequence[Sequence[int]], vectors: Floats | None, filters: Filters | None
    ) -> NDArray[np.intp] | None:
        """Rows of the candidates, rising; None for all."""
        allowed = None if filters is None else self._allowed(filters)
        if len(self) <= EVERYTHING or (allowed is not None and len(allowed) <= EVERYTHING):
            return allowed
        rows = np.arange(len(self)) if allowed is None else allowed
        best = [rows[np.argsort(-self.terms.score(numbers)[rows], kind="stable")[:PICK]] for numbers in texts]
        if self.vectors is not None and vectors is not None:
            if allowed is None:
                best += [self.vectors.search(vector, PICK) for vector in vectors]
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
