"""The graph of large indexes against exact search: recall, time, and what it costs to make and to change.

    python benchmarks/hnsw.py [--sizes 10000 --sizes 100000 --sizes 1000000] [--widths 1.5 --widths 3]

Vectors of 384 dimensions, made: 2,000 topics in 48 dimensions, spread and turned into 384, with noise, so that they have
neighbours as texts have. For each size, through `VectorIndex` with its defaults but for the size from which it uses the
graph: seconds to build, milliseconds a query (median of --queries) exact and through the graph, one at a time, recall@100 and
@1000 (what picks documents), and the same after a tenth of the vectors was replaced. A width is how many candidates a search
looks at for each result asked for.
"""

import statistics
import time
from collections.abc import Callable

import click
import numpy as np

from memorag_integrations.index import hnsw as graph
from memorag_integrations.index import vectors as module
from memorag_integrations.index.vectors import VectorIndex

DIMENSION, TOPICS, LATENT = 384, 2_000, 48


def made(n: int, seed: int) -> np.ndarray:
    shape = np.random.default_rng(1)
    topics, turn = shape.normal(size=(TOPICS, LATENT)), shape.normal(size=(LATENT, DIMENSION))
    chance = np.random.default_rng(seed)
    out = np.empty((n, DIMENSION), dtype=np.float32)
    for at in range(0, n, 50_000):
        rows = slice(at, min(n, at + 50_000))
        count = rows.stop - rows.start
        inner = topics[chance.integers(0, TOPICS, count)] + 0.7 * chance.normal(size=(count, LATENT))
        found = inner @ turn + 0.3 * chance.normal(size=(count, DIMENSION))
        out[rows] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return out


def timed(search: Callable[[np.ndarray], object], queries: np.ndarray) -> float:
    """Milliseconds of one query, the median."""
    seconds = []
    for i in range(len(queries)):
        begun = time.perf_counter()
        search(queries[i : i + 1])
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds)


def overlap(found: list[np.ndarray], exact: list[np.ndarray], k: int) -> float:
    return float(np.mean([len(set(a[:k]) & set(b[:k])) / min(k, len(b)) for a, b in zip(found, exact, strict=True)]))


def rows(title: str, index: VectorIndex, queries: np.ndarray, built: float, widths: tuple[float, ...]) -> None:
    exact = VectorIndex.__new__(VectorIndex)
    exact.matrix, exact.graph, exact.labels = index.matrix, None, None
    slow, wanted = timed(lambda q: exact.search(q, 1000), queries), exact.search(queries, 1000)
    for width in widths:
        graph.SEARCH_WIDTH = width
        fast, found = timed(lambda q: index.search(q, 1000), queries), index.search(queries, 1000)
        print(
            f"{title:>24}  {built:8.1f}  {width:5.1f}  {slow:9.2f}  {fast:9.2f}  {slow / fast:6.1f}  "
            f"{overlap(found, wanted, 100):10.3f}  {overlap(found, wanted, 1000):11.3f}",
            flush=True,
        )


@click.command()
@click.option("--sizes", multiple=True, type=int, default=(10_000, 100_000, 1_000_000), show_default=True)
@click.option("--queries", default=50, show_default=True)
@click.option("--widths", multiple=True, type=float, default=(graph.SEARCH_WIDTH,), show_default=True)
def main(sizes: tuple[int, ...], queries: int, widths: tuple[float, ...]) -> None:
    """Print a row for each size, and one after changes; each for each width."""
    print(
        f"{'vectors':>24}  {'build s':>8}  {'width':>5}  {'exact ms':>9}  {'graph ms':>9}  {'ratio':>6}  recall@100  recall@1000"
    )
    module.GRAPH_FROM = 1
    asked = made(queries, 7)
    for size in sizes:
        vectors, begun = made(size, 3), time.perf_counter()
        index = VectorIndex(vectors)
        assert index.graph is not None
        index.graph.wait()
        rows(f"{size:,}", index, asked, time.perf_counter() - begun, widths)
        fresh = list(made(size // 10, 4))
        source = np.concatenate([np.arange(size // 10, size), np.full(size // 10, -1)]).astype(np.intp)
        begun = time.perf_counter()
        index = index.derive(source, fresh)
        assert index.graph is not None
        index.graph.wait()
        rows("a tenth replaced", index, asked, time.perf_counter() - begun, widths)


if __name__ == "__main__":
    main()
