from collections import Counter
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.index.terms import TermIndex

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
    index = TermIndex()
    for passage in passages:
        index.add(passage)
    return index


@given(st.lists(WORDS, min_size=1, max_size=8), WORDS)
def test_scores_are_bm25(passages, query):
    index = index_of(passages)
    found = index.score(index.known(list(dict.fromkeys(query))))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, bm25(passages, query), atol=1e-5)


def test_known_are_the_terms_that_occur():
    index = index_of([["a", "b"], ["b", "c"]])
    assert [index.vocabulary[number] for number in index.known(["c", "x", "a"])] == ["c", "a"]
    assert index.known(["x"]) == []


@pytest.mark.parametrize("passages", [[], [[]], [[], []]])
def test_without_terms_every_score_is_zero(passages):
    index = index_of(passages)
    index.prepare()
    assert index.score(index.known(["a"])).tolist() == [0.0] * len(passages)


def test_scores_follow_what_is_added():
    index = index_of([["a"], ["b"]])
    before = index.score(index.known(["a"]))
    index.add(["a", "c"])
    after = index.score(index.known(["a"]))
    assert (len(before), len(after), len(index)) == (2, 3, 3)
    np.testing.assert_allclose(after, bm25([["a"], ["b"], ["a", "c"]], ["a"]), atol=1e-5)


def test_vocabulary_and_rows_make_the_same_index():
    index = index_of([["a", "b", "a"], ["b", "c"], []])
    again = TermIndex(index.vocabulary, [np.frombuffer(row.tobytes(), dtype="<u4") for row in index.rows])
    np.testing.assert_array_equal(again.score(again.known(["a", "c"])), index.score(index.known(["a", "c"])))
