"""Where the sentences of a text stand, in any script; pure."""

from __future__ import annotations

import re

LEAST_PIECE = 20
"""Characters below which a sentence is too little to search for by itself, and stays with its neighbour."""

_SENTENCE = re.compile(r"\S(?:[^.!?。！？\n]|[.!?](?!\s)|\n(?!\s*\n)){0,400}[.!?。！？]?")


def sentences(text: str) -> list[tuple[int, int]]:
    """Ranges of the sentences of `text`, in order; a stretch of 400 characters without an end of one is one, too."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def pieces(text: str) -> list[str]:
    """`text` as what can be searched for one by one: its sentences, short ones with the one before or after them.

    Together they hold everything of the text but blanks between sentences.
    """
    ranges: list[tuple[int, int]] = []
    for start, end in sentences(text):
        if ranges and (end - start < LEAST_PIECE or ranges[-1][1] - ranges[-1][0] < LEAST_PIECE):
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return [text[start:end] for start, end in ranges]
