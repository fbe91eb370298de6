"""JSON as language models write it: unclosed, with single or typographic quotes, commas left over, prose around it.

Only strings matter here. One walk over the marks reads whole JSON exactly and of broken JSON what is there, in linear
time and without recursion. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST_KEY = 100
"""Characters of a key that count."""

_CLOSES = {'"': '"', "'": "'", "“": "”", "„": "”", "「": "」"}
# '{"spans": [', 'Clues: ["', 'json [', "{spans: …": a bracket that is followed by what JSON has there.
_JSON_START = re.compile(
    r"""^(?:[^\n\[{]{0,200}[:：]|json)?[ \t]*([\[{])(?=\s*(?:[\[{\]}"'“„「]|\w+\s*:))""", re.MULTILINE
)
# Every mark that JSON gives a meaning to: "{", "[", ",", ":", a quote.
_JSON_MARK = re.compile(r"""["'“„「\[\]{},:]""")
# What stands inside a string: `He said \"no\"`, and `He said "no" to it`, where the quote before " to" ends nothing, since
# neither a comma nor a bracket follows. The blanks after a quote give nothing back: thousands may follow it.
_STRING_END = {
    close: re.compile(
        rf"""(?:[^{close}\\]|\\.|{close}(?!\s*+(?:$|[\]}}:"'“„「\[{{]|,\s*+(?:$|[\w"'“„「\[{{\]}}-]))))*+""", re.S
    )
    for close in set(_CLOSES.values())
}
# "\n", "\u8c01"
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.S)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " ", '"': '"', "'": "'", "/": "/", "\\": "\\"}
# ', {"clue"': another value after the one that was closed.
_JSON_MORE = re.compile(r"[\s,]*[\[{]")
# ' :': the string before it was a key.
_COLON = re.compile(r"\s*:")


def _read_string(text: str, start: int, close: str) -> tuple[str, int, bool]:
    body = _STRING_END[close].match(text, start)
    end = body.end() if body else start
    value = _ESCAPE.sub(lambda m: _unescape(m.group(1)), text[start:end])
    if any("\ud800" <= char <= "\udfff" for char in value):
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    position = min(end + 1, len(text))
    return value, position, bool(_COLON.match(text, position))


def _unescape(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _ESCAPES.get(escape, "\\" + escape)


class JsonString(NamedTuple):
    """A string value: the number of the object or list it stands in, how deep that is, its own key there, and the
    nearest key around that ("" where there is none); keys are case-folded."""

    owner: int
    depth: int
    key: str
    section: str
    text: str


def find_json(text: str) -> int | None:
    """Where JSON begins: at a line's start, or after a colon within a line's first 200 characters; None without any."""
    start = _JSON_START.search(text)
    return start.start(1) if start else None


def read_json(text: str, start: int) -> tuple[list[JsonString], bool]:
    """Every string value from `start` on, and whether all brackets were closed."""
    values: list[JsonString] = []
    around: list[tuple[str, str, int]] = []  # key, section and owner outside each open bracket
    key, section, owner, serial = "", "", 0, 0
    position, last = start, ","
    while mark := _JSON_MARK.search(text, position):
        char, position = mark.group(), mark.end()
        if char in _CLOSES:
            if last not in ",:[{":
                continue
            value, position, is_key = _read_string(text, position, _CLOSES[char])
            if is_key:
                key = value[:LONGEST_KEY].casefold()
            else:
                values.append(JsonString(owner, len(around), key, section, value))
        elif char in "[{":
            serial += 1
            around.append((key, section, owner))
            key, section, owner = "", key or section, serial
        elif char in "]}" and around:
            key, section, owner = around.pop()
            if not around and not _JSON_MORE.match(text, position):
                break
        last = char
    return values, not around
