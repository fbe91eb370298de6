"""Passages that hold a quoted part of the query word for word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..documents import Passage
from ..scores import Floats
from ..text.quotes import holds, phrases
from .bm25 import TermIndex


def lift_phrases(
    query: str, bm25: Floats, passages: Sequence[Passage], index: TermIndex, terms: Callable[[str], list[str]]
) -> Floats:
    """BM25 of `query` with what it quotes: passages that hold a quoted phrase come before all others.

    Each phrase adds the highest score that there is. Only passages that hold all terms of the phrase are read.

    Args:
        query: The query.
        bm25: Its scores, float32 [n].
        passages: The n passages.
        index: Their terms.
        terms: The terms of a phrase as a passage has them; a passage must have each of them.
    """
    lifted = bm25
    for phrase in phrases(query):
        numbers = index.known(terms(phrase))
        rows = [row for row in index.holding(numbers) if holds(passages[row].text, phrase)] if numbers else []
        if rows and len(rows) < len(passages):
            lifted = lifted.copy()
            lifted[rows] += max(float(bm25.max()), 1.0)
    return lifted
