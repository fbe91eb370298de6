"""An embedder's background: the cosines of texts that have nothing to do with each other.

Some models put all texts close together, so that a cosine of 0.8 says nothing; others have 0.4 for an answer. In units of
the background a cosine can be compared between models, and between corpora.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..scores import Floats

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
"""The texts. Every two of them have nothing to do with each other."""

LEAST_DEVIATION = 1e-3

SAMPLED = 64
"""Passages whose cosines stand in for those of unrelated texts, where a model's background is not known."""


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
    def of(cls, vectors: Floats) -> Background:
        """Of every two of these unit vectors, float32 [n, dimension], those of `UNRELATED`."""
        cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].astype(np.float64)
        return cls(float(cosines.mean()), max(float(cosines.std()), LEAST_DEVIATION))


KNOWN = {"MiniLM all-MiniLM-L6-v2": Background(0.040, 0.075)}
"""Of models that were measured, by their name: `benchmarks/fit_scores.py` prints it."""


def background_of(name: str, vectors: Floats) -> Background | None:
    """The background of a model, by its name, else by passages of the corpus; no text is embedded for it.

    Passages of one corpus have more to do with each other than texts at large, so scores come out lower by these.

    Args:
        name: Of the embedder.
        vectors: Of the corpus's passages, float32 [n, dimension]; None is the answer for too few of them.
    """
    if name in KNOWN:
        return KNOWN[name]
    if len(vectors) < len(UNRELATED):
        return None
    return Background.of(vectors[np.linspace(0, len(vectors) - 1, min(SAMPLED, len(vectors))).astype(np.intp)])
