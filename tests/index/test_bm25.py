from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.index.bm25 import MOST_SEGMENTS, SPARE, TermIndex, Vocabulary

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


def changed(index, source, words):
    """The state after a change, compacted where it says so: as `Index.derive` does."""
    fresh = [index.vocabulary.number(word) for word in words]
    index = index.derive(np.array(source, dtype=np.intp), fresh)
    return index.compacted() if index.crowded else index


def living(index):
    return {index.vocabulary.term(int(number)) for row in index.rows for number in row}


@pytest.mark.parametrize("left", [0, 1, 40])
def test_the_words_kept_follow_those_that_occur(left):
    """Every passage but some is replaced again and again by one of other words; then all go but one."""
    kept = [[f"kept{n}", "the", f"also{n}"] for n in range(left)]
    index = index_of([*kept, ["first"]])
    for turn in range(300):
        index = changed(index, [*range(left), -1], [[f"word{turn}x{n}" for n in range(50)]])
        assert len(index.vocabulary) <= 2 * len(living(index)) + SPARE
        assert living(index) >= {word for passage in kept for word in passage}
    assert 4 * len(index.vocabulary) < 300 * 50, "without this, the vocabulary holds every word there ever was"
    index = changed(index, [], [])
    assert len(index.vocabulary) <= SPARE


def test_deleting_alone_frees_words():
    index = index_of([[f"word{row}x{n}" for n in range(100)] for row in range(100)])
    for size in range(99, -1, -1):
        index = changed(index, range(size), [])
        assert len(index.vocabulary) <= 2 * len(living(index)) + SPARE
    assert len(index) == 0


@given(st.lists(st.lists(st.one_of(st.integers(0, 9), WORDS), max_size=6), max_size=6), WORDS)
def test_a_compacted_state_has_the_scores_of_the_state_before(changes, query):
    index = index_of([["a", "b"], ["b"]])
    for change in changes:
        source = [at if isinstance(at, int) and at < len(index) else -1 for at in change]
        source = [at if at < 0 or at not in source[:place] else -1 for place, at in enumerate(source)]
        words = [at if isinstance(at, list) else ["new"] for at, row in zip(change, source, strict=True) if row < 0]
        index = index.derive(np.array(source, dtype=np.intp), [index.vocabulary.number(word) for word in words])
    scores, known = index.score(index.known(query)), index.known(query)
    compact = index.compacted()
    assert compact.score(compact.known(query)).tobytes() == scores.tobytes()
    assert list(compact.idf(compact.known(query)).values()) == list(index.idf(known).values())
    assert [compact.vocabulary.term(n) for n in compact.known(query)] == [index.vocabulary.term(n) for n in known]
    assert len(compact.vocabulary) == len(living(index))
    assert [index.vocabulary.term(int(n)) for row in index.rows for n in row] == [
        compact.vocabulary.term(int(n)) for row in compact.rows for n in row
    ]
    assert index.score(index.known(query)).tobytes() == scores.tobytes(), "the state before stays as it was"


def test_copies_may_number_words_at_the_same_time():
    vocabulary = Vocabulary()
    with ThreadPoolExecutor(4) as pool:
        lists = [[f"word{(n * step) % 3001}" for n in range(3000)] for step in (1, 7, 11, 13)]
        rows = list(pool.map(vocabulary.number, lists))
    for words, row in zip(lists, rows, strict=True):
        assert [vocabulary.term(int(number)) for number in row] == words
