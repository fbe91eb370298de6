"""Identifiers: part numbers, versions, numbers, file names, code names; the forms under which each is found. Pure.

An identifier has one whole form, in which what people write or leave out is left out, and parts. "AX-4410-B", "AX4410B"
and "ax 4410 b" have the whole form "ax4410b". Signs between digits stay, so that 14.2.1.0 is not 14.2.0.1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_PARTS = 8
"""Parts up to which an identifier has parts at all; a checksum or a key of random characters has only its whole form."""

COMMA_DECIMAL = frozenset(
    [
        "ca",
        "cs",
        "da",
        "de",
        "el",
        "es",
        "et",
        "eu",
        "fi",
        "fr",
        "hr",
        "hu",
        "id",
        "is",
        "it",
        "lt",
        "lv",
        "nl",
        "no",
        "pl",
        "pt",
        "ro",
        "ru",
        "sk",
        "sl",
        "sr",
        "sv",
        "tr",
        "uk",
    ]
)
"""Languages that write 3,5 for three and a half, and 1.250 for a thousand more than 250."""

_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?")  # 1,250,000.50 and 12,50,000
_GROUPED_BY_POINT = re.compile(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}\.\d{3},\d+")  # 1.250.000 and 1.250,50
_GROUPED_BY_APOSTROPHE = re.compile(r"\d{1,3}(?:'\d{3})+(?:[.,]\d+)?")  # 1'250'000
_GROUPED_BY_BLANK = re.compile(r"\d{1,3}(?: \d{3})+")  # 1 250 000
_ONE_GROUP = re.compile(r"\d{1,3}\.\d{3}")  # 1.250
_DECIMAL_COMMA = re.compile(r"\d+,\d+")  # 3,35
_POINTED = re.compile(r"\d+(?:\.\d+)*")  # 14.2.1.0
_HUMPS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # "read", "File" of "readFile"; "HTTP", "Server" of "HTTPServer"
_RUNS = re.compile(r"\d+(?:\.\d+)*|[^\W\d_]+")  # "AX", "4410", "B" of "AX4410B"; "v", "2.0.0" of "v2.0.0"
# A sign between two pieces, unless digits stand on both sides: "-" of "AX-4410", "." of "Node.js", not "." of "2.0".
_SEPARATOR = re.compile(r"-\s*|[&']|(?<!\d)[.,:]+|[.,:]+(?!\d)")
_SIGN = re.compile(r"[^\w]|_")


class Identifier(NamedTuple):
    """Forms of an identifier.

    Args:
        wholes: Terms that stand for all of it.
        numbers: Terms that stand for a number in it, or for the beginning of one.
        words: Words in it, with their case.
    """

    wholes: list[str]
    numbers: list[str]
    words: list[str]


def number_forms(number: str, language: str) -> Identifier:
    """Forms of digits with signs between them.

    Groups of thousands are joined: 1,250,000 is 1250000. A version, an address or a decimal has itself and its
    beginnings (14.2 finds 14.2.1.0), never its parts in another order. Dates and ranges have their parts.
    """
    if _GROUPED_BY_APOSTROPHE.fullmatch(number):
        number = number.replace("'", "")
    if _GROUPED.fullmatch(number):
        return _pointed(number.replace(",", ""))
    if _GROUPED_BY_POINT.fullmatch(number):  # or a version, or an address
        found = _pointed(number.replace(".", "").replace(",", "."))
        return found if "," in number else _merged(found, _pointed(number))
    if _DECIMAL_COMMA.fullmatch(number):
        found = _pointed(number.replace(",", "."))
        return found._replace(numbers=[*found.numbers, number.split(",")[1]])
    if _POINTED.fullmatch(number):
        found = _pointed(number)
        if _ONE_GROUP.fullmatch(number) and language in COMMA_DECIMAL:
            found.wholes.append(number.replace(".", ""))
        return found
    if _GROUPED_BY_BLANK.fullmatch(number):
        return Identifier([number.replace(" ", "")], number.split(" "), [])
    parts = _SIGN.split(re.sub(r"\s", "", number))
    digits = "".join(parts)
    numbers = [
        form for part in re.split(r"[^\d.]+", number) if part.strip(".") for form in _all(_pointed(part.strip(".")))
    ]
    wholes = [re.sub(r"\s", "", number)]
    if len(digits) >= 7:  # a date, a telephone or book number: also written without signs
        wholes.append(digits)
    return Identifier(wholes, numbers, [])


def name_forms(name: str) -> Identifier:
    """Forms of letters and digits with signs, humps or underscores between them.

    "readFile", "read_file" and "read-file" have the whole form "readfile"; "v2.0.0-rc1" has "v2.0.0rc1" and "2.0.0rc1".
    """
    pieces = [piece for piece in _SEPARATOR.split(name) if piece]
    whole = _join(pieces)
    wholes = [whole]
    if whole[0] == "v" and whole[1:2].isdigit():
        wholes.append(whole[1:])
    numbers: list[str] = []
    words: list[str] = []
    runs = [_pieces_of(piece) for piece in pieces]
    if sum(map(len, runs)) > MOST_PARTS:
        return Identifier(wholes, [], pieces if all(piece.isalpha() for piece in pieces) else [])
    for piece, parts in zip(pieces, runs, strict=True):
        if len(pieces) > 1 and len(parts) > 1:
            wholes.append(_join([piece]))
        for part in parts:
            if part[0].isdigit():
                numbers += _all(_pointed(part))
            else:
                words.append(part)
    return Identifier(wholes, numbers, words)


def _pieces_of(piece: str) -> list[str]:
    """Runs of digits and of letters; runs of letters at their humps, looked for in ASCII alone."""
    parts: list[str] = []
    for run in _RUNS.findall(piece):
        parts += _HUMPS.findall(run) if run.isascii() and not run[0].isdigit() else [run]
    return parts


def _join(pieces: list[str]) -> str:
    """Pieces without what stands between them, but a hyphen stays between two digits: 1-12 is not 11-2."""
    out = ""
    for piece in pieces:
        between = "-" if out and out[-1].isdigit() and piece[0].isdigit() else ""
        out += between + piece.replace("_", "")
    return out.lower() if out.isascii() else out.casefold()


def _pointed(number: str) -> Identifier:
    """A number with points: itself, its beginnings, and what is long enough to be asked for alone, such as a year."""
    parts = number.split(".")
    beginnings = [".".join(parts[:end]) for end in range(1, len(parts))][:MOST_PARTS]
    return Identifier([number], beginnings + [part for part in parts[1:] if len(part) >= 4], [])


def _merged(one: Identifier, other: Identifier) -> Identifier:
    return Identifier(one.wholes + other.wholes, one.numbers + other.numbers, one.words + other.words)


def _all(identifier: Identifier) -> list[str]:
    return [*identifier.wholes, *identifier.numbers]
