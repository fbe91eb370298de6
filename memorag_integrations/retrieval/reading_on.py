"""Reading on: in the answer to a broad question, what follows a hit in its document ranks next.

A question for a discussion or an opinion is answered by a stretch of text. Its best passage is found by its scores; the
passages after it speak on in pronouns and half-sentences, which no signal finds. So each passage that is taken lifts its
neighbours, those after it more than the one before it, and the next is taken from what is highest then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..scores import Candidates, Floats

AFTER = (1.0, 0.75)
BEFORE = (0.375,)
"""Shares of the lift that the first and second passage after a hit get, and the one before it."""

MOST_READ = 100
"""Passages taken one by one. Those below keep the order of their scores, lifts among them."""


def read_on(fused: Floats, candidates: Candidates, lift: float) -> Floats:
    """The fused scores dealt out anew, float32 [n]: the same values, in the order of reading.

    Args:
        fused: float32 [n].
        candidates: The n passages.
        lift: Added to the score of the passage after one that is taken, in deviations; 0 changes nothing.
    """
    if not lift or len(fused) < 2:
        return fused
    scores = fused.astype(np.float64)
    gained = np.zeros_like(scores)
    left = scores.copy()
    offsets = [(step, share * lift) for step, share in enumerate(AFTER, 1)]
    offsets += [(-step, share * lift) for step, share in enumerate(BEFORE, 1)]
    order = []
    for _ in range(min(MOST_READ, len(fused))):
        row = int(np.argmax(left))
        order.append(row)
        left[row] = -np.inf
        for step, gain in offsets:
            near = row + step
            if 0 <= near < len(fused) and candidates.document[near] == candidates.document[row] and gain > gained[near]:
                gained[near] = gain
                if left[near] > -np.inf:
                    left[near] = scores[near] + gain
    rest = np.argsort(-left, kind="stable")[: len(fused) - len(order)]
    return deal_out(fused, np.concatenate([np.array(order, np.intp), rest]))


def deal_out(values: Floats, order: NDArray[np.intp]) -> Floats:
    """The same values, float32 [n], the highest at the first row of `order` and so on.

    Equal values among the first `MOST_READ` are set apart by the least there is, so that sorting gives the order back.
    """
    falling = -np.sort(-values)
    for place in range(1, len(falling)):
        above = falling[place - 1]
        if falling[place] < above or (place >= MOST_READ and falling[place] == above):
            if place >= MOST_READ:
                break
            continue
        falling[place] = np.nextafter(above, np.float32(-np.inf))
    dealt = np.empty_like(values)
    dealt[order] = falling
    return dealt
