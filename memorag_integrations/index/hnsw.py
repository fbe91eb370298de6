"""Approximate search for large indexes: an HNSW graph (Malkov and Yashunin, arXiv 1603.09320), built in the background.

Building it takes minutes at a million vectors, so a thread of its own builds it. Until the graph is complete, `search`
returns None at once, and the caller searches exactly.
"""

from __future__ import annotations

import threading
from collections import deque
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scores import Floats

LINKS = 32
"""Neighbours of a vector in the graph (M of the paper)."""

BUILD_WIDTH = 64
"""Candidates that are examined for a vector's neighbours (efConstruction)."""

SEARCH_WIDTH = 1.5
LEAST_WIDTH = 64
"""Candidates that are examined in a search (efSearch): so many for each result, and at least so many."""

_STEP = 1_000


class Graph:
    """Vectors in half precision, each with a label. None is removed; see `VectorIndex.derive`."""

    def __init__(self, dimension: int) -> None:
        faiss: Any = import_module("faiss")
        self._hnsw = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)
        self._hnsw.hnsw.efConstruction = BUILD_WIDTH
        self._hnsw.is_trained = True
        self._free = threading.Condition()
        self._waiting: deque[Floats] = deque()
        self._readers, self._adding, self._running, self._labels = 0, False, False, 0
        self._worker: threading.Thread | None = None

    def __len__(self) -> int:
        """Number of labels given so far."""
        return self._labels

    def append(self, vectors: Floats) -> NDArray[np.int64]:
        """The labels of these vectors, float32 [n, dimension]; the thread adds them to the graph."""
        with self._free:
            labels = np.arange(self._labels, self._labels + len(vectors), dtype=np.int64)
            self._labels += len(vectors)
            self._waiting.extend(vectors[at : at + _STEP] for at in range(0, len(vectors), _STEP))
            if self._waiting and not self._running:
                self._running = True
                self._worker = threading.Thread(target=self._add, name="memorag-graph", daemon=True)
                self._worker.start()
            return labels

    def wait(self) -> None:
        """Return when every vector is in the graph."""
        if self._worker is not None:
            self._worker.join()

    def search(self, vectors: Floats, k: int, live: NDArray[np.uint8]) -> NDArray[np.int64] | None:
        """Labels [m, k] of about the k nearest to each of m vectors, -1 where there are fewer; None while it is being built.

        Args:
            vectors: float32 [m, dimension].
            k: Most results for each.
            live: A bit for each label, least significant first; only labels whose bit is set are results.
        """
        faiss: Any = import_module("faiss")
        with self._free:
            if self._adding or self._waiting:
                return None
            self._readers += 1
        try:
            selector = faiss.IDSelectorBitmap(live)
            how = faiss.SearchParametersHNSW(efSearch=max(LEAST_WIDTH, int(SEARCH_WIDTH * k)), sel=selector)
            _, labels = self._hnsw.search(np.ascontiguousarray(vectors), k, params=how)
            return np.asarray(labels, dtype=np.int64)
        finally:
            with self._free:
                self._readers -= 1
                self._free.notify_all()

    def _add(self) -> None:
        while True:
            with self._free:
                if not self._waiting:
                    self._running = False
                    return
                vectors = self._waiting.popleft()
                self._adding = True
                while self._readers:
                    self._free.wait()
            try:
                self._hnsw.add(np.ascontiguousarray(vectors))
            finally:
                with self._free:
                    self._adding = False
