"""How many tokens a text is: by a model's own tokenizer where it has one, else an estimate that errs upwards. Pure."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from operator import index

import numpy as np

from ..errors import LLMError, raised_as

Count = Callable[[str], int]


def estimate_tokens(text: str) -> int:
    """An upper estimate of the tokens of `text` for today's vocabularies of 32,000 and more.

    A token for every three ASCII letters or blanks (English prose: about 4.5 in truth), for every digit and mark, for
    every other letter of Latin, Greek, Cyrillic, Hebrew or Arabic; 1.5 for any other character. A text that an estimate
    lets through fits; one at the limit may be split although it would have fitted.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    ascii_codes = codes[codes < 0x80]
    letters = int(((ascii_codes | 0x20) >= ord("a")).sum() - ((ascii_codes | 0x20) > ord("z")).sum())
    blanks = int((ascii_codes <= 0x20).sum())
    near = int(((codes >= 0x80) & (codes < 0x800)).sum())
    far = len(codes) - len(ascii_codes) - near
    return ceil((letters + blanks) / 3 + (len(ascii_codes) - letters - blanks) + near + 1.5 * far)


def counter(model: object) -> Count:
    """The model's own `count_tokens`, or the estimate.

    The function raises LLMError where the model's own raises anything, or answers with something else than a number.
    """
    own: Count | None = getattr(model, "count_tokens", None)
    if not callable(own):
        return estimate_tokens
    name = getattr(model, "name", type(model).__name__)

    def count(text: str) -> int:
        with raised_as(LLMError, f"{name} could not count the tokens of a text"):
            return index(own(text))

    return count
