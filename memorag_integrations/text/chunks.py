"""A text cut into chunks: a word, a number, an identifier, a run of a script without blanks. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from .folding import normalize
from .scripts import WITHOUT_BLANKS, marks

UNSPACED = re.compile(rf"[{WITHOUT_BLANKS}]")
"""A character of a script written without blanks, such as "灯"."""

_RUN = re.compile(rf"[{WITHOUT_BLANKS}]+")  # "看守人"
_PAIRS = re.compile(rf"(?=([{WITHOUT_BLANKS}]{{2}}))")  # "看守", "守人" of "看守人"
_RUNS = re.compile(rf"[{WITHOUT_BLANKS}]+|[^{WITHOUT_BLANKS}]+")  # "Python", "入門", "guide" of "Python入門guide"


def chunks_of(text: str) -> list[str]:
    """The chunks of a text, normalised but for case, in order.

    A run of a script without blanks is one with the letters beside it ("Python入門"); see `split_scripts`.
    """
    return cut(normalize(text))


def cut(text: str) -> list[str]:
    """The chunks of a text that is normalised."""
    return (_ASCII if text.isascii() else _pattern()).findall(text)


def take_unspaced(text: str) -> tuple[list[str], str]:
    """The terms of the runs of a script without blanks in a normalised text, and the text without these runs.

    The terms are the pairs of neighbours, repeats kept, and the single characters, each once.
    """
    if text.isascii() or not UNSPACED.search(text):
        return [], text
    singles = sorted(UNSPACED.findall("".join(set(text))))
    return [*_PAIRS.findall(text), *singles], _RUN.sub("|", text)  # "|" joins nothing and parts what it stands between


def split_scripts(chunk: str) -> list[str]:
    """Runs of characters of scripts without blanks, and what stands between them."""
    return _RUNS.findall(chunk)


def _chunk_pattern(letter: str, flags: int = 0) -> re.Pattern[str]:
    """What a text is cut into, the longest kinds first.

    Args:
        letter: The character class of letters, digits, underscores and marks.
    """
    return re.compile(
        r"[a-z]+(?=[ \n])"  # what most chunks are
        r"|(?:https?|ftp)://[^\s<>\"']+|www\.[^\s<>\"']+"  # https://example.org/a?b=c
        rf"|[A-Z]{{1,6}} \d{letter}*(?:[.\-]{letter}+)*\b(?![,:/]\d)(?: [A-Z]\b)?"  # PEP 3107, AX 4410 B
        rf"|§+ ?\d{letter}*(?: ?\({letter}{{1,4}}\))*"  # § 12 (3)
        rf"|\d{{1,3}}(?: \d{{3}}){{2,}}(?!{letter})"  # 1 250 000
        rf"|\d+[a-z]?(?: ?\({letter}{{1,4}}\))+"  # 12(3)(a)
        rf"|\.(?<!{letter}\.)(?<!\.\.)[A-Za-z]{letter}*"  # .NET
        # lamp, keeper's, Wi-Fi, infor-⏎mation, 1,250,000, foo_bar.py, jane@example.org, C++, C#
        rf"|{letter}+(?:(?:[-.,:'@/&]|::|-[ \t]*\r?\n[ \t]*){letter}+)*(?:\+\+\d*|[+#](?!{letter}|[+#]))?",
        flags,
    )


_ASCII = _chunk_pattern(r"\w", re.ASCII)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    return _chunk_pattern(rf"[\w{marks()}]")
