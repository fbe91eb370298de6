"""Fusion: BM25, dense and clue scores become one ranking. Pure functions; nothing here calls a model or an index.

    h = u z(dense) + (1 - u) z(BM25)        local score: what a passage says by itself; u = 0.6 + 0.5 (0.9 - share of the
                                            query's terms that the corpus has)
    x = exp(0.25 h)                         sharpened: one clear hit outweighs several half-hits
    around = z(K x)                         neighbourhood score: K averages along a document, weighted by distance
    region = 0.9 around + 0.2 (the document's best `around`, less the mean of these over all passages)
    score = max(z(x), region)               a passage ranks high by itself or by its neighbourhood
    score = score + 2 gain                  gain: of passages that share rare names with the best hits (`bridges`)

A question that asks for one thing (`breadth`) gets three quarters of K's reach and of the weight of `around`; a broad one
is read on from each hit (`reading_on`).

z standardizes to zero mean and unit deviation over the candidates. A clue has local scores of its own, h_clue. They are
combined with the query's before the spreading, by a soft maximum: a clue adds places, and cannot lower those of the query.

    w = sigmoid(4.5 s + 1.5 grounding - 3.1)      weight of a clue. s: cos(query, clue) / cos(query, its nearest passage)
    g = h_clue min(1, max h / max h_clue)^0.35    damped scores, of the clue and of each of its sentences
    h = z(log(exp(h) + exp(0.6 z(K x)) max over these of w exp(0.8 g)))
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..clues import Grounding
from ..errors import InputError
from ..scores import Candidates, Floats, Scores, Signals
from .breadth import asks_broadly

Doubles = NDArray[np.float64]

_REACH = 4.0
"""Kernel: passages farther apart than this many deviations do not affect each other."""

_MOST_KERNELS = 4
"""Kernels of different reach that are kept for the same candidates: broad questions and others alternate."""

_MOST_NEIGHBOURS = 200
"""Kernel: most passages on either side. Passages of ordinary length have a dozen within reach."""

_HIGHEST = 40.0
"""Local scores above this many deviations count as this, so that one hit does not level all the others."""

_FARTHEST = 10.0
"""Neighbourhood scores beyond this many deviations count as this where clues are combined."""

CLUE_SCALE = 0.8
"""Factor on a clue's scores. Below 1 a clue says less than the query would say with the same scores."""

PEAK_DAMPING = 0.35
"""How strongly a clue is damped whose highest score exceeds the query's: 0 not at all, 1 down to the query's."""

AGREEMENT = 0.6
"""Gain of a clue at a passage for each deviation by which the query's neighbourhood score there is above the mean."""

UNGROUNDED = 0.3
"""Grounding assumed for a clue that need not occur in the text: a surrogate question."""

_USUALLY_KNOWN = 0.9
"""Share of a query's terms that a corpus usually has; with it the dense score has its weight as set."""

_LEAST_NEAREST = 0.05
"""Least cosine that is assumed for the query's nearest passage."""


@dataclass(frozen=True)
class Fusion:
    """How signals become a ranking. The defaults were chosen on questions about meetings, contracts, papers, stories.

    Args:
        dense_weight: Share of the dense score in a passage's local score; the rest is BM25's. Without an embedder BM25
            has all of it.
        unknown_terms: By how much that share grows with the share of the query's terms that the corpus does not have,
            which BM25 cannot look for. 0 keeps the share as it is, and so does a dense_weight of 0 or 1.
        sharpness: Exponent by which clear hits outweigh half-hits before they spread.
        forward, backward: How far a hit spreads along its document, after it and before it: deviations of a Gaussian, in
            median passage lengths. What follows a mention belongs to it more often than what precedes it.
        region_weight: Weight of the neighbourhood's score against the passage's own.
        document_weight: Weight of the best neighbourhood score of a document in the scores of all its passages. The mean
            over the candidates is subtracted, so the term is zero for one document and grows with their number.
        focus: Factor on forward, backward and region_weight for a question that asks for one thing, not for a discussion
            or an opinion.
        reading_on: What the passage after a hit gains in the ranking for a question that does, in deviations.
        bridge_weight: Weight of rare names that a passage shares with the best hits of other documents.
    """

    dense_weight: float = 0.6
    unknown_terms: float = 0.5
    sharpness: float = 0.25
    forward: float = 2.0
    backward: float = 1.25
    region_weight: float = 0.9
    document_weight: float = 0.2
    focus: float = 0.75
    reading_on: float = 0.8
    bridge_weight: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
                raise InputError(f"Fusion's {field.name} must be a number from 0 to 100, found {value!r}.")
        if self.dense_weight > 1:
            raise InputError(f"dense_weight is a share, from 0 to 1; found {self.dense_weight!r}.")

    def for_question(self, question: str) -> Fusion:
        """The settings for this question: with all of the reach and reading on if it is broad, else with neither."""
        if asks_broadly(question):
            return self
        return replace(
            self,
            forward=self.forward * self.focus,
            backward=self.backward * self.focus,
            region_weight=self.region_weight * self.focus,
            reading_on=0.0,
            focus=1.0,
        )

    def dense_share(self, known_terms: float) -> float:
        """Share of the dense score where the corpus has this share of the query's terms."""
        shift = self.unknown_terms * (_USUALLY_KNOWN - known_terms)
        return min(max(self.dense_weight + shift * self.dense_weight * (1 - self.dense_weight) / 0.24, 0.0), 1.0)


@dataclass(frozen=True)
class ClueWeighting:
    """The weight of a clue beside the query's 1: a logistic function, so always below 1.

    The constants were fitted on QMSum's training meetings and on needle questions (`benchmarks/fit_clues.py`), and
    rounded to smaller weights.

    Args:
        similarity: Slope over the similarity of clue and query.
        grounding: Slope over the clue's grounding in the text.
        bias: Added to both.
    """

    similarity: float
    grounding: float
    bias: float

    def weight(self, similarity: float, grounding: float) -> float:
        """The weight in (0, 1) of a clue with this `similarity` to the query (see there) and grounding in [0, 1]."""
        return float(1 / (1 + np.exp(-(self.similarity * similarity + self.grounding * grounding + self.bias))))


COSINE_WEIGHTING = ClueWeighting(similarity=4.5, grounding=1.5, bias=-3.1)
"""With an embedder: the similarity is a ratio of cosines."""

TERM_WEIGHTING = ClueWeighting(similarity=6.0, grounding=2.0, bias=-3.0)
"""Without an embedder: the similarity is a share of the query's terms."""


@dataclass(frozen=True)
class WeightedClue:
    """The scores of a clue that is searched with, and its weight.

    Args:
        scores: Of the whole clue.
        sentences: Of each of its sentences, over the same candidates; none where it is one sentence.
        weight: Weight beside the query's 1; a clue of weight 0 has no effect.
    """

    scores: Scores
    sentences: Sequence[Scores] = ()
    weight: float = 1.0


def activate(signals: Signals, fusion: Fusion) -> Scores:
    """The local score and the neighbourhood score of each candidate."""
    local = mix(signals, fusion.dense_share(signals.known_terms))
    fusion = fusion.for_question(signals.text)
    return Scores(
        text=signals.text,
        candidates=signals.candidates,
        bm25=signals.bm25,
        dense=signals.dense,
        terms=signals.terms,
        known_terms=signals.known_terms,
        vector=signals.vector,
        corpus_bm25=signals.corpus_bm25,
        local=local.astype(np.float32),
        activation=region(local, signals.candidates, fusion).astype(np.float32),
    )


def mix(signals: Signals, dense_share: float) -> Doubles:
    """The local score: both signals as z-scores, the dense one with this share; BM25 alone without an embedder."""
    bm25 = standardize(signals.bm25)
    if signals.dense is None:
        return bm25
    return standardize((1 - dense_share) * bm25 + dense_share * standardize(signals.dense))


def rank(query: Scores, clues: Sequence[WeightedClue], fusion: Fusion) -> Floats:
    """The fused score of each candidate, float32 [n], to be sorted by.

    Args:
        query: The query's scores.
        clues: The clues, over the same candidates.
        fusion: The settings.
    """
    local, around = np.asarray(query.local, np.float64), np.asarray(query.activation, np.float64)
    counted = [clue for clue in clues if clue.weight > 0]
    if counted and local.size:
        clue_scores = [
            (np.asarray(scores.local, np.float64), clue.weight)
            for clue in counted
            for scores in (clue.scores, *clue.sentences)
        ]
        local = combine_clues(local, around, clue_scores)
        around = region(local, query.candidates, fusion.for_question(query.text))
    return np.maximum(standardize(sharpen(local, fusion)), around).astype(np.float32)


def lift_grounded(clue: Scores, grounding: Grounding | None) -> Scores:
    """A clue's scores, raised at the passages that its grounding points to.

    A clue in the model's own words may share few words with the passage that it is about; its grounding names that
    passage. With a grounding of 0.5 or more the passage gets the clue's highest score, below that a share of it.
    """
    if grounding is None or not clue.local.size:
        return clue
    touched = [
        row
        for row, passage in enumerate(clue.candidates.passages)
        if passage.document_id == grounding.document_id
        and passage.start is not None
        and passage.end is not None
        and passage.start < grounding.end
        and grounding.start < passage.end
    ]
    local = clue.local.copy()
    local[touched] = np.maximum(local[touched], local.max() * min(1.0, 2 * grounding.score))
    return replace(clue, local=local)


def combine_clues(local: Doubles, around: Doubles, clues: Sequence[tuple[Doubles, float]]) -> Doubles:
    """The query's local scores combined with its clues', [n]: a passage counts if the query or a weighty clue ranks it.

    At each passage the strongest clue alone counts, so repeating a clue adds nothing. A clue that quotes the text has a
    higher peak than any question, wherever it came from, so a clue whose peak exceeds the query's is damped. And a clue
    counts more where the query's neighbourhood score is high: a clue to another question points elsewhere.

    Args:
        local: The query's local scores.
        around: The query's neighbourhood scores.
        clues: Local scores and weight of each clue, and of each sentence of one.
    """
    strongest = np.full_like(local, -np.inf)
    for scores, weight in clues:
        excess = float(scores.max()) / max(float(local.max()), 1e-9)
        damped = scores / excess**PEAK_DAMPING if excess > 1 else scores
        strongest = np.maximum(strongest, np.log(weight) + np.minimum(CLUE_SCALE * damped, _HIGHEST))
    strongest += AGREEMENT * np.clip(standardize(around), -_FARTHEST, _FARTHEST)
    return standardize(np.logaddexp(np.minimum(local, _HIGHEST), strongest))


def clue_weights(query: Scores, clues: Sequence[Scores], groundings: Sequence[float]) -> list[float]:
    """The weight of each clue, in (0, 1), beside the query's 1. See `ClueWeighting`.

    To weigh clues by one more signal, give `ClueWeighting` a slope for it, and this function its values; then
    `benchmarks/fit_clues.py` must compute it, too.

    Args:
        query: The query's scores.
        clues: Each clue's.
        groundings: Grounding of each clue, in [0, 1]; `UNGROUNDED` for one that need not occur in the text.
    """
    weighting = TERM_WEIGHTING if query.vector is None else COSINE_WEIGHTING
    return [
        weighting.weight(similarity, grounding)
        for similarity, grounding in zip(similarities(query, clues), groundings, strict=True)
    ]


def similarities(query: Scores, clues: Sequence[Scores]) -> list[float]:
    """The similarity of each clue to the query.

    With an embedder: the cosine of query and clue, divided by the cosine of the query and its nearest passage. This ratio
    depends little on the embedder's scale or on how a question is put. Without an embedder: the share of the query's
    terms, weighted by idf, that the clue has.
    """
    if query.vector is not None and query.dense is not None and query.dense.size:
        nearest = max(float(query.dense.max()), _LEAST_NEAREST)
        return [0.0 if clue.vector is None else float(query.vector @ clue.vector) / nearest for clue in clues]
    total = max(sum(query.terms.values()), 1e-9)
    return [sum(idf for term, idf in query.terms.items() if term in clue.terms) / total for clue in clues]


def region(local: Doubles, candidates: Candidates, fusion: Fusion) -> Doubles:
    """The neighbourhood score of each passage, [n]: sharpened local scores spread along the document, and its best one."""
    if not local.size:
        return local
    around = standardize(kernel(candidates, fusion).spread(sharpen(local, fusion)))
    firsts = candidates.firsts
    best = np.repeat(np.maximum.reduceat(around, firsts), np.diff(np.append(firsts, local.size)))
    return np.asarray(fusion.region_weight * around + fusion.document_weight * (best - best.mean()), dtype=np.float64)


def sharpen(local: Doubles, fusion: Fusion) -> Doubles:
    """exp(sharpness · local), so that one clear hit outweighs several half-hits; the highest is 1, so nothing overflows."""
    if not fusion.sharpness:
        return local
    clipped = np.minimum(local, _HIGHEST)
    return np.asarray(np.exp(fusion.sharpness * (clipped - clipped.max(initial=-np.inf))), dtype=np.float64)


def standardize(values: NDArray[np.floating]) -> Doubles:
    """z-scores: zero mean and unit deviation; all zero where the values do not differ."""
    centred = np.asarray(values, dtype=np.float64)
    if not centred.size:
        return centred
    centred = centred - centred.mean()
    deviation = float(centred.std())
    return centred / deviation if deviation > 1e-9 else np.zeros_like(centred)


@dataclass(frozen=True)
class Kernel:
    """Row-normalised spreading weights between passages of one document (Lv and Zhai, SIGIR 2009, on scores).

    Args:
        bands: For each offset the weights float64 [n] by which every passage takes the value of the passage that many
            places before it; zero where that one is in another document or out of reach. Offset 0 is the passage itself.
    """

    bands: Sequence[tuple[int, Doubles]]

    def spread(self, values: Doubles) -> Doubles:
        """Each passage's weighted mean over its neighbourhood, [n]."""
        out = np.zeros_like(values)
        for offset, weight in self.bands:
            if offset == 0:
                out += weight * values
            elif offset > 0:
                out[offset:] += weight[offset:] * values[:-offset]
            else:
                out[:offset] += weight[:offset] * values[-offset:]
        return out


_kernels: WeakKeyDictionary[Candidates, dict[tuple[float, float], Kernel]] = WeakKeyDictionary()
_kernels_lock = threading.Lock()


def kernel(candidates: Candidates, fusion: Fusion) -> Kernel:
    """The kernel over these candidates. It does not depend on the query, so it is cached as long as they live."""
    reach = (fusion.forward, fusion.backward)
    with _kernels_lock:
        cached = _kernels.setdefault(candidates, {}).get(reach)
    if cached is not None:
        return cached
    unit = candidates.median_length
    built = build_kernel(candidates.document, candidates.centre, fusion.forward * unit, fusion.backward * unit)
    with _kernels_lock:
        known = _kernels.setdefault(candidates, {})
        if len(known) >= _MOST_KERNELS:
            known.clear()
        known[reach] = built
    return built


def build_kernel(document: NDArray[np.int32], centre: Doubles, forward: float, backward: float) -> Kernel:
    """Gaussian weights by distance inside a document.

    Args:
        document: [n], equal numbers stand together.
        centre: [n], in characters, rising within a document.
        forward, backward: Deviations in characters: how far a hit reaches after it, and before it.
    """
    n = len(document)
    bands = [(0, np.ones(n))]
    for sign, deviation in ((1, forward), (-1, backward)):
        for step in range(1, min(n, _MOST_NEIGHBOURS)):
            distance = (centre[step:] - centre[:-step]) / max(deviation, 1e-9)
            near = (document[step:] == document[:-step]) & (distance <= _REACH)
            if not near.any():
                break
            weight = np.zeros(n)
            (weight[step:] if sign > 0 else weight[:-step])[near] = np.exp(-0.5 * np.square(distance[near]))
            bands.append((sign * step, weight))
    total = np.sum([weight for _, weight in bands], axis=0)
    return Kernel([(offset, weight / total) for offset, weight in bands])
