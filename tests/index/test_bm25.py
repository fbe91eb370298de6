from collections import Counter
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.index.bm25 import MOST_SEGMENTS, TermIndex, Vocabulary

WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


def bm25(passages, query, k1=1.2, b=0.75):
    mean = sum(map(len, passages)) / len(passages)
    scores = np.zeros(len(passages))
    for term in set(query):
        df = sum(term in passage for passage in passages)
        for row, passage in enumerate(passages):
            tf = Counter(passage)[term]
            if tf:
                idf = log(1 + (len(passages) - df + 0.5) / (df + 0.5))
                scores[row] += idf * tf / (tf + k1 * (1 - b + b * len(passage) / mean))
    return scores


def index_of(passages):
    vocabulary = Vocabulary()
    return TermIndex.over([vocabulary.number(passage) for passage in passages], vocabulary)


@given(st.lists(WORDS, min_size=1, max_size=8), WORDS)
def test_scores_are_bm25(passages, query):
    index = index_of(passages)
    found = index.score(index.known(list(dict.fromkeys(query))))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, bm25(passages, query), atol=1e-5)


def test_known_are_the_terms_that_occur():
    index = index_of([["a", "b"], ["b", "c"]])
    assert [index.vocabulary.term(number) for number in index.known(["c", "x", "a"])] == ["c", "a"]
    assert index.known(["x"]) == []


@pytest.mark.parametrize("passages", [[], [[]], [[], []]])
def test_without_terms_every_score_is_zero(passages):
    index = index_of(passages)
    assert index.score(index.known(["a"])).tolist() == [0.0] * len(passages)


@given(st.lists(st.lists(st.one_of(st.integers(0, 9), WORDS), max_size=6), max_size=2 * MOST_SEGMENTS), WORDS)
def test_scores_after_any_changes_are_those_of_an_index_made_anew(changes, query):
    """Each change is the new order: a number takes over the passage at that place, words are a new passage."""
    index, passages = index_of([["a", "b"], ["b"]]), [["a", "b"], ["b"]]
    for change in changes:
        seen = set()
        source = [at if isinstance(at, int) and at < len(passages) else -1 for at in change]
        source = [-1 if at in seen or (at >= 0 and seen.add(at)) else at for at in source]
        words = [at if isinstance(at, list) else ["a"] for at in change]
        fresh = [index.vocabulary.number(word) for at, word in zip(source, words, strict=True) if at < 0]
        passages = [passages[at] if at >= 0 else word for at, word in zip(source, words, strict=True)]
        before = index.score(index.known(query)).tolist()
        old, index = index, index.derive(np.array(source, dtype=np.intp), fresh)
        assert old.score(old.known(query)).tolist() == before, "a state never changes"
    anew = index_of(passages)
    np.testing.assert_allclose(
        index.score(index.known(list(dict.fromkeys(query)))),
        anew.score(anew.known(list(dict.fromkeys(query)))),
        atol=1e-5,
    )
    assert [index.vocabulary.term(n) for n in index.known(query)] == [
        anew.vocabulary.term(n) for n in anew.known(query)
    ]


def test_many_small_changes_do_not_pile_up():
    index = index_of([["a", "b"]] * 50)
    for n in range(40):
        source = np.array([*range(len(index)), -1], dtype=np.intp)
        index = index.derive(source, [index.vocabulary.number([f"word{n}", "a"])])
        assert len(index._segments) <= MOST_SEGMENTS
    assert len(index) == 90
    assert (index.score(index.known(["word7"])) > 0).sum() == 1
