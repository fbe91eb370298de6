"""Signals of a query and of its clues: the same candidates and values as in one call, and no work is done twice."""

import numpy as np
import pytest

from memorag_integrations import Document, Fusion, MemoRAG
from memorag_integrations.index import index as index_module
from memorag_integrations.index.bm25 import TermIndex
from memorag_integrations.index.vectors import VectorIndex
from memorag_integrations.retrieval.fusion import WeightedClue, rank
from memorag_integrations.retrieval.scoring import Scorer
from tests.conftest import HashEmbedder

QUERY = "harbour pilot"
CLUES = ["The bakery has a brick oven.", "river gates and snow", "harbour pilot"]
WORDS = [
    "harbour",
    "pilot",
    "lamp",
    "reef",
    "bakery",
    "oven",
    "flour",
    "queue",
    "river",
    "gate",
    "snow",
    "canal",
    "orchard",
    "apple",
    "frost",
    "ladder",
]


def text(chance, sentences):
    return " ".join(" ".join(chance.choice(WORDS, 9)) + "." for _ in range(sentences))


@pytest.fixture(params=["dense", "bm25"])
def memo(request):
    chance = np.random.default_rng(7)
    memo = MemoRAG(embedder=HashEmbedder() if request.param == "dense" else None, passage_size=200, language="en")
    documents = [Document(text(chance, 12), f"d{i}", {"even": i % 2 == 0}) for i in range(40)]
    memo.memorize(documents, progress=False)
    return memo


@pytest.fixture(params=["all compete", "picked"])
def small(request, monkeypatch):
    """An index that is small enough for every passage to be a candidate, or one of which each signal picks documents."""
    if request.param == "picked":
        monkeypatch.setattr(index_module, "EVERYTHING", 20)
        monkeypatch.setattr(index_module, "PICK", 2)
    return request.param


def even(metadata):
    return metadata["even"]


def vectors_of(memo, texts):
    return None if memo.embedder is None else memo.embedder.embed_queries(texts)


@pytest.mark.parametrize("filters", [None, {"even": True}, even], ids=["all", "mapping", "predicate"])
def test_clues_added_to_a_query_give_what_one_call_for_all_gives(memo, small, filters):
    index, scorer = memo.corpus.index, Scorer(memo.embedder, Fusion())
    together = scorer.score(index, [QUERY, *CLUES], vectors_of(memo, [QUERY, *CLUES]), filters)
    [query] = scorer.score(index, [QUERY], vectors_of(memo, [QUERY]), filters)
    apart = scorer.score_clues(index, query, CLUES, vectors_of(memo, CLUES), filters)
    assert len({id(scores.candidates) for scores in apart}) == 1
    for one, other in zip(apart, together, strict=True):
        assert one.text == other.text
        assert [p.id for p in one.candidates.passages] == [p.id for p in other.candidates.passages]
        np.testing.assert_array_equal(one.bm25, other.bm25)
        assert (one.terms, one.known_terms) == (other.terms, other.known_terms)
        if memo.embedder is None:
            assert one.dense is None
            np.testing.assert_array_equal(one.local, other.local)
            np.testing.assert_array_equal(one.activation, other.activation)
        else:  # BLAS rounds the products of one vector and of several differently
            np.testing.assert_allclose(one.dense, other.dense, atol=5e-7)
            np.testing.assert_allclose(one.local, other.local, atol=2e-5)
    rankings = [
        rank(query, [WeightedClue(clue, weight=0.5) for clue in clues], Fusion()) for query, *clues in (apart, together)
    ]
    np.testing.assert_allclose(*rankings, atol=5e-5)
    if small == "picked":
        assert len(apart[0].candidates.passages) > len(query.candidates.passages), "the clues add documents"
        assert len(apart[0].candidates.passages) < len(index)


def test_a_querys_scores_are_kept_where_clues_add_no_candidates(memo):
    index, scorer = memo.corpus.index, Scorer(memo.embedder, Fusion())
    [query] = scorer.score(index, [QUERY], vectors_of(memo, [QUERY]), even)
    first, *clues = scorer.score_clues(index, query, CLUES, vectors_of(memo, CLUES), even)
    assert first is query
    assert all(clue.candidates is query.candidates for clue in clues)
    assert scorer.score_clues(index, query, [], None, even) == [query]


def test_a_query_is_scored_once_however_many_clues_follow(memo, small, monkeypatch):
    index, scorer = memo.corpus.index, Scorer(memo.embedder, Fusion())
    query_terms = list(index._known_terms(QUERY)[0])
    [query_vector] = vectors_of(memo, [QUERY]) if memo.embedder else [None]
    bm25, cells = [], []
    score, product = TermIndex.score, VectorIndex.score

    def counted(self, numbers, weights=None):
        bm25.append(list(numbers) == query_terms)
        return score(self, numbers, weights)

    def multiplied(self, vectors, rows=None):
        cells.append(sum(np.array_equal(v, query_vector) for v in vectors) * (len(self) if rows is None else len(rows)))
        return product(self, vectors, rows)

    monkeypatch.setattr(TermIndex, "score", counted)
    monkeypatch.setattr(VectorIndex, "score", multiplied)
    texts = CLUES[:2]
    [query] = scorer.score(index, [QUERY], vectors_of(memo, [QUERY]))
    first, *_ = scorer.score_clues(index, query, texts, vectors_of(memo, texts))
    assert sum(bm25) == 1
    assert sum(cells) == (0 if memo.embedder is None else len(first.candidates.passages)), "one product a candidate"


@pytest.mark.parametrize("several", [[QUERY, "orchard"], ["orchard", QUERY]])
def test_clues_can_follow_a_text_that_was_scored_beside_others(memo, small, several):
    index, scorer = memo.corpus.index, Scorer(memo.embedder, Fusion())
    every = scorer.score(index, several, vectors_of(memo, several))
    query = every[several.index(QUERY)]
    first, *_ = scorer.score_clues(index, query, CLUES, vectors_of(memo, CLUES))
    alone = {
        p.id for p in scorer.score(index, [QUERY, *CLUES], vectors_of(memo, [QUERY, *CLUES]))[0].candidates.passages
    }
    ids = {p.id for p in first.candidates.passages}
    assert ids >= alone
    assert ids == alone | {p.id for p in query.candidates.passages}


def test_a_part_of_the_candidates_knows_its_rows(memo):
    index = memo.corpus.index
    [signals] = index.signals([QUERY], vectors_of(memo, [QUERY]), even)
    rows = np.array([1, 4])
    part = signals.candidates.take(rows)
    assert [index.passages[row] for row in part.rows] == list(part.passages)
    [whole] = index.signals([QUERY], None)
    assert whole.candidates.rows is None
    assert whole.candidates.take(rows).rows.tolist() == rows.tolist()
