"""Scripts: the ranges of their characters, the language each one decides, and whether words stand between blanks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from unicodedata import category


@dataclass(frozen=True)
class Script:
    """One script.

    Args:
        name: As Unicode names it.
        characters: Its characters as the inside of a character class of a regular expression, such as "a-z0-9".
        language: ISO 639-1 code of the one language that is written in it, or None for a script of several.
        blanks: Whether its words are separated by blanks.
        share: Share of a text's letters from which the text is in this language.
    """

    name: str
    characters: str
    language: str | None = None
    blanks: bool = True
    share: float = 1 / 3

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """One character of the script, such as "灯" for Han."""
        return re.compile(f"[{self.characters}]")


HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
HANGUL = "\uac00-\ud7af\u1100-\u11ff"

SCRIPTS = (
    # Kana and Hangul stand before Han, and a tenth of the letters is enough for them: Japanese is not Chinese.
    Script("Kana", KANA, "ja", blanks=False, share=0.1),
    Script("Hangul", HANGUL, "ko", share=0.1),
    Script("Han", HAN, "zh", blanks=False),
    Script("Thai", "\u0e00-\u0e7f", "th", blanks=False),
    Script("Hebrew", "\u0590-\u05ff", "he"),
    Script("Greek", "\u0370-\u03ff\u1f00-\u1fff", "el"),
    Script("Tamil", "\u0b80-\u0bff", "ta"),
    Script("Telugu", "\u0c00-\u0c7f", "te"),
    Script("Georgian", "\u10a0-\u10ff", "ka"),
    Script("Armenian", "\u0530-\u058f", "hy"),
    Script("Khmer", "\u1780-\u17ff", "km", blanks=False),
    Script("Lao", "\u0e80-\u0eff", "lo", blanks=False),
    Script("Burmese", "\u1000-\u109f", "my", blanks=False),
    Script("Tibetan", "\u0f00-\u0fff", blanks=False),
    Script("Bopomofo", "\u3100-\u312f", blanks=False),
    Script("Tai", "\u1950-\u19df\u1a20-\u1aaf", blanks=False),
)
"""The scripts that need care, in the order in which they are looked for; all others are written with blanks."""

WITHOUT_BLANKS = "".join(script.characters for script in SCRIPTS if not script.blanks)
"""All characters of the scripts written without blanks between words, as the inside of a character class."""

LANGUAGES_WITHOUT_BLANKS = frozenset(script.language for script in SCRIPTS if script.language and not script.blanks)
"""ISO 639-1 codes of the languages written without blanks between words."""


@lru_cache(maxsize=1)
def marks() -> str:
    """All characters that stand on another one (accents, vowel signs), as the inside of a character class.

    Python's `\\w` leaves them out, so that "हिन्दी" would be four words.
    """
    codes = (code for code in (*range(0x300, 0x12000), *range(0x1E000, 0x1F000)) if category(chr(code)) in ("Mn", "Mc"))
    runs = [[code for _, code in run] for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)
