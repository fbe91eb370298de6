"""Rankings without memory, clues or spreading: what memory-guided retrieval is measured against."""

from __future__ import annotations

import numpy as np

from ..evidence import Signal
from ..scores import Scores
from .fusion import standardize
from .provenance import Provenance, Ranking


def rank_baseline(scores: Scores, mode: str) -> Ranking:
    """The ranking by one signal, or by both, as they are."""
    signals: dict[str, tuple[Signal, ...]] = {"plain": ("dense",), "bm25": ("bm25",), "hybrid": ("bm25", "dense")}
    values = {"plain": scores.dense, "bm25": scores.bm25, "hybrid": scores.local}[mode]
    fused = standardize(scores.bm25 if values is None else values).astype(np.float32)
    return Ranking(fused, Provenance(scores, signals=signals[mode]))
