"""Which passages say the same to a reader, so that one of them stands for both.

Near-alike is not the same: two yearly versions of a policy share nine words of ten, and the tenth is the answer. Two
passages repeat each other only where

- their words, numbers and symbols are the same, in the same order. White space, case and punctuation do not count, nor
  does the English article;
- or one of them stands inside the other, and ends where a sentence of the other ends or where it was cut itself.

Any other word, number, sign or symbol that differs keeps both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

from ..text.scripts import WITHOUT_BLANKS
from ..text.sentences import sentences

Repeats = Literal["collapse", "keep"]
"""Whether passages that say the same are one piece of evidence, or as many as there are."""

SHINGLE = 5
"""Tokens from which a passage is looked for inside another; a shorter one ("Yes.") repeats only its equal."""

LONG = 20
"""Tokens from which a passage may have been cut out of the other in the middle of a sentence."""

_MEANT = re.compile(
    r"(?<=\d)[^\w\s](?=\d)"  # "14.2", "10:30", "2022-2024": what stands between digits
    r"|(?<![\w)\]])[-−–](?=[^\w\s]?\d)"  # "-5", "-€5"
    r"|(?<=\w)\#"  # "C#"
    r"|(?<!\w)!(?=\w)"  # "!ready"
)
"""Punctuation that a number or a name cannot do without."""

_DASHES = dict.fromkeys(map(ord, "−–—‑"), "-")
_PROTECTED = 0xF0000
"""Where punctuation that is meant is moved to: a plane of private use, which counts as letters."""

_UNSPACED = re.compile(f"[{WITHOUT_BLANKS}]")  # "学"
_FINAL = ".!?…。！？؟।"
_CLOSING = "\"'”’»)]】』」 \t\n"


class _Folding(dict[int, str | None]):
    """What each character becomes in the text that is compared, by code point; filled as characters are met."""

    def __missing__(self, code: int) -> str | None:
        self[code] = folded = _fold(chr(code))
        return folded


def _fold(character: str) -> str | None:
    kind = unicodedata.category(character)
    if kind == "Cf" or "\ufe00" <= character <= "\ufe0f":  # soft hyphens, joiners, variation selectors
        return None
    if kind in ("Zs", "Zl", "Zp", "Cc", "Sk") or character == "|":  # a table's lines, an accent that stands alone
        return " "
    if kind[0] == "P" and character not in "%‰":
        return " "
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith(("<super>", "<sub>", "<fraction>", "<circle>")):  # m² is not m2, 10⁵ is not 105
        return character
    folded = unicodedata.normalize("NFKC", character).casefold()
    alone = kind[0] == "S" or character in "%‰" or _UNSPACED.match(character)
    return f" {folded} " if alone else folded


_FOLDING = _Folding()


def tokens(text: str) -> list[str]:
    """The words, numbers and symbols of a text as a reader takes them, in order; a text of punctuation alone is one.

    Characters of scripts that are written without blanks are one token each.
    """
    meant = _MEANT.sub(lambda sign: _protected(sign.group()), text)
    found = unicodedata.normalize("NFC", meant.translate(_FOLDING)).split()
    return [token for token in found if token != "the"] or found or ["".join(text.split())]


def _protected(sign: str) -> str:
    """A character that is kept as a letter is; one beyond the basic plane, which has no place there, stays itself."""
    code = ord(sign.translate(_DASHES))
    return chr(_PROTECTED + code) if code <= 0xFFFF else sign


class Wording:
    """A passage's text as it is compared.

    Args:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self.tokens = tokens(text)

    @cached_property
    def joined(self) -> str:
        """The tokens with one blank before, between and after them."""
        return f" {' '.join(self.tokens)} "

    @cached_property
    def shingles(self) -> Sequence[int]:
        """Hashes of every run of `SHINGLE` tokens, in order."""
        return [hash(run) for run in zip(*(self.tokens[at:] for at in range(SHINGLE)), strict=False)]

    @property
    def anchor(self) -> int | None:
        """The run of tokens by which it is looked for inside another; of a long text one that no cut has touched."""
        at = 1 if len(self.tokens) >= LONG else 0
        return self.shingles[at] if len(self.shingles) > at else None

    def inside(self, other: Wording) -> bool:
        """Whether it stands inside `other`, from the beginning of a sentence there to the end of one.

        A long text that begins without a capital, or ends without a full stop, may have been cut out of a sentence, or
        of a word.
        """
        if not SHINGLE <= len(self.tokens) <= len(other.tokens):
            return False
        cut_before, cut_after = self._cut
        starts, ends = other._borders
        return any(
            (cut_before or begin in starts) and (cut_after or begin + len(self.tokens) in ends)
            for begin in self._places(other, cut_before, cut_after)
        )

    def _places(self, other: Wording, cut_before: bool, cut_after: bool) -> Iterator[int]:
        """Numbers of the other's tokens at which this one's stand in a row."""
        before = "" if cut_before and self.tokens[0].isalpha() else " "
        after = "" if cut_after and self.tokens[-1].isalpha() else " "
        wanted = before + self.joined.strip() + after
        place = other.joined.find(wanted)
        while place >= 0:
            yield other.joined.count(" ", 0, place + len(before)) - 1
            place = other.joined.find(wanted, place + 1)

    @cached_property
    def _borders(self) -> tuple[set[int], set[int]]:
        """At which of its tokens a sentence begins, and before which one ends."""
        at, starts, ends = 0, {0}, {len(self.tokens)}
        for begin, end in sentences(self._text):
            starts.add(at)
            at += len(tokens(self._text[begin:end]))
            ends.add(at)
        return starts, ends

    @property
    def _cut(self) -> tuple[bool, bool]:
        """Whether it may begin, and end, in the middle of a sentence."""
        if len(self.tokens) < LONG:
            return False, False
        return not self._text[0].isupper(), self._text.rstrip(_CLOSING)[-1:] not in _FINAL


class Shown:
    """The passages that are shown so far, to find the one that a further passage repeats."""

    def __init__(self) -> None:
        self._wordings: list[Wording] = []
        self._equal: dict[tuple[str, ...], int] = {}
        self._by_shingle: dict[int, list[int]] = {}
        self._by_anchor: dict[int, list[int]] = {}

    def repeated_by(self, wording: Wording) -> int | None:
        """The number of the first passage that says the same, or None."""
        if (equal := self._equal.get(tuple(wording.tokens))) is not None:
            return equal
        around = self._by_shingle.get(wording.anchor, ()) if wording.anchor is not None else ()
        within = {number for shingle in wording.shingles for number in self._by_anchor.get(shingle, ())}
        twins = [number for number in around if wording.inside(self._wordings[number])]
        twins += [number for number in within if self._wordings[number].inside(wording)]
        return min(twins, default=None)

    def add(self, wording: Wording) -> None:
        """The next passage is shown."""
        number = len(self._wordings)
        self._wordings.append(wording)
        self._equal.setdefault(tuple(wording.tokens), number)
        for shingle in set(wording.shingles):
            self._by_shingle.setdefault(shingle, []).append(number)
        if wording.anchor is not None:
            self._by_anchor.setdefault(wording.anchor, []).append(number)
