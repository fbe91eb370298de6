"""Learned lexical weights (BGE-M3's) beside BM25 or in its place: the inner product of two texts' tokens."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..encoders.checked import CheckedEmbedder
from ..scores import Candidates, Floats, LexicalWeights, Signals


class LexicalMatrix:
    """The weights of n passages as the rows of a sparse matrix."""

    def __init__(self, rows: Sequence[LexicalWeights]) -> None:
        nothing = np.zeros(0, dtype=np.uint32)
        self._tokens: NDArray[np.uint32] = np.concatenate([row.tokens for row in rows] or [nothing])
        self._weights: Floats = np.concatenate([row.weights for row in rows] or [nothing.astype(np.float32)])
        self._ends = np.cumsum([len(row.tokens) for row in rows], dtype=np.int64)

    def score(self, text: LexicalWeights) -> Floats:
        """Inner products with each passage, float32 [n]; zero where no token is shared."""
        if not len(self._tokens) or not len(text.tokens):
            return np.zeros(len(self._ends), dtype=np.float32)
        weight_of = np.zeros(max(int(self._tokens.max()), int(text.tokens.max())) + 1, dtype=np.float32)
        weight_of[text.tokens] = text.weights
        totals = np.cumsum(weight_of[self._tokens] * self._weights, dtype=np.float64)
        sums = np.concatenate([[0.0], totals])[np.concatenate([[0], self._ends])]
        return np.asarray(np.maximum(np.diff(sums), 0), dtype=np.float32)


_matrices: WeakKeyDictionary[Candidates, LexicalMatrix] = WeakKeyDictionary()
_matrices_lock = threading.Lock()


def add_lexical_scores(signals: Sequence[Signals], embedder: CheckedEmbedder | None) -> list[Signals]:
    """The signals with the embedder's lexical scores in their `bm25`; unchanged for an embedder without such weights.

    "instead" of BM25 the lexical scores replace it. "beside" BM25 the two are summed, each in units of its deviation over
    the candidates, so that they count alike.

    Args:
        signals: Of several texts over the same candidates.
        embedder: The embedder that made their vectors, or None.
    """
    if embedder is None or embedder.lexical is None or not signals or signals[0].vector is None:
        return list(signals)
    matrix = _matrix(signals[0].candidates, embedder)
    out = []
    for one, weights in zip(signals, embedder.lexical_queries([one.text for one in signals]), strict=True):
        lexical = matrix.score(weights)
        out.append(replace(one, bm25=lexical if embedder.lexical == "instead" else _unit(one.bm25) + _unit(lexical)))
    return out


def _matrix(candidates: Candidates, embedder: CheckedEmbedder) -> LexicalMatrix:
    """The weights of these candidates, cached as long as they live.

    Two threads that ask at the same time may both build it; both matrices are the same.
    """
    with _matrices_lock:
        matrix = _matrices.get(candidates)
    if matrix is None:
        matrix = LexicalMatrix(embedder.lexical_passages([passage.text for passage in candidates.passages]))
        with _matrices_lock:
            _matrices[candidates] = matrix
    return matrix


def pack_weights(weights: LexicalWeights) -> bytes:
    """Weights as a store keeps them: the numbers of the tokens, uint32, then their weights, float32; little-endian."""
    return weights.tokens.astype("<u4").tobytes() + weights.weights.astype("<f4").tobytes()


def unpack_weights(packed: bytes) -> LexicalWeights | None:
    """The weights that `pack_weights` packed; None for bytes that are no such weights."""
    if len(packed) % 8:
        return None
    half = len(packed) // 2
    tokens, weights = np.frombuffer(packed[:half], dtype="<u4"), np.frombuffer(packed[half:], dtype="<f4")
    sound = bool((tokens[1:] > tokens[:-1]).all() and np.isfinite(weights).all() and (weights >= 0).all())
    return LexicalWeights(tokens, weights) if sound else None


def _unit(scores: Floats) -> Floats:
    """Scores in units of their deviation; zero stays zero."""
    deviation = float(scores.std()) if scores.size else 0.0
    return scores / np.float32(deviation) if deviation > 1e-9 else np.zeros_like(scores)
