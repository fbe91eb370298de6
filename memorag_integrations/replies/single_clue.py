"""One clue: the marks that wrap it taken off, and whether it says anything or refuses to. Pure."""

from __future__ import annotations

import re
import unicodedata

from .list_markers import INVISIBLE

MOST_LAYERS = 16
"""Wrapping marks taken off one clue, one inside another."""

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
# "<clue>Ann left</clue>" gives "Ann left" as group 2.
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
# "I'm sorry, but …", "The text does not mention …", "抱歉，…": how a reply begins that gives nothing.
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


def clean(item: str) -> str:
    """An item without the marks that wrap the whole of it: blanks, bold, quotes, a tag, a comma after the quote.

    At most `MOST_LAYERS` of them are taken off: the time is linear in the length, however deep they are nested.
    """
    for _ in range(MOST_LAYERS):
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
        if item == previous:
            break
    return item.strip(_EDGE)


def says_something(item: str) -> bool:
    """Whether an item holds a letter or a digit, and more than "none"."""
    return any(char.isalnum() for char in item) and not _is_nothing(item)


def _is_nothing(item: str) -> bool:
    return item.strip(_EDGE + ".。!！[](){}\"'").casefold() in _NOTHING


def comparison_key(item: str) -> str:
    """What is equal for two clues that differ in case, width of letters or blanks alone."""
    return " ".join(unicodedata.normalize("NFKC", item).casefold().split())


def is_refusal(text: str) -> bool:
    """Whether a model says that it cannot, will not, or found nothing."""
    return bool(_REFUSAL.match(text.strip())) or _is_nothing(text)
