"""Text to terms: script first, then language; Snowball stems, stop words dropped, character bigrams where no blanks are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import Stemmer

from ..errors import InputError
from .languages import SURE, identify
from .scripts import WITHOUT_BLANKS
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

_FILLERS = {
    "de": "beschreibe erkläre erläutere fasse zusammen zusammenfassung sage sagte sagen meinte denken dachte frage",
    "en": "summarize summarise summary describe explain tell say said says think thinks thought talk talked discuss "
    "discussed discussing discussion discussions mention mentioned opinion opinions according question regarding "
    "concerning could would may might must shall also",
    "es": "resume resumen describe explica dime dijo dice piensa pensó pregunta",
    "fr": "résume résumé décris explique dis dit pense pensait question",
}
# A run of a script without blanks ("看守人"), or a word with its marks and apostrophes ("keeper's", "read_file").
_RUNS = re.compile(rf"[{WITHOUT_BLANKS}]+|(?:(?![{WITHOUT_BLANKS}])[\w\u0300-\u036f'’])+")
_IS_WITHOUT_BLANKS = re.compile(rf"[{WITHOUT_BLANKS}]")
# The parts of an identifier: "read", "File" of "readFile"; "HTTP", "Server" of "HTTPServer"; "utf", "8" of "utf_8".
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SAMPLE = 4_000
_LONGEST_TERM = 64


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


def terms(text: str, language: str) -> list[str]:
    """The terms of `text` in order, repeats kept, as they are indexed and searched.

    Words are folded (NFKC, case), stripped of stop words and stemmed for `language`; of an identifier such as
    `read_file` or `readFile` the parts count too. Runs of a script written without blanks (Chinese, Japanese, Thai,
    Lao, Burmese, Khmer) become character bigrams, whatever the language.
    """
    stemmer, stops = _stemmer(language), stop_words(language)
    words: list[str] = []
    out: list[str] = []
    for word in _words(unicodedata.normalize("NFKC", text)):
        if _IS_WITHOUT_BLANKS.match(word):
            out.extend(_bigrams(word))
        elif word not in stops:
            words.append(word[:_LONGEST_TERM])
    out.extend(words if stemmer is None else stemmer.stemWords(words))
    return out


def query_terms(text: str, languages: Iterable[str]) -> list[str]:
    """The distinct terms to search for `text` in documents of these languages; words of asking are dropped.

    Where nothing else is left, they are kept: a query for "summary" is still a query.
    """
    found: dict[str, None] = {}
    dropped: dict[str, None] = {}
    for language in languages:
        fillers = _filler_terms(language)
        for term in terms(text, language):
            (dropped if term in fillers else found)[term] = None
    return list(found or dropped)


def _words(text: str) -> Iterator[str]:
    for match in _RUNS.finditer(text):
        word = match.group().strip("'’").replace("’", "'")
        if not word:
            continue
        yield word.casefold()
        bare = word.strip("_")
        parts: Sequence[str] = ()
        if "_" in bare or not (bare[1:].islower() or bare.isupper()):
            # Humps are looked for in ASCII alone: an accented letter is no border.
            parts = _PARTS.findall(bare) if bare.isascii() else bare.split("_")
        if len(parts) > 1:
            yield from (part.casefold() for part in parts if part)
        elif bare and bare != word:
            yield bare.casefold()


def _bigrams(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def _stemmer(language: str) -> Stemmer.Stemmer | None:
    """A new stemmer of a language: one must not be used by two threads, and to make one takes a few microseconds.

    None where there is none: PyStemmer 2 has no Estonian.
    """
    algorithm = SNOWBALL.get(language)
    return Stemmer.Stemmer(algorithm) if algorithm in _algorithms() else None


@lru_cache(maxsize=1)
def _algorithms() -> frozenset[str]:
    return frozenset(Stemmer.algorithms())


@lru_cache(maxsize=64)
def _filler_terms(language: str) -> frozenset[str]:
    return frozenset(terms(_FILLERS.get(language, ""), language))
