"""Inner-product search over the passages' vectors: exact, on a matrix that FAISS searches where it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..contracts import Floats


class VectorIndex:
    """One state: unit vectors float32 [n, dimension], held once."""

    def __init__(self, matrix: Floats) -> None:
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.matrix)

    def derive(self, source: NDArray[np.intp], fresh: Sequence[Floats]) -> VectorIndex:
        """The state after a change.

        Args:
            source: For each passage of the new state its place in this one, or -1 for the next of `fresh`.
            fresh: Vectors of the passages that are new, each float32 [dimension].
        """
        matrix = np.empty((len(source), len(fresh[0]) if len(fresh) else self.matrix.shape[1]), dtype=np.float32)
        kept = source >= 0
        if kept.any():
            matrix[kept] = self.matrix[source[kept]]
        for row, vector in zip(np.flatnonzero(~kept), fresh, strict=True):
            matrix[row] = vector
        return VectorIndex(matrix)

    def score(self, vectors: Floats, rows: NDArray[np.intp] | None = None) -> Floats:
        """Cosines [m, n] of m unit vectors with every passage, or with those at `rows`."""
        matrix = self.matrix if rows is None else self.matrix[rows]
        return vectors @ matrix.T if len(matrix) else np.zeros((len(vectors), 0), dtype=np.float32)

    def search(self, vectors: Floats, k: int) -> NDArray[np.intp]:
        """Rows [m, k] of the passages nearest to each of m unit vectors, nearest first."""
        import faiss

        k = min(k, len(self))
        if not k:
            return np.zeros((len(vectors), 0), dtype=np.intp)
        _, rows = faiss.knn(np.ascontiguousarray(vectors), self.matrix, k, metric=faiss.METRIC_INNER_PRODUCT)
        return np.asarray(rows, dtype=np.intp)
