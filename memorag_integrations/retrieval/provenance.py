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


class Reasons:
    """Ranks of every candidate by every signal, of the query and of each clue that was searched with.

    Args:
        query: Its scores.
        clues: The clues' scores, and their weights.
        recall: What the memory said: clues that point to a place are a reason for the passages there.
        signals: Those that took part in the ranking.
        asked: What the query is called among the reasons.
    """

    def __init__(
        self,
        query: Scores,
        clues: Sequence[Scores] = (),
        weights: Sequence[float] = (),
        recall: Recall | None = None,
        signals: Sequence[Signal] = ("bm25", "dense", "neighbourhood"),
        asked: str = "query",
    ) -> None:
        self.candidates = query.candidates
        self._query = query
        self._reread: dict[int, FoundBy] = {}
        self._said: Mapping[int, float] = {}
        self._before: Floats | None = None
        self._ranks: list[tuple[str, Signal, float, Floats, np.ndarray[Any, Any]]] = []
        for by, scores, weight in [(asked, query, 1.0), *zip([c.text for c in clues], clues, weights, strict=True)]:
            if weight <= 0:
                continue
            known: dict[Signal, Floats | None] = {
                "bm25": scores.bm25,
                "dense": scores.dense,
                "neighbourhood": scores.activation,
            }
            for signal, values in known.items():
                if signal in signals and values is not None and values.size:
                    order = np.empty(len(values), dtype=np.intp)
                    order[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
                    self._ranks.append((by, signal, weight, values, order))
        self._pointers = [(i, clue) for i, clue in enumerate(recall.clues if recall else (), 1) if clue.grounding]

    @property
    def query(self) -> str:
        return self._query.text

    def reread(self, order: Sequence[int], said: Mapping[int, float], before: Floats) -> Reasons:
        """The same, and what a reranker said.

        Args:
            order: The rows it read, its best first.
            said: Its score of each.
            before: The fused scores that it found, [n].
        """
        reasons = copy.copy(self)
        reasons._reread = {row: FoundBy(self.query, "reranker", place) for place, row in enumerate(order, 1)}
        reasons._said, reasons._before = said, before
        return reasons

    @property
    def any(self) -> bool:
        """Whether anything at all speaks for one candidate rather than another."""
        return any(bool(values.any()) for _, _, _, values, _ in self._ranks)

    def of(self, row: int) -> tuple[FoundBy, ...]:
        every = [
            FoundBy(by, signal, int(ranks[row]), weight)
            for by, signal, weight, values, ranks in self._ranks
            if (signal != "bm25" or values[row] > 0) and values.any()
        ]
        found = [one for one in every if one.rank <= NOTED_RANK] or sorted(every, key=lambda one: one.rank)[:1]
        passage = self.candidates.passages[row]
        for place, clue in self._pointers:
            at = clue.grounding
            if (
                at is not None
                and passage.start is not None
                and passage.end is not None
                and at.document_id == passage.document_id
                and at.start < passage.end
                and passage.start < at.end
            ):
                found.append(FoundBy(clue.text, "memory", place, clue.weight if clue.weight is not None else 1.0))
        if row in self._reread:
            found.append(self._reread[row])
        return tuple(sorted(found, key=lambda one: one.rank))

    def raw(self, row: int, fused: Floats) -> dict[str, float]:
        query = self._query
        raw = {"bm25": float(query.bm25[row])}
        if query.dense is not None:
            raw["dense"] = float(query.dense[row])
        raw["own"] = float(query.own[row])
        raw["neighbourhood"] = float(query.activation[row])
        raw["fused"] = float((fused if self._before is None else self._before)[row])
        if row in self._said:
            raw["reranker"] = self._said[row]
        return {name: round(value, 6) for name, value in raw.items()}


@dataclass(frozen=True)
class Ranking:
    """All candidates of a query, ranked.

    Args:
        fused: float32 [n], to be sorted by.
        reasons: What speaks for each.
    """

    fused: Floats
    reasons: Reasons
