import numpy as np
import pytest

from memorag_integrations.index.vectors import VectorIndex


@pytest.fixture
def vectors():
    found = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def index(vectors):
    index = VectorIndex(8)
    index.add(vectors[:15])
    index.add(vectors[15:])
    return index


def test_the_matrix_is_what_was_added(index, vectors):
    assert len(index) == 20
    np.testing.assert_array_equal(index.matrix, vectors)


def test_scores_are_cosines_of_all_or_of_some(index, vectors):
    rows = np.array([3, 17])
    assert index.score(vectors[:2]).shape == (2, 20)
    np.testing.assert_allclose(index.score(vectors[:2]), vectors[:2] @ vectors.T, atol=1e-6)
    np.testing.assert_allclose(index.score(vectors[:2], rows), (vectors[:2] @ vectors.T)[:, rows], atol=1e-6)
    assert index.score(vectors[:2], np.array([], dtype=np.intp)).shape == (2, 0)


@pytest.mark.parametrize("k", [1, 5, 20, 99])
def test_search_is_exact(index, vectors, k):
    expected = np.argsort(-(vectors @ vectors[7]), kind="stable")[:k]
    assert index.search(vectors[7], k).tolist() == expected.tolist()


def test_an_empty_index_has_an_empty_matrix():
    assert VectorIndex(8).matrix.shape == (0, 8)
    assert VectorIndex(8).score(np.ones((1, 8), dtype=np.float32)).shape == (1, 0)
