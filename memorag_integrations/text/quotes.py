"""Text in quotation marks in a query: it is wanted as it stands. Pure."""

from __future__ import annotations

import re

from .folding import fold, normalize, plain
from .scripts import marks

_QUOTED = re.compile(
    r"“([^”]{1,500})”"  # “as it stands”
    r"|„([^“”]{1,500})[“”]"  # „as it stands“
    r"|«([^»]{1,500})»"  # «as it stands»
    r"|»([^«]{1,500})«"  # »as it stands«
    r"|「([^」]{1,500})」"  # 「as it stands」
    r"|『([^』]{1,500})』"  # 『as it stands』
    r"|《([^》]{1,500})》"  # 《a title》
    r"|＂([^＂]{1,500})＂"  # ＂as it stands＂
    r'|(?<![\w"])"([^"]{1,500})"(?!\w)'  # "as it stands", not the inches of 5" and 6"
)


def phrases(query: str) -> list[str]:
    """What stands in quotation marks in `query`, in order, each once; without a letter or digit it is left out."""
    quoted = ("".join(match.groups(default="")).strip() for match in _QUOTED.finditer(query))
    return [phrase for phrase in dict.fromkeys(quoted) if any(map(str.isalnum, phrase))]


def holds(text: str, phrase: str) -> bool:
    """Whether `text` has the words of `phrase` one after another; case, accents, blanks and signs between words apart."""
    wanted = _words(phrase)
    return bool(wanted) and f" {wanted} " in f" {_words(text)} " if phrase.isascii() else wanted in _words(text)


def _words(text: str) -> str:
    """Words with one blank between; signs that tell names apart (C++, C#) stay."""
    return re.sub(rf"[^\w+#{marks()}]+", " ", plain(fold(normalize(text)))).strip()
