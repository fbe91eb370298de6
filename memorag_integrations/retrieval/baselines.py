"""Rankings without memory, clues or spreading: what memory-guided retrieval is measured against."""

from __future__ import annotations

import numpy as np

from ..evidence import Signal
from ..scores import Scores
from .fusion import Fusion, mix, standardize
from .provenance import Provenance, Ranking


def rank_baseline(scores: Scores, mode: str, fusion: Fusion) -> Ranking:
    """The ranking by one signal, or by both with fixed shares."""
    signals: dict[str, tuple[Signal, ...]] = {"plain": ("dense",), "bm25": ("bm25",), "hybrid": ("bm25", "dense")}
    values = {"plain": scores.dense, "bm25": scores.bm25, "hybrid": mix(scores, fusion.dense_weight)}[mode]
    fused = standardize(scores.bm25 if values is None else values).astype(np.float32)
    return Ranking(fused, Provenance(scores, signals=signals[mode]))
