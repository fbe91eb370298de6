"""Text to terms: words are folded and stemmed, identifiers get their forms, scripts without blanks become character pairs.

A text is cut into chunks: a word, an identifier such as "AX-4410-B", a run of a script without blanks. The terms of a
chunk depend on nothing but the chunk and the language, so they are worked out once and kept.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import add
from typing import NamedTuple

import Stemmer

from ..errors import InputError
from .folding import fold, normalize, plain, spellings
from .identifiers import name_forms, number_forms
from .languages import SURE, identify
from .scripts import HAN, KANA, WITHOUT_BLANKS, marks
from .stop_words import NEGATIONS, stop_words
from .tokenizer import Tokenizer

ANALYSIS = f"terms 2, Snowball {Stemmer.version().split('.')[0]}"
"""What made the terms of a store; terms of another analysis are made again when a store is loaded."""

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

_FILLERS = {
    "de": "beschreibe erkläre erläutere fasse zusammen zusammenfassung sage sagte sagen meinte denken dachte frage",
    "en": "summarize summarise summary describe explain tell say said says think thinks thought talk talked discuss "
    "discussed discussing discussion discussions mention mentioned opinion opinions according question regarding "
    "concerning could would may might must shall also",
    "es": "resume resumen describe explica dime dijo dice piensa pensó pregunta",
    "fr": "résume résumé décris explique dis dit pense pensait question",
}
_SAMPLE = 4_000
_LONGEST_TERM = 64
_MOST_KEPT = 50_000
"""Chunks of a language whose terms are kept; of those of a long text nine in ten occur again."""

IDENTIFIER_WEIGHT = 2.0
"""Weight of the whole form of an identifier in a query; a word has 1."""

PART_WEIGHT = 0.5
"""Weight of its parts."""


def detect_language(text: str) -> str:
    """ISO 639-1 code of the language of a document; "und" for one with no letters.

    Where that is not certain (a few words, a table, code), ASCII text counts as English.
    """
    sample = text if len(text) <= 2 * _SAMPLE else text[:_SAMPLE] + text[len(text) // 2 :][:_SAMPLE]
    language, probability = identify(sample)
    return "en" if probability < SURE and sample.isascii() else language


def check_language(language: str) -> str:
    """`language`, if it is "auto" or a two- or three-letter code.

    Raises:
        InputError: Otherwise, naming the languages with a stemmer.
    """
    if isinstance(language, str) and re.fullmatch("auto|[a-z]{2,3}", language):
        return language
    raise InputError(
        f'language must be "auto" or an ISO 639 code such as "en", found {language!r}. '
        f"There are stemmers for {', '.join(sorted(SNOWBALL))}; other languages are indexed unstemmed."
    )


class QueryTerms(NamedTuple):
    """The terms to search for.

    Args:
        weights: The terms with their weights, in the order of the query. The spellings of one word share its weight.
        joined: Terms for neighbours that may be one word elsewhere ("ax 4410 b", "wi fi"): nothing is missed where the
            corpus does not have them.
    """

    weights: dict[str, float]
    joined: dict[str, float]


def terms(text: str, language: str, tokenizer: Tokenizer | None = None) -> list[str]:
    """The terms of `text` as they are indexed: in order, repeats kept; then its stop words, sorted, each once.

    Words are folded (compatibility forms, case, invisible characters) and stemmed for `language`; a word with accents
    counts under its spelling without them, too. An identifier counts as a whole and in parts. Runs of a script written
    without blanks (Chinese, Japanese, Thai, Lao, Burmese, Khmer, Tibetan) become pairs of characters, whatever the
    language; Hangul words become pairs of syllables beside the word. A stop word in capitals ("WHO") is a name, too.

    Args:
        text: Any text.
        language: ISO 639-1 code.
        tokenizer: Takes the place of all this.

    Raises:
        TokenizerError: Where the tokenizer fails, or answers with something else than words.
    """
    if tokenizer is not None:
        return tokenizer.terms(text)
    analyser = _analyser(language)
    chunks = _chunks(text)
    out = list(chain.from_iterable(map(analyser.terms_of.__getitem__, chunks)))
    stops_of = analyser.stops_of
    out += sorted(set(chain.from_iterable([stops_of[chunk] for chunk in set(chunks) if chunk in stops_of])))
    return out


def query_terms(text: str, languages: Iterable[str], tokenizer: Tokenizer | None = None) -> QueryTerms:
    """The terms to search for `text` in documents of these languages; stop words and words of asking are dropped.

    Where nothing else is left, they are kept: a query for "summary", "WHO" or "to be or not to be" is still a query.

    Args:
        text: The query.
        languages: ISO 639-1 codes of the documents.
        tokenizer: What made the documents' terms, where it was not this module.

    Raises:
        TokenizerError: As `terms`.
    """
    if tokenizer is not None:
        return QueryTerms(dict.fromkeys(tokenizer.terms(text), 1.0), {})
    languages, chunks = list(languages), _chunks(text)
    shouted = len(chunks) > 2 and text.isupper()  # capitals say nothing where all is in capitals
    wanted: dict[str, float] = {}
    asking: dict[str, float] = {}
    stops: dict[str, float] = {}
    for language in languages:
        analyser, fillers = _analyser(language), _filler_terms(language)
        for chunk in chunks:
            forms = analyser.forms(chunk.lower() if shouted else chunk)
            for term, weight in forms.weights:
                target = asking if term in fillers else wanted
                target[term] = max(weight, target.get(term, 0.0))
            stops.update(dict.fromkeys(forms.stops, 1.0))
            stops.update((stop.upper(), 1.0) for stop in forms.stops if len(stop) > 1)  # "who" may mean the WHO
    names = {stop.upper() for stop in stops} | NEGATIONS
    weights = wanted if wanted.keys() - names else {**asking, **wanted, **({} if asking else stops)}
    return QueryTerms(
        weights, {term: weight for term, weight in _joined(text, languages).items() if term not in weights}
    )


def phrase_terms(phrase: str, language: str) -> list[str]:
    """Terms that each passage with this phrase has for certain; stop words among them, identifiers not.

    What stands at an end of the phrase may be a part of something longer in the text, with another whole form.
    """
    analyser = _analyser(language)
    found: dict[str, None] = {}
    for chunk in _chunks(phrase):
        if _WITHOUT_BLANKS.search(chunk) or _HANGUL.search(chunk):
            runs = [run for run in re.findall(r"\w+", chunk) if len(run) > 1]
            found.update(dict.fromkeys(pair for run in runs for pair in _pairs(run) if _is_unspaced(pair)))
        elif chunk.isalpha():
            forms = analyser.forms(chunk.lower())
            spelled = [term for term, _ in forms.weights]
            found.update(dict.fromkeys(spelled[1:2] or spelled or forms.stops))
    return list(found)


class _Forms(NamedTuple):
    """What a chunk is found under: terms with their weights in a query, and stop words."""

    weights: tuple[tuple[str, float], ...]
    stops: tuple[str, ...] = ()


class _TermsOf(dict[str, Sequence[str]]):
    """The terms of each chunk of one language, worked out when first asked for."""

    def __init__(self, analyser: _Analyser) -> None:
        self._analyser = analyser

    def __missing__(self, chunk: str) -> Sequence[str]:
        if not chunk.isascii() and _WITHOUT_BLANKS.search(chunk):
            return self._unspaced(chunk)  # a clause, which hardly occurs again
        forms = self._analyser.forms(chunk)
        found = tuple([term for term, _ in forms.weights])
        if len(self) >= _MOST_KEPT:
            self.clear()
            self._analyser.stops_of = {}
        if forms.stops:
            self._analyser.stops_of[chunk] = forms.stops
        if len(chunk) <= _LONGEST_TERM:
            self[chunk] = found
        return found

    def _unspaced(self, chunk: str) -> list[str]:
        """The terms of a chunk with characters of a script without blanks, repeats kept."""
        found: list[str] = []
        for run in _RUNS.findall(chunk):
            if not _WITHOUT_BLANKS.match(run):
                found += chain.from_iterable(map(self.__getitem__, _pattern().findall(run)))
                continue
            found += _pairs(run)
            if len(run) > 1:
                found += _HAN_OR_KANA.findall(run)
        return found


class _Analyser:
    """The terms of chunks in one language.

    Attributes:
        terms_of: By chunk, what it is indexed under, stop words apart.
        stops_of: By chunk, its stop words; only chunks that have some.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.terms_of = _TermsOf(self)
        self.stops_of: dict[str, tuple[str, ...]] = {}
        self._stop_words = stop_words(language)
        self._dotted = language not in ("tr", "az")
        self._algorithm = SNOWBALL.get(language) if SNOWBALL.get(language) in _algorithms() else None
        self._local = threading.local()  # a stemmer must not be used by two threads at once

    def forms(self, chunk: str) -> _Forms:
        if chunk.isalpha() and chunk.isascii() and chunk[1:].islower() and len(chunk) <= _LONGEST_TERM and self._dotted:
            word = chunk.lower()  # what most chunks are; the rest of this class would do the same
            if word in self._stop_words:
                return _Forms((), (word,))
            if word != "cannot":
                return _Forms(((self._stem(word), 1.0),))
        weights: dict[str, float] = {}
        stops: dict[str, None] = {}
        self._add(chunk, weights, stops)
        return _Forms(tuple(weights.items()), tuple(stops))

    def _add(self, chunk: str, weights: dict[str, float], stops: dict[str, None]) -> None:
        """Add the forms of a chunk of any kind to `weights` and `stops`."""
        if chunk.isascii() and chunk.isalpha() and (chunk[1:].islower() or len(chunk) == 1 or chunk.isupper()):
            self._add_word(chunk, weights, stops)
        elif not chunk.isascii() and _WITHOUT_BLANKS.search(chunk):
            for run in _RUNS.findall(chunk):
                if _WITHOUT_BLANKS.match(run):
                    weights.update(dict.fromkeys([*_pairs(run), *_LONE_HAN.findall(run)], 1.0))
                else:
                    self._add_all(_pattern().findall(run), weights, stops)
        elif _URL.match(chunk):
            self._add_url(chunk, weights, stops)
        elif (chunk[0] == "§" or chunk[-1] == ")") and (section := _SECTION.fullmatch(chunk)):
            self._add_section(section, weights, stops)
        elif " " in chunk and (spelled := _SPELLED.fullmatch(chunk)):
            self._add_spelled(spelled, weights, stops)
        elif chunk[0] == ".":
            _put(weights, chunk.lower(), IDENTIFIER_WEIGHT)
            self._add(chunk[1:], weights, stops)
        elif chunk[-1] in "+#" or "++" in chunk:
            self._add_signed(chunk, weights, stops)
        elif len(pieces := _LIST_SIGN.split(chunk)) > 1:
            self._add_all(pieces, weights, stops)
        else:
            self._add_plain(chunk, weights, stops)

    def _add_plain(self, chunk: str, weights: dict[str, float], stops: dict[str, None]) -> None:
        """A word, a number or a name without signs at its ends."""
        if _NUMBER.fullmatch(chunk):
            self._add_number(fold(chunk), weights)
        elif "/" in chunk or "@" in chunk:
            _put(weights, re.sub(r"\s", "", fold(chunk))[:_LONGEST_TERM], IDENTIFIER_WEIGHT)
            self._add_all(re.split("[/@]", chunk), weights, stops)
        elif "'" in chunk:
            self._add_apostrophe(chunk, weights, stops)
        elif _IS_NAME.search(chunk):
            self._add_name(chunk, weights, stops)
        else:
            self._add_word(chunk, weights, stops)

    def _add_number(self, number: str, weights: dict[str, float]) -> None:
        found = number_forms(number, self.language)
        telling = len(number) > 4 or not number.isdigit()
        for whole in found.wholes:
            _put(weights, whole[:_LONGEST_TERM], IDENTIFIER_WEIGHT if telling else 1.0)
        for part in found.numbers:
            _put(weights, part[:_LONGEST_TERM])

    def _add_all(self, chunks: Iterable[str], weights: dict[str, float], stops: dict[str, None]) -> None:
        for chunk in chunks:
            if chunk:
                self._add(chunk, weights, stops)

    def _add_word(self, word: str, weights: dict[str, float], stops: dict[str, None], *, name: bool = False) -> None:
        """A word: its stem, and those of its other spellings. A stop word is a name, too, where it stands in capitals;
        with `name` it is one anyway."""
        word = word[:_LONGEST_TERM]
        folded = fold(word, self.language)
        if folded == "cannot" and self.language == "en":
            stops["can"] = None
            _put(weights, "not")
            return
        if folded in self._stop_words and not name:
            stops[folded] = None
            if len(word) > 1 and word.isupper():
                _put(weights, word)
            return
        others = spellings(folded, self.language)
        if self.language in ("tr", "az") and "ı" in folded and not others:
            others = [plain(folded)]
        stems = dict.fromkeys(self._stem(each) for each in (folded, *others))
        for stem in stems:
            _put(weights, stem[:_LONGEST_TERM], 1 / len(stems))
        if "\uac00" <= folded[0] <= "\ud7a3":
            for part in _hangul_parts(folded):
                _put(weights, part)

    def _add_name(self, name: str, weights: dict[str, float], stops: dict[str, None]) -> None:
        """A compound, a code name, a part number: its whole form, its numbers, its words."""
        bare = name.strip("_")
        if bare != name:
            _put(weights, fold(name)[:_LONGEST_TERM], IDENTIFIER_WEIGHT)
            if bare:
                self._add(bare, weights, stops)
            return
        found = name_forms(name)
        code = bool(_IS_CODE.search(name))
        if (
            found.wholes[0].isalpha() and not code
        ):  # "Wi-Fi", "state-of-the-art": the words and the whole share their weight
            share = len(found.words) / (len(found.words) + 1)
            for word in (*found.wholes, *found.words):
                own: dict[str, float] = {}
                self._add_word(word, own, {} if word in found.wholes else stops)
                for term, weight in own.items():
                    _put(weights, term, weight * share)
            return
        for whole in found.wholes:
            if whole.isalpha():
                whole = self._stem(fold(whole[:_LONGEST_TERM], self.language))
            _put(weights, whole[:_LONGEST_TERM], IDENTIFIER_WEIGHT)
        parts: dict[str, float] = {}
        for number in found.numbers:
            _put(parts, number[:_LONGEST_TERM])
        for word in found.words:
            self._add_word(word, parts, stops)
        for part, weight in parts.items():
            _put(weights, part, PART_WEIGHT * weight)

    def _add_apostrophe(self, word: str, weights: dict[str, float], stops: dict[str, None]) -> None:
        """A word with an apostrophe: an ending after it, an article before it, or a part of the word."""
        before, _, after = word.partition("'")
        folded = fold(word, self.language)
        if folded in self._stop_words:
            stops[folded] = None
        elif negated := _NEGATED.fullmatch(folded):  # "isn't": the verb, and the negation
            verb = negated.group(1)
            self._add_word(_VERBS.get(verb, verb), weights, stops)
            _put(weights, "not")
        elif after.lower() == "s" and before.isalpha() and folded[:-2] not in _BEFORE_IS:  # "keeper's", "Sir We's"
            self._add_word(before, weights, {}, name=True)
        elif after.lower() in _ENDINGS or self.language in ("tr", "az"):  # "they've", "İstanbul'da"
            self._add(before, weights, stops)
        elif self.language in _ELIDING and before.lower() in _ARTICLES:  # "l'eau"
            self._add(after, weights, stops)
        else:  # "O'Brien", "комп'ютер"
            self._add_word(re.sub(r"\W", "", word), weights, stops)
            self._add_all([part for part in re.split("'", word) if len(part) > 2], weights, stops)

    def _add_signed(self, chunk: str, weights: dict[str, float], stops: dict[str, None]) -> None:
        """C, C++, C# and the like: what the sign belongs to has no meaning without it where it is a letter or two."""
        name, sign, version = _SIGNED.fullmatch(chunk).groups()  # type: ignore[union-attr]
        if sign == "++" or (len(name) <= 2 and name.isalpha()):
            _put(weights, fold(name)[:_LONGEST_TERM] + sign, IDENTIFIER_WEIGHT)
            if version:
                _put(weights, fold(name) + sign + version, IDENTIFIER_WEIGHT)
                _put(weights, version)
        if len(name) > 2 or not name.isalpha():
            self._add(name, weights, stops)

    def _add_section(self, section: re.Match[str], weights: dict[str, float], stops: dict[str, None]) -> None:
        """A number with others in brackets: "§ 12 (3)" has "12(3)", "§12" and its parts."""
        whole = re.sub(r"[§\s]", "", fold(section.group()))
        head = section.group("number").lower()
        if section.group("rest"):
            _put(weights, whole, IDENTIFIER_WEIGHT)
        if section.group("sign"):
            _put(weights, "§" + head, IDENTIFIER_WEIGHT)
        self._add_all([head, *re.findall(r"\w+", section.group("rest"))], weights, stops)

    def _add_spelled(self, spelled: re.Match[str], weights: dict[str, float], stops: dict[str, None]) -> None:
        """A name of capitals with its number after a blank: "PEP 3107", "AX 4410 B"."""
        letters, number, last = spelled.groups(default="")
        short = letters + number.replace("-", "")
        _put(weights, short.lower(), IDENTIFIER_WEIGHT)
        if last:
            _put(weights, (short + last).lower(), IDENTIFIER_WEIGHT)
        self._add_all([letters, number, last], weights, stops)

    def _add_url(self, url: str, weights: dict[str, float], stops: dict[str, None]) -> None:
        """An address without its scheme, "www." and signs at its end; its host; its words."""
        address = re.sub(r"^(?:[a-z]+://)?(?:www\.)?|[/.,;:!?)\]]+$", "", url)
        if not address:
            return
        host = re.split("[/?#]", address)[0]
        for whole in dict.fromkeys((address.lower(), host.lower())):
            _put(weights, whole[:_LONGEST_TERM], IDENTIFIER_WEIGHT)
        self._add_all(_pattern().findall(re.sub("[/?#=&%~@:]", " ", address)), weights, stops)

    def _stem(self, word: str) -> str:
        if self._algorithm is None:  # PyStemmer 2 has no Estonian
            return word
        stemmer = getattr(self._local, "stemmer", None)
        if stemmer is None:
            stemmer = self._local.stemmer = Stemmer.Stemmer(self._algorithm)
        return str(stemmer.stemWord(word)) or word


def _chunks(text: str) -> list[str]:
    text = normalize(text)
    return (_ASCII_CHUNKS if text.isascii() else _pattern()).findall(text)


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


_ASCII_CHUNKS = _chunk_pattern(r"\w", re.ASCII)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    return _chunk_pattern(rf"[\w{marks()}]")


_URL = re.compile(r"(?:https?|ftp)://|www\.")
# A number with others in brackets: "§ 12 (3)", "12(3)(a)", "§ 12".
_SECTION = re.compile(r"(?P<sign>§*) ?(?P<number>\d\w*)(?P<rest>(?: ?\(\w+\))*)")
_SPELLED = re.compile(r"([A-Z]{1,6}) (\S+)(?: ([A-Z]))?")  # "PEP 3107", "AX 4410 B"
_SIGNED = re.compile(r"(?P<name>.*?)(?P<sign>\+\+|[+#])(?P<version>\d*)", re.DOTALL)  # "C++17", "C#", "A+"
_LIST_SIGN = re.compile(
    r"(?<![\d:])[,:](?!:)|[,:](?![\d:])(?<!::)"
)  # the comma of "lamp,ship", the colon of "key:value"
_NUMBER = re.compile(r"\d+(?:[-.,:'/ ]\s*\d+)*")  # "1,250,000", "14.2.1.0", "2024-05-12", "1 250 000"
_IS_NAME = re.compile(
    r"[-.:&_]|\d|[a-z][A-Z]|[A-Z]{2}[a-z]"
)  # "Wi-Fi", "Node.js", "AT&T", "mp3", "readFile", "HTTPServer"
_IS_CODE = re.compile(
    r"[_.&:]|[a-z][A-Z]|[A-Z]{2}[a-z]"
)  # what no ordinary word has: "read_file", "Node.js", "readFile"
_NEGATED = re.compile(r"([a-z]+)n't")  # "isn't"
_VERBS = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}
_BEFORE_IS = frozenset(["it", "he", "she", "that", "what", "who", "where", "when", "how", "why", "there", "here"])
_ENDINGS = frozenset(("s", "ll", "re", "ve", "d", "m"))
_ELIDING = frozenset(("fr", "it", "ca"))
_ARTICLES = frozenset(
    [
        "l",
        "d",
        "j",
        "m",
        "t",
        "s",
        "c",
        "n",
        "qu",
        "jusqu",
        "lorsqu",
        "puisqu",
        "quoiqu",
        "un",
        "all",
        "dall",
        "dell",
        "nell",
        "sull",
        "quell",
        "gl",
        "degl",
        "agl",
        "dagl",
        "negl",
        "sugl",
    ]
)
_RUNS = re.compile(rf"[{WITHOUT_BLANKS}]+|[^{WITHOUT_BLANKS}]+")  # "Python", "入門", "guide" of "Python入門guide"
_WITHOUT_BLANKS = re.compile(rf"[{WITHOUT_BLANKS}]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
_HAN_OR_KANA = re.compile(f"[{HAN}{KANA}]")
# A Chinese character that stands alone or between kana is a word: "灯" of "灯を".
_LONE_HAN = re.compile(rf"(?<![{HAN}])[{HAN}](?![{HAN}])")
# Korean particles after a noun: "에서" and "는" of "집에서는".
_PARTICLES = re.compile(
    r"(?:에서|에게|한테|으로|부터|까지|처럼|보다|이나|이랑|하고|라고|이라|마다|조차|밖에)?(?:은|는|이|가|을|를|에|의|와|과|도|로|만)?"
)


def _is_unspaced(pair: str) -> bool:
    return all(_WITHOUT_BLANKS.match(character) for character in pair) or bool(
        _HANGUL.match(pair[0]) and _HANGUL.match(pair[1])
    )


def _pairs(run: str) -> list[str]:
    return list(map(add, run, run[1:])) or [run]


def _hangul_parts(word: str) -> list[str]:
    """Pairs of syllables of a word, and its first one where only particles follow: "집" of "집에서는"."""
    parts = _pairs(word) if len(word) > 2 else []
    return [*parts, word[0]] if len(word) > 1 and _PARTICLES.fullmatch(word, 1) else parts


def _joined(text: str, languages: Sequence[str]) -> dict[str, float]:
    """Terms for two or three neighbours of a query that may be one word in a text: "ax 4410 b", "covid 19", "wi fi"."""
    out: dict[str, float] = {}
    for run in _NEIGHBOURS.findall(normalize(text)):
        words = run.split(" ")
        for group in [words[start : start + size] for size in (2, 3) for start in range(len(words) - size + 1)]:
            whole = "".join(group).lower()
            letters = [word for word in group if word.isalpha()]
            grammar = [word.lower() in _GRAMMAR for word in group]
            if len(whole) > _LONGEST_JOINED or any(grammar[:-1]) or (grammar[-1] and len(group[-1]) > 1):
                continue
            if letters and len(letters) < len(group) and max(map(len, letters)) <= _LONGEST_PREFIX:
                out[whole] = IDENTIFIER_WEIGHT
            elif (
                len(letters) == len(group) == 2
                and min(map(len, letters)) <= 2
                and group[1].lower() not in stop_words("en")
            ):
                for language in languages:
                    out.update(_analyser(language).forms(whole).weights)
    return out


_GRAMMAR = stop_words("en") | NEGATIONS
_NEIGHBOURS = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]+(?: [A-Za-z0-9]+)+")  # "ax 4410 b"
_LONGEST_JOINED = 16
_LONGEST_PREFIX = 6


def _put(weights: dict[str, float], term: str, weight: float = 1.0) -> None:
    """A term with the highest weight that it has."""
    weights[term] = max(weight, weights.get(term, 0.0))


@lru_cache(maxsize=256)
def _analyser(language: str) -> _Analyser:
    return _Analyser(language)


@lru_cache(maxsize=1)
def _algorithms() -> frozenset[str]:
    return frozenset(Stemmer.algorithms())


@lru_cache(maxsize=64)
def _filler_terms(language: str) -> frozenset[str]:
    return frozenset(terms(_FILLERS.get(language, ""), language))


_FILLERS = {
    "de": "beschreibe erkläre erläutere fasse zusammen zusammenfassung sage sagte sagen meinte denken dachte frage",
    "en": "summarize summarise summary describe explain tell say said says think thinks thought talk talked discuss "
    "discussed discussing discussion discussions mention mentioned opinion opinions according question regarding "
    "concerning could would may might must shall also",
    "es": "resume resumen describe explica dime dijo dice piensa pensó pregunta",
    "fr": "résume résumé décris explique dis dit pense pensait question",
}
