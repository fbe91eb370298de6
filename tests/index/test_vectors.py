import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.index import vectors as vectors_module
from memorag_integrations.index.hnsw import Graph
from memorag_integrations.index.vectors import VectorIndex


@pytest.fixture
def vectors():
    found = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def index(vectors):
    return VectorIndex(vectors)


def test_scores_are_cosines_of_all_or_of_some(index, vectors):
    rows = np.array([3, 17])
    assert index.score(vectors[:2]).shape == (2, 20)
    np.testing.assert_allclose(index.score(vectors[:2]), vectors[:2] @ vectors.T, atol=1e-6)
    np.testing.assert_allclose(index.score(vectors[:2], rows), (vectors[:2] @ vectors.T)[:, rows], atol=1e-6)
    assert index.score(vectors[:2], np.array([], dtype=np.intp)).shape == (2, 0)


@pytest.mark.parametrize("k", [1, 5, 20, 99])
def test_search_is_exact(index, vectors, k):
    expected = np.argsort(-(vectors @ vectors[7]), kind="stable")[:k]
    assert [rows.tolist() for rows in index.search(vectors[7:8], k)] == [expected.tolist()]


def test_an_empty_index_has_no_scores():
    empty = VectorIndex(np.zeros((0, 0), np.float32))
    assert empty.score(np.ones((1, 8), dtype=np.float32)).shape == (1, 0)
    assert [len(rows) for rows in empty.search(np.ones((2, 8), dtype=np.float32), 5)] == [0, 0]


@given(st.lists(st.integers(0, 19), unique=True, max_size=20), st.integers(0, 4), st.randoms())
def test_a_derived_state_has_the_kept_vectors_and_the_new_ones_in_order(kept, new, chance):
    old = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    fresh = list(np.random.default_rng(1).normal(size=(new, 8)).astype(np.float32))
    source = [*kept, *[-1] * new]
    chance.shuffle(source)
    coming = iter(fresh)
    expected = [old[at] if at >= 0 else next(coming) for at in source]
    derived = VectorIndex(old).derive(np.array(source, dtype=np.intp), fresh)
    np.testing.assert_array_equal(derived.matrix, np.array(expected, np.float32).reshape(len(source), 8))


# ── through the graph ─────────────────────────────────────────────────────────────────────────────────────────────


def unit(n, seed):
    found = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def graphs_from_50(monkeypatch):
    monkeypatch.setattr(vectors_module, "GRAPH_FROM", 50)


def recall(index, queries, k=10):
    index.graph.wait()
    found = index.search(queries, k)
    exact = np.argsort(-(queries @ index.matrix.T), axis=1, kind="stable")[:, :k]
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, exact, strict=True)])


@pytest.mark.usefixtures("graphs_from_50")
def test_a_large_index_is_searched_through_a_graph():
    index = VectorIndex(unit(2_000, 0))
    assert recall(index, unit(20, 1)) > 0.95
    assert VectorIndex(unit(49, 0)).graph is None


@pytest.mark.usefixtures("graphs_from_50")
def test_the_graph_follows_changes_and_finds_nothing_that_is_gone():
    index = VectorIndex(unit(2_000, 0))
    graph, queries = index.graph, unit(20, 1)
    for seed in range(2, 6):
        nearest = {int(row) for rows in index.search(queries, 5) for row in rows}
        source = np.array([*(row for row in range(len(index)) if row not in nearest), *[-1] * 30], dtype=np.intp)
        np.random.default_rng(seed).shuffle(source)
        old, index = index, index.derive(source, list(unit(30, seed)))
        assert index.graph is graph
        assert recall(index, queries) > 0.95
        assert recall(old, queries) > 0.95, "the state before is still whole"


@pytest.mark.usefixtures("graphs_from_50")
def test_once_most_is_gone_the_graph_is_made_anew_and_a_small_index_has_none():
    index = VectorIndex(unit(400, 0))
    half = index.derive(np.arange(150, dtype=np.intp), [])
    assert half.graph is not index.graph
    assert len(half.graph) == 150
    assert recall(half, unit(5, 1)) > 0.95
    assert half.derive(np.arange(10, dtype=np.intp), []).graph is None


@pytest.mark.usefixtures("graphs_from_50")
def test_while_the_graph_grows_the_search_is_exact(monkeypatch):
    monkeypatch.setattr(Graph, "_add", lambda self: None)  # a worker that never gets to it
    vectors = unit(200, 0)
    [rows] = VectorIndex(vectors).search(vectors[3:4], 7)
    assert rows.tolist() == np.argsort(-(vectors @ vectors[3]), kind="stable")[:7].tolist()


@pytest.mark.usefixtures("graphs_from_50")
def test_searches_and_growth_at_once():
    index, queries, stop, failed = VectorIndex(unit(300, 0)), unit(4, 1), threading.Event(), []

    def ask():
        while not stop.is_set():
            state = index
            if any(row < 0 or row >= len(state) for rows in state.search(queries, 20) for row in rows):
                failed.append(state)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for seed in range(30):
        source = np.array([*range(10, len(index)), *[-1] * 10], dtype=np.intp)
        index = index.derive(source, list(unit(10, seed)))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert recall(index, queries) > 0.95
