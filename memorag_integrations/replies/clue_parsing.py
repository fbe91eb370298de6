"""Clues out of whatever a language model wrote: one pure module for every memory.

A reply may be JSON (whole, half, or with comments around it), a list with bullets or numbers of any script, or bare
lines; before and between may stand thoughts, code fences, headings and polite phrases. No rule here counts blanks: a
Chinese, Japanese or Thai clue has none, and "Who opened it?" has two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..clues import ClueKind
from ..documents import clean_text
from .lenient_json import JsonString, find_json, read_json
from .list_markers import INVISIBLE, Line, inline_items, is_rule, strong_marker, weak_markers

MOST = 40
"""Clues taken of one kind, unless told otherwise."""
LONGEST = 2000
"""Characters after which a clue is cut, unless told otherwise."""


@dataclass(frozen=True)
class Reply:
    """What a reply says, by kind, each text once and in the order written.

    Args:
        spans: Texts that the model took for telling.
        questions: Surrogate questions.
        answer: The draft answer, or None.
        asked_form: Whether the reply was JSON, the form that our prompts ask for.
        warnings: What was wrong with the reply, in sentences for people.
    """

    spans: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    answer: str | None = None
    asked_form: bool = False
    warnings: tuple[str, ...] = ()


def parse_reply(text: str, *, most: int = MOST, longest: int = LONGEST) -> Reply:
    """The spans, questions and draft answer in a model's reply, in time linear in its length.

    Args:
        text: The reply as it came.
        most: Most clues kept of each kind.
        longest: Most characters kept of each.
    """
    pairs, asked_form, warnings = _read(text)
    found: dict[ClueKind, dict[str, str]] = {"span": {}, "question": {}, "answer": {}}
    cut = left = 0
    for kind, raw in pairs:
        item = _clean(raw[: 2 * longest + 100])
        if not _says_something(item):
            continue
        if len(found[kind]) >= most:
            left += 1
            continue
        cut += len(item) > longest or len(raw) > 2 * longest + 100
        found[kind].setdefault(_key(item), item[:longest].rstrip())
    if cut:
        warnings.append(f"{cut} clues were longer than {longest} characters and were cut there.")
    if left:
        warnings.append(f"The reply held more than {most} clues of a kind; {left} were left out.")
    spans, questions, answers = (tuple(found[kind].values()) for kind in ("span", "question", "answer"))
    return Reply(spans, questions, " ".join(answers)[:longest] or None, asked_form, tuple(warnings))


def parse_list(text: str, *, most: int = MOST, longest: int = LONGEST) -> list[str]:
    """All items of a reply that holds one list of clues, whatever its form; see `parse_reply`."""
    found: dict[str, str] = {}
    for _, raw in _read(text)[0]:
        item = _clean(raw[: 2 * longest + 100])
        if _says_something(item):
            found.setdefault(_key(item), item[:longest].rstrip())
        if len(found) == most:
            break
    return list(found.values())


def _read(text: str) -> tuple[Iterable[tuple[ClueKind, str]], bool, list[str]]:
    """Raw items with their kinds, whether they came as JSON, and warnings."""
    text, unfinished = strip_thoughts(clean_text(text))
    warnings = ["The model's thoughts filled the reply: give it more reply tokens."] if unfinished else []
    text = _unfence(text)
    start = find_json(text)
    if start is None or any(strong_marker(line) for line in text[:start].splitlines()):
        return _list_pairs(text), False, warnings
    values, whole = read_json(text, start)
    if not whole:
        warnings.append("The reply broke off inside its JSON; what was complete was used.")
    return _json_pairs(values), True, warnings


def parse_text(text: str) -> str:
    """A reply that is one running text, such as a gist, without thoughts, fences and wrapping marks; "" for a refusal."""
    text = _clean(_unfence(strip_thoughts(clean_text(text))[0]))
    head, colon, rest = text.partition("\n")
    if colon and head.rstrip().endswith((":", "：")) and _PREAMBLE.match(head):
        text = rest.strip()
    return "" if is_refusal(text) or not _says_something(text) else text


def is_refusal(text: str) -> bool:
    """Whether a model says that it cannot, will not, or found nothing."""
    return bool(_REFUSAL.match(text.strip())) or _is_nothing(text)


# ---- thoughts and fences ------------------------------------------------------------------------------------------

_THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[think]", "[/think]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*$", re.MULTILINE)


def strip_thoughts(text: str) -> tuple[str, bool]:
    """`text` without a reasoning model's thoughts, and whether they were still going on where it ends.

    A closing mark alone ends thoughts that the chat template had opened.
    """
    for opening, closing in _THOUGHTS:
        parts: list[str] = []
        begin = 0
        opens = re.compile(r"^[ \t]*" + re.escape(opening), re.MULTILINE | re.IGNORECASE)
        closes = re.compile(re.escape(closing), re.IGNORECASE)
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


def _unfence(text: str) -> str:
    """Without code fences: what stands in them alone, unless the list stands outside."""
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


# ---- JSON ---------------------------------------------------------------------------------------------------------

_TEXT_KEYS = frozenset(
    ("clue", "text", "span", "quote", "question", "query", "content", "value", "answer", "sentence", "线索")
)


def _json_pairs(values: list[JsonString]) -> Iterator[tuple[ClueKind, str]]:
    """Of an object that stands in a list, {"clue": …, "reason": …}, only the member that is the clue."""
    chosen: dict[int, str] = {}
    for value in values:
        if value.key in _TEXT_KEYS and value.depth > 1:
            chosen.setdefault(value.owner, value.key)
    for value in values:
        if chosen.get(value.owner, value.key) == value.key:
            kind = _kind(value.section)
            yield _kind(value.key) if kind == "span" else kind, value.text


# ---- lists and lines ----------------------------------------------------------------------------------------------

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
_HEADING = re.compile(
    rf"^[\s#*_>\-•]*(?:(?:the |draft |short |key |relevant |text |span |surrogate |sharper )*(?:{_NAMES})\w{{0,3}}"
    r"\s?[#(（]?\d{0,3}[)）]?[\s*_]*(?:[:：．][\s*_]*(?P<rest>.*)|$)|[qa]\d{0,3}[:：．]\s*(?P<short>.*))$",
    re.IGNORECASE | re.DOTALL,
)
_MARKDOWN_HEADING = re.compile(r"^\s{0,3}#{1,6}\s|^\s*\*\*[^*]+\*\*\s*[:：]?\s*$|^\s*</?[\w-]+>\s*$")
_CLOSING_REMARK = re.compile(
    r"(?:let me know|i hope|hope (?:this|that)|feel free|希望(?:这些|以上|對你|对你)|如(?:需|有))", re.IGNORECASE
)
_PREAMBLE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok|absolutely)[,.!:]?\s+)?(?:here (?:are|is|you go)|below (?:are|is)|"
    r"the following (?:are|is))\b.{0,200}$|(?:好的|当然|當然)?[，,！!。]?(?:以下|下面)(?:是|为|為).{0,200}$",
    re.IGNORECASE,
)


def _list_pairs(text: str) -> Iterator[tuple[ClueKind, str]]:
    """Items of a reply in lines, with the kind that the heading above them names."""
    sections: list[tuple[ClueKind | None, list[Line]]] = [(None, [])]
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading is None:
            sections[-1][1].append((line, False))
            continue
        rest = heading.group("rest") or heading.group("short") or ""
        kind = _kind(line[: len(line) - len(rest)])
        if not sections[-1][1] or sections[-1][0] != kind or not rest:
            sections.append((kind, []))
        if rest.strip():
            sections[-1][1].append((rest, True))
    for named, lines in sections:
        if named == "answer":
            answer = _clean("\n".join(line for line, _ in lines).strip())
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
    item, blank = parsed[first][1], False
    items = []
    for i, (ordinal, rest) in enumerate(parsed[first + 1 :], first + 1):
        if ordinal is not None:
            items.append(item)
            item, blank = rest, False
        elif not rest.strip():
            blank = True
        elif i < marked[-1] or not blank or lines[i][0][:2].isspace():
            item = _join(item, rest.strip())
    yield from _second_markers([*items, item])


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
    headings = [line for line in kept if _MARKDOWN_HEADING.match(line)]
    if len(headings) < len(kept):
        kept = [line for line in kept if line not in headings]
    if not kept or is_refusal(kept[0]):
        return
    if len(kept) > 1 and (kept[0].endswith((":", "：", "﹕")) or _PREAMBLE.match(kept[0])):
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


# ---- single items -------------------------------------------------------------------------------------------------

_EDGE = INVISIBLE.replace("\u200c", "").replace("\u200d", "")
_QUOTES = {
    **{
        '"': '"',
        "'": "'",
        "“": "”",
        "‘": "’",
        "„": "“”",
        "‚": "‘’",
        "«": "»",
        "»": "«",
        "‹": "›",
        "「": "」",
        "『": "』",
    },
    **{"〝": "〞〟", "＂": "＂", "`": "`", "”": "”", "｢": "｣"},
}
_TAGGED = re.compile(r"<([\w-]{1,20})>(.*)</\1>", re.DOTALL)
_NOTHING = frozenset(
    (
        *(
            "none",
            "n/a",
            "na",
            "nil",
            "null",
            "nothing",
            "no clues",
            "no clue",
            "no answer",
            "unknown",
            "not found",
            "empty",
        ),
        *(
            "无",
            "無",
            "没有",
            "没有线索",
            "无线索",
            "無し",
            "なし",
            "ありません",
            "없음",
            "нет",
            "ninguno",
            "ninguna",
            "aucun",
        ),
        *("aucune", "keine", "kein", "ไม่มี", "لا يوجد"),
    )
)
_REFUSAL = re.compile(
    r"(?:i(?:'|’)?m sorry|i am sorry|sorry[,.]|i apologi[sz]e|i (?:cannot|can(?:'|’)t|can not|am unable|"
    r"(?:'|’)?m unable|won(?:'|’)t|do not have|don(?:'|’)t have|could(?: not|n(?:'|’)t) find)|"
    r"as an ai\b|unfortunately,? i|"
    r"(?:there (?:is|are)|i see|i found) no (?:relevant|clues?|information|mention)|"
    r"no (?:relevant|clues? (?:were|was|found))|"
    r"(?:the )?(?:text|document|passage|context|article) (?:does not|doesn(?:'|’)t|did not) "
    r"(?:mention|contain|say|provide|include|state|specify|answer)|"
    r"not (?:mentioned|stated|specified|found|given) in the|"
    r"抱歉|对不起|對不起|很遗憾|很遺憾|我(?:无法|不能|無法)|作为(?:一个)?(?:ai|人工智能)|文(?:中|本|档)(?:没有|并?未)|"
    r"(?:未|没有)(?:找到|提及|提到)|"
    r"申し訳|すみません|ごめんなさい|죄송|lo siento|no puedo|désolé|je ne peux|es tut mir leid|"
    r"ich kann (?:das|nicht|leider)|"
    r"извините|к сожалению|я не могу|ขออภัย|عذر|آسف)",
    re.IGNORECASE,
)


def _clean(item: str) -> str:
    """An item without the marks that wrap the whole of it: blanks, bold, quotes, a tag, a comma after the quote."""
    previous = None
    while item != previous:
        previous = item
        item = item.strip(_EDGE)
        if item.startswith("**") and (end := item.find("**", 2)) > 2:
            item = item[2:end] + item[end + 2 :]
        if tagged := _TAGGED.fullmatch(item):
            item = tagged.group(2)
        bare = item[:-1].rstrip() if item.endswith((",", "，", ";", "；")) else item
        closes = _QUOTES.get(bare[:1], "")
        if len(bare) > 1 and bare[-1] in closes and not any(mark in bare[1:-1] for mark in {bare[0], *closes}):
            item = bare[1:-1]
    return item


def _says_something(item: str) -> bool:
    return any(char.isalnum() for char in item) and not _is_nothing(item)


def _is_nothing(item: str) -> bool:
    return item.strip(_EDGE + ".。!！[](){}\"'").casefold() in _NOTHING


def _key(item: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", item).casefold().split())


def _kind(name: str) -> ClueKind:
    name = name.casefold()
    if any(part in name for part in _QUESTION_NAMES) or name.strip(" :：.*#0123456789") == "q":
        return "question"
    if any(part in name for part in _ANSWER_NAMES) or name.strip(" :：.*#0123456789") == "a":
        return "answer"
    return "span"


def _join(head: str, tail: str) -> str:
    """Two lines of one item: a blank between them, unless the script sets none."""
    wide = all(
        unicodedata.east_asian_width(char) in "WF" and not "가" <= char <= "힣" for char in (head[-1:] or " ") + tail[0]
    )
    return head + tail if wide else f"{head} {tail}"
