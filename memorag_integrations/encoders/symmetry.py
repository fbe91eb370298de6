"""Several queries at once, for models whose interface embeds one query at a time and texts in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from ..scores import Floats

_SAME = 0.9999
"""Cosine from which two vectors of one text are the same vector, whatever the batch it was computed in."""


class Symmetry:
    """Whether a model embeds a query as it embeds a text. It is found out at the first query that is not alone: once that
    costs one embedding more, and from then on several queries are one batch of texts.
    """

    def __init__(self) -> None:
        self.symmetric: bool | None = None

    def embed(
        self,
        texts: Sequence[str],
        query: Callable[[str], Sequence[float]],
        batch: Callable[[list[str]], Sequence[Sequence[float]]],
    ) -> Floats:
        """Vectors of queries, float32 [len(texts), dimension].

        Args:
            texts: The queries.
            query: Embeds one query.
            batch: Embeds texts, in one call.
        """
        unique = list(dict.fromkeys(texts))
        if len(unique) == 1 or self.symmetric is False:
            return _rows(texts, dict(zip(unique, map(query, unique), strict=True)))
        vectors = dict(zip(unique, batch(unique), strict=False))
        if self.symmetric is None:
            first = query(unique[0])
            self._compare(first, vectors.get(unique[0]))
            if not self.symmetric:
                vectors = {unique[0]: first} | {text: query(text) for text in unique[1:]}
        return _rows(texts, vectors)

    async def aembed(
        self,
        texts: Sequence[str],
        query: Callable[[str], Awaitable[Sequence[float]]],
        batch: Callable[[list[str]], Awaitable[Sequence[Sequence[float]]]],
    ) -> Floats:
        """`embed`; queries that cannot be a batch are asked together."""
        unique = list(dict.fromkeys(texts))
        if len(unique) == 1 or self.symmetric is False:
            return _rows(texts, dict(zip(unique, await _together(query, unique), strict=True)))
        if self.symmetric:
            return _rows(texts, dict(zip(unique, await batch(unique), strict=False)))
        found, first = await asyncio.gather(batch(unique), query(unique[0]))
        vectors = dict(zip(unique, found, strict=False))
        self._compare(first, vectors.get(unique[0]))
        if not self.symmetric:
            others = await _together(query, unique[1:])
            vectors = dict(zip(unique, [first, *others], strict=True))
        return _rows(texts, vectors)

    def _compare(self, query: Any, text: Any) -> None:
        self.symmetric = cosine(query, text) >= _SAME


def cosine(one: Any, other: Any) -> float:
    """The cosine of two vectors; 0 where they cannot be compared (another dimension, NaN, length zero, no vector)."""
    try:
        a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    except (TypeError, ValueError):
        return 0.0
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        return 0.0
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if np.isfinite(length) and length > 0 else 0.0


def _rows(texts: Sequence[str], vectors: dict[str, Any]) -> Floats:
    # a model that answers with too few vectors is told so by whoever checks the shape
    return np.asarray([vectors[text] for text in texts if text in vectors], dtype=np.float32)


async def _together(query: Callable[[str], Awaitable[Any]], texts: Sequence[str]) -> list[Any]:
    return list(await asyncio.gather(*map(query, texts)))
