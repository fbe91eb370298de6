"""Long text cut into chunks whose borders follow the content, so that an edit moves few of them. Pure.

A border is put where the hash of the characters around it is least among the paragraph ends in reach (local-minimum
content-defined chunking: Bjørner et al. 2010); without paragraph ends, among line ends, sentence ends, blanks, and at
last characters. After an edit the same borders are soon found again.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

from ..errors import InputError
from .tokens import Count

_ENDS = (
    re.compile(r"\n[ \t]*\n\s*"),  # of a paragraph: "… the end.\n\n"
    re.compile(r"\n"),  # of a line
    re.compile(r"[.!?]\s+|[。！？؟।]\s*"),  # of a sentence: "It rained. ", "下雨了。"
    re.compile(r"\s+"),  # of a word
)
_AROUND = 24

Range = tuple[int, int]


def content_chunks(text: str, size: int) -> list[Range]:
    """Consecutive ranges that cover `text`, each of 0.6 to 1.4 times `size` characters but for the last.

    Args:
        text: Any text.
        size: Characters aimed at, at least 10.
    """
    if size < 10:
        raise InputError(f"A chunk must have at least 10 characters, found {size!r}.")
    borders = [0]
    while len(text) - borders[-1] > 1.4 * size:
        borders.append(_border(text, borders[-1] + int(0.6 * size), borders[-1] + int(1.4 * size)))
    borders.append(len(text))
    return [(start, end) for start, end in pairwise(borders) if text[start:end].strip()]


def fit_to_tokens(text: str, count: Count, most: int) -> list[Range]:
    """As few consecutive ranges of `text` as fit `most` tokens each, cut at the ends of paragraphs where possible.

    Args:
        text: Any text.
        count: Tokens of a text. Called on some multiple of the characters of `text` in all, however they are spread.
        most: Tokens of a range.
    """
    total = count(text)
    if total <= most:
        return [(0, len(text))]
    parts = -(-total // most)
    chunks: list[_Chunk] = []
    for start, end in content_chunks(text, max(10, len(text) // parts * 7 // 10)):
        chunks += _halves(text, start, end, count, most)
    return _merged(text, chunks, count, most)


class _Chunk(NamedTuple):
    start: int
    end: int
    tokens: int


def _border(text: str, low: int, high: int) -> int:
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return min(ends, key=lambda end: _hash(text[max(0, end - _AROUND) : end + _AROUND]))
    return (low + high) // 2


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _halves(text: str, start: int, end: int, count: Count, most: int) -> list[_Chunk]:
    tokens = count(text[start:end])
    if end - start <= 1 or tokens <= most:
        return [_Chunk(start, end, tokens)]
    third = (end - start) // 3
    middle = _border(text, start + max(1, third), max(start + 2, end - third))
    return _halves(text, start, middle, count, most) + _halves(text, middle, end, count, most)


def _merged(text: str, chunks: list[_Chunk], count: Count, most: int) -> list[Range]:
    """Neighbours together as long as they fit.

    The tokens of a few chunks together are about the sum of theirs. So the sum says how many may fit, and the text is
    counted to be sure: some times for a range, not once for each chunk in it.
    """
    ranges: list[Range] = []
    first = 0
    while first < len(chunks):
        stop = _fitting_stop(text, chunks, first, count, most)
        ranges.append((chunks[first].start, chunks[stop - 1].end))
        first = stop
    return ranges


def _fitting_stop(text: str, chunks: list[_Chunk], first: int, count: Count, most: int) -> int:
    """The end, exclusive, of the longest run of chunks from `first` on that fits, by a search that doubles its steps."""

    def fits(stop: int) -> bool:
        return count(text[chunks[first].start : chunks[stop - 1].end]) <= most

    expected, tokens = first + 1, chunks[first].tokens
    while expected < len(chunks) and (tokens := tokens + chunks[expected].tokens) <= most:
        expected += 1
    stop = expected if expected > first + 1 and fits(expected) else first + 1
    step, growing = 1, True
    while step and stop < len(chunks):
        further = min(stop + step, len(chunks))
        if fits(further):
            stop = further
        else:
            growing = False
        step = 2 * step if growing else step // 2
    return stop
