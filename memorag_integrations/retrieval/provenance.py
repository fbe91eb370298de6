"""Provenance: which signal ranked a passage, for the query or for a clue, and at which rank."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..clues import Recall
from ..evidence import FoundBy, Signal
from ..scores import Floats, Scores

NOTED_RANK = 50
"""A signal is named as having found a passage where it ranks it this high among all candidates."""

MOST_NAMES = 3
"""Names that are given as the reason for a passage."""


class Provenance:
    """Ranks of every candidate by every signal, of the query and of each clue that was searched with.

    Args:
        query: The query's scores.
        clues: The clues' scores.
        weights: Weight of each clue; one of weight 0 is left out.
        recall: What the memory answered. A clue with a grounding counts as a reason for the passages at that place.
        signals: Those that took part in the ranking.
        query_name: What the query is called in `FoundBy.by`.
        bridges: By row, the rare names that a passage shares with the best hits, the rarest first; the passage that
            gained most stands first.
    """

    def __init__(
        self,
        query: Scores,
        clues: Sequence[Scores] = (),
        weights: Sequence[float] = (),
        recall: Recall | None = None,
        signals: Sequence[Signal] = ("bm25", "dense", "neighbourhood"),
        query_name: str = "query",
        bridges: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        self._bridges = {row: (rank, names) for rank, (row, names) in enumerate((bridges or {}).items(), 1)}
        self.candidates = query.candidates
        self._query = query
        self._reranked: dict[int, FoundBy] = {}
        self._reranker_scores: Mapping[int, float] = {}
        self._fused_before: Floats | None = None
        self._ranks: list[tuple[str, Signal, float, Floats, np.ndarray[Any, Any]]] = []
        names = [query_name, *(clue.text for clue in clues)]
        for name, scores, weight in zip(names, [query, *clues], [1.0, *weights], strict=True):
            if weight <= 0:
                continue
            by_signal: dict[Signal, Floats | None] = {
                "bm25": scores.bm25,
                "dense": scores.dense,
                "neighbourhood": scores.activation,
            }
            for signal, values in by_signal.items():
                if signal in signals and values is not None and values.size:
                    ranks = np.empty(len(values), dtype=np.intp)
                    ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
                    self._ranks.append((name, signal, weight, values, ranks))
        self._grounded = [(i, clue) for i, clue in enumerate(recall.clues if recall else (), 1) if clue.grounding]

    @property
    def query(self) -> str:
        return self._query.text

    @property
    def fused_before(self) -> Floats | None:
        """The fused scores before a reranker read the best passages, [n]; None where none did."""
        return self._fused_before

    @property
    def signals(self) -> Scores:
        """The query's scores."""
        return self._query

    @property
    def weights(self) -> Mapping[str, float]:
        """What each text that was searched for counts in the sum."""
        return {name: float(weight) for name, _, weight, _, _ in self._ranks}

    def reranked(self, order: Sequence[int], scores: Mapping[int, float], fused: Floats) -> Provenance:
        """A copy that also holds what a reranker said.

        Args:
            order: Rows of the candidates that it read, its best first.
            scores: Its score of each, by row.
            fused: The fused scores before it, [n].
        """
        provenance = copy.copy(self)
        provenance._reranked = {row: FoundBy(self.query, "reranker", rank) for rank, row in enumerate(order, 1)}
        provenance._reranker_scores, provenance._fused_before = scores, fused
        return provenance

    @property
    def any(self) -> bool:
        """Whether any signal distinguishes one candidate from another."""
        return any(bool(values.any()) for _, _, _, values, _ in self._ranks)

    def of(self, row: int) -> tuple[FoundBy, ...]:
        """What found the candidate at `row`, the best rank first; at least one signal, where any speaks for it."""
        signals = [
            FoundBy(name, signal, int(ranks[row]), weight)
            for name, signal, weight, values, ranks in self._ranks
            if (signal != "bm25" or values[row] > 0) and values.any()
        ]
        found_by = [one for one in signals if one.rank <= NOTED_RANK]
        found_by = found_by or sorted(signals, key=lambda one: one.rank)[:1]
        passage = self.candidates.passages[row]
        for rank, clue in self._grounded:
            grounding = clue.grounding
            if (
                grounding is not None
                and passage.start is not None
                and passage.end is not None
                and grounding.document_id == passage.document_id
                and grounding.start < passage.end
                and passage.start < grounding.end
            ):
                found_by.append(FoundBy(clue.text, "memory", rank, clue.weight if clue.weight is not None else 1.0))
        if row in self._bridges:
            rank, names = self._bridges[row]
            found_by += [FoundBy(name, "bridge", rank) for name in names[:MOST_NAMES]]
        if row in self._reranked:
            found_by.append(self._reranked[row])
        return tuple(sorted(found_by, key=lambda one: one.rank))

    def raw(self, row: int, fused: Floats) -> dict[str, float]:
        """The scores of the candidate at `row`, as in `Evidence.raw`; the local score has the key "own" there."""
        query = self._query
        raw = {"bm25": float(query.bm25[row])}
        if query.dense is not None:
            raw["dense"] = float(query.dense[row])
        raw["own"] = float(query.local[row])
        raw["neighbourhood"] = float(query.activation[row])
        raw["fused"] = float((fused if self._fused_before is None else self._fused_before)[row])
        if row in self._reranker_scores:
            raw["reranker"] = self._reranker_scores[row]
        return {name: round(value, 6) for name, value in raw.items()}


@dataclass(frozen=True)
class Ranking:
    """All candidates of a query, ranked.

    Args:
        fused: float32 [n], to be sorted by.
        provenance: What found each.
    """

    fused: Floats
    provenance: Provenance
