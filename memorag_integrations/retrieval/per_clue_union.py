"""Per-clue union: one dense search for each clue, and the union of their hits, as in the original MemoRAG.

It serves to measure the original's behaviour (`benchmarks/union.py`) and to run its scripts (`compat`). The default weighs
clues and spreads scores instead (`fusion`). The original takes the first n hits of each search as a set without a ranking.
A budget needs a ranking, so searches take turns: the query's first hit, the first hit of each clue in the order of the
recall, then the second hits, and so on. A passage has the rank of its first turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..clues import Recall
from ..scores import Floats, Scores
from ..text.languages import by_script
from ..text.scripts import LANGUAGES_WITHOUT_BLANKS
from .fusion import standardize
from .provenance import Provenance, Ranking

TOO_SHORT = 3
"""Words of a clue up to which it is not searched for; characters in a language written without blanks between words."""


def searched(recall: Recall) -> list[str]:
    """The texts of the clues that are searched for, each once, in the order of the recall."""
    return [text for text in worth_searching(clue.text for clue in recall.clues) if text != recall.query]


def worth_searching(texts: Iterable[str]) -> list[str]:
    """Those of the texts that are long enough, each once."""
    return list(dict.fromkeys(text for text in texts if _words(text) > TOO_SHORT))


def rank_union(scores: Sequence[Scores], query_name: str = "query") -> Ranking:
    """All candidates, ranked by searches that take turns.

    Args:
        scores: The query's dense scores, then each clue's, over the same n candidates.
        query_name: What the query is called in `FoundBy.by`.
    """
    dense = [one.dense for one in scores if one.dense is not None]
    weights = [1.0] * (len(scores) - 1)
    provenance = Provenance(scores[0], scores[1:], weights, signals=("dense",), query_name=query_name)
    return Ranking(round_robin(dense), provenance)


def round_robin(rankings: Sequence[Floats]) -> Floats:
    """Rankings taken in turn: the best of each, then the second of each, and so on.

    Args:
        rankings: At least one; each is float32 [n], to be sorted by, over the same n candidates.

    Returns:
        float32 [n], to be sorted by: zero mean, unit deviation, falling evenly along the joint ranking.
    """
    turns = np.stack([np.argsort(-values, kind="stable") for values in rankings], axis=1).ravel()
    rows, first = np.unique(turns, return_index=True)
    joint = np.empty(len(rows), dtype=np.float64)
    joint[rows[np.argsort(first)]] = -np.arange(len(rows), dtype=np.float64)
    return standardize(joint).astype(np.float32)


def _words(text: str) -> int:
    unspaced = by_script(text) in LANGUAGES_WITHOUT_BLANKS
    return sum(map(str.isalnum, text)) if unspaced else len(text.split())
