"""Text from anybody, as it may be shown: what would steer a terminal, reorder a line or forge one becomes an escape."""

from __future__ import annotations

import json
import re
from typing import Any

_CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, delete, C1: ESC [ 2 J, the carriage return, CSI in one byte
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the order of a line: right-to-left override, isolates, marks
    "\u2028\u2029"  # line and paragraph separator
    "\u206a-\u206f\ufff9-\ufffb"  # deprecated format characters, annotations
    "\ud800-\udfff"  # lone surrogates, such as bytes of a file's name that are no UTF-8
)
_BLOCK = re.compile(f"[{_CONTROL}]")
_LINE = re.compile(f"[{_CONTROL}\t\n]")


def visible(text: str) -> str:
    """`text`, maybe of several lines, with every control character as a visible escape: "\\x1b", "\\u202e".

    Newlines and tabs stay; a newline as Windows writes it becomes a plain one.
    """
    return _BLOCK.sub(_escape, text.replace("\r\n", "\n"))


def visible_line(text: str) -> str:
    """`visible` for what belongs into a line, such as a name or an id: newlines and tabs are escaped, too."""
    return _LINE.sub(_escape, text)


def visible_json(value: Any) -> str:
    """`value` as JSON of several lines, with every control character of its texts escaped as JSON does."""
    shown = json.dumps(value, ensure_ascii=False, indent=2)
    return _BLOCK.sub(lambda match: f"\\u{ord(match.group()):04x}", shown)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(match.group()) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    )
