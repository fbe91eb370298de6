"""Bridges: passages that share a rare name with a strong hit, a name that the query does not contain.

"Where was the director of Silver Hind born?" is answered in two steps: one passage says who the director is, another
where that person was born, and the second shares no word with the query but a few ordinary ones. The name that leads
there stands in the first. This is one step of HippoRAG's walk (Gutiérrez et al., NeurIPS 2024) from passages over names
to passages, along the inverted lists that BM25 has, without a language model that extracts names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..index.index import Index
from ..scores import Candidates, Floats, Scores

HITS = 3
"""Best passages from whose names bridges are built."""

MOST_HOLDERS = 20
LEAST_SHARE = 50
"""A name leads on where at most so many passages hold it, and at most one of so many passages of the corpus."""

FARTHEST = 2.0
"""Most that all names of one hit add to a passage, before they are weighted."""


@dataclass(frozen=True)
class Bridges:
    """What the names of the best hits add to other passages.

    Args:
        gain: float64 [n], in [0, `FARTHEST`].
        names: For each passage that gains, by row, the names that lead there, the rarest first; the passage that gains
            most stands first.
    """

    gain: NDArray[np.float64]
    names: Mapping[int, tuple[str, ...]]


def find_bridges(fused: Floats, query: Scores, index: Index) -> Bridges:
    """The bridges from the best passages of a ranking to passages of other documents.

    Args:
        fused: float32 [n], the ranking.
        query: The query's scores.
        index: Of the corpus.
    """
    candidates, gain = query.candidates, np.zeros(len(fused))
    names: dict[int, list[tuple[float, str]]] = {}
    most = min(MOST_HOLDERS, len(index) // LEAST_SHARE)
    hits = np.argsort(-fused, kind="stable")[:HITS] if most >= 2 else np.zeros(0, np.intp)
    highest_idf = float(np.log(1 + (len(index) - 0.5) / 1.5))
    for hit in hits:
        strength = float(np.exp(min(0.0, float(fused[hit]) - float(fused[hits[0]]))))
        here = np.zeros(len(fused))
        row = int(hit) if candidates.rows is None else int(candidates.rows[hit])
        for number, name in index.names(row).items():
            if number in query.terms:
                continue
            holders = index.terms.passages_with(number)
            if not 2 <= len(holders) <= most:
                continue
            [idf] = index.terms.idf([number]).values()
            weight = idf / highest_idf / np.sqrt(len(holders))
            for place in places(holders, candidates):
                if candidates.document[place] != candidates.document[hit]:
                    here[place] += weight
                    names.setdefault(int(place), []).append((strength * weight, name))
        gain = np.maximum(gain, strength * np.minimum(here, FARTHEST))
    best_first = {
        place: tuple(dict.fromkeys(name for _, name in sorted(names[place], key=lambda one: -one[0])))
        for place in sorted(names, key=lambda place: -gain[place])
    }
    return Bridges(gain, best_first)


def places(rows: NDArray[np.intp], candidates: Candidates) -> NDArray[np.intp]:
    """Where passages of the corpus stand among the candidates; those that do not compete are left out."""
    if candidates.rows is None:
        return rows
    at = np.searchsorted(candidates.rows, rows)
    at = np.minimum(at, max(len(candidates.rows) - 1, 0))
    return np.asarray(at[candidates.rows[at] == rows] if len(candidates.rows) else at[:0], dtype=np.intp)
