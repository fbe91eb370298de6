"""The language to reply in, and the sentence that asks for it."""

from __future__ import annotations

from ..text.languages import NAMES, SURE, identify
from .templates import Prompts


def detect(text: str) -> str:
    """ISO 639-1 code of the language of a query; "und" where that is not certain."""
    language, probability = identify(text[:2000])
    return language if probability >= SURE else "und"


def reply_sentence(prompts: Prompts, language: str) -> str:
    """The sentence that asks for a reply in `language`, a code, "und" for the query's own, or a name as it stands."""
    if language == "und":
        return prompts.same_language
    name = "中文" if language == "zh" and "请" in prompts.reply_in else NAMES.get(language, language)
    return prompts.reply_in.format(name=name)
