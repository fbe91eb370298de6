"""Where the sentences of a text stand, in any script. Pure."""

from __future__ import annotations

import re
from unicodedata import east_asian_width

LEAST_COLUMNS = 20
"""Columns below which a sentence is too short to search for by itself, and stays with its neighbour. A wide character,
which stands for a syllable or a word, has two."""
MOST_CHARACTERS = 402
"""Characters after which a sentence without an end is cut."""

# A sentence ends at a mark, "It rained.", "下雨了。", at a blank line, or after so many characters. A full stop inside a
# word, "1.5", is no end, and neither is a single line break.
_SENTENCE = re.compile(rf"\S(?:[^.!?。！？।؟۔።\n]|[.!?](?!\s)|\n(?!\s*\n)){{0,{MOST_CHARACTERS - 2}}}[.!?。！？।؟۔።]?")


def sentences(text: str) -> list[tuple[int, int]]:
    """The range of each sentence of `text`, in order; none is longer than `MOST_CHARACTERS`."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def pieces(text: str) -> list[str]:
    """The sentences of `text`, each to be searched for by itself; a short one stays with the one before or after it.

    Together they hold everything of the text but blanks between sentences.
    """
    ranges: list[tuple[int, int]] = []
    for start, end in sentences(text):
        if ranges and (_is_short(text, start, end) or _is_short(text, *ranges[-1])):
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return [text[start:end] for start, end in ranges]


def width(text: str) -> int:
    """Columns of a text on a terminal: two for a wide character."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _is_short(text: str, start: int, end: int) -> bool:
    """Whether a range has fewer than `LEAST_COLUMNS`. At most so many characters are read, however long the range is."""
    return end - start < LEAST_COLUMNS and width(text[start:end]) < LEAST_COLUMNS
