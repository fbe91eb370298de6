"""Documents are cut into passages: text with exact character offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..documents import Document, Passage
from ..errors import InputError

LONGEST_LINE = 20_000
"""Characters without a line break after which a stretch is cut before it reaches the splitter, which is quadratic there."""

_LONG_STRETCH = re.compile(rf"^[^\n]{{{LONGEST_LINE},}}", re.MULTILINE)  # anchored: else every place in a line is tried


class Splitter:
    """Cuts documents into passages at the highest boundary that fits: blank lines, lines, sentences, words.

    Args:
        size: Most characters of a passage.
    """

    def __init__(self, size: int = 1000) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 50:
            raise InputError(f"passage_size must be a whole number of characters of at least 50, found {size!r}.")
        from semantic_text_splitter import TextSplitter

        self.size = size
        self._splitter = TextSplitter(size)

    def split(self, document: Document) -> list[Passage]:
        """Passages of `document` in order; together they hold every character that is not blank."""
        passages = []
        for start, end in self._ranges(document.text):
            text = document.text[start:end]
            lead = len(text) - len(text.lstrip())
            start, end = start + lead, start + len(text.rstrip())
            if start < end:
                name = f"{document.id}:{start}-{end}"
                centre = (start + end) / 2
                passages.append(
                    Passage(name, document.id, document.text[start:end], start, end, centre, document.metadata)
                )
        return passages

    def _ranges(self, text: str) -> Iterator[tuple[int, int]]:
        for begin, stop in _pieces(text):
            for start, chunk in self._splitter.chunk_indices(text[begin:stop]):
                yield begin + start, begin + start + len(chunk)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Ranges that cover `text`, cut so that none holds a line longer than `LONGEST_LINE`, at blanks where there are any."""
    begin = 0
    for line in _LONG_STRETCH.finditer(text):
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
