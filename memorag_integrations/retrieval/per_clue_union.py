"""One dense search a clue and the union of their hits: retrieval as the original MemoRAG does it.

It is here so that the original's behaviour can be measured (`benchmarks/union.py`), and for scripts that come over from it
(`compat`); the default weighs clues and spreads scores instead (`fusion`). The original takes each search's first hits as
a set without a ranking. A budget needs one, so this is the convention: the query's first hit, the first hit of each clue
in the order recalled, the second hits, and so on; a passage counts where it comes first. The first n of every search, as
a set, are the passages that some search ranks n or better.
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
    """The clues that are searched for beside the query, each text once, in the order recalled."""
    return [text for text in worth_searching(clue.text for clue in recall.clues) if text != recall.query]


def worth_searching(texts: Iterable[str]) -> list[str]:
    """Those that are long enough, each once."""
    return list(dict.fromkeys(text for text in texts if _words(text) > TOO_SHORT))


def rank_union(scores: Sequence[Scores], query_name: str = "query") -> Ranking:
    """All candidates by the turn in which a search of them comes to each.

    Args:
        scores: The query's dense scores, then each clue's, over the same n candidates.
        query_name: What the query is called in `FoundBy.by`.
    """
    dense = [one.dense for one in scores if one.dense is not None]
    weights = [1.0] * (len(scores) - 1)
    provenance = Provenance(scores[0], scores[1:], weights, signals=("dense",), query_name=query_name)
    return Ranking(round_robin(dense), provenance)


def round_robin(every: Sequence[Floats]) -> Floats:
    """Rankings taken in turn: the best of each, then the second of each, and so on.

    Args:
        every: At least one, each float32 [n] to be sorted by, over the same n.

    Returns:
        float32 [n], to be sorted by: zero mean, unit deviation, falling evenly along the joint ranking.
    """
    turns = np.stack([np.argsort(-values, kind="stable") for values in every], axis=1).ravel()
    rows, first = np.unique(turns, return_index=True)
    joint = np.empty(len(rows), dtype=np.float64)
    joint[rows[np.argsort(first)]] = -np.arange(len(rows), dtype=np.float64)
    return standardize(joint).astype(np.float32)


def _words(text: str) -> int:
    unspaced = by_script(text) in LANGUAGES_WITHOUT_BLANKS
    return sum(map(str.isalnum, text)) if unspaced else len(text.split())
