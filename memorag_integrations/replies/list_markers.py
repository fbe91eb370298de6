"""List markers of any script: which lines begin an item, and what follows the marker. Pure.

Some beginnings can be nothing else ("1.", "①", "•"). Others are words as well, "A. Smith", "I. Newton", "三、四月":
letters, Roman and Chinese numerals count as markers only where several lines count up from the first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2060\u2066\u2067\u2068\u2069 \t\r\n\f\v\u3000\xa0"

# "• text", "- text", "ⓐ text"
_BULLET = re.compile(
    r"[•◦‣⁃▪▫●○■□◆◇★☆►▶▸▷➢➤➔✓✔✅☑∙⦁・。\u249c-\u24e9\u3200-\u321b\u3260-\u327b\u32d0-\u32fe]\s*|[-*+–—‒−·→>»]\s+"
)
# "[ ] text", "[x] text", after a bullet
_CHECKBOX = re.compile(r"\[[ xX]?\]\s+")
# "① text", "⒈text"
_CIRCLED = re.compile(
    r"([\u2460-\u249b\u24eb-\u24ff\u2776-\u2793\u3220-\u3229\u3251-\u325f\u3280-\u3289\u32b1-\u32bf])[.、)）:：]?\s*"
)
# "1️⃣ text"
_KEYCAP = re.compile(r"(\d)\ufe0f?\u20e3\s*")
# "1. text", "(1) text", "1、text", "**1.** text", "1 - text"; not "1.5 million"
_NUMBER = re.compile(
    r"(?:[#№]\s?)?(?:[(（\[【〔]\s?(\d{1,5})\s?[)）\]】〕][.、:：]?|"
    r"\**(\d{1,5})\s?(?:[.．:：·](?!\d)|[)）、।。،\]]|\s[-–—](?=\s)|[-–—](?=\s)))\**\s*"
)
# "a) text", "(iv) text", "第三、text", "가. text"
_LETTER = re.compile(
    r"(?:[(（]\s?|第)?([^\W\d_]{1,5})[\u0300-\u036f]?\s?(?:[)）、।，]|[.．:：،](?=\s|[^\x00-\x7f])|[-–—](?=\s))\s*"
)
_CJK_DIGITS = "一二三四五六七八九"
_CJK_TENS = ["十", *(f"{ten}十" for ten in _CJK_DIGITS[1:])]
# Letters and numerals in the order in which each script counts with them.
_ORDERS: tuple[tuple[str, ...], ...] = (
    (*_CJK_DIGITS, *(ten + one for ten in _CJK_TENS for one in ("", *_CJK_DIGITS))),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii"),
    *map(
        tuple,
        (
            *("abcdefghijklmnopqrstuvwxyz", "αβγδεζηθικλμνξοπρστυφχψω", "абвгдежзийклмнопрстуфхцчшщэюя"),
            *("абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "אבגדהוזחטיכלמנסעפצקרשת", "أبتثجحخدذرزسشصضطظعغفقكلمنهوي"),
            *("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", "أبجدهوزحطيكلمنسعفصقرشت", "ابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی"),
            *(
                "กขคงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮ",
                "가나다라마바사아자차카타파하",
                "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ",
            ),
            *(
                "アイウエオカキクケコサシスセソタチツテト",
                "あいうえおかきくけこさしすせそたちつてと",
                "イロハニホヘトチリヌルヲ",
            ),
            *("甲乙丙丁戊己庚辛壬癸", "कखगघङचछजझञटठडढणतथदधनपफबभमयरलवशषसह", "কখগঘঙচছজঝঞটঠডঢণতথদধনপফবভমযরলশষসহ"),
            *("அஆஇஈஉஊஎஏஐஒஓஔ", "కఖగఘఙచఛజఝఞటఠడఢణతథదధనపఫబభమ", "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"),
            *("աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ",),
        ),
    ),
)
Line = tuple[str, bool]
"""A line of a section, and whether a name with a number ("Clue 3:") already marked it as an item."""


def strong_marker(line: str, last: int = 0) -> tuple[int, str] | None:
    """Ordinal and rest of a line whose beginning can be nothing but a list marker; `last` is the ordinal before it."""
    line = line.strip(INVISIBLE)
    if is_rule(line):
        return None
    if bullet := _BULLET.match(line):
        rest = line[bullet.end() :]
        box = _CHECKBOX.match(rest)
        return 0, rest[box.end() :] if box else rest
    if circled := _CIRCLED.match(line):
        return int(unicodedata.numeric(circled.group(1))), line[circled.end() :]
    number = _KEYCAP.match(line) or _NUMBER.match(line)
    if number is None or not line[number.end() :].strip():
        return None
    ordinal = int(next(filter(None, number.groups())))
    is_year = 1500 <= ordinal <= 2100 and ordinal != last + 1
    return None if is_year else (ordinal, line[number.end() :])


def weak_markers(lines: Sequence[Line]) -> dict[int, str]:
    """Lines that begin with a letter, a Roman or a Chinese numeral as a marker, where these count up from the first."""
    marked_lines = [
        (i, match.group(1).casefold(), line.strip()[match.end() :])
        for i, (line, named) in enumerate(lines)
        if not named and strong_marker(line) is None and (match := _LETTER.match(line.strip(INVISIBLE)))
    ]
    ranks: dict[int, list[tuple[int, int, str]]] = {}
    for i, token, rest in marked_lines:
        for number, rank in _ranks().get(token, ()):
            ranks.setdefault(number, []).append((i, rank, rest))
    for _, marked in sorted(ranks.items()):
        if len(marked) > 1 and marked[0][1] == 0 and all(a[1] < b[1] for a, b in pairwise(marked)):
            return {i: rest for i, _, rest in marked}
    return {}


@lru_cache(maxsize=1)
def _ranks() -> dict[str, list[tuple[int, int]]]:
    """For each token, the orders of `_ORDERS` that hold it, and its place there."""
    ranks: dict[str, list[tuple[int, int]]] = {}
    for number, order in enumerate(_ORDERS):
        for token in dict.fromkeys(order):
            ranks.setdefault(token, []).append((number, order.index(token)))
    return ranks


def inline_items(line: str) -> list[str]:
    """The items of a list written on one line, "(1) … (2) … (3) …", where three or more count up from 1; else none."""
    marks: list[re.Match[str]] = []
    for mark in _INLINE.finditer(line):
        digits = "".join(char for char in mark.group() if char.isdecimal())
        ordinal = int(digits or unicodedata.numeric(mark.group()[0]))
        if ordinal == len(marks) + 1 and (not marks or mark.group()[-1:].isspace() == marks[0].group()[-1:].isspace()):
            marks.append(mark)
    if len(marks) < 3 or line[: marks[0].start()].strip():
        return []
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    return [line[mark.end() : end].strip(" ;；,，") for mark, end in zip(marks, ends, strict=True)]


# "(1) text (2) text", "1. text 2. text", "①text②text"
_INLINE = re.compile(r"[(（]\d{1,2}[)）]\s?|(?<![\d.])\d{1,2}[.)、](?!\d)\s?|[\u2460-\u2473\u2776-\u277f]\s?")


def is_rule(line: str) -> bool:
    """A line of dashes or other marks alone, as between sections."""
    line = line.strip()
    return len(line) > 1 and not any(char.isalnum() for char in line[:200])
