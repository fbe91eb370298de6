"""Inner-product search over the vectors of passages: exact, and for large indexes approximate, through a graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..scores import Floats
from .hnsw import Graph

GRAPH_FROM = 100_000
"""From so many vectors on, a search goes through a graph. Below, an exact search takes 20 ms at most."""


class VectorIndex:
    """One state: unit vectors, float32 [n, dimension].

    Args:
        matrix: The vectors.
        graph: A graph that holds them, and perhaps vectors of other states; None for a small index.
        labels: The label of each vector in the graph, int64 [n].
    """

    def __init__(self, matrix: Floats, graph: Graph | None = None, labels: NDArray[np.int64] | None = None) -> None:
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        if len(self) >= GRAPH_FROM and graph is None:
            graph = Graph(self.matrix.shape[1])
            labels = graph.append(self.matrix)
        self.graph, self.labels = graph, labels

    def __len__(self) -> int:
        return len(self.matrix)

    def derive(self, source: NDArray[np.intp], fresh: Sequence[Floats]) -> VectorIndex:
        """The state after a change. New vectors are added to the graph, and deleted ones are left out of its results.

        Once more vectors of the graph are deleted than are live, a new graph is built.

        Args:
            source: For each passage of the new state its row in this one, or -1 for the next of `fresh`.
            fresh: Vectors of the new passages, each float32 [dimension].
        """
        matrix = np.empty((len(source), len(fresh[0]) if len(fresh) else self.matrix.shape[1]), dtype=np.float32)
        kept = source >= 0
        if kept.any():
            matrix[kept] = self.matrix[source[kept]]
        for row, vector in zip(np.flatnonzero(~kept), fresh, strict=True):
            matrix[row] = vector
        if self.graph is None or self.labels is None or len(self.graph) + len(fresh) > 2 * len(source):
            return VectorIndex(matrix)
        labels = np.empty(len(source), dtype=np.int64)
        labels[kept] = self.labels[source[kept]]
        labels[~kept] = self.graph.append(matrix[~kept])
        return VectorIndex(matrix, self.graph, labels)

    def score(self, vectors: Floats, rows: NDArray[np.intp] | None = None) -> Floats:
        """Cosines [m, n] of m unit vectors with every passage, or with those at `rows`."""
        matrix = self.matrix if rows is None else self.matrix[rows]
        return vectors @ matrix.T if len(matrix) else np.zeros((len(vectors), 0), dtype=np.float32)

    def search(self, vectors: Floats, k: int) -> list[NDArray[np.intp]]:
        """For each of m unit vectors the rows of the k nearest passages, nearest first.

        Through the graph they are about the nearest, and perhaps fewer.
        """
        import faiss

        k = min(k, len(self))
        if not k:
            return [np.zeros(0, dtype=np.intp) for _ in vectors]
        approximate = None if self.graph is None else self.graph.search(vectors, k, self._live)
        if approximate is not None:
            return [self._row_of[labels[labels >= 0]] for labels in approximate]
        _, rows = faiss.knn(np.ascontiguousarray(vectors), self.matrix, k, metric=faiss.METRIC_INNER_PRODUCT)
        return list(np.asarray(rows, dtype=np.intp))

    @cached_property
    def _row_of(self) -> NDArray[np.intp]:
        """The row of each label, -1 for labels of other states."""
        assert self.labels is not None
        rows = np.full(int(self.labels.max()) + 1, -1, dtype=np.intp)
        rows[self.labels] = np.arange(len(self), dtype=np.intp)
        return rows

    @cached_property
    def _live(self) -> NDArray[np.uint8]:
        """A bit for each label, least significant first: whether it is of this state."""
        return np.packbits(self._row_of >= 0, bitorder="little")
