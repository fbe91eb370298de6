"""Scores with a meaning: how likely it is that a passage answers, comparable between queries and corpora.

A ranking's own scores are z-scores over its candidates: they say who is best, not whether the best is any good. Two
signals are absolute. The cosine of query and passage, in deviations of the embedder's background (cosines of texts that
have nothing to do with each other); and the share of the query's terms, weighted by idf, that BM25 finds in the passage,
where a term that the corpus does not have counts as found nowhere. A logistic function of both, fitted on questions with
and without an answer (`benchmarks/fit_scores.py`), is a probability for each passage by itself. The scores of a ranking
are the falling sequence nearest to these probabilities (isotonic regression), so they never contradict the ranking.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scores import Floats, Signals

Doubles = NDArray[np.float64]

POOLED = 200
"""Passages of a ranking whose probabilities are pooled where they rise; below, each has at most what is above it."""

_STEP = 1e-7
"""By what share each score is less than the one before it, at least."""

_FARTHEST = 8.0
"""Deviations beyond which a cosine counts no more."""

_PAIRS = 4_000

UNRELATED = (
    "The ferry leaves the island every morning at half past six.",
    "Bake the bread until its crust sounds hollow when it is tapped.",
    "The parliament rejected the amendment by a narrow majority.",
    "A prime number has no divisors but one and itself.",
    "Her violin teacher moved to another town in the spring.",
    "The enzyme is inactive below a temperature of ten degrees.",
    "Please return the form with your signature before Friday.",
    "The goalkeeper was sent off in the second half of the match.",
    "Glaciers in the valley have retreated by a kilometre since 1950.",
    "The function raises an error when the file cannot be opened.",
    "Tenants must not keep animals without written permission.",
    "The emperor ordered a new wall to be built around the city.",
    "Interest on the loan is due on the first day of each month.",
    "The patient complained of a dry cough and a mild fever.",
    "Whales communicate over hundreds of miles by low calls.",
    "The wool is washed, combed and spun before it is dyed.",
    "A fox asked the crow to sing, and the cheese fell down.",
    "The battery lasts nine hours when the display is dimmed.",
    "Voters in the northern districts turned out in small numbers.",
    "Saturn's rings consist of ice and pieces of rock.",
    "The museum bought three paintings by an unknown artist.",
    "Turn left behind the station and follow the canal.",
    "Shares of the company fell after the report was published.",
    "The committee discussed who should write the minutes.",
)
"""Texts that have nothing to do with each other: their cosines are an embedder's background."""


@dataclass(frozen=True)
class Background:
    """Cosines of an embedder's vectors of texts that have nothing to do with each other.

    Args:
        mean: Their mean.
        deviation: Their standard deviation.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, vectors: Floats, seed: int = 0) -> Background:
        """Of pairs of these unit vectors, float32 [n, dimension], drawn by chance.

        Args:
            vectors: Of `UNRELATED`, or of any texts that have as little to do with each other.
        """
        draw = np.random.default_rng(seed)
        one, other = draw.integers(0, len(vectors), (2, _PAIRS))
        apart = one != other
        cosines = np.einsum("nd,nd->n", vectors[one[apart]], vectors[other[apart]])
        return cls(float(cosines.mean()), max(float(cosines.std()), 1e-3))


@dataclass(frozen=True)
class Calibration:
    """The weights of the logistic function.

    Args:
        bias: Added to the rest.
        cosine: Slope over the cosine, in deviations of the background.
        terms: Slope over the share of the query's terms found.
        agreement: Slope over the product of both, where both are positive.
    """

    bias: float
    cosine: float
    terms: float
    agreement: float

    def probabilities(self, signals: Signals, background: Background | None) -> Doubles:
        """How likely each candidate answers, by itself, float64 [n] in (0, 1).

        Args:
            signals: The query's.
            background: Of the embedder; None where there is none, or it is not known: then terms alone count.
        """
        features = absolute_signals(signals, background)
        logits = self.bias + features @ np.array([self.cosine, self.terms, self.agreement])
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float64)


WITH_EMBEDDER = Calibration(bias=-5.0, cosine=0.8, terms=3.0, agreement=0.0)
WITHOUT_EMBEDDER = Calibration(bias=-4.0, cosine=0.0, terms=6.0, agreement=0.0)
"""Fitted by benchmarks/fit_scores.py."""

CUTOFF = 0.1
"""A first score below this means: nothing here answers this. See docs/measuring.md for what it keeps and refuses."""


def absolute_signals(signals: Signals, background: Background | None) -> Doubles:
    """What the logistic function reads of each candidate, float64 [n, 3]: cosine, share of the query's terms, product."""
    share = term_share(signals)
    if signals.dense is None or background is None:
        return np.stack([np.zeros_like(share), share, np.zeros_like(share)], axis=1)
    cosine = (np.asarray(signals.dense, np.float64) - background.mean) / background.deviation
    cosine = np.clip(cosine, -_FARTHEST, _FARTHEST)
    return np.stack([cosine, share, np.maximum(cosine, 0) * share], axis=1)


def term_share(signals: Signals) -> Doubles:
    """BM25 as a share of what a passage could have that is full of the query's terms, float64 [n] in [0, 1].

    A term that the corpus does not have counts as much as the rarest of the others.
    """
    bm25 = np.maximum(np.asarray(signals.bm25, np.float64), 0)
    if not signals.terms or signals.known_terms <= 0:
        return np.zeros_like(bm25)
    unknown = len(signals.terms) * (1 / signals.known_terms - 1)
    whole = sum(signals.terms.values()) + unknown * max(signals.terms.values())
    return np.minimum(bm25 / max(whole, 1e-9), 1.0)


def calibrate(order: NDArray[np.intp], probabilities: Doubles) -> Doubles:
    """The score of each candidate, float64 [n] in [0, 1]: falls strictly along the ranking.

    Args:
        order: Rows of the candidates, best first, [n].
        probabilities: Of each row.
    """
    if not len(order):
        return np.zeros(0)
    ranked = probabilities[order]
    head = pool(ranked[:POOLED])
    tail = np.minimum(np.minimum.accumulate(ranked[POOLED:]), head[-1]) if len(ranked) > POOLED else ranked[:0]
    falling = np.concatenate([head, tail]) * (1 - _STEP) ** np.arange(len(ranked))
    scores = np.empty(len(order))
    scores[order] = falling
    return scores


def pool(values: Doubles) -> Doubles:
    """The falling sequence nearest to these values by squares: neighbours that rise are averaged (pool adjacent
    violators; Ayer et al. 1955)."""
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        mean, size = value, 1
        while means and means[-1] < mean:
            before, many = means.pop(), sizes.pop()
            mean, size = (mean * size + before * many) / (size + many), size + many
        means.append(mean)
        sizes.append(size)
    return np.repeat(np.array(means), sizes)
