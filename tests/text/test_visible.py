"""Control characters become escapes that can be seen, in text, in lines and in JSON."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.text.visible import visible, visible_json, visible_line

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ESCAPES = {
    "\x1b[2J\x1b[31mred": "\\x1b[2J\\x1b[31mred",
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "\x1b]8;;http://evil\x1b\\link": "\\x1b]8;;http://evil\\x1b\\link",
    "over\rwritten": "over\\rwritten",
    "back\x08\x08\x7f": "back\\x08\\x08\\x7f",
    "\x9b31m, \x85, \x90": "\\x9b31m, \\x85, \\x90",
    "gpj.\u202eexe": "gpj.\\u202eexe",
    "\u2066a\u2069\u200f": "\\u2066a\\u2069\\u200f",
    "a\u2028b\u2029": "a\\u2028b\\u2029",
    "\x00\x0b\x0c": "\\x00\\x0b\\x0c",
    "name\udcff.txt": "name\\udcff.txt",
}


@pytest.mark.parametrize("text", ESCAPES)
def test_escapes(text):
    assert visible(text) == visible_line(text) == ESCAPES[text]


@pytest.mark.parametrize("text", ["plain", "ünïcode 下雨了 שלום สวัสดี", "क्‍ष", "👩‍👩‍👧", "1\u00a0000", "\\x1b"])
def test_what_is_no_control_character_stays(text):
    assert visible(text) == visible_line(text) == text


def test_lines():
    assert visible("a\n\tb\r\nc\rd") == "a\n\tb\nc\\rd"
    assert visible_line("a\n\tb\r\nc") == "a\\n\\tb\\r\\nc"


def is_safe(text: str, allowed: str = "\n\t") -> bool:
    return not any(
        (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in ("LRE", "RLE", "PDF",
         "LRO", "RLO", "LRI", "RLI", "FSI", "PDI") or c in BIDI) and c not in allowed
        for c in text
    )  # fmt: skip


@given(
    st.text(st.characters() | st.sampled_from([*BIDI, *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\ud800"]))
)
def test_no_control_character_passes(text):
    assert is_safe(visible(text))
    assert is_safe(visible_line(text), "")
    assert visible(visible(text)) == visible(text)
    shown = visible_json({text: [text, {"inner": text}]})
    assert is_safe(shown, "\n")
    assert json.loads(shown) == {text: [text, {"inner": text}]}, "JSON keeps what it escapes"
