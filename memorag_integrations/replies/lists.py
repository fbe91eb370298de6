"""Clues in a reply of lines: lists with bullets or numbers of any script, under headings or not, or bare lines. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ..clues import ClueKind
from .list_markers import Line, inline_items, is_rule, strong_marker, weak_markers
from .single_clue import clean, is_refusal

_QUESTION_NAMES = (
    "question",
    "quer",
    "问题",
    "問題",
    "問い",
    "質問",
    "질문",
    "вопрос",
    "pregunta",
    "frage",
    "câu hỏi",
    "คำถาม",
)
_ANSWER_NAMES = ("answer", "draft", "答案", "回答", "答え", "답", "ответ", "respuesta", "antwort", "réponse", "คำตอบ")
_SPAN_NAMES = (
    *("clue", "span", "hint", "passage", "quote", "excerpt", "fragment", "indice", "pista", "hinweis", "подсказк"),
    *("线索", "線索", "片段", "原文", "手がかり", "抜粋", "단서", "เบาะแส"),
)
_NAMES = "|".join(map(re.escape, (*_QUESTION_NAMES, *_ANSWER_NAMES, *_SPAN_NAMES)))
# "Clues:", "**Spans**", "## Draft answer", "Clue 3: the text", "Q1: Who?", "线索：". What follows on the line is the group
# `rest`, or `short` after a single letter.
_HEADING = re.compile(
    rf"^[\s#*_>\-•]*(?:(?:the |draft |short |key |relevant |text |span |surrogate |sharper )*(?:{_NAMES})\w{{0,3}}"
    r"\s?[#(（]?\d{0,3}[)）]?[\s*_]*(?:[:：．][\s*_]*(?P<rest>.*)|$)|[qa]\d{0,3}[:：．]\s*(?P<short>.*))$",
    re.IGNORECASE | re.DOTALL,
)
# "## Notes", "**Notes**:", "<notes>". The blanks give nothing back: there may be thousands before what is no colon.
_MARKDOWN_HEADING = re.compile(r"^\s{0,3}#{1,6}\s|^\s*+\*\*[^*]++\*\*\s*+(?:[:：]\s*+)?$|^\s*+</?[\w-]++>\s*+$")
# "Let me know if you need more.", "希望这些线索有帮助"
_CLOSING_REMARK = re.compile(
    r"(?:let me know|i hope|hope (?:this|that)|feel free|希望(?:这些|以上|對你|对你)|如(?:需|有))", re.IGNORECASE
)
# "Sure! Here are the clues:", "好的，以下是线索："
_PREAMBLE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok|absolutely)[,.!:]?\s+)?(?:here (?:are|is|you go)|below (?:are|is)|"
    r"the following (?:are|is))\b.{0,200}$|(?:好的|当然|當然)?[，,！!。]?(?:以下|下面)(?:是|为|為).{0,200}$",
    re.IGNORECASE,
)


def list_pairs(text: str) -> Iterator[tuple[ClueKind, str]]:
    """Items of a reply in lines, with the kind that the heading above them names."""
    sections: list[tuple[ClueKind | None, list[Line]]] = [(None, [])]
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading is None:
            sections[-1][1].append((line, False))
            continue
        rest = heading.group("rest") or heading.group("short") or ""
        kind = kind_of(line[: len(line) - len(rest)])
        if not sections[-1][1] or sections[-1][0] != kind or not rest:
            sections.append((kind, []))
        if rest.strip():
            sections[-1][1].append((rest, True))
    for named, lines in sections:
        if named == "answer":
            answer = clean("\n".join(line for line, _ in lines).strip())
            if not is_refusal(answer):
                yield "answer", answer
            continue
        for item in _items(lines):
            guess: ClueKind = "question" if item.rstrip("\"'”»」*` ").endswith(("?", "？", "؟", "；?")) else "span"
            yield named or guess, item


def _items(lines: list[Line]) -> Iterator[str]:
    weak = weak_markers(lines)
    parsed: list[tuple[int | None, str]] = []
    last = 0
    for i, (line, named) in enumerate(lines):
        parsed.append(_read_line(line, named, weak.get(i), last))
        last = parsed[-1][0] or last
    marked = [i for i, (ordinal, _) in enumerate(parsed) if ordinal is not None]
    if not marked:
        yield from _bare_items([line for line, _ in lines])
        return
    if len(marked) == 1 and (split := inline_items(lines[marked[0]][0])):
        yield from split
        return
    first = marked[0]
    if parsed[first][0] == 2:
        yield from _bare_items([line for line, _ in lines[:first]])
    item, blank = [parsed[first][1]], False
    items = []
    for i, (ordinal, rest) in enumerate(parsed[first + 1 :], first + 1):
        if ordinal is not None:
            items.append(_joined(item))
            item, blank = [rest], False
        elif not rest.strip():
            blank = True
        elif i < marked[-1] or not blank or lines[i][0][:2].isspace():
            item.append(rest.strip())
    yield from _second_markers([*items, _joined(item)])


def _read_line(line: str, named: bool, weak: str | None, last: int) -> tuple[int | None, str]:
    """The line's ordinal (0 for a bullet, None where it is no item) and what follows its marker."""
    if named:
        return 0, line
    if weak is not None:
        return 0, weak
    return strong_marker(line, last) or (None, "" if is_rule(line) or _MARKDOWN_HEADING.match(line) else line)


def _bare_items(lines: list[str]) -> Iterator[str]:
    """Lines without markers, less the preamble, headings and a closing remark; nothing of a refusal."""
    kept = [line.strip() for line in lines if line.strip() and not is_rule(line)]
    texts = [line for line in kept if not _MARKDOWN_HEADING.match(line)]
    kept = texts or kept
    if not kept or is_refusal(kept[0]):
        return
    if len(kept) > 1 and (kept[0].endswith((":", "：", "﹕")) or is_preamble(kept[0])):
        del kept[0]
    if len(kept) > 1 and _CLOSING_REMARK.match(kept[-1]):
        del kept[-1]
    yield from kept


def _second_markers(items: list[str]) -> list[str]:
    """Without the numbers that stand after bullets, where they count up from 1 on every item ("- 1. …")."""
    seconds = [strong_marker(item) for item in items]
    if len(items) > 1 and all(second and second[0] == i for i, second in enumerate(seconds, 1)):
        return [second[1] for second in seconds if second]
    return items


def is_preamble(line: str) -> bool:
    """Whether a line announces what follows it."""
    return _PREAMBLE.match(line) is not None


def kind_of(name: str) -> ClueKind:
    """The kind of clue that a heading or a JSON key names: "Surrogate questions", "答案", "A1"; a span without a hint."""
    name = name.casefold()
    if any(part in name for part in _QUESTION_NAMES) or name.strip(" :：.*#0123456789") == "q":
        return "question"
    if any(part in name for part in _ANSWER_NAMES) or name.strip(" :：.*#0123456789") == "a":
        return "answer"
    return "span"


def _joined(lines: list[str]) -> str:
    """The lines of one item: a blank between two of them, unless the script sets none."""
    parts = lines[:1]
    last = lines[0][-1:]
    for line in lines[1:]:
        parts += [line] if _is_wide(last or " ") and _is_wide(line[0]) else [" ", line]
        last = line[-1]
    return "".join(parts)


def _is_wide(character: str) -> bool:
    """Whether a character belongs to a script that is written without blanks."""
    return unicodedata.east_asian_width(character) in "WF" and not "가" <= character <= "힣"
