"""Templates of prompts: the fields they hold, how they are checked, and the fence around a text.

A text always comes first, the same bytes each time, so that a provider's prefix cache holds it; it stands in a fence
that it cannot contain, and the instructions after it name it as data. The query comes last, so that two queries in one
language share the instructions too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from string import Formatter
from typing import ClassVar

from ..documents import clean_text, text_hash
from ..errors import InputError


@dataclass(frozen=True)
class Prompts:
    """The templates of one language. Fields in braces are filled in; a literal brace is written twice.

    Args:
        recall: Asks for clues. Fields: tag, query, spans, questions (most of each), language.
        gist: Asks for the gist of a stretch. Fields: tag, words (most), language.
        digest: Asks for the gist of gists. Fields: tag, words, language.
        answer: Asks for an answer from pieces of evidence. Fields: tag, query, language.
        brief_answer: Asks for an answer from a whole text, without excerpts. Fields: tag, query, language.
        summary: Asks for a summary. Fields: tag, language.
        key_points: Asks for the key points of a text, one a line. Fields: tag, points (most), language.
        summary_of_points: Asks for a summary from key points and excerpts. Fields: tag, language.
        reply_in: The sentence that fills `language`. Field: name, of the language to reply in.
        same_language: The same where that language is not known for certain. No field.

    Raises:
        InputError: For a template without a field that it needs, or with one that nothing fills.
    """

    recall: str
    gist: str
    digest: str
    answer: str
    brief_answer: str
    summary: str
    key_points: str
    summary_of_points: str
    reply_in: str
    same_language: str

    FIELDS: ClassVar[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
        "recall": (frozenset({"query"}), frozenset({"tag", "spans", "questions", "language"})),
        "gist": (frozenset(), frozenset({"tag", "words", "language"})),
        "digest": (frozenset(), frozenset({"tag", "words", "language"})),
        "answer": (frozenset({"query"}), frozenset({"tag", "language"})),
        "brief_answer": (frozenset({"query"}), frozenset({"tag", "language"})),
        "summary": (frozenset(), frozenset({"tag", "language"})),
        "key_points": (frozenset(), frozenset({"tag", "points", "language"})),
        "summary_of_points": (frozenset(), frozenset({"tag", "language"})),
        "reply_in": (frozenset({"name"}), frozenset()),
        "same_language": (frozenset(), frozenset()),
    }
    """Of each template, the fields it must hold and those it may."""

    def __post_init__(self) -> None:
        for field in fields(self):
            needed, allowed = self.FIELDS[field.name]
            check_template(field.name, getattr(self, field.name), needed, allowed | needed)


def check_template(name: str, template: object, needed: frozenset[str], allowed: frozenset[str]) -> None:
    """Nothing, where `template` holds the fields in `needed` and none but those in `allowed`.

    Raises:
        InputError: Otherwise, with what is missing or too much.
    """
    if not isinstance(template, str):
        raise InputError(f"The template {name!r} must be a str, found {type(template).__name__}.")
    try:
        found = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise InputError(
            f"The template {name!r} cannot be read ({error}). Write a brace that is no field twice: {{{{ and }}}}."
        ) from error
    if missing := sorted(needed - found):
        raise InputError(f"The template {name!r} needs the field {{{missing[0]}}}; found {sorted(found) or 'none'}.")
    if unknown := sorted(found - allowed):
        raise InputError(
            f"The template {name!r} holds {{{unknown[0]}}}, which nothing fills; it may hold {sorted(allowed)}. "
            f"Write a brace that is no field twice: {{{{ and }}}}."
        )


def fence(text: str) -> tuple[str, str]:
    """`text` between a tag's opening and closing lines, and the tag; the same for the same text, and not in it.

    The tag is drawn from the text's hash, so that a text cannot close its own fence.
    """
    text = clean_text(text)
    tag = f"text-{text_hash(text)[:12]}"
    while tag in text:
        tag = f"text-{text_hash(tag, text)[:12]}"
    return f"<{tag}>\n{text}\n</{tag}>\n\n", tag
