"""Where in a text a clue stands, though the model changed case, punctuation or words, and how well. Pure.

The clue's rare words, and its runs of three words, vote for windows of the text. A short clue is aligned with the best
windows character by character, a long one word by word. The work for one clue has an upper bound, whatever its length
and the text's: so many occurrences of words are counted, and so many characters aligned.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Indel
from rapidfuzz.fuzz import partial_ratio_alignment

from .word_index import Floats, Int64s, Occurrences, WordIndex, words

LONGEST = 4000
"""Characters of a clue that are looked for; what follows does not move its place."""
LEAST = 0.15
"""Score under which a place is chance: see benchmarks/grounding.py."""

OCCURRENCES = 1 << 16
"""Occurrences of the clue's words and runs of words that vote; beyond it the most common words have no vote."""
WINDOWS = 6
"""Most windows of the text that a clue is aligned with."""
STEPS = 8
"""Most words tried at either side of an aligned range to make it longer."""

MOST_WORDS = 1500
"""Words of a clue that are looked for. In a script without blanks between words, every character is one."""

_ALIGNED = 300_000_000
_COMPARED = 40_000_000
_MOST_CHECKS = 32
_LONG = 1000
_FEW_WINDOWS = 3
_FEW_CHECKS = 8
_CANDIDATES = 100


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
        self._lock = threading.Lock()

    @property
    def index(self) -> WordIndex:
        """Where the words of the text stand; several threads that ask at once share one."""
        if self._index is None:
            with self._lock:
                if self._index is None:
                    self._index = WordIndex(self._text)
        return self._index

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
        low = int(np.searchsorted(self.index.starts, start))
        high = int(np.searchsorted(self.index.ends, end, "right"))
        if low >= high or not (target := _Clue(clue, self.index)).forms:
            return None
        votes = self.index.occurrences(target.numbers, low, high, OCCURRENCES)
        if place := self._exact(target, votes, (low, high), (start, end)):
            return place
        places = [self._align(target, *window) for window in self._windows(target, votes, low, high)]
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
            if (
                characters[0] <= at
                and at + len(clue.text) <= characters[1]
                and self._text.startswith(clue.text, at)
            ):
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
        weights = np.bincount(
            buckets[first_votes],
            weights=votes.weights[votes.units[first_votes]],
            minlength=(high - low) // width + 2,
        )
        pairs = weights[:-1] + weights[1:]
        margin = width // 2 + 2
        chosen: list[int] = []
        for bucket in _highest(pairs, 2 * WINDOWS):
            begin = low + bucket * width
            if pairs[bucket] > 0 and all(abs(begin - other) >= width for other in chosen):
                chosen.append(begin)
        for begin in chosen[: clue.windows]:
            yield max(low, begin - margin), min(high, begin + 2 * width + margin)

    def _align(self, clue: _Clue, low: int, high: int) -> Place:
        """The range of words in the window [low, high) that is most like the clue."""
        numbers = self.index.ids[low:high]
        window = [self.index.forms[number] for number in numbers.tolist()]
        joined, begins = _joined(window)
        shared = np.where(np.isin(numbers, clue.numbers), self.index.rarity(numbers), 0.0)
        ranges = _ranges_of_words(clue, shared)
        if len(clue.joined) ** 2 * len(joined) * clue.windows <= _ALIGNED:
            ranges.append(_range_of_characters(clue, joined, begins))
        first, last, score = _best(clue, window, ranges)
        return Place(int(self.index.starts[low + first]), int(self.index.ends[low + last]), score)


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
        self.checks = int(min(_MOST_CHECKS, _COMPARED / (len(self.joined) + 1) ** 2 / self.windows))
        rarities = index.rarity(self.numbers)
        self.mean_rarity = float(rarities.mean()) if self.forms else 0.0
        self._rarity = dict(zip(self.forms, rarities.tolist(), strict=True))
        self._total = sum(self._rarity.values())

    def __contains__(self, form: str) -> bool:
        return form in self._rarity

    def likeness(self, place: list[str]) -> float:
        """Half the likeness of the characters in order, above that of unlike texts; half the share of rare words found."""
        if self.forms == place:
            return 1.0
        characters = max(0.0, 2.0 * Indel.normalized_similarity(self.joined, " ".join(place)) - 1.0)
        found = sum(self._rarity.get(form, 0.0) for form in set(place)) / self._total
        return min(0.99, (characters + found) / 2)


def _range_of_characters(clue: _Clue, joined: str, begins: Int64s) -> tuple[int, int]:
    """The first and last word of the window's part that is as long as the clue and most like it, character by character."""
    alignment = partial_ratio_alignment(clue.joined, joined)
    assert alignment is not None  # it is None under a score cutoff only
    first = int(np.searchsorted(begins, alignment.dest_start, "right")) - 1
    last = int(np.searchsorted(begins, max(alignment.dest_end - 1, alignment.dest_start), "right")) - 1
    return max(first, 0), max(first, last, 0)


def _ranges_of_words(clue: _Clue, shared: Floats) -> list[tuple[int, int]]:
    """Some ranges of the window's words that share many rare words with the clue, the most promising first.

    Args:
        shared: For each word of the window, its rarity if the clue holds it, else 0.
    """
    length = min(len(clue.forms), len(shared))
    sums = np.concatenate([[0.0], np.cumsum(shared)])
    gains = sums[length:] - sums[: len(sums) - length]
    grid = np.arange(0, len(gains), max(1, length // 6))
    firsts = [int(np.argmax(gains)), *(int(i) for i in grid[np.argsort(-gains[grid], kind="stable")])]
    ranges = [_heaviest(shared, clue.mean_rarity), *((first, first + length - 1) for first in firsts)]
    return ranges[: max(2, clue.checks // 2)]


def _best(clue: _Clue, window: list[str], ranges: list[tuple[int, int]]) -> tuple[int, int, float]:
    """The range most like the clue, made longer while its score rises, and the score."""
    trimmed = dict.fromkeys(_trimmed(clue, window, *range_) for range_ in ranges)
    _, (first, last) = max((clue.likeness(window[a : b + 1]), (a, b)) for a, b in trimmed)
    return _grown(clue, window, first, last, min(STEPS, clue.checks // 4))


def _trimmed(clue: _Clue, window: list[str], first: int, last: int) -> tuple[int, int]:
    """The range without words at either end that the clue does not hold."""
    while first < last and window[first] not in clue:
        first += 1
    while last > first and window[last] not in clue:
        last -= 1
    return first, last


def _grown(clue: _Clue, window: list[str], first: int, last: int, steps: int) -> tuple[int, int, float]:
    """The range made longer while the score rises: the alignment is as long as the clue, its place may be longer."""
    score = clue.likeness(window[first : last + 1])
    before = [i for i in range(first - 1, -1, -1) if window[i] in clue][:steps]
    after = [i for i in range(last + 1, len(window)) if window[i] in clue][:steps]
    for end in after:
        if (longer := clue.likeness(window[first : end + 1])) > score:
            last, score = end, longer
    for start in before:
        if (longer := clue.likeness(window[start : last + 1])) > score:
            first, score = start, longer
    return first, last, score


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


def _joined(forms: list[str]) -> tuple[str, Int64s]:
    """The words as one text, and where each begins in it."""
    lengths = np.fromiter((len(form) + 1 for form in forms), np.int64, len(forms))
    return " ".join(forms), np.cumsum(lengths) - lengths
