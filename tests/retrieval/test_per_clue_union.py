"""Per-clue union: the pure ranking, and the mode of `retrieve`, against a union computed by hand."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import MemoRAG
from memorag_integrations.clues import Clue, Recall
from memorag_integrations.errors import InputError
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.retrieval.per_clue_union import round_robin, searched
from tests.conftest import HashEmbedder
from tests.scripted import ScriptedLLM

QUERY = "Why did the men of the trawler drown?"
SPAN = "the supply boat had been sold by the harbour board"
QUESTION = "Which gates are opened when the snow melts?"
REPLY = f'{{"spans": ["{SPAN}"], "questions": ["{QUESTION}"], "answer": "The oil."}}'


def order_of(values):
    return np.argsort(-values, kind="stable").tolist()


def test_rankings_take_turns_and_a_row_counts_where_it_comes_first():
    first, second = np.array([4, 3, 2, 1], np.float32), np.array([1, 3, 2, 4], np.float32)
    assert order_of(round_robin([first])) == [0, 1, 2, 3]
    assert order_of(round_robin([first, second])) == [0, 3, 1, 2]
    assert order_of(round_robin([second, first])) == [3, 0, 1, 2]


@given(st.integers(0, 30).flatmap(lambda n: st.lists(st.permutations(range(n)), min_size=1, max_size=5)))
def test_the_first_rows_of_every_ranking_stand_before_all_others(rankings):
    values = [np.array(ranking, np.float32) for ranking in rankings]
    joint = round_robin(values)
    assert joint.dtype == np.float32
    ranks = np.stack([np.argsort(order_of(one)) for one in values]).min(axis=0) if len(joint) else np.zeros(0)
    order = order_of(joint)
    assert sorted(order) == list(range(len(joint)))
    assert all(ranks[a] <= ranks[b] for a, b in pairwise(order))
    assert len(np.unique(joint)) == len(joint)


def test_short_clues_are_not_searched_for_and_none_twice():
    clues = [
        "three short words",
        "these are four words",
        "these are four words",
        "捕鱼船",
        "捕鱼船触礁",
        QUERY,
        "。。。。。",
    ]
    recall = Recall(QUERY, [Clue(text) for text in clues])
    assert searched(recall) == ["these are four words", "捕鱼船触礁"]


@pytest.fixture
def memo(documents):
    memo = MemoRAG(LLMMemory(ScriptedLLM(REPLY)), HashEmbedder(256), passage_size=130)
    memo.memorize(documents, progress=False)
    return memo


def by_hand(memo, texts, hits):
    """Ids of each text's best passages by its vector."""
    embedder = memo.embedder.embedder
    passages = memo.corpus.index.passages
    rows = embedder.embed_passages([p.text for p in passages]) @ embedder.embed_queries(texts).T
    return {passages[row].id for column in rows.T for row in order_of(column)[:hits]}


@pytest.mark.parametrize("hits", [1, 2, 3])
async def test_the_union_holds_the_best_of_the_query_and_of_each_clue(memo, hits):
    texts = [QUERY, SPAN, QUESTION]  # the answer is too short to be searched for
    expected = by_hand(memo, texts, hits)
    found = memo.retrieve(QUERY, len(expected), mode="per-clue-union")
    assert {piece.passage.id for piece in found} == expected
    assert {piece.passage.id for piece in memo.retrieve(QUERY, len(expected), mode="plain")} != expected
    assert [piece.score for piece in found] == sorted((piece.score for piece in found), reverse=True)
    assert all(0 < piece.score < 1 for piece in found)
    assert await memo.aretrieve(QUERY, len(expected), mode="per-clue-union") == found


def test_it_says_which_clue_found_what(memo):
    found = memo.retrieve(QUERY, 3, mode="per-clue-union")
    assert {reason.signal for piece in found for reason in piece.found_by} == {"dense"}
    assert [piece.found_by[0].by for piece in found] == ["query", SPAN, QUESTION]
    assert [piece.found_by[0].rank for piece in found] == [1, 1, 1]


def test_the_embedded_memorys_spans_are_searched_though_fusion_does_not(documents):
    embedder = HashEmbedder(256)
    memo = MemoRAG(embedder=embedder, passage_size=130)
    memo.memorize(documents, progress=False)
    spans = [clue.text for clue in memo.recall(QUERY).clues]
    embedder.queries.clear()
    memo.retrieve(QUERY, mode="memorag")
    assert embedder.queries == [QUERY]
    embedder.queries.clear()
    memo.retrieve(QUERY, mode="per-clue-union")
    assert embedder.queries == [QUERY, *dict.fromkeys(span for span in spans if len(span.split()) > 3)]


async def test_clues_that_were_had_before_are_searched_with_in_both_modes(memo):
    recall = memo.recall(QUERY)
    asked = len(memo.memory_model.model.llm.prompts)
    for mode in ("memorag", "per-clue-union"):
        assert memo.retrieve(QUERY, 4, mode=mode, recall=recall) == memo.retrieve(QUERY, 4, mode=mode)
        fewer = replace(recall, clues=[clue for clue in recall.clues if clue.kind == "question"])
        [*found] = memo.retrieve(QUERY, 4, mode=mode, recall=fewer)
        assert {r.by for piece in found for r in piece.found_by} == {"query", QUESTION}
        assert await memo.aretrieve(QUERY, 4, mode=mode, recall=fewer) == found
    assert len(memo.memory_model.model.llm.prompts) == asked


async def test_what_a_mode_cannot_do_is_refused(documents):
    memo = MemoRAG(passage_size=130)
    memo.memorize(documents, progress=False)
    for call in (memo.retrieve, memo.aretrieve):
        with pytest.raises(InputError, match='mode "per-clue-union" ranks by vectors and needs an embedder'):
            await ensure(call(QUERY, mode="per-clue-union"))
        with pytest.raises(InputError, match='mode "bm25" takes no clues'):
            await ensure(call(QUERY, mode="bm25", recall=Recall(QUERY)))


async def ensure(result):
    return await result


def test_nothing_to_rank_is_no_error(memo):
    assert memo.retrieve(QUERY, mode="per-clue-union", filters={"kind": "unknown"}) == []


def test_one_search_alone_is_the_plain_ranking(memo):
    plain = [piece.passage.id for piece in memo.retrieve(QUERY, 99, mode="plain")]
    union = memo.retrieve(QUERY, 99, mode="per-clue-union", recall=Recall(QUERY))
    assert [piece.passage.id for piece in union] == plain
