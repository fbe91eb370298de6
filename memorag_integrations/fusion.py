"""From signals to a ranking: weigh, spread, rank. Pure functions of scores; nothing here asks a model or an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .clues import Clue
from .contracts import Floats, Scores, Signals
from .errors import InputError


@dataclass(frozen=True)
class Fusion:
    """How signals become a ranking.

    Args:
        dense_weight: Share of the dense score in a passage's own score; the rest is BM25's. Without an embedder, 0.
        spread: Deviation of the Gaussian that spreads scores along a text, in median passage lengths.
    """

    dense_weight: float = 0.6
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.dense_weight <= 1:
            raise InputError(f"dense_weight must lie between 0 and 1, found {self.dense_weight!r}.")
        if not self.spread >= 0:
            raise InputError(f"spread must be 0 or more median passage lengths, found {self.spread!r}.")


def standardize(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """z-scores: zero mean and unit deviation; all zero where the values do not differ."""
    centred = np.asarray(values, dtype=np.float64)
    if not centred.size:
        return centred
    centred = centred - centred.mean()
    deviation = centred.std()
    return centred / deviation if deviation > 1e-9 else np.zeros_like(centred)


def spread(
    values: NDArray[np.float64], document: NDArray[np.int32], centre: NDArray[np.float64], deviation: float
) -> NDArray[np.float64]:
    """Each passage's Gaussian-weighted mean over its document, weights by distance in characters.

    The positional idea of Lv and Zhai (Positional Language Models, SIGIR 2009), on scores in the place of counts.

    Args:
        values: [n].
        document: [n], equal numbers stand together.
        centre: [n], rising within a document.
        deviation: In characters.
    """
    if not values.size or deviation <= 0:
        return values.copy()
    total, weight = values.copy(), np.ones_like(values)
    for step in range(1, len(values)):
        near = document[step:] == document[:-step]
        distance = (centre[step:] - centre[:-step]) / deviation
        near &= distance < 4
        if not near.any():
            break
        kernel = np.where(near, np.exp(-0.5 * np.square(np.where(near, distance, 0.0))), 0.0)
        total[:-step] += kernel * values[step:]
        total[step:] += kernel * values[:-step]
        weight[:-step] += kernel
        weight[step:] += kernel
    return np.asarray(total / weight, dtype=np.float64)


def activate(signals: Signals, fusion: Fusion) -> Scores:
    """A text's own score of each candidate, and its activation."""
    own = standardize(signals.bm25)
    if signals.dense is not None:
        own = standardize((1 - fusion.dense_weight) * own + fusion.dense_weight * standardize(signals.dense))
    candidates = signals.candidates
    deviation = fusion.spread * candidates.median_length
    activation = standardize(spread(own, candidates.document, candidates.centre, deviation))
    return Scores(
        text=signals.text,
        candidates=candidates,
        bm25=signals.bm25,
        dense=signals.dense,
        known_terms=signals.known_terms,
        vector=signals.vector,
        own=own.astype(np.float32),
        activation=activation.astype(np.float32),
    )


def clue_weights(query: Scores, clues: Sequence[Scores], said: Sequence[Clue], fusion: Fusion) -> list[float]:
    """How much each clue counts beside the query's 1."""
    return [0.0 for _ in clues]


def rank(query: Scores, clues: Sequence[Scores], weights: Sequence[float], fusion: Fusion) -> Floats:
    """The fused score of each candidate, float32 [n]: a passage earns its place by itself or by its neighbourhood."""
    return np.maximum(query.own, query.activation)
