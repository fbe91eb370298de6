"""From signals to a ranking: weigh, spread, rank. Pure functions of scores; nothing here asks a model or an index.

    h = 0.6 z(dense) + 0.4 z(BM25)          what a passage says by itself
    x = exp(0.25 h)                         one clear hit outweighs several half-hits
    around = z(K x)                         its neighbourhood: K averages along a document, by distance
    region = 0.9 around + 0.25 (the document's best `around`, less the mean of these)
    score = max(z(x), region)               a passage earns its place by itself or by its neighbourhood

z is zero mean and unit deviation over the candidates. A clue is one more h, joined to the query's before all this by a
soft maximum: it adds places, and cannot vote the query's down.

    w = sigmoid(4.5 near + 1.5 grounding - 3.1)   near: cos(query, clue) over the query's cosine with its nearest passage
    g = h_clue min(1, max h / max h_clue)^0.35    of the clue and of each of its sentences
    h = z(log(exp(h) + exp(0.6 z(K x)) max over these of w exp(0.8 g)))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..clues import Grounding
from ..errors import InputError
from ..scores import Candidates, Floats, Scores, Signals

Doubles = NDArray[np.float64]

_REACH = 4.0
"""Deviations beyond which one passage does not touch another."""

_MOST_NEIGHBOURS = 200
"""Passages on either side that touch one; passages of ordinary length have a dozen in reach."""

_HIGHEST = 40.0
"""Deviations above the mean from which one hit is as good as another, so that it does not level all the others."""


_FARTHEST = 10.0
"""Deviations beyond which a neighbourhood stands out no more."""

NEARNESS = (4.5, 1.5, -3.1)
OVERLAP = (6.0, 2.0, -3.0)
"""Of a clue's weight: slopes over its nearness to the query and its grounding, and bias; with an embedder and without."""

HEARD = 0.8
"""What a clue says, as a share of what the query would say with the same scores."""

QUIETED = 0.35
"""Exponent of how much louder than the query a clue is, by which that is taken from it; 1 would make them alike."""

AGREEMENT = 0.6
"""How much better a clue is heard for each deviation by which the query's own neighbourhood of a passage stands out."""

UNGROUNDED = 0.3
"""What counts as the grounding of a clue that need not stand in the text: a surrogate question."""

_LEAST_NEAREST = 0.05
"""Where not even the nearest passage resembles the query, its cosine counts as this."""


@dataclass(frozen=True)
class Fusion:
    """How signals become a ranking. The defaults were chosen on QMSum's training meetings and on needle questions.

    Args:
        dense_weight: Share of the dense score in what a passage says by itself; the rest is BM25's. Without an
            embedder BM25 has it all.
        sharpness: Exponent by which clear hits outweigh half-hits before they spread.
        forward, backward: How far a hit reaches along its text, after it and before it: deviations of a Gaussian, in
            median passage lengths. What follows a mention belongs to it more often than what precedes it.
        region_weight: Of the neighbourhood against the passage itself.
        document_weight: Of the document's best neighbourhood, in those of all its passages. Relative to the candidates'
            mean, so that it is nothing for one document and grows with their number, without a switch.
    """

    dense_weight: float = 0.6
    sharpness: float = 0.25
    forward: float = 2.0
    backward: float = 1.25
    region_weight: float = 0.9
    document_weight: float = 0.25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
                raise InputError(f"Fusion's {field.name} must be a number from 0 to 100, found {value!r}.")
        if self.dense_weight > 1:
            raise InputError(f"dense_weight is a share, from 0 to 1; found {self.dense_weight!r}.")


def activate(signals: Signals, fusion: Fusion) -> Scores:
    """What each candidate says by itself, and what its neighbourhood says."""
    own = standardize(signals.bm25)
    if signals.dense is not None:
        own = standardize((1 - fusion.dense_weight) * own + fusion.dense_weight * standardize(signals.dense))
    return Scores(
        text=signals.text,
        candidates=signals.candidates,
        bm25=signals.bm25,
        dense=signals.dense,
        terms=signals.terms,
        known_terms=signals.known_terms,
        vector=signals.vector,
        own=own.astype(np.float32),
        activation=region(own, signals.candidates, fusion).astype(np.float32),
    )


@dataclass(frozen=True)
class Lead:
    """A clue as it is searched with.

    Args:
        clue: Its scores as a whole.
        pieces: Those of its sentences, over the same candidates; none where it is one sentence.
        weight: What it counts, the query counting 1; a weight of 0 is as if it were not there.
    """

    clue: Scores
    pieces: Sequence[Scores] = ()
    weight: float = 1.0


def rank(query: Scores, leads: Sequence[Lead], fusion: Fusion) -> Floats:
    """The fused score of each candidate, float32 [n], to be sorted by.

    Args:
        query: The query's scores.
        leads: The clues, over the same candidates.
        fusion: The settings.
    """
    own, around = np.asarray(query.own, np.float64), np.asarray(query.activation, np.float64)
    trusted = [lead for lead in leads if lead.weight > 0]
    if trusted and own.size:
        voices = [
            (np.asarray(voice.own, np.float64), lead.weight) for lead in trusted for voice in (lead.clue, *lead.pieces)
        ]
        own = join(own, around, voices)
        around = region(own, query.candidates, fusion)
    return np.maximum(standardize(sharpen(own, fusion)), around).astype(np.float32)


def placed(clue: Scores, grounding: Grounding | None) -> Scores:
    """A clue's scores, with the place where it stands among its best passages, as far as it stands there for certain.

    A clue in the model's own words may share few with the passage it speaks of; its grounding knows.
    """
    if grounding is None or not clue.own.size:
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
    own = clue.own.copy()
    own[touched] = np.maximum(own[touched], own.max() * min(1.0, 2 * grounding.score))
    return replace(clue, own=own)


def join(own: Doubles, around: Doubles, voices: Sequence[tuple[Doubles, float]]) -> Doubles:
    """A query's scores together with its clues', [n]: a passage counts if the query or a trusted clue points at it.

    Of several voices the strongest speaks for a passage, so that repeating one adds nothing. One that quotes the text has
    a peak far above any question's, wherever it came from: part of what it has over the query is taken from it. And it is
    heard best where the query, too, finds something around: a clue to another question points elsewhere.

    Args:
        own: What each passage says to the query by itself.
        around: What its neighbourhood says.
        voices: Of each clue and each of its sentences the scores, and the clue's weight.
    """
    loudest = np.full_like(own, -np.inf)
    for scores, weight in voices:
        louder = float(scores.max()) / max(float(own.max()), 1e-9)
        heard = scores / louder**QUIETED if louder > 1 else scores
        loudest = np.maximum(loudest, np.log(weight) + np.minimum(HEARD * heard, _HIGHEST))
    loudest += AGREEMENT * np.clip(standardize(around), -_FARTHEST, _FARTHEST)
    return standardize(np.logaddexp(np.minimum(own, _HIGHEST), loudest))


def clue_weights(query: Scores, clues: Sequence[Scores], groundings: Sequence[float]) -> list[float]:
    """How much each clue counts beside the query's 1: a logistic function of two things, so never as much.

    What they are: how near the clue is to the query, and how well it stands in the text. The constants come from
    QMSum's training meetings and needle questions (`benchmarks/fit_clues.py`), rounded to the side of caution.

    Args:
        query: The query's scores.
        clues: Each clue's.
        groundings: How well each is grounded, in [0, 1]; `UNGROUNDED` where that says nothing.
    """
    near_slope, grounding_slope, bias = OVERLAP if query.vector is None else NEARNESS
    return [
        float(1 / (1 + np.exp(-(near_slope * near + grounding_slope * grounding + bias))))
        for near, grounding in zip(nearness(query, clues), groundings, strict=True)
    ]


def nearness(query: Scores, clues: Sequence[Scores]) -> list[float]:
    """How near each clue is to the query.

    With an embedder it is the cosine of the two, over that of the query and its nearest passage: the ratio hardly
    depends on the embedder's scale or on how a question is put. Without one, it is the share of the query's terms, by
    idf, that the clue has.
    """
    if query.vector is not None and query.dense is not None and query.dense.size:
        nearest = max(float(query.dense.max()), _LEAST_NEAREST)
        return [0.0 if clue.vector is None else float(query.vector @ clue.vector) / nearest for clue in clues]
    total = max(sum(query.terms.values()), 1e-9)
    return [sum(idf for term, idf in query.terms.items() if term in clue.terms) / total for clue in clues]


def region(own: Doubles, candidates: Candidates, fusion: Fusion) -> Doubles:
    """What a passage's neighbourhood says: sharpened scores spread along the document, lifted by its best place."""
    if not own.size:
        return own
    around = standardize(kernel(candidates, fusion).spread(sharpen(own, fusion)))
    firsts = candidates.firsts
    best = np.repeat(np.maximum.reduceat(around, firsts), np.diff(np.append(firsts, own.size)))
    return np.asarray(fusion.region_weight * around + fusion.document_weight * (best - best.mean()), dtype=np.float64)


def sharpen(own: Doubles, fusion: Fusion) -> Doubles:
    """One clear hit over several half-hits; relative to the highest, so that no sharpness overflows."""
    if not fusion.sharpness:
        return own
    held = np.minimum(own, _HIGHEST)
    return np.asarray(np.exp(fusion.sharpness * (held - held.max(initial=-np.inf))), dtype=np.float64)


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
        bands: For each offset, what every passage takes from the one that many places before it, float64 [n]; zero
            where that is another document or out of reach. Offset 0 is the passage itself.
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


_kernels: WeakKeyDictionary[Candidates, tuple[Fusion, Kernel]] = WeakKeyDictionary()


def kernel(candidates: Candidates, fusion: Fusion) -> Kernel:
    """The kernel over these candidates; kept as long as they are, since it does not depend on the query."""
    known = _kernels.get(candidates)
    if known is None or known[0] != fusion:
        unit = candidates.median_length
        known = (
            fusion,
            build_kernel(candidates.document, candidates.centre, fusion.forward * unit, fusion.backward * unit),
        )
        _kernels[candidates] = known
    return known[1]


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
