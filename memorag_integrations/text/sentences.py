"""Where the sentences of a text stand, in any script; pure."""

from __future__ import annotations

import re
from unicodedata import east_asian_width

LEAST_PIECE = 20
"""Columns below which a sentence is too little to search for by itself, and stays with its neighbour. A wide character,
which stands for a syllable or a word, has two."""

_SENTENCE = re.compile(r"\S(?:[^.!?。！？।؟۔።\n]|[.!?](?!\s)|\n(?!\s*\n)){0,400}[.!?。！？।؟۔።]?")


def sentences(text: str) -> list[tuple[int, int]]:
    """Ranges of the sentences of `text`, in order; a stretch of 400 characters without an end of one is one, too."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def pieces(text: str) -> list[str]:
    """`text` as what can be searched for one by one: its sentences, short ones with the one before or after them.

    Together they hold everything of the text but blanks between sentences.
    """
    ranges: list[tuple[int, int]] = []
    for start, end in sentences(text):
        if ranges and min(width(text[start:end]), width(text[slice(*ranges[-1])])) < LEAST_PIECE:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return [text[start:end] for start, end in ranges]


def width(text: str) -> int:
    """Columns of a text on a terminal: two for a wide character."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
