import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert index.search(vectors[7:8], k).tolist() == [expected.tolist()]


def test_an_empty_index_has_no_scores():
    empty = VectorIndex(np.zeros((0, 0), np.float32))
    assert empty.score(np.ones((1, 8), dtype=np.float32)).shape == (1, 0)
    assert empty.search(np.ones((1, 8), dtype=np.float32), 5).shape == (1, 0)


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
