"""One spelling for what a reader takes for the same word: invisible characters, typographic variants, case, accents."""

from __future__ import annotations

import re
import unicodedata

from .scripts import WITHOUT_BLANKS

RADICALS = dict(
    zip(
        "⺁⺂⺃⺄⺅⺆⺇⺈⺉⺊⺋⺌⺍⺎⺏⺐⺑⺒⺓⺔⺕⺖⺗⺘⺙⺛⺜⺝⺞⺟⺠⺡⺢⺣⺤⺥⺦⺧⺨⺩⺪⺫⺬⺭⺮⺯⺰⺱⺲⺳⺴⺵⺶⺷⺸⺹⺺⺻⺼⺽⺾⺿⻀⻁⻂⻃⻄⻅⻆⻇⻈⻉⻊⻋⻌⻍⻎⻏⻐⻑⻒⻓⻔⻕⻖⻗⻘⻙⻚⻛⻜⻝⻞⻟⻠⻡⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻲⻳",
        "厂乛乚乙亻冂𠘨刀刂卜㔾小小兀尣尢𡯂巳幺彑𫜹忄心扌攵旡日月歺母民氵氺灬爫爫丬牛犭王𤴔目示礻𥫗糹纟罓罒㓁冗𦉫羊𦍌𦍋耂肀聿肉𦥑艹艹艹虎衤覀西见角𧢲讠贝𧾷车辶辶辶邑钅長镸长门𨸏阝雨青韦页风飞食𩙿飠饣𩠐马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜亀龟",
        strict=True,
    )
)
"""CJK radicals and the ideographs that look the same (Unicode's EquivalentUnifiedIdeograph); PDF fonts mix them up.
NFKC does the same for the Kangxi radicals."""

# Characters that are not seen: soft hyphen, zero-width space and joiners, marks of direction, byte order mark, tags.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)
# A soft hyphen with the line end after it: "infor\u00ad\nmation".
_SOFT_HYPHEN_AT_LINE_END = re.compile("[\u00ad][ \t]*\r?\n[ \t]*")
# A zero-width non-joiner between letters of Arabic script ("می\u200cخواهم"): there it stands between the parts of a word.
_ARABIC_NON_JOINER = re.compile("(?<=[\u0600-\u06ff])\u200c+(?=[\u0600-\u06ff])")
# A zero-width space between letters ("light\u200bhouse"): a place to break a line, in a word or between two.
_ZERO_WIDTH_SPACE = re.compile(rf"(?<=[^\W\d_{WITHOUT_BLANKS}])\u200b+(?=[^\W\d_{WITHOUT_BLANKS}])")
# A blank that groups digits: "1\u00a0250\u00a0000".
_GROUPING_BLANK = re.compile("(?<=[0-9])[\u00a0\u2007\u2009\u202f](?=[0-9]{3}(?![0-9]))")
_SIGNS = re.compile("[\u2122\u2120\u00ae\u00a9]")  # ™ ℠ ® ©: NFKC makes letters of the first two, and "Foo™" a "footm"
_RADICAL = re.compile("[\u2e80-\u2eff]")
# Anything that the patterns above look for.
_UNUSUAL = re.compile(
    "[\u00a0\u00a9\u00ad\u00ae\u034f\u061c\u066b\u066c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2007\u2009\u200b-\u200f\u202a-\u202f"
    "\u2060-\u206f\u2120\u2122\u2e80-\u2eff\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_HYPHENS = "\u2010\u2011\u2012\u2013\u2212"
_APOSTROPHES = "\u2019\u2018\u02bc\u2032"

_NO_DECOMPOSITION = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ħ": "h", "ŋ": "n"}
)
"""Latin letters that Unicode does not take apart, as people type them without their keys."""

_DIGRAPHS = {
    **dict.fromkeys(("de", "en", "und", "sv", "fi"), str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})),
    **dict.fromkeys(("da", "no"), str.maketrans({"å": "aa", "ø": "oe", "ö": "oe", "ä": "ae", "ü": "ue"})),
}
"""Letters that people write as two, by language; of English text: in its foreign names."""

_TURKISH = str.maketrans({"I": "ı", "İ": "i"})

# Vowel points and the lengthening stroke of Arabic script ("كِتَـاب"), points of Hebrew ("שָׁלוֹם").
_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]"
)
_ARABIC_LETTERS = str.maketrans("أإآٱیىک", "ااااييك")
_CYRILLIC_LETTERS = str.maketrans({"ё": "е", "ѐ": "е", "ѝ": "и", "ґ": "г", "\u0301": "", "\u0300": ""})


def normalize(text: str) -> str:
    """`text` without invisible characters, in compatibility form, with one hyphen and one apostrophe; case is kept.

    A soft hyphen or a zero-width character neither parts a word nor hides it. A zero-width space between letters, and a
    zero-width non-joiner between letters of Arabic script, become a hyphen: people write a blank there, or nothing, and a
    compound with a hyphen is found by both.
    """
    if text.isascii():
        return text
    if _UNUSUAL.search(text):
        text = _SOFT_HYPHEN_AT_LINE_END.sub("", text)
        text = _ARABIC_NON_JOINER.sub("-", text)
        text = _ZERO_WIDTH_SPACE.sub("-", text)
        text = _INVISIBLE.sub("", text)
        text = _GROUPING_BLANK.sub("", text)
        text = _SIGNS.sub(" ", text).replace("\u066b", ".").replace("\u066c", ",")
        text = _RADICAL.sub(lambda radical: RADICALS.get(radical.group(), radical.group()), text)
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    for hyphen in _HYPHENS:
        text = text.replace(hyphen, "-")
    for apostrophe in _APOSTROPHES:
        text = text.replace(apostrophe, "'")
    return text


def fold(word: str, language: str = "und") -> str:
    """A normalised word in lower case, as a reader of the language reads it.

    Turkish and Azerbaijani have a dotted and a dotless i. What is optional in writing is left out: Greek accents, the dots
    of Cyrillic ё and stress marks, the points of Arabic and Hebrew. Digits of all scripts become ASCII digits.
    """
    if language in ("tr", "az"):
        word = word.translate(_TURKISH)
    if word.isascii():
        return word.lower()
    word = word.casefold().replace("i\u0307", "i")
    highest = max(word)
    if highest < "\u0370":
        return word
    if _between(word, "\u0370", "\u03ff") or _between(word, "\u1f00", "\u1fff"):
        word = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")
    if _between(word, "\u0400", "\u04ff"):
        word = word.translate(_CYRILLIC_LETTERS)
    if _between(word, "\u0590", "\u06ff"):
        word = _POINTS.sub("", word).translate(_ARABIC_LETTERS)
    if any(c.isdecimal() and not c.isascii() for c in word):
        word = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in word)
    return word


def spellings(word: str, language: str = "und") -> list[str]:
    """Other spellings of a folded word, for whoever leaves its accents out or writes two letters for one.

    "ação" is also "acao", "łódź" "lodz", "müller" "muller" and "mueller". None where the word has no such letter.
    """
    if word.isascii() or not any("\u00c0" <= c <= "\u024f" or "\u1e00" <= c <= "\u1eff" for c in word):
        return []
    others = [plain(word)]
    if language in _DIGRAPHS:
        others.append(plain(word.translate(_DIGRAPHS[language])))
    return [other for other in dict.fromkeys(others) if other != word]


def plain(word: str) -> str:
    """A folded word without the accents of its Latin letters: "łódź" is "lodz"; other scripts stay as they are."""
    word = word.translate(_NO_DECOMPOSITION)
    if word.isascii():
        return word
    return "".join(c if c < "\u00c0" or "\u0250" <= c < "\u1e00" or c > "\u1eff" else _base(c) for c in word)


def _base(letter: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", letter) if unicodedata.category(c) != "Mn")


def _between(word: str, first: str, last: str) -> bool:
    return any(first <= c <= last for c in word)
