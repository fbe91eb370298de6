"""The splitter: it cuts documents into passages with exact character offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..documents import Document, Passage
from ..errors import InputError

LONGEST_LINE = 20_000
"""Characters of the longest line that goes to the splitter, whose time grows with the square of a line. Longer ones are
cut before."""

_LONG_LINE = re.compile(rf"^[^\n]{{{LONGEST_LINE},}}", re.MULTILINE)
"""A long line, as "x" * 20_000. Anchored at its begin, or a match would be tried at every character."""


LARGEST = 1 << 31
"""Characters of a passage, at most."""


def check_size(size: int) -> None:
    """Raises InputError for what is no size of a passage."""
    if isinstance(size, bool) or not isinstance(size, int) or not 50 <= size <= LARGEST:
        raise InputError(
            f"passage_size must be a whole number of characters from 50 to {LARGEST:,}, found {str(size)[:80]}."
        )


class Splitter:
    """Cuts documents into passages at the highest boundary that fits: blank lines, lines, sentences, words.

    Args:
        size: Most characters of a passage.
    """

    def __init__(self, size: int = 1000) -> None:
        check_size(size)
        from semantic_text_splitter import TextSplitter

        self.size = size
        self._splitter = TextSplitter(size)

    def split(self, document: Document) -> list[Passage]:
        """Passages of `document` in order; together they hold every character that is not blank."""
        passages = []
        for start, end in self._ranges(document.text):
            text = document.text[start:end]
            blanks = len(text) - len(text.lstrip())
            start, end = start + blanks, start + len(text.rstrip())
            if start < end:
                name = f"{document.id}:{start}-{end}"
                centre = (start + end) / 2
                passages.append(
                    Passage(name, document.id, document.text[start:end], start, end, centre, document.metadata)
                )
        return passages

    def _ranges(self, text: str) -> Iterator[tuple[int, int]]:
        for begin, stop in _short_lines(text):
            for start, chunk in self._splitter.chunk_indices(text[begin:stop]):
                yield begin + start, begin + start + len(chunk)


def _short_lines(text: str) -> Iterator[tuple[int, int]]:
    """Ranges that cover `text`. None holds a line longer than `LONGEST_LINE`; such lines are cut at blanks, if they have any."""
    begin = 0
    for line in _LONG_LINE.finditer(text):
        at, stop = line.span()
        if begin < at:
            yield begin, at
        while stop - at > LONGEST_LINE:
            blank = text.rfind(" ", at + LONGEST_LINE // 2, at + LONGEST_LINE)
            cut = at + LONGEST_LINE if blank < 0 else blank + 1
            yield at, cut
            at = cut
        begin = at
    if begin < len(text):
        yield begin, len(text)
