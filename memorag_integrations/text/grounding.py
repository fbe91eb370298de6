"""Where in a text a clue stands, though the model changed case, punctuation or words, and how well. Pure.

Both are read as words: runs of letters and digits, compatibility forms and case folded; in scripts without blanks
between words, every character with its marks is one. A clue's rare words vote for a window of the text, and the best
windows are aligned with the clue character by character.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel
from rapidfuzz.fuzz import partial_ratio_alignment

LONGEST = 4000
"""Characters of a clue that are looked for; what follows does not move its place."""
LEAST = 0.15
"""Score under which a place is chance: see benchmarks/grounding.py."""

_WINDOWS = 6
_STEPS = 8
_TRIES = 100
_NO_BLANKS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)


class Place(NamedTuple):
    """A range of a text, and how well it carries a clue, in [0, 1]; 1: the same words in the same order."""

    start: int
    end: int
    score: float


class Words(NamedTuple):
    """A text as words: their normalised forms, and where each begins and ends."""

    forms: list[str]
    starts: list[int]
    ends: list[int]


def words(text: str) -> Words:
    """The words of `text`, of any script."""
    found = [(match.start(), match.end(), match.group()) for match in _word_pattern().finditer(text)]
    return Words([_form(word) for _, _, word in found], [start for start, _, _ in found], [end for _, end, _ in found])


class Grounder:
    """Finds clues in one text. Built once a text, in time linear in its length; asking changes nothing.

    Args:
        text: The text.
        least: Score under which a place is taken for chance.
    """

    def __init__(self, text: str, least: float = LEAST) -> None:
        self._text = text
        self._least = least
        forms, starts, ends = words(text)
        self._ids: dict[str, int] = {}
        self._forms = forms
        ids = np.fromiter((self._ids.setdefault(form, len(self._ids)) for form in forms), np.int32, len(forms))
        self._starts = np.array(starts, dtype=np.int64)
        self._ends = np.array(ends, dtype=np.int64)
        self._by_word = np.argsort(ids, kind="stable").astype(np.int32)
        self._first = np.concatenate([[0], np.cumsum(np.bincount(ids, minlength=len(self._ids)))]).astype(np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of the index, the text apart; the words themselves are counted as held once."""
        arrays = (self._starts, self._ends, self._by_word, self._first)
        return (
            sum(array.nbytes for array in arrays)
            + sum(sys.getsizeof(form) for form in self._ids)
            + 8 * len(self._forms)
        )

    def ground(self, clue: str, within: tuple[int, int] | None = None) -> Place | None:
        """The place that carries `clue` best.

        Args:
            clue: Any text; its first `LONGEST` characters count.
            within: Character range to look in; the whole text without it.

        Returns:
            None where nothing better than chance is found (`least`).
        """
        start, end = within or (0, len(self._text))
        clue = clue[:LONGEST].strip()
        low, high = (int(i) for i in (np.searchsorted(self._starts, start), np.searchsorted(self._ends, end, "right")))
        forms = words(clue).forms
        if not forms or low >= high:
            return None
        if (at := self._find(clue, start, end)) is not None:
            return Place(at, at + len(clue), 1.0)
        places = [self._align(forms, *window) for window in self._windows(forms, low, high)]
        best = max((place for place in places if place), key=lambda place: (place.score, -place.start), default=None)
        return best if best and best.score >= self._least else None

    def _find(self, clue: str, start: int, end: int) -> int | None:
        """Where the clue stands character for character, and not with an end inside a word: "is" is not in "this"."""
        at = self._text.find(clue, start, end)
        for _ in range(_TRIES):
            if at < 0:
                return None
            if all(self._between_words(edge) for edge in (at, at + len(clue))):
                return at
            at = self._text.find(clue, at + 1, end)
        return None

    def _between_words(self, position: int) -> bool:
        before = int(np.searchsorted(self._starts, position)) - 1
        return before < 0 or bool(self._ends[before] <= position)

    def _windows(self, forms: list[str], low: int, high: int) -> list[tuple[int, int]]:
        """Ranges of words [low, high) that hold most of the clue's rare words, best first."""
        known = sorted({self._ids[form] for form in forms if form in self._ids})
        width = max(len(forms), 4)
        buckets = (high - low) // width + 1
        weight = np.zeros(buckets + 1)
        for word in known:
            where = self._by_word[self._first[word] : self._first[word + 1]]
            where = where[np.searchsorted(where, low) : np.searchsorted(where, high)]
            weight[np.unique((where - low) // width)] += self._rarity(word)
        pairs = weight[:-1] + weight[1:]
        order = np.argsort(-pairs, kind="stable")[: 2 * _WINDOWS]
        windows: list[tuple[int, int]] = []
        for bucket in order[pairs[order] > 0]:
            begin = low + int(bucket) * width
            if all(abs(begin - other) >= width for other, _ in windows):
                windows.append((begin, begin + 2 * width))
        margin = width // 2 + 2
        return [(max(low, begin - margin), min(high, end + margin)) for begin, end in windows[:_WINDOWS]]

    def _align(self, forms: list[str], low: int, high: int) -> Place | None:
        clue, _ = _joined(forms)
        window, offsets = _joined(self._forms[low:high])
        found = partial_ratio_alignment(clue, window)
        if found is None:
            return None
        first = int(np.searchsorted(offsets, found.dest_start, "right")) - 1
        last = max(first, int(np.searchsorted(offsets, max(found.dest_end - 1, found.dest_start), "right")) - 1)
        first, last = self._trim(set(forms), low + max(first, 0), low + last)
        first, last, score = self._grow(forms, first, last, (low, high))
        return Place(int(self._starts[first]), int(self._ends[last]), score)

    def _grow(self, clue: list[str], first: int, last: int, window: tuple[int, int]) -> tuple[int, int, float]:
        """The range made longer while the score rises: the alignment is as long as the clue, its place may be longer."""
        wanted, score = set(clue), self._score(clue, self._forms[first : last + 1])
        before = [i for i in range(first - 1, window[0] - 1, -1) if self._forms[i] in wanted][:_STEPS]
        after = [i for i in range(last + 1, window[1]) if self._forms[i] in wanted][:_STEPS]
        for end in after:
            if (longer := self._score(clue, self._forms[first : end + 1])) > score:
                last, score = end, longer
        for start in before:
            if (longer := self._score(clue, self._forms[start : last + 1])) > score:
                first, score = start, longer
        return first, last, score

    def _trim(self, clue: set[str], first: int, last: int) -> tuple[int, int]:
        """Without words at either end that the clue does not hold."""
        while first < last and self._forms[first] not in clue:
            first += 1
        while last > first and self._forms[last] not in clue:
            last -= 1
        return first, last

    def _score(self, clue: list[str], place: list[str]) -> float:
        """Half the likeness of the characters in order, above that of unlike texts; half the share of rare words found."""
        if clue == place:
            return 1.0
        likeness = max(0.0, 2.0 * Indel.normalized_similarity(_joined(clue)[0], _joined(place)[0]) - 1.0)
        here = set(place)
        rarity = {form: self._rarity(self._ids[form]) if form in self._ids else self._rarest for form in set(clue)}
        shared = sum(weight for form, weight in rarity.items() if form in here) / sum(rarity.values())
        return min(0.99, (likeness + shared) / 2)

    @property
    def _rarest(self) -> float:
        return math.log(1.0 + len(self._forms))

    def _rarity(self, word: int) -> float:
        count = float(self._first[word + 1] - self._first[word])
        return math.log(1.0 + len(self._forms) / count)


def _form(word: str) -> str:
    return word.casefold() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


def _joined(forms: list[str]) -> tuple[str, NDArray[np.int64]]:
    """The words as one text, and where each begins in it."""
    lengths = np.fromiter((len(form) + 1 for form in forms), np.int64, len(forms))
    return " ".join(forms), np.cumsum(lengths) - lengths


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    marks = "".join(
        rf"\u{run[0]:04x}-\u{run[-1]:04x}"
        for _, group in groupby(
            enumerate(code for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)) in ("Mn", "Mc")),
            lambda pair: pair[1] - pair[0],
        )
        if (run := [code for _, code in group])
    )
    joiners = "\u200c\u200d"
    return re.compile(rf"[{_NO_BLANKS}](?<=[^\W_])[{marks}]*|(?:(?![{_NO_BLANKS}])[^\W_][{marks}{joiners}]*)+")
