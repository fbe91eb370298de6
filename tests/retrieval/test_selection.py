import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import Clue, Document, Evidence, Fusion, Grounding, MemoRAG, Passage, Recall
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import FoundBy
from memorag_integrations.retrieval.fusion import activate
from memorag_integrations.retrieval.provenance import Provenance
from memorag_integrations.retrieval.selection import Selection, merge_neighbours, select
from memorag_integrations.scores import Candidates, Signals
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER

WORDS = [
    "stone",
    "lamp",
    "river",
    "bread",
    "gate",
    "tower",
    "apple",
    "canal",
    "engine",
    "snow",
    "mill",
    "reef",
    "oven",
    "queue",
    "alarm",
    "harbour",
]


def distinct(n):
    """n texts of which none repeats another."""
    return [" ".join(f"{word}{number}" for word in WORDS) for number in range(n)]


def reasons_for(texts, bm25=None, clues=(), weights=(), recall=None):
    start, passages = 0, []
    for number, text in enumerate(texts):
        end = start + len(text)
        passages.append(Passage(f"p{number}", "doc", text, start, end, (start + end) / 2))
        start = end + 1
    candidates = Candidates(
        passages, np.zeros(len(texts), np.int32), np.array([passage.centre for passage in passages]), 100.0
    )

    def scored(text, values):
        values = np.zeros(len(texts)) if values is None else values
        return activate(Signals(text=text, candidates=candidates, bm25=np.asarray(values, np.float32)), Fusion())

    return Provenance(scored("query", bm25), [scored(*clue) for clue in clues], weights, recall)


def falling(n):
    return np.linspace(2, -2, n).astype(np.float32) if n > 1 else np.zeros(1, np.float32)


@pytest.mark.parametrize("k", [1, 3, 8, 99])
def test_k_pieces_in_the_order_of_the_ranking(k):
    fused = np.array([0, 3, 1, -2, 2, -1, 0.5, -3], dtype=np.float32)
    found = select(fused, reasons_for(distinct(8)), Selection(k))
    assert [piece.passage.id for piece in found] == [f"p{row}" for row in np.argsort(-fused)[:k]]


@given(st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=30))
def test_scores_are_shares_that_fall(values):
    found = select(np.array(values, np.float32), reasons_for(distinct(len(values))), Selection(None))
    scores = [piece.score for piece in found]
    assert len(found) == len(values)
    assert all(0 <= score <= 1 for score in scores)
    assert all(above >= below for above, below in pairwise(scores))


@given(st.integers(1, 3000))
def test_the_budget_is_kept_but_the_first_is_always_given(budget):
    texts = distinct(10)
    found = select(falling(10), reasons_for(texts), Selection(None, budget))
    used = sum(len(piece.text) for piece in found)
    assert used <= budget or len(found) == 1
    assert len(found) == 10 or used + len(texts[len(found)]) > budget, "the next would have passed it"


def test_k_and_budget_hold_together():
    texts = distinct(6)
    assert len(select(falling(6), reasons_for(texts), Selection(2, 10_000))) == 2
    assert len(select(falling(6), reasons_for(texts), Selection(5, len(texts[0]) * 2 + 5))) == 2


def test_the_cutoff_is_a_least_score():
    every = select(falling(9), reasons_for(distinct(9)), Selection(None))
    cut = every[4].score
    assert [
        piece.passage.id for piece in select(falling(9), reasons_for(distinct(9)), Selection(None, cutoff=cut))
    ] == [piece.passage.id for piece in every[:5]]
    assert select(falling(9), reasons_for(distinct(9)), Selection(None, cutoff=1.0)) == []


@pytest.mark.parametrize(
    "arguments",
    [
        *({"k": k} for k in (0, -1, True, 2.0, "5")),
        *({"budget": budget} for budget in (0, 1.5, False)),
        *({"cutoff": cutoff} for cutoff in (1.1, -0.1, float("nan"))),
    ],
)
def test_a_selection_that_cannot_be_is_refused_by_name(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Selection(**arguments)


def test_numpy_integers_are_whole_numbers():
    assert len(select(falling(4), reasons_for(distinct(4)), Selection(np.int64(2)))) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (LIGHTHOUSE, LIGHTHOUSE),
        (LIGHTHOUSE, LIGHTHOUSE.upper()),
        (LIGHTHOUSE, LIGHTHOUSE.replace("\n\n", " ")),
        (LIGHTHOUSE, LIGHTHOUSE[:400]),
        (LIGHTHOUSE[:400], LIGHTHOUSE),
        (LIGHTHOUSE, LIGHTHOUSE + " Or so they say."),
        ("看守人每天晚上点亮灯，船只便能找到进港的路。", "看守人每天晚上点亮灯，船只便能找到进港的路"),
        ("Short one.", "short one"),
        ("😀 😀", "😀😀"),
        ("* * * * * * * *", "********"),
    ],
)
def test_what_repeats_is_one_piece_with_both_places(first, second):
    texts = [BAKERY, first, second, RIVER]
    found = select(falling(4), reasons_for(texts), Selection(3))
    assert [piece.passage.id for piece in found] == ["p0", "p1", "p3"]
    assert [twin.id for twin in found[1].repeats] == ["p2"]
    [twin] = found[1].provenance()["repeats"]
    assert twin == {"document_id": "doc", "passage_id": "p2", **place_of(texts, 2)}


def place_of(texts, row):
    start = sum(len(text) + 1 for text in texts[:row])
    return {"start": start, "end": start + len(texts[row])}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (LIGHTHOUSE, RIVER),
        ("Short one.", "Short two."),
        ("😀😀😀", "🚀🚀🚀"),
        ("***", "—"),
        ("* * * * * * * *", "= = = = = = = ="),
        ("Yes.", "Yes, but not as the keeper had meant it when he spoke."),
        ("灯台守は毎晩ランプに火をともした。", "船は港への道を見つけた。"),
    ],
)
def test_what_does_not_repeat_is_two_pieces(first, second):
    assert len(select(falling(2), reasons_for([first, second]), Selection(5))) == 2


def test_a_repeat_takes_nothing_of_k_or_the_budget():
    texts = [LIGHTHOUSE, LIGHTHOUSE, RIVER]
    budget = len(LIGHTHOUSE) + len(RIVER)
    assert [piece.passage.id for piece in select(falling(3), reasons_for(texts), Selection(2, budget))] == ["p0", "p2"]


def test_every_piece_says_what_found_it_however_far_down():
    n = 200
    bm25 = np.zeros(n)
    bm25[:3] = 3, 2, 1
    found = select(falling(n), reasons_for(distinct(n), bm25), Selection(None))
    assert len(found) == n
    assert all(piece.found_by for piece in found)
    assert found[0].found_by[0] == FoundBy("query", "bm25", 1)
    assert not any(by.signal == "bm25" for piece in found[3:] for by in piece.found_by), "no term is shared"


def test_a_clue_that_weighed_is_a_reason_and_one_that_did_not_is_none():
    hit = np.eye(5)[3] * 4
    found = select(
        falling(5),
        reasons_for(distinct(5), None, [("a true clue", hit), ("a vain clue", hit)], [0.5, 0.0]),
        Selection(None),
    )
    assert FoundBy("a true clue", "bm25", 1, 0.5) in found[3].found_by
    assert not any(by.by == "a vain clue" for piece in found for by in piece.found_by)


def test_a_clue_that_points_to_a_place_is_a_reason_for_the_passages_there():
    texts = distinct(3)
    place = place_of(texts, 1)
    clue = Clue("the pointer", grounding=Grounding("doc", place["start"] + 2, place["start"] + 9, 1.0))
    elsewhere = Clue("elsewhere", grounding=Grounding("other", place["start"], place["end"], 1.0))
    nowhere = Clue("nowhere")
    recall = Recall("query", (clue, elsewhere, nowhere))
    found = select(falling(3), reasons_for(texts, recall=recall), Selection(None))
    by_memory = {piece.passage.id: [by for by in piece.found_by if by.signal == "memory"] for piece in found}
    assert by_memory == {"p0": [], "p1": [FoundBy("the pointer", "memory", 1)], "p2": []}


@pytest.fixture
def memo():
    """A document cut small, so that there are neighbours."""
    memo = MemoRAG(passage_size=130)
    memo.memorize([Document(LIGHTHOUSE, "lighthouse"), Document(RIVER, "river")], progress=False)
    return memo


def test_merged_neighbours_are_the_exact_slice_with_all_reasons(memo):
    apart = memo.retrieve("Who could have told the keeper about the oil?", 6)
    merged = memo.retrieve("Who could have told the keeper about the oil?", 6, merge=True)
    assert len(merged) < len(apart)
    texts = memo.corpus.texts
    for piece in merged:
        start, end = piece.passage.start, piece.passage.end
        assert texts[piece.document_id][start:end] == piece.text
        parts = [p for p in apart if p.document_id == piece.document_id and start <= p.passage.start < end]
        assert parts
        assert piece.score == max(part.score for part in parts)
        assert set(piece.found_by) == {by for part in parts for by in part.found_by}
        assert (start, end) == (min(p.passage.start for p in parts), max(p.passage.end for p in parts))
    assert [piece.score for piece in merged] == sorted((piece.score for piece in merged), reverse=True)
    every = sorted((piece.document_id, piece.passage.start, piece.passage.end) for piece in merged)
    for (document, _, end), (other, start, _) in pairwise(every):
        assert document != other or texts[document][end:start].strip(), "what touches was merged"


def test_pieces_that_overlap_are_merged_to_their_whole_stretch():
    text = "one two three four five"
    spans = [(0, 18), (4, 7), (14, 23)]
    pieces = [Evidence(Passage(str(span), "d", text[slice(*span)], *span, sum(span) / 2), 0.5) for span in spans]
    [whole] = merge_neighbours(pieces, {"d": text})
    assert (whole.text, whole.passage.start, whole.passage.end) == (text, 0, 23)
    assert [p.text for p in merge_neighbours(pieces[:2], {"d": text})] == [text[:18]]


def test_pieces_of_a_host_are_never_merged():
    ours = [Passage("a", "d", "one", 0, 3, 1.5), Passage("b", "d", "two", 4, 7, 5.5)]
    theirs = [Passage(p.id, p.document_id, p.text, p.start, p.end, p.centre, host={"id": p.id}) for p in ours]
    nowhere = [Passage(p.id, p.document_id, p.text, None, None, p.centre) for p in ours]
    texts = {"d": "one two"}
    assert [p.text for p in merge_neighbours([Evidence(p, 0.5) for p in ours], texts)] == ["one two"]
    assert len(merge_neighbours([Evidence(p, 0.5) for p in theirs], texts)) == 2
    assert len(merge_neighbours([Evidence(p, 0.5) for p in nowhere], texts)) == 2
    assert merge_neighbours([], texts) == []


def test_evidence_is_json(memo):
    for piece in memo.retrieve("What happened in the winter?", 5, merge=True):
        data = json.loads(json.dumps(piece.to_json(), allow_nan=False))
        assert data["text"] == piece.text
        assert data["document_id"] == piece.document_id
        assert set(data) == {"text", "metadata", *piece.provenance()}
        assert set(data["raw"]) == {"bm25", "own", "neighbourhood", "fused"}
        assert {"by", "signal", "rank", "weight"} == set(data["found_by"][0])
