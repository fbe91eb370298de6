"""The words of a text, and an index of where each word and each run of three words stands. Pure.

A word is a run of letters and digits, with compatibility forms and case folded. In a script without blanks between
words, every character with its marks is a word.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .scripts import WITHOUT_BLANKS

MOST_LETTERS = 64
"""Letters after which a word is cut, so that one match of the pattern stays short. A longer one counts as several words."""
MOST_MARKS = 16
"""Combining marks that belong to one letter; further ones are read as punctuation."""
GRAM = 3
"""Words of a run whose places the index holds."""

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

_MOST_SKIPPED = 4096
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Words(NamedTuple):
    """A text as words: their normalised forms, and where each begins and ends."""

    forms: list[str]
    starts: list[int]
    ends: list[int]


def words(text: str) -> Words:
    """The words of `text`, of any script."""
    ranges = list(word_ranges(text))
    return Words(
        [_form(text[start:end]) for start, end in ranges],
        [start for start, _ in ranges],
        [end for _, end in ranges],
    )


def word_ranges(text: str) -> Iterator[tuple[int, int]]:
    """The range of each word, in order. No match of the pattern is longer than some thousand characters."""
    for match in _word_pattern().finditer(text):
        start, end = match.span(1)
        if start >= 0:
            yield start, end


class Occurrences(NamedTuple):
    """Where in a text the words and runs of words of a clue stand, the rarest first.

    Args:
        units: For each occurrence, the number of its word or run, counted from the rarest.
        positions: For each occurrence, the position of its first word in the text.
        offsets: For each unit, the position of its first word in the clue.
        weights: For each unit, its rarity in the text.
    """

    units: Int64s
    positions: Int64s
    offsets: Int64s
    weights: Floats


class WordIndex:
    """Where the words of a text stand. Built in time linear in its length, but for three sorts; never changed.

    Args:
        text: The text, of fewer than 2^31 characters.
    """

    def __init__(self, text: str) -> None:
        numbers: dict[str, int] = {}
        ids, starts, ends = array("i"), array("i"), array("i")
        for start, end in word_ranges(text):
            ids.append(numbers.setdefault(_form(text[start:end]), len(numbers)))
            starts.append(start)
            ends.append(end)
        self.forms = list(numbers)
        self.ids: Int32s = np.array(ids, dtype=np.int32)
        self.starts: Int32s = np.array(starts, dtype=np.int32)
        self.ends: Int32s = np.array(ends, dtype=np.int32)
        self._numbers = numbers
        by_word = np.argsort(self.ids, kind="stable").astype(np.int32)
        grams = _hashes(self.ids)
        by_gram = np.argsort(grams, kind="stable").astype(np.int32)
        self._positions: Int32s = np.concatenate([by_word, by_gram])
        self._first: Int64s = np.concatenate([[0], np.cumsum(np.bincount(self.ids, minlength=len(numbers)))])
        self._grams = grams[by_gram]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of the index, its vocabulary among them, the text apart."""
        arrays = (self.ids, self.starts, self.ends, self._positions, self._first, self._grams)
        vocabulary = sys.getsizeof(self._numbers) + sys.getsizeof(self.forms) + sum(map(sys.getsizeof, self.forms))
        return sum(values.nbytes for values in arrays) + vocabulary + 32 * len(self.forms)  # 32: a dict's int object

    def numbers(self, forms: Sequence[str]) -> Int64s:
        """The number of each word form; -1 for one that the text does not hold."""
        return np.fromiter((self._numbers.get(form, -1) for form in forms), np.int64, len(forms))

    def rarity(self, numbers: Int64s) -> Floats:
        """The logarithm of how many words of the text there are to each that is this one; highest for an unknown one."""
        known = np.maximum(numbers, 0)
        counts = np.where(numbers >= 0, self._first[known + 1] - self._first[known], 1)
        return np.where(numbers >= 0, np.log1p(len(self) / np.maximum(counts, 1)), np.log1p(len(self)))

    def occurrences(self, numbers: Int64s, low: int, high: int, most: int) -> Occurrences:
        """Where the words and runs of words of a clue stand among the words [low, high).

        Args:
            numbers: The clue's words, by `numbers`.
            low, high: Range of word positions.
            most: Occurrences given. The rarest words and runs come first; common ones are left out whole, unless the
                rarest is too common by itself: then its first occurrences are given.
        """
        words, word_offsets = np.unique(numbers, return_index=True)
        word_offsets, words = word_offsets[words >= 0], words[words >= 0]
        hashes, gram_offsets = np.unique(_hashes(numbers), return_index=True)
        begins = np.concatenate(
            [self._first[words], len(self) + np.searchsorted(self._grams, hashes, "left")],
        )
        ends = np.concatenate([self._first[words + 1], len(self) + np.searchsorted(self._grams, hashes, "right")])
        offsets = np.concatenate([word_offsets, gram_offsets])
        weights = np.log1p(len(self) / np.maximum(ends - begins, 1))
        if low > 0 or high < len(self):
            begins, ends = self._lower_bound(begins, ends, low), self._lower_bound(begins, ends, high)
        order = np.argsort(ends - begins, kind="stable")
        order = order[(ends - begins)[order] > 0]
        counts = (ends - begins)[order]
        kept = max(1, int(np.searchsorted(np.cumsum(counts), most, "right")))
        order, counts = order[:kept], np.minimum(counts[:kept], most)
        units = np.repeat(np.arange(len(order)), counts)
        rows = np.arange(len(units)) - np.repeat(np.cumsum(counts) - counts, counts)
        positions = self._positions[np.repeat(begins[order], counts) + rows].astype(np.int64)
        return Occurrences(units, positions, offsets[order], weights[order])

    def _lower_bound(self, begins: Int64s, ends: Int64s, position: int) -> Int64s:
        """For each range of the postings, where its positions reach `position`: binary searches side by side."""
        low, high = begins.copy(), ends.copy()
        while (unsettled := low < high).any():
            middle = (low + high) // 2
            smaller = unsettled & (self._positions[np.minimum(middle, len(self._positions) - 1)] < position)
            low, high = np.where(smaller, middle + 1, low), np.where(unsettled & ~smaller, middle, high)
        return low


def _hashes(numbers: NDArray[np.integer]) -> NDArray[np.uint32]:
    """A hash of the run of `GRAM` words at each position where one begins. Equal hashes of other runs are rare, and
    cost no more than a vote."""
    count = max(0, len(numbers) - GRAM + 1)
    hashes = np.zeros(count, np.uint64)
    for i in range(GRAM):
        hashes = (hashes ^ (numbers[i : i + count].astype(np.int64).astype(np.uint64))) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return (hashes >> np.uint64(16)).astype(np.uint32)


def _form(word: str) -> str:
    return word.casefold() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    """What stands before a word, and the word as group 1: ", the" gives "the", "批准" gives "批", then "准".

    Every part has an upper bound. One match over megabytes would hold the interpreter's lock all the while.
    """
    codes = (code for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
    runs = [[code for _, code in run] for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0])]
    marks = "".join(rf"\u{run[0]:04x}-\u{run[-1]:04x}" for run in runs)
    joiners = "\u200c\u200d"
    return re.compile(
        rf"[\W_]{{0,{_MOST_SKIPPED}}}+"
        rf"([{WITHOUT_BLANKS}](?<=[^\W_])[{marks}]{{0,{MOST_MARKS}}}"
        rf"|(?:(?![{WITHOUT_BLANKS}])[^\W_][{marks}{joiners}]{{0,{MOST_MARKS}}}){{1,{MOST_LETTERS}}})?"
    )
