"""Where in a text a clue stands, though the model changed case, punctuation or words, and how well. Pure.

The clue's rare words, and its runs of three words, vote for windows of the text. A short clue is aligned with the best
windows character by character, a long one word by word. The work for one clue has an upper bound, whatever its length
and the text's: so many occurrences of words are counted, and so many characters aligned.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Indel
from rapidfuzz.fuzz import partial_ratio_alignment

from .word_index import Floats, Occurrences, WordIndex, words

LONGEST = 4000
"""Characters of a clue that are looked for; what follows does not move its place."""
LEAST = 0.15
"""Score under which a place is chance: see benchmarks/grounding.py."""

OCCURRENCES = 1 << 16
"""Occurrences of the clue's words and runs of words that vote; beyond it the most common words have no vote."""
WINDOWS = 6
"""Most windows of the text that a clue is aligned with."""
SHORT = 50_000_000
"""A clue is aligned character by character where its length squared, by the window's length, is at most this."""
GRID = 6
"""Ranges tried along a stretch of the window that is as long as the clue."""
STEPS = 8
"""Most words tried at either side of an aligned range to make it longer."""

MOST_WORDS = 1000
"""Words of a clue that are looked for. In a script without blanks between words, every character is one."""

COMPARED = 80_000_000
"""Characters of the clue times characters of a range, summed over all ranges that are compared with it; outside Latin
scripts each pair counts three times."""
_MOST_CHECKS = 28
_LONG = 1000
_FEW_WINDOWS = 3
_FEW_CHECKS = 8
_CANDIDATES = 100


_building = threading.Lock()  # one index at a time: each takes seconds of pure Python for a text of megabytes


def _reset_building() -> None:
    """In the child of a fork: the thread that held the lock is not there."""
    global _building
    _building = threading.Lock()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_reset_building)


class Place(NamedTuple):
    """A range of a text, and how well it carries a clue, in [0, 1]; 1: the same words in the same order."""

    start: int
    end: int
    score: float


class Grounder:
    """Finds clues in one text. The index of the text is built at the first question, once, in linear time.

    Args:
        text: The text.
        least: Score under which a place is taken for chance.
    """

    def __init__(self, text: str, least: float = LEAST) -> None:
        self._text = text
        self._least = least
        self._index: WordIndex | None = None

    @property
    def index(self) -> WordIndex:
        """Where the words of the text stand; several threads that ask at once share one."""
        if self._index is None:
            with _building:
                if self._index is None:
                    self._index = WordIndex(self._text)
        return self._index

    @property
    def built(self) -> bool:
        """Whether the index of the text is there."""
        return self._index is not None

    @property
    def nbytes(self) -> int:
        """Bytes of the index once it is built, the text apart."""
        return self._index.nbytes if self._index else 0

    def ground(self, clue: str, within: tuple[int, int] | None = None) -> Place | None:
        """The place that carries `clue` best.

        Args:
            clue: Any text; its first `LONGEST` characters count.
            within: Character range to look in; the whole text without it.

        Returns:
            None where nothing better than chance is found (`least`).
        """
        start, end = within or (0, len(self._text))
        low = int(np.searchsorted(self.index.starts, np.int32(start)))
        high = int(np.searchsorted(self.index.ends, np.int32(end), "right"))
        if low >= high or not (target := _Clue(clue, self.index)).forms:
            return None
        votes = self.index.occurrences(target.numbers, low, high, OCCURRENCES)
        if place := self._exact(target, votes, (low, high), (start, end)):
            return place
        windows = [_Window(target, self.index, *window) for window in self._windows(target, votes, low, high)]
        places = [window.place() for window in sorted(windows, key=lambda window: -window.likeness)]
        best = max(places, key=lambda place: (place.score, -place.start), default=None)
        return best if best and best.score >= self._least else None

    def _exact(
        self, clue: _Clue, votes: Occurrences, positions: tuple[int, int], characters: tuple[int, int]
    ) -> Place | None:
        """Where the clue's words stand in their order: character for character if there is such a place."""
        index = self.index
        if (clue.numbers < 0).any() or not len(votes.units):
            return None
        begins = votes.positions[votes.units == 0] - votes.offsets[0]
        begins = begins[(begins >= positions[0]) & (begins + len(clue.numbers) <= positions[1])]
        for offset in votes.offsets[1:_FEW_CHECKS]:
            begins = begins[index.ids[begins + offset] == clue.numbers[offset]]
        matches = [
            int(begin)
            for begin in begins[:_CANDIDATES]
            if np.array_equal(index.ids[begin : begin + len(clue.numbers)], clue.numbers)
        ]
        for begin in matches:
            at = int(index.starts[begin]) - clue.first
            if characters[0] <= at and at + len(clue.text) <= characters[1] and self._text.startswith(clue.text, at):
                return Place(at, at + len(clue.text), 1.0)
        if not matches:
            return None
        last = matches[0] + len(clue.numbers) - 1
        return Place(int(index.starts[matches[0]]), int(index.ends[last]), 1.0)

    def _windows(self, clue: _Clue, votes: Occurrences, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Ranges of words that hold most of the clue's rare words and runs, best first."""
        width = max(len(clue.forms), 4)
        buckets = (votes.positions - low) // width
        first_votes = np.ones(len(buckets), bool)  # a word has one vote for a bucket, however often it stands there
        first_votes[1:] = (np.diff(buckets) != 0) | (np.diff(votes.units) != 0)
        weights: Floats = np.bincount(  # type: ignore[assignment]  # its stub knows of no weights
            buckets[first_votes],
            weights=votes.weights[votes.units[first_votes]],
            minlength=(high - low) // width + 2,
        )
        pairs: Floats = weights[:-1] + weights[1:]
        margin = width // 2 + 2
        chosen: list[int] = []
        for bucket in _highest(pairs, 2 * WINDOWS):
            begin = low + bucket * width
            if pairs[bucket] > 0 and all(abs(begin - other) >= width for other in chosen):
                chosen.append(begin)
        for begin in chosen[: clue.windows]:
            yield max(low, begin - margin), min(high, begin + 2 * width + margin)


class _Clue:
    """A clue as words, and how rare they are in the text.

    Args:
        text: The clue as it came.
        index: The words of the text that it is looked for in.
    """

    def __init__(self, text: str, index: WordIndex) -> None:
        whole = text.strip()
        self.text = whole[:LONGEST].rstrip()
        self.forms, starts, ends = words(self.text)
        if len(self.forms) > MOST_WORDS:
            del self.forms[MOST_WORDS:]
            self.text = self.text[: ends[MOST_WORDS - 1]]
        elif len(self.forms) > 1 and len(whole) > LONGEST and ends[-1] == LONGEST:  # the cut may lie inside a word
            del self.forms[-1]
            self.text = self.text[: ends[-2]]
        self.first = starts[0] if starts else 0
        self.joined = " ".join(self.forms)
        self.numbers = index.numbers(self.forms)
        self.windows = WINDOWS if len(self.joined) <= _LONG else _FEW_WINDOWS
        latin = max(self.joined, default="") < "\u0100"  # other characters are looked up in a hash table: about 3 times
        self._cost = len(self.joined) * (1 if latin else 3)
        self.checks = int(min(_MOST_CHECKS, COMPARED / 2 / (self._cost * len(self.joined) + 1) / self.windows))
        rarities = index.rarity(self.numbers)
        self.mean_rarity = float(rarities.mean()) if self.forms else 0.0
        self._rarity = dict(zip(self.forms, rarities.tolist(), strict=True))
        self._total = sum(self._rarity.values())
        self._left = COMPARED

    def __contains__(self, form: str) -> bool:
        return form in self._rarity

    def likeness(self, place: list[str]) -> float:
        """Half the likeness of the characters in order, above that of unlike texts; half the share of rare words found.

        0 once the work for this clue has reached its bound; the most promising ranges come first.
        """
        if self.forms == place:
            return 1.0
        joined = " ".join(place)
        self._left -= self._cost * len(joined)
        if self._left < 0:
            return 0.0
        characters = max(0.0, 2.0 * Indel.normalized_similarity(self.joined, joined) - 1.0)
        shared: float = sum(map(self._rarity.__getitem__, self._rarity.keys() & set(place))) / self._total
        return float(min(0.99, (characters + shared) / 2))


class _Window:
    """A window of the text's words, and the ranges of it that may carry the clue.

    Args:
        clue: What is looked for.
        index: The words of the text.
        low, high: The window's word positions in the text.
    """

    def __init__(self, clue: _Clue, index: WordIndex, low: int, high: int) -> None:
        self._clue, self._index, self._low = clue, index, low
        numbers = index.ids[low:high]
        forms = index.forms
        self._forms = [forms[number] for number in numbers.tolist()]
        shared = np.where(np.isin(numbers, clue.numbers), index.rarity(numbers.astype(np.int64)), 0.0)
        self._in_clue = shared > 0
        self._ranges = {range_: self._likeness(*range_) for range_ in map(self._trimmed, self._promising(shared))}

    @property
    def likeness(self) -> float:
        """Of the likest range so far."""
        return max(self._ranges.values())

    def place(self) -> Place:
        """The range most like the clue."""
        joined = " ".join(self._forms)
        if len(self._clue.joined) ** 2 * len(joined) <= SHORT:
            range_ = self._trimmed(self._by_characters(joined))
            self._ranges[range_] = self._likeness(*range_)
        likest = sorted(self._ranges, key=lambda range_: (-self._ranges[range_], range_))
        grown = [self._grown(*range_) for range_ in likest[:2]]
        score, first, last = max(grown, key=lambda result: (result[0], -result[1]))
        index, low = self._index, self._low
        return Place(int(index.starts[low + first]), int(index.ends[low + last]), score)

    def _likeness(self, first: int, last: int) -> float:
        return self._clue.likeness(self._forms[first : last + 1])

    def _promising(self, shared: Floats) -> list[tuple[int, int]]:
        """Ranges that share many rare words with the clue.

        Args:
            shared: For each word of the window, its rarity if the clue holds it, else 0.
        """
        length = min(len(self._clue.forms), len(shared))
        sums = np.concatenate([[0.0], np.cumsum(shared)])
        gains = sums[length:] - sums[: len(sums) - length]
        grid = np.arange(0, len(gains), max(1, length // GRID))
        firsts = [int(np.argmax(gains)), *(int(i) for i in grid[np.argsort(-gains[grid], kind="stable")])]
        ranges = [_heaviest(shared, self._clue.mean_rarity), *((first, first + length - 1) for first in firsts)]
        return ranges[: max(2, self._clue.checks // 4)]

    def _by_characters(self, joined: str) -> tuple[int, int]:
        """The range that is as long as the clue and most like it, character by character."""
        alignment = partial_ratio_alignment(self._clue.joined, joined)
        assert alignment is not None  # it is None under a score cutoff only
        begins = list(accumulate((len(form) + 1 for form in self._forms), initial=0))
        first = bisect_right(begins, alignment.dest_start) - 1
        last = bisect_right(begins, max(alignment.dest_end - 1, alignment.dest_start)) - 1
        return first, min(max(first, last), len(self._forms) - 1)

    def _trimmed(self, range_: tuple[int, int]) -> tuple[int, int]:
        """The range without words at either end that the clue does not hold."""
        first, last = range_
        held = np.flatnonzero(self._in_clue[first : last + 1])
        return (first + int(held[0]), first + int(held[-1])) if len(held) else (last, last)

    def _grown(self, first: int, last: int) -> tuple[float, int, int]:
        """The range made longer while the score rises: a range is as long as the clue, its place may be longer."""
        score, steps = self._ranges[first, last], min(STEPS, self._clue.checks // 4)
        earlier = np.flatnonzero(self._in_clue[:first])[::-1][:steps]
        later = last + 1 + np.flatnonzero(self._in_clue[last + 1 :])[:steps]
        for end in later.tolist():
            if (longer := self._likeness(first, end)) > score:
                last, score = end, longer
        for start in earlier.tolist():
            if (longer := self._likeness(start, last)) > score:
                first, score = start, longer
        return score, first, last


def _heaviest(shared: Floats, cost: float) -> tuple[int, int]:
    """The range of any length with the highest sum, where a word that the clue does not hold costs `cost` (maximum
    subarray: Bentley 1984)."""
    sums = np.concatenate([[0.0], np.cumsum(np.where(shared > 0, shared, -cost))])
    gains = sums[1:] - np.minimum.accumulate(sums[:-1])
    last = int(np.argmax(gains))
    return int(np.argmin(sums[: last + 1])), last


def _highest(values: Floats, most: int) -> list[int]:
    """The places of the highest values, highest first and the first of equals first, in linear time."""
    if len(values) > most:
        bound = np.partition(values, -most)[-most]
        above = np.flatnonzero(values > bound)
        places = np.concatenate([above, np.flatnonzero(values == bound)[: most - len(above)]])
    else:
        places = np.arange(len(values))
    return [int(place) for place in places[np.lexsort((places, -values[places]))]]
