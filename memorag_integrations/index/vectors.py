"""Exact inner-product search over the passages' vectors, on FAISS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..contracts import Floats


class VectorIndex:
    """Unit vectors [n, dimension] in a FAISS `IndexFlatIP`, which owns them."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self.dimension = dimension
        self._faiss = faiss.IndexFlatIP(dimension)

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    def add(self, vectors: Floats) -> None:
        self._faiss.add(np.ascontiguousarray(vectors, dtype=np.float32))

    @property
    def matrix(self) -> Floats:
        """A view [n, dimension] of what FAISS holds; valid until the next `add`."""
        import faiss

        if not len(self):
            return np.zeros((0, self.dimension), dtype=np.float32)
        flat = faiss.rev_swig_ptr(self._faiss.get_xb(), len(self) * self.dimension)
        return np.asarray(flat, dtype=np.float32).reshape(len(self), self.dimension)

    def score(self, vectors: Floats, rows: NDArray[np.intp] | None = None) -> Floats:
        """Cosines [m, n] of m unit vectors with every passage, or with those at `rows`."""
        matrix = self.matrix if rows is None else self.matrix[rows]
        return vectors @ matrix.T

    def search(self, vector: Floats, k: int) -> NDArray[np.intp]:
        """Rows of the k nearest passages, nearest first."""
        _, rows = self._faiss.search(vector[None], min(k, len(self)))
        return np.asarray(rows[0], dtype=np.intp)
