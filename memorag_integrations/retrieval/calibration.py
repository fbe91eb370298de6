"""Scores with a meaning: how likely it is that a passage answers, comparable between queries and corpora.

A ranking's own scores are z-scores over its candidates: they say who is best, not whether the best is any good. Two
signals are absolute. The cosine of query and passage, in deviations of the embedder's background (cosines of texts that
have nothing to do with each other); and the share of the query's terms, weighted by idf, that BM25 finds in the passage,
where a term that the corpus does not have counts as found nowhere. A logistic function of both, fitted on questions with
and without an answer (`benchmarks/fit_scores.py`), is a probability for each passage by itself. The scores of a ranking
are the falling sequence nearest to these probabilities (isotonic regression), so they never contradict the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..encoders.background import Background
from ..scores import Signals
from .provenance import Ranking

Doubles = NDArray[np.float64]

POOLED = 200
"""Passages of a ranking whose probabilities are pooled where they rise; below, each has at most what is above it."""

_STEP = 1e-7
"""By what share each score is less than the one before it, at least."""

_FARTHEST = 8.0
"""Deviations beyond which a cosine counts no more."""


@dataclass(frozen=True)
class Calibration:
    """The weights of the logistic function.

    Args:
        bias: Added to the rest.
        cosine: Slope over the cosine, in deviations of the background.
        terms: Slope over the share of the query's terms found.
        agreement: Slope over the product of both, where both are positive.
        cutoff: A first score below this means that nothing here answers.
    """

    bias: float
    cosine: float
    terms: float
    agreement: float
    cutoff: float = 0.0

    def probabilities(self, signals: Signals, background: Background | None) -> Doubles:
        """How likely each candidate answers, by itself, float64 [n] in (0, 1).

        Args:
            signals: The query's.
            background: Of the embedder; None where there is none, or it is not known: then terms alone count.
        """
        features = absolute_signals(signals, background)
        logits = self.bias + features @ np.array([self.cosine, self.terms, self.agreement])
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float64)


WITH_EMBEDDER = Calibration(bias=-5.1, cosine=0.26, terms=1.0, agreement=0.54, cutoff=0.03)
WITHOUT_EMBEDDER = Calibration(bias=-3.2, cosine=0.0, terms=3.7, agreement=0.0, cutoff=0.08)
"""Fitted by benchmarks/fit_scores.py; docs/measuring.md says how far they hold."""


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


def calibrated_scores(ranking: Ranking, texts: Sequence[Signals], background: Background | None) -> Doubles:
    """The score of each candidate, falling along the ranking: how likely it answers one of these texts.

    A reranker's order gets the scores of the ranking that it read, dealt out anew.

    Args:
        ranking: All candidates, ranked.
        texts: The signals of the texts that were asked, over these candidates.
        background: Of the embedder; None where there is none, or it is not known: then terms alone count.
    """
    background = None if texts[0].dense is None else background
    weights = WITHOUT_EMBEDDER if background is None else WITH_EMBEDDER
    probabilities = np.max([weights.probabilities(text, background) for text in texts], axis=0)
    before = ranking.provenance.fused_before
    order = np.argsort(-ranking.fused, kind="stable")
    read = order if before is None else np.argsort(-before, kind="stable")
    scores = np.empty(len(order))
    scores[order] = calibrate(read, probabilities)[read]
    return scores
