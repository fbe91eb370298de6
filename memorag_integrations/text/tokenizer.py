"""A tokenizer of the user's own in the place of ours: jieba, Kiwi, MeCab, any function from a text to its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import InputError, TokenizerError

Split = Callable[[str], Sequence[str]]
"""Cuts a text into words, such as `jieba.lcut`."""

LONGEST_TERM = 64
"""Characters of a word that count."""


@dataclass(frozen=True)
class Tokenizer:
    """A function that cuts texts and queries into words, and the name by which a store knows it.

    What it gives is indexed as it stands, in lower case and compatibility form (NFKC): no stems, no stop words.

    Args:
        name: Kept in a store, which is opened with a tokenizer of the same name only. Name the version, too, where the
            words depend on it.
        split: The words of a text, in order, such as `jieba.lcut`. It may be called by several threads.

    Raises:
        InputError: For a blank name, or a `split` that cannot be called.
    """

    name: str
    split: Split

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise InputError(f"A tokenizer needs a name of one line that is not blank, found {self.name!r}.")
        if not callable(self.split):
            raise InputError(
                f"A tokenizer must be a function from a text to a list of words, found {type(self.split).__name__}."
            )

    @classmethod
    def of(cls, tokenizer: AnyTokenizer | None) -> Tokenizer | None:
        """`tokenizer` itself; a function under its own name; None for None.

        Raises:
            InputError: For what is no function, or one without a name, such as a lambda.
        """
        if tokenizer is None or isinstance(tokenizer, Tokenizer):
            return tokenizer
        if not callable(tokenizer):
            raise InputError(
                f"tokenizer must be a function from a text to a list of words, or a Tokenizer(name, function); "
                f"found {type(tokenizer).__name__}."
            )
        name = getattr(tokenizer, "__qualname__", "")
        if not name or "<" in name:
            raise InputError(
                f"A store knows its tokenizer by name, and this one ({type(tokenizer).__name__}) has none of its own. "
                f'Give it one: Tokenizer("name", function).'
            )
        return cls(f"{getattr(tokenizer, '__module__', '')}.{name}".removeprefix("."), tokenizer)

    @property
    def analysis(self) -> str:
        """What made the terms of a store, in one line with a blank in it."""
        return f"tokenizer {self.name}"

    def terms(self, text: str) -> list[str]:
        """The words of `text`, folded; what is blank is left out.

        Raises:
            TokenizerError: Where the function fails, or answers with something else than a list of words.
        """
        try:
            words = self.split(text)
        except Exception as error:
            raise TokenizerError(
                f"The tokenizer {self.name!r} failed on a text of {len(text):,} characters "
                f"({text[:40]!r}…): {type(error).__name__}: {error}"
            ) from error
        if not isinstance(words, list | tuple):
            raise TokenizerError(
                f"The tokenizer {self.name!r} must answer with a list of words, found {type(words).__name__}."
            )
        strange = next((word for word in words if not isinstance(word, str)), None)
        if strange is not None or None in words:
            raise TokenizerError(
                f"The tokenizer {self.name!r} must answer with words (str), found {type(strange).__name__} among them."
            )
        return [term for word in words if (term := _folded(word))]


AnyTokenizer = Tokenizer | Split


def _folded(word: str) -> str:
    """A word without blanks: the terms of a store stand one a line."""
    folded = word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()
    return " ".join(folded.encode("utf-8", "replace").decode("utf-8").split())[:LONGEST_TERM].strip()
