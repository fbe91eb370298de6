"""The terms of one chunk in one language: what it is indexed under, and what it weighs in a query."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import add

import Stemmer

from .chunks import UNSPACED, cut, split_scripts
from .folding import fold, plain, spellings
from .identifiers import name_forms, number_forms
from .scripts import HAN
from .stop_words import stop_words

SNOWBALL = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
"""Languages with a stemmer, by ISO 639-1 code."""

LONGEST_TERM = 64
"""Characters of a term; what follows is cut off."""

IDENTIFIER_WEIGHT = 1.5
"""Weight of the whole form of an identifier in a query; a word has 1."""

PART_WEIGHT = 0.5
"""Weight of a part of an identifier beside the whole."""

_MOST_KEPT = 50_000
"""Chunks of a language whose terms are kept; of those of a long text nine in ten occur again."""


class Forms:
    """What a chunk is found under.

    Attributes:
        weights: Terms with their weights in a query, in order.
        stops: Stop words, in order.
    """

    __slots__ = ("stops", "weights")

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}
        self.stops: dict[str, None] = {}

    def put(self, term: str, weight: float = 1.0) -> None:
        """Take in a term; one that is there keeps the higher weight."""
        term = term[:LONGEST_TERM]
        self.weights[term] = max(weight, self.weights.get(term, 0.0))

    def add(self, other: Forms, share: float, *, stops: bool = True) -> None:
        """Take in the terms of another, their weights multiplied by `share`, and its stop words."""
        for term, weight in other.weights.items():
            self.put(term, share * weight)
        if stops:
            self.stops.update(other.stops)


class _Kept(dict[str, Sequence[str]]):
    """The answers of a function of chunks, kept until there are too many; never one that is not its answer now."""

    def __init__(self, answer: Callable[[str], Sequence[str]]) -> None:
        self._answer = answer

    def __missing__(self, chunk: str) -> Sequence[str]:
        found = self._answer(chunk)
        if len(chunk) <= LONGEST_TERM:
            self.keep(chunk, found)
        return found

    def keep(self, chunk: str, answer: Sequence[str]) -> None:
        if len(self) >= _MOST_KEPT:
            self.clear()
        self[chunk] = answer


class Analyser:
    """The terms of chunks in one language. It may be used by several threads.

    Args:
        language: ISO 639-1 code.

    Attributes:
        terms_of: By chunk, what it is indexed under, stop words apart.
        stops_of: By chunk, its stop words.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.terms_of = _Kept(self._terms)
        self.stops_of = _Kept(self._stops)
        self._stop_words = stop_words(language)
        self._dotted = language not in ("tr", "az")
        self._algorithm = SNOWBALL.get(language) if SNOWBALL.get(language) in _algorithms() else None
        self._local = threading.local()  # a stemmer must not be used by two threads at once

    def forms(self, chunk: str) -> Forms:
        """What a chunk is found under."""
        forms = Forms()
        if chunk.isalpha() and chunk.isascii() and chunk[1:].islower() and len(chunk) <= LONGEST_TERM and self._dotted:
            word = chunk.lower()  # what most chunks are; the rest of this class would do the same
            if word in self._stop_words:
                forms.stops[word] = None
                return forms
            if word != "cannot":
                forms.weights[self._stem(word)] = 1.0
                return forms
        self._add(chunk, forms)
        return forms

    def _terms(self, chunk: str) -> Sequence[str]:
        forms = self.forms(chunk)
        if len(chunk) <= LONGEST_TERM:
            self.stops_of.keep(chunk, tuple(forms.stops))
        return tuple(forms.weights)

    def _stops(self, chunk: str) -> Sequence[str]:
        return tuple(self.forms(chunk).stops)

    def _add(self, chunk: str, forms: Forms) -> None:
        """Add the forms of a chunk of any kind to `forms`."""
        if chunk.isascii() and chunk.isalpha() and (chunk[1:].islower() or len(chunk) == 1 or chunk.isupper()):
            self._add_word(chunk, forms)
        elif not chunk.isascii() and UNSPACED.search(chunk):
            for run in split_scripts(chunk):
                if UNSPACED.match(run):
                    for term in (*pairs(run), *_LONE_HAN.findall(run)):
                        forms.put(term)
                else:
                    self._add_all(cut(run), forms)
        elif _URL.match(chunk):
            self._add_url(chunk, forms)
        elif (chunk[0] == "§" or chunk[-1] == ")") and (section := _SECTION.fullmatch(chunk)):
            self._add_section(section, forms)
        elif " " in chunk and (spelled := _SPELLED.fullmatch(chunk)):
            self._add_spelled(spelled, forms)
        elif chunk[0] == ".":
            forms.put(chunk.lower(), IDENTIFIER_WEIGHT)
            self._add(chunk[1:], forms)
        elif chunk[-1] in "+#" or "++" in chunk:
            self._add_signed(chunk, forms)
        elif len(pieces := _LIST_SIGN.split(chunk)) > 1:
            self._add_all(pieces, forms)
        else:
            self._add_plain(chunk, forms)

    def _add_plain(self, chunk: str, forms: Forms) -> None:
        """A word, a number or a name without signs at its ends."""
        if _NUMBER.fullmatch(chunk):
            self._add_number(fold(chunk), forms)
        elif "/" in chunk or "@" in chunk:
            forms.put(re.sub(r"\s", "", fold(chunk)), IDENTIFIER_WEIGHT)
            self._add_all(re.split("[/@]", chunk), forms)
        elif "'" in chunk:
            self._add_apostrophe(chunk, forms)
        elif _IS_NAME.search(chunk):
            self._add_name(chunk, forms)
        else:
            self._add_word(chunk, forms)

    def _add_number(self, number: str, forms: Forms) -> None:
        found = number_forms(number, self.language)
        telling = len(number) > 4 or not number.isdigit()
        for whole in found.wholes:
            forms.put(whole, IDENTIFIER_WEIGHT if telling else 1.0)
        for part in found.numbers:
            forms.put(part)

    def _add_all(self, chunks: Iterable[str], forms: Forms) -> None:
        for chunk in chunks:
            if chunk:
                self._add(chunk, forms)

    def _add_word(self, word: str, forms: Forms, *, name: bool = False) -> None:
        """A word: its stem, and those of its other spellings. A stop word is a name, too, where it stands in capitals;
        with `name` it is one anyway."""
        word = word[:LONGEST_TERM]
        folded = fold(word, self.language)
        if folded == "cannot" and self.language == "en":
            forms.stops["can"] = None
            forms.put("not")
            return
        if folded in self._stop_words and not name:
            forms.stops[folded] = None
            if len(word) > 1 and word.isupper():
                forms.put(word)
            return
        others = spellings(folded, self.language)
        if self.language in ("tr", "az") and "ı" in folded and not others:
            others = [plain(folded)]
        stems = dict.fromkeys(self._stem(each) for each in (folded, *others))
        for stem in stems:
            forms.put(stem, 1 / len(stems))
        if "\uac00" <= folded[0] <= "\ud7a3":
            for part in hangul_parts(folded):
                forms.put(part)

    def _add_name(self, name: str, forms: Forms) -> None:
        """A compound, a code name, a part number: its whole form, its numbers, its words."""
        bare = name.strip("_")
        if bare != name:
            forms.put(fold(name), IDENTIFIER_WEIGHT)
            if bare:
                self._add(bare, forms)
            return
        found = name_forms(name)
        if found.wholes[0].isalpha() and not _IS_CODE.search(
            name
        ):  # "Wi-Fi", "state-of-the-art": no more than its words
            share = len(found.words) / (len(found.words) + 1)
            whole, words = Forms(), Forms()
            self._add_word(found.wholes[0], whole)
            for word in found.words:
                self._add_word(word, words)
            forms.add(whole, share, stops=False)
            forms.add(words, share)
            return
        for term in found.wholes:
            stem = self._stem(fold(term[:LONGEST_TERM], self.language)) if term.isalpha() else term
            forms.put(stem, IDENTIFIER_WEIGHT)
        parts = Forms()
        for number in found.numbers:
            parts.put(number)
        for word in found.words:
            self._add_word(word, parts)
        forms.add(parts, PART_WEIGHT)

    def _add_apostrophe(self, word: str, forms: Forms) -> None:
        """A word with an apostrophe: an ending after it, an article before it, or a part of the word."""
        before, _, after = word.partition("'")
        folded = fold(word, self.language)
        if folded in self._stop_words:
            forms.stops[folded] = None
        elif negated := _NEGATED.fullmatch(folded):  # "isn't": the verb, and the negation
            verb = negated.group(1)
            self._add_word(_VERBS.get(verb, verb), forms)
            forms.put("not")
        elif after.lower() == "s" and before.isalpha() and folded[:-2] not in _BEFORE_IS:  # "keeper's", "Sir We's"
            self._add_word(before, forms, name=True)
        elif after.lower() in _ENDINGS or self.language in ("tr", "az"):  # "they've", "İstanbul'da"
            self._add(before, forms)
        elif self.language in _ELIDING and before.lower() in _ARTICLES:  # "l'eau"
            self._add(after, forms)
        else:  # "O'Brien", "комп'ютер"
            self._add_word(re.sub(r"\W", "", word), forms)
            self._add_all([part for part in re.split("'", word) if len(part) > 2], forms)

    def _add_signed(self, chunk: str, forms: Forms) -> None:
        """C, C++, C# and the like: what the sign belongs to has no meaning without it where it is a letter or two."""
        name, sign, version = _SIGNED.fullmatch(chunk).groups()  # type: ignore[union-attr]
        if sign == "++" or (len(name) <= 2 and name.isalpha()):
            forms.put(fold(name) + sign, IDENTIFIER_WEIGHT)
            if version:
                forms.put(fold(name) + sign + version, IDENTIFIER_WEIGHT)
                forms.put(version)
        if len(name) > 2 or not name.isalpha():
            self._add(name, forms)

    def _add_section(self, section: re.Match[str], forms: Forms) -> None:
        """A number with others in brackets: "§ 12 (3)" has "12(3)", "§12" and its parts."""
        whole = re.sub(r"[§\s]", "", fold(section.group()))
        head = section.group("number").lower()
        if section.group("rest"):
            forms.put(whole, IDENTIFIER_WEIGHT)
        if section.group("sign"):
            forms.put("§" + head, IDENTIFIER_WEIGHT)
        self._add_all([head, *re.findall(r"\w+", section.group("rest"))], forms)

    def _add_spelled(self, spelled: re.Match[str], forms: Forms) -> None:
        """A name of capitals with its number after a blank: "PEP 3107", "AX 4410 B"."""
        letters, number, last = spelled.groups(default="")
        short = letters + number.replace("-", "")
        forms.put(short.lower(), IDENTIFIER_WEIGHT)
        if last:
            forms.put((short + last).lower(), IDENTIFIER_WEIGHT)
        self._add_all([letters, number, last], forms)

    def _add_url(self, url: str, forms: Forms) -> None:
        """An address without its scheme, "www." and signs at its end; its host; its words."""
        address = re.sub(r"^(?:[a-z]+://)?(?:www\.)?|[/.,;:!?)\]]+$", "", url)
        if not address:
            return
        host = re.split("[/?#]", address)[0]
        for whole in dict.fromkeys((address.lower(), host.lower())):
            forms.put(whole, IDENTIFIER_WEIGHT)
        self._add_all(cut(re.sub("[/?#=&%~@:]", " ", address)), forms)

    def _stem(self, word: str) -> str:
        if self._algorithm is None:  # PyStemmer 2 has no Estonian
            return word
        stemmer = getattr(self._local, "stemmer", None)
        if stemmer is None:
            stemmer = self._local.stemmer = Stemmer.Stemmer(self._algorithm)
        return str(stemmer.stemWord(word)) or word


_URL = re.compile(r"(?:https?|ftp)://|www\.")
# A number with others in brackets: "§ 12 (3)", "12(3)(a)", "§ 12".
_SECTION = re.compile(r"(?P<sign>§*) ?(?P<number>\d\w*)(?P<rest>(?: ?\(\w+\))*)")
_SPELLED = re.compile(r"([A-Z]{1,6}) (\S+)(?: ([A-Z]))?")  # "PEP 3107", "AX 4410 B"
_SIGNED = re.compile(r"(?P<name>.*?)(?P<sign>\+\+|[+#])(?P<version>\d*)", re.DOTALL)  # "C++17", "C#", "A+"
# the comma of "lamp,ship", the colon of "key:value"
_LIST_SIGN = re.compile(r"(?<![\d:])[,:](?!:)|[,:](?![\d:])(?<!::)")
_NUMBER = re.compile(r"\d+(?:[-.,:'/ ]\s*\d+)*")  # "1,250,000", "14.2.1.0", "2024-05-12", "1 250 000"
# "Wi-Fi", "Node.js", "AT&T", "mp3", "readFile", "HTTPServer"
_IS_NAME = re.compile(r"[-.:&_]|\d|[a-z][A-Z]|[A-Z]{2}[a-z]")
# what no ordinary word has: "read_file", "Node.js", "readFile"
_IS_CODE = re.compile(r"[_.&:]|[a-z][A-Z]|[A-Z]{2}[a-z]")
_NEGATED = re.compile(r"([a-z]+)n't")  # "isn't"
_VERBS = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}
_BEFORE_IS = frozenset(["it", "he", "she", "that", "what", "who", "where", "when", "how", "why", "there", "here"])
_ENDINGS = frozenset(("s", "ll", "re", "ve", "d", "m"))
_ELIDING = frozenset(("fr", "it", "ca"))
_ARTICLES = frozenset(
    re.findall(r"\w+", "l d j m t s c n qu jusqu lorsqu puisqu quoiqu un all dall dell nell sull quell gl agl")
)
# A Chinese character that stands alone or between kana is a word: "灯" of "灯を".
_LONE_HAN = re.compile(rf"(?<![{HAN}])[{HAN}](?![{HAN}])")
# Korean particles after a noun: "에서" and "는" of "집에서는".
_PARTICLES = re.compile(
    r"(?:에서|에게|한테|으로|부터|까지|처럼|보다|이나|이랑|하고|라고|이라|마다|조차|밖에)?(?:은|는|이|가|을|를|에|의|와|과|도|로|만)?"
)


def pairs(run: str) -> list[str]:
    """Neighbouring characters of a run, or the one that it has."""
    return list(map(add, run, run[1:])) or [run]


def hangul_parts(word: str) -> list[str]:
    """Pairs of syllables of a word, and its first one where only particles follow: "집" of "집에서는"."""
    parts = pairs(word) if len(word) > 2 else []
    return [*parts, word[0]] if len(word) > 1 and _PARTICLES.fullmatch(word, 1) else parts


@lru_cache(maxsize=256)
def analyser_of(language: str) -> Analyser:
    """The one analyser of a language."""
    return Analyser(language)


@lru_cache(maxsize=1)
def _algorithms() -> frozenset[str]:
    return frozenset(Stemmer.algorithms())
