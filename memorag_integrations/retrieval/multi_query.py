"""Evidence for several texts at once, none of them before the others: key points of a summary, clues without a query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np

from ..documents import clean_text
from ..errors import InputError
from ..scores import Scores
from . import fusion, per_clue_union
from .fusion import Fusion
from .provenance import Provenance, Ranking

EachMode = Literal["memorag", "per-clue-union"]
"""How to rank for each text: as `retrieve` does for a query without clues, or by vectors alone."""


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts that are not blank, each once.

    Raises:
        InputError: Where none is left, or one is no text.
    """
    every = check_each_text([texts] if isinstance(texts, str) else texts)
    unique = list(dict.fromkeys(clean_text(text.strip()) for text in every if text.strip()))
    if not unique:
        raise InputError("There is nothing to retrieve for: pass at least one text that is not blank.")
    return unique


def check_each_text(texts: object) -> list[str]:
    """A list of these texts.

    Raises:
        InputError: For anything else than several texts.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InputError(f"Expected a list of texts, found {type(texts).__name__}.")
    every = list(texts)
    if any(not isinstance(text, str) for text in every):
        raise InputError(f"Expected texts, found {[type(text).__name__ for text in every][:5]}.")
    return every


def check_each_mode(mode: str, dense: bool) -> None:
    """Raises InputError for an unknown mode, or one that needs an embedder where there is none."""
    if mode not in get_args(EachMode):
        raise InputError(f"mode must be one of {', '.join(get_args(EachMode))}; found {mode!r}.")
    if mode == "per-clue-union" and not dense:
        raise InputError('mode "per-clue-union" ranks by vectors and needs an embedder. Pass one.')


def rank_each(scores: Sequence[Scores], settings: Fusion, mode: EachMode) -> Ranking:
    """The rankings for several texts, taken in turn: the best of each, then the second of each, and so on.

    Args:
        scores: Of each text, over the same candidates.
        settings: Of the fusion.
        mode: See `EachMode`.
    """
    if mode == "per-clue-union":
        return per_clue_union.rank_union(scores, query_name=scores[0].text)
    fused = per_clue_union.round_robin([fusion.rank(one, [], settings) for one in scores])
    return Ranking(fused, Provenance(scores[0], scores[1:], [1.0] * (len(scores) - 1), query_name=scores[0].text))


def leads_to(scores: Scores, settings: Fusion, document_id: str) -> bool:
    """Whether the best passage for a text is of this document."""
    best = int(np.argmax(fusion.rank(scores, [], settings)))
    return scores.candidates.passages[best].document_id == document_id
