"""What is asked of a corpus: the query, how to rank, which passages may compete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..clues import Recall
from ..documents import clean_text
from ..errors import InputError
from ..index.index import Filters
from ..scores import Floats
from .selection import Selection

Mode = Literal["memorag", "plain", "bm25", "hybrid", "per-clue-union"]
"""How to rank: memory-guided (the default); by vectors alone, by terms alone, or by both, without spreading or clues; or
with the memory's clues as the original MemoRAG does (`per_clue_union`)."""

GUIDED = ("memorag", "per-clue-union")
"""The modes that ask the memory."""

ANSWER_K = 8
"""Pieces of evidence an answer is written from, where neither k nor budget is given."""


@dataclass(frozen=True)
class Query:
    """What is asked of a corpus.

    Args:
        text: The query, not blank.
        mode: How to rank.
        filters: Which passages may compete.
        recall: Clues to search with, in the place of asking the memory.
        vector: The query's vector, in the place of embedding its text.
    """

    text: str
    mode: Mode = "memorag"
    filters: Filters | None = None
    recall: Recall | None = None
    vector: Sequence[float] | Floats | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", check_query(self.text))
        if self.mode not in get_args(Mode):
            raise InputError(f"mode must be one of {', '.join(get_args(Mode))}; found {self.mode!r}.")
        if self.recall is not None and not isinstance(self.recall, Recall):
            raise InputError(f"recall must be what recall(query) gives, found {type(self.recall).__name__}.")
        if self.recall is not None and self.mode not in GUIDED:
            raise InputError(f'mode "{self.mode}" takes no clues. Leave recall out, or use one of {", ".join(GUIDED)}.')


def question(
    query: str,
    k: int | None = None,
    *,
    budget: int | None = None,
    mode: Mode = "memorag",
    filters: Filters | None = None,
    cutoff: float = 0.0,
    merge: bool = False,
    recall: Recall | None = None,
    vector: Sequence[float] | None = None,
    default_k: int = 5,
) -> tuple[Query, Selection, bool]:
    """The arguments of `retrieve`; `default_k` pieces where neither k nor budget is given."""
    k = default_k if k is None and budget is None else k
    return Query(query, mode, filters, recall, vector), Selection.of(k, budget, cutoff), merge


def check_query(query: str) -> str:
    """The query as valid Unicode, without blanks around it.

    Raises:
        InputError: Where nothing is left, or it is no text.
    """
    if not isinstance(query, str) or not query.strip():
        raise InputError(f"A query must be a text that is not blank, found {query!r}.")
    return clean_text(query.strip())
