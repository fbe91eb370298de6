"""The language of a text: by its script where that decides, else by py3langid."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from .scripts import SCRIPTS

NAMES = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian", "bg": "Bulgarian",
    "bn": "Bengali", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "eu": "Basque",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician", "gu": "Gujarati",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh", "km": "Khmer",
    "kn": "Kannada", "ko": "Korean", "ky": "Kyrgyz", "la": "Latin", "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian",
    "mk": "Macedonian", "ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi", "ms": "Malay", "my": "Burmese",
    "ne": "Nepali", "nl": "Dutch", "no": "Norwegian", "pa": "Punjabi", "pl": "Polish", "ps": "Pashto",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai",
    "tl": "Filipino", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese",
    "xh": "Xhosa", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip
"""English names by ISO 639-1 code."""

SURE = 0.9
"""Probability from which a detected language is taken for certain."""

LEAST_WORDS = 3
"""Words of a query from which its language can be detected where the script does not tell it."""


def by_script(text: str) -> str | None:
    """ISO 639-1 code of the language whose own script fills enough of the letters of `text` (`Script.share`), or None."""
    letters = sum(map(str.isalpha, text))
    if not letters or text.isascii():
        return None
    for script in SCRIPTS:
        if script.language and len(script.pattern.findall(text)) / letters >= script.share:
            return script.language
    return None


def identify(text: str) -> tuple[str, float]:
    """The likeliest language of `text`, and its probability; "und" for a text with no letters."""
    if not any(map(str.isalpha, text)):
        return "und", 1.0
    if (language_of_script := by_script(text)) is not None:
        return language_of_script, 1.0
    language, probability = _identifier().classify(text)
    return str(language), float(probability)


def foreign_language(query: str, languages: Collection[str]) -> str | None:
    """The English name of the language of `query`, where it is certain and none of `languages`; else None.

    Args:
        query: A text.
        languages: ISO 639-1 codes of the documents' languages.
    """
    language, probability = identify(query)
    if language in languages or language == "und" or "und" in languages:
        return None
    certain = (
        by_script(query) is not None
        or (probability >= SURE and len(query.split()) >= LEAST_WORDS)
        or any(own.isdisjoint(languages) and _fills(script, query) for script, own in _SHARED)
    )
    return NAMES.get(language, language) if certain else None


def _fills(script: re.Pattern[str], text: str) -> bool:
    return 2 * len(script.findall(text)) > sum(map(str.isalpha, text))


# Scripts of several languages, and these: "лампа", "مصباح", "दीपक".
_SHARED = (
    (re.compile("[\u0400-\u04ff]"), frozenset(("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "uk"))),
    (re.compile("[\u0600-\u06ff]"), frozenset(("ar", "fa", "ps", "ur"))),
    (re.compile("[\u0900-\u097f]"), frozenset(("hi", "mr", "ne"))),
)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def foreign_warning(query: str, languages: Sequence[str]) -> str | None:
    """What to say where no term of a query occurs in a corpus: that its language is another one, if that is certain.

    Args:
        query: The query.
        languages: ISO 639-1 codes of the documents.
    """
    if (language := foreign_language(query, languages)) is None:
        return None
    return (
        f"No term of the query occurs in the corpus: it is in another language ({language}; the documents are in "
        f"{', '.join(NAMES.get(code, code) for code in languages)}), so the evidence is no better than any other. An embedder "
        f"of several languages finds by meaning: MemoRAG(embedder=…)."
    )
