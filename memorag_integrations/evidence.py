"""A ranking becomes evidence: repeats collapsed, neighbours merged, a budget kept, and on every piece what found it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .documents import Passage
from .text.metadata import plain_metadata

Signal = Literal["bm25", "dense", "neighbourhood", "bridge", "memory", "reranker"]


@dataclass(frozen=True)
class FoundBy:
    """One reason why a passage is here.

    Args:
        by: "query", a clue's text, or the rare name that the passage shares with one of the best hits.
        signal: Which signal ranked it: its terms, its vector, its neighbourhood in the text, such a name ("bridge"), the
            memory's own pointer, a reranker.
        rank: At which place among all candidates, from 1.
        weight: What the query or the clue counted in the sum; the query's is 1.
    """

    by: str
    signal: Signal
    rank: int
    weight: float = 1.0


@dataclass(frozen=True)
class Evidence:
    """A passage that bears on the query.

    Args:
        passage: The passage; where neighbours were merged, their whole stretch.
        score: In [0, 1], falling strictly along the ranking: how likely the passage answers the query. It can be compared
            between queries and corpora (`retrieval/calibration.py`).
        found_by: The reasons, the best rank first; none for a passage that no signal speaks for.
        raw: The scores behind it: "bm25", "dense" (cosine), "own" and "neighbourhood" (z-scores), "fused";
            "reranker" where one read it, in its own range.
        repeats: Other passages that say the same, and are not shown again.
    """

    passage: Passage
    score: float
    found_by: Sequence[FoundBy] = ()
    raw: dict[str, float] = field(default_factory=dict)
    repeats: Sequence[Passage] = ()

    @property
    def text(self) -> str:
        return self.passage.text

    @property
    def document_id(self) -> str:
        return self.passage.document_id

    def provenance(self) -> dict[str, Any]:
        """All but text and metadata, as JSON: what the hosts put under their one metadata key."""
        return {
            "document_id": self.passage.document_id,
            "passage_id": self.passage.id,
            "start": self.passage.start,
            "end": self.passage.end,
            "score": self.score,
            "raw": self.raw,
            "found_by": [
                {"by": found.by, "signal": found.signal, "rank": found.rank, "weight": found.weight}
                for found in self.found_by
            ],
            "repeats": [
                {"document_id": twin.document_id, "passage_id": twin.id, "start": twin.start, "end": twin.end}
                for twin in self.repeats
            ],
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON; dates in ISO 8601, sets as lists."""
        return {"text": self.passage.text, "metadata": plain_metadata(self.passage.metadata), **self.provenance()}
