"""Passages that hold a quoted part of the query word for word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..documents import Passage
from ..scores import Floats
from ..text.quotes import holds, phrases
from ..text.terms import phrase_terms
from .bm25 import TermIndex

MOST_READ = 1_000
"""Passages that are read for a phrase whose terms say nothing for certain, the best by BM25."""


def lift_phrases(
    query: str, bm25: Floats, passages: Sequence[Passage], index: TermIndex, languages: Sequence[str]
) -> Floats:
    """BM25 of `query` with what it quotes: passages that hold a quoted phrase come before all others.

    Each phrase adds the highest score that there is. Only passages that hold all terms of the phrase are read.

    Args:
        query: The query.
        bm25: Its scores, float32 [n].
        passages: The n passages.
        index: Their terms.
        languages: Theirs, as ISO 639-1 codes.
    """
    lifted = bm25
    for phrase in phrases(query):
        rows = [row for row in _rows(phrase, bm25, index, languages) if holds(passages[row].text, phrase)]
        if rows:
            lifted = lifted.copy()
            lifted[rows] += max(float(bm25.max()), 1.0)
    return lifted


def _rows(phrase: str, bm25: Floats, index: TermIndex, languages: Sequence[str]) -> Iterator[int]:
    """Passages that may hold the phrase."""
    found: set[int] = set()
    for language in languages:
        terms = [] if index.vocabulary.tokenizer else phrase_terms(phrase, language)
        numbers = index.known(terms)
        if not terms:
            best = np.argsort(-bm25, kind="stable")[:MOST_READ]
            found.update(best[bm25[best] > 0].tolist())
        elif len(numbers) == len(terms):
            found.update(index.holding(numbers).tolist())
    yield from sorted(found)
