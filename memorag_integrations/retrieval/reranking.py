"""The best of a ranking, read again by a model that sees query and passage together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..contracts import Reranker
from ..encoders.rerankers import resolve_reranker
from ..errors import InputError, RerankerError, raised_as
from ..scores import Floats
from .provenance import Ranking


@dataclass(frozen=True)
class Reranking:
    """Which model reads the best candidates again, and how many of them.

    Args:
        reranker: What `MemoRAG(reranker=…)` takes.
        candidates: How many of the best it reads; the others keep their places below these.
    """

    reranker: str | Reranker
    candidates: int = 30

    def __post_init__(self) -> None:
        if isinstance(self.candidates, bool) or not isinstance(self.candidates, int) or self.candidates < 1:
            raise InputError(f"candidates must be a whole number of passages, at least 1; found {self.candidates!r}.")
        _ = self.model

    @cached_property
    def model(self) -> Reranker:
        return resolve_reranker(self.reranker)

    @classmethod
    def of(cls, given: str | Reranker | Reranking | None) -> Reranking | None:
        """What an argument says; None for none."""
        return given if given is None or isinstance(given, Reranking) else cls(given)


def reranker_errors(reranker: Reranker) -> AbstractContextManager[None]:
    """What a reranker raises comes out as RerankerError, with its own exception as the cause."""
    return raised_as(RerankerError, f"{type(reranker).__name__} could not score the passages")


def check_scores(scores: object, count: int, name: str) -> Floats:
    """`scores` as float32 [count].

    Raises:
        RerankerError: For another number, NaN or infinity.
    """
    try:
        found = np.asarray(scores, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise RerankerError(f"{name} should return {count} numbers, one for each passage: {error}") from error
    if found.shape != (count,):
        raise RerankerError(
            f"{name} should return {count} scores, one for each passage in the order given; found shape {list(found.shape)}."
        )
    if not np.isfinite(found).all():
        raise RerankerError(
            f"{name} returned {int((~np.isfinite(found)).sum())} of {count} scores that are NaN or infinite. Check its "
            f"precision (half precision overflows on some CPUs), or leave the reranker out."
        )
    return found


def scores_of(back: Sequence[tuple[str, float | None]], count: int, name: str) -> list[float]:
    """A score for each of `count` passages, out of what a host's reranker gave back: the best first, perhaps not all.

    Its own scores are taken where they fall along its order; where they do not (a reranker that only reorders, or leaves
    the scores it was given), places count.

    Args:
        back: Number of the passage, and its score if it has one.

    Raises:
        RerankerError: Where it gave back what it was not given, or a passage twice, or NaN.
    """
    places = [int(number) if number.isdecimal() and int(number) < count else -1 for number, _ in back]
    if -1 in places or len(set(places)) < len(places):
        raise RerankerError(
            f"{name} should give back some of the {count} passages it was given, each once; found {len(places)}, some of them "
            f"others or repeated. Use one that reorders (a reranker), not one that writes or splits texts."
        )
    said = check_scores(
        [float(len(back) - i) if score is None else score for i, (_, score) in enumerate(back)], len(back), name
    )
    if (np.diff(said) > 0).any() or (len(said) > 1 and (said == said[0]).all()):
        said = np.arange(len(back), 0, -1, dtype=np.float32)
    scores = np.full(count, (said.min() if len(said) else 1.0) - 1.0, dtype=np.float32)
    scores[places] = said
    return [float(score) for score in scores]


@dataclass(frozen=True)
class Rerank:
    """A reranker's score of each text for a query."""

    reranker: Reranker
    query: str
    texts: Sequence[str]

    def run(self) -> Sequence[float]:
        with reranker_errors(self.reranker):
            return self.reranker.rerank(self.query, self.texts)

    async def arun(self) -> Sequence[float]:
        with reranker_errors(self.reranker):
            return await self.reranker.arerank(self.query, self.texts)


def best_rows(reranking: Reranking, ranking: Ranking) -> NDArray[np.intp]:
    """Rows of the candidates that the reranker reads, best first."""
    return np.argsort(-ranking.fused, kind="stable")[: reranking.candidates]


def reorder(ranking: Ranking, rows: NDArray[np.intp], scores: object, name: str) -> Ranking:
    """The ranking with the passages at `rows` in the order of the reranker's scores.

    The fused scores of these rows are dealt out anew, so a score still tells how far down the ranking a passage is.

    Args:
        ranking: Before the reranker read it.
        rows: Of the passages it read, best first, as `best_rows` gives them.
        scores: What it answered, one number a row.
        name: Of the reranker, for errors.

    Raises:
        RerankerError: For another number of scores than passages, NaN or infinity.
    """
    checked = check_scores(scores, len(rows), name)
    order = rows[np.argsort(-checked, kind="stable")]
    fused = ranking.fused.copy()
    fused[order] = ranking.fused[rows]
    scores_by_row = {int(row): float(score) for row, score in zip(rows, checked, strict=True)}
    return Ranking(fused, ranking.provenance.reranked([int(row) for row in order], scores_by_row, ranking.fused))
