"""Long text cut into stretches whose borders follow the content, so that an edit moves few of them. Pure.

A border is put where the hash of the characters around it is least among the paragraph ends in reach (local-minimum
content-defined chunking: Bjørner et al. 2010); without paragraph ends, among line ends, sentence ends, blanks, and at
last characters. After an edit the same borders are soon found again.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import pairwise

from ..errors import InputError
from .tokens import Count

_ENDS = (
    re.compile(r"\n[ \t]*\n\s*"),
    re.compile(r"\n"),
    re.compile(r"[.!?]\s+|[。！？؟।]\s*"),
    re.compile(r"\s+"),
)
_AROUND = 24

Range = tuple[int, int]


def stretches(text: str, size: int) -> list[Range]:
    """Consecutive ranges that cover `text`, each of 0.6 to 1.4 times `size` characters but for the last.

    Args:
        text: Any text.
        size: Characters aimed at, at least 10.
    """
    if size < 10:
        raise InputError(f"A stretch must have at least 10 characters, found {size!r}.")
    borders = [0]
    while len(text) - borders[-1] > 1.4 * size:
        borders.append(_border(text, borders[-1] + int(0.6 * size), borders[-1] + int(1.4 * size)))
    borders.append(len(text))
    return [(start, end) for start, end in pairwise(borders) if text[start:end].strip()]


def fitting(text: str, count: Count, most: int) -> list[Range]:
    """As few consecutive ranges of `text` as fit `most` tokens each, cut at the ends of paragraphs where possible."""
    total = count(text)
    if total <= most:
        return [(0, len(text))]
    parts = -(-total // most)
    ranges: list[Range] = []
    for start, end in stretches(text, max(10, len(text) // parts * 7 // 10)):
        ranges += _halves(text, start, end, count, most)
    return _joined(text, ranges, count, most)


def _border(text: str, low: int, high: int) -> int:
    for ends in _ENDS:
        found = [match.end() for match in ends.finditer(text, low, high)]
        if found:
            return min(found, key=lambda at: _hash(text[max(0, at - _AROUND) : at + _AROUND]))
    return (low + high) // 2


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _halves(text: str, start: int, end: int, count: Count, most: int) -> list[Range]:
    if end - start <= 1 or count(text[start:end]) <= most:
        return [(start, end)]
    third = (end - start) // 3
    middle = _border(text, start + max(1, third), max(start + 2, end - third))
    return _halves(text, start, middle, count, most) + _halves(text, middle, end, count, most)


def _joined(text: str, ranges: list[Range], count: Count, most: int) -> list[Range]:
    """Neighbours together as long as they fit."""
    joined = ranges[:1]
    for start, end in ranges[1:]:
        if count(text[joined[-1][0] : end]) <= most:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
