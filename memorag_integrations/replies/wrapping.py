"""What stands around the clues in a reply: a reasoning model's thoughts, and code fences. Pure."""

from __future__ import annotations

import re

from .list_markers import strong_marker

_THOUGHTS = (  # what opens a model's thoughts, and what closes them
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[think]", "[/think]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)
# A line that begins with its thoughts, "<think>"; their end may stand anywhere, "so be it.</think>".
_PATTERNS = [
    (
        re.compile(r"^[ \t]*" + re.escape(opening), re.MULTILINE | re.IGNORECASE),
        re.compile(re.escape(closing), re.IGNORECASE),
    )
    for opening, closing in _THOUGHTS
]
# "```json", "~~~". The repeats give nothing back: of a line of tildes that is no fence, each would be tried as the last.
_FENCE = re.compile(r"^[ \t]*(?:`{3,}+|~{3,}+)[^\n`]*+$", re.MULTILINE)


def strip_thoughts(text: str) -> tuple[str, bool]:
    """`text` without a reasoning model's thoughts, and whether they were still going on where it ends.

    A closing mark alone ends thoughts that the chat template had opened.
    """
    for opens, closes in _PATTERNS:
        parts: list[str] = []
        begin = 0
        first = closes.search(text)
        start = opens.search(text)
        if first and (start is None or first.start() < start.start()):
            begin = first.end()
            start = opens.search(text, begin)
        while start:
            parts.append(text[begin : start.start()])
            end = closes.search(text, start.end())
            if end is None:
                return "".join(parts).strip(), True
            begin = end.end()
            start = opens.search(text, begin)
        text = "".join(parts) + text[begin:]
    return text.strip(), False


def strip_fences(text: str) -> str:
    """`text` without code fences: what stands inside them alone, unless the list stands outside."""
    marks = list(_FENCE.finditer(text))
    if not marks:
        return text
    inside: list[str] = []
    outside = [text[: marks[0].start()]]
    for i, mark in enumerate(marks):
        end = marks[i + 1].start() if i + 1 < len(marks) else len(text)
        (outside if i % 2 else inside).append(text[mark.end() : end])
    fenced, rest = "\n".join(inside), "\n".join(outside)
    rest_is_list = any(strong_marker(line) for line in rest.splitlines())
    return _FENCE.sub("", text) if rest_is_list or not fenced.strip() else fenced
