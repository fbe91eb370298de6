"""Text to terms: words are folded and stemmed, identifiers get their forms, scripts without blanks become character pairs.

A text is cut into chunks: a word, an identifier such as "AX-4410-B", a run of a script without blanks. The terms of a
chunk depend on nothing but the chunk and the language, so they are worked out once and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import Stemmer

from ..errors import InputError
from .analyser import IDENTIFIER_WEIGHT, SNOWBALL, analyser_of, pairs
from .chunks import UNSPACED, chunks_of, cut, take_unspaced
from .folding import normalize
from .languages import SURE, identify
from .stop_words import NEGATIONS, stop_words
from .tokenizer import Tokenizer

ANALYSIS = f"terms 2, Snowball {Stemmer.version().split('.')[0]}"
"""What made the terms of a store; terms of another analysis are made again when a store is loaded."""

_FILLERS = {
    "de": "beschreibe erkläre erläutere fasse zusammen zusammenfassung sage sagte sagen meinte denken dachte frage",
    "en": "summarize summarise summary describe explain tell say said says think thinks thought talk talked discuss "
    "discussed discussing discussion discussions mention mentioned opinion opinions according question regarding "
    "concerning could would may might must shall also",
    "es": "resume resumen describe explica dime dijo dice piensa pensó pregunta",
    "fr": "résume résumé décris explique dis dit pense pensait question",
}
_SAMPLE = 4_000


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
    """The terms of `text` as they are indexed: those of its words in order, repeats kept; its stop words, each once; those
    of its runs without blanks.

    Words are folded (compatibility forms, case, invisible characters) and stemmed for `language`; a word with accents
    counts under its spelling without them, too. An identifier counts as a whole and in parts. Runs of a script written
    without blanks (Chinese, Japanese, Thai, Lao, Burmese, Khmer, Tibetan) become pairs of characters, and each character
    once, for queries that have nothing else; Hangul words become pairs of syllables beside the word. A stop word in capitals ("WHO") is a name, too.

    Args:
        text: Any text.
        language: ISO 639-1 code.
        tokenizer: Takes the place of all this.

    Raises:
        TokenizerError: Where the tokenizer fails, or answers with something else than words.
    """
    if tokenizer is not None:
        return tokenizer.terms(text)
    unspaced, text = take_unspaced(normalize(text))
    analyser, chunks = analyser_of(language), cut(text)
    out = list(chain.from_iterable(map(analyser.terms_of.__getitem__, chunks)))
    out += sorted(set(chain.from_iterable(map(analyser.stops_of.__getitem__, set(chunks)))))
    out += unspaced
    return out


def chunk_terms(text: str, language: str, tokenizer: Tokenizer | None = None) -> list[tuple[str, Sequence[str]]]:
    """Each chunk of `text` with its terms, stop words left out: joined, they are what `terms` begins with.

    Args, raises: as `terms`.
    """
    if tokenizer is not None:
        return [(term, (term,)) for term in tokenizer.terms(text)]
    analyser = analyser_of(language)
    return [(chunk, analyser.terms_of[chunk]) for chunk in chunks_of(text)]


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
    languages, chunks = list(languages), chunks_of(text)
    shouted = len(chunks) > 2 and text.isupper()  # capitals say nothing where all is in capitals
    wanted: dict[str, float] = {}
    asking: dict[str, float] = {}
    stops: dict[str, float] = {}
    for language in languages:
        analyser, fillers = analyser_of(language), _filler_terms(language)
        for chunk in chunks:
            forms = analyser.forms(chunk.lower() if shouted and chunk.isalpha() else chunk)
            for term, weight in forms.weights.items():
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
    analyser = analyser_of(language)
    found: dict[str, None] = {}
    for chunk in chunks_of(phrase):
        if UNSPACED.search(chunk) or _HANGUL.search(chunk):
            runs = [run for run in re.findall(r"\w+", chunk) if len(run) > 1]
            found.update(dict.fromkeys(pair for run in runs for pair in pairs(run) if _no_blanks(pair)))
        elif chunk.isalpha():
            forms = analyser.forms(chunk.lower())
            spelled = list(forms.weights)
            found.update(dict.fromkeys(spelled[1:2] or spelled or forms.stops))
    return list(found)


_HANGUL = re.compile(r"[\uac00-\ud7a3]")  # "서"


def _no_blanks(pair: str) -> bool:
    """Whether both characters are of a script without blanks, or both Hangul."""
    return all(map(UNSPACED.match, pair)) or all(map(_HANGUL.match, pair))


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
            elif len(letters) == len(group) == 2 and min(map(len, letters)) <= 2 and not grammar[-1]:
                for language in languages:
                    out.update(analyser_of(language).forms(whole).weights)
    return out


_GRAMMAR = stop_words("en") | NEGATIONS
_NEIGHBOURS = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]+(?: [A-Za-z0-9]+)+")  # "ax 4410 b"
_LONGEST_JOINED = 16
_LONGEST_PREFIX = 6


@lru_cache(maxsize=64)
def _filler_terms(language: str) -> frozenset[str]:
    return frozenset(terms(_FILLERS.get(language, ""), language))
