"""What the ranking takes from the question: broad or not, the share of each signal, reading on, bridges by rare names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from memorag_integrations import Document, Fusion, MemoRAG
from memorag_integrations.retrieval.breadth import asks_broadly
from memorag_integrations.retrieval.fusion import activate, kernel
from memorag_integrations.retrieval.reading_on import MOST_READ, read_on
from tests.retrieval.test_fusion import Case, cases

BROAD = [
    "Summarize the discussion about the remote control",
    "What did Marta think of the budget?",
    "What was said about the flood?",
    "Describe the attitude of the board towards the sale.",
    "GIVE ME AN OVERVIEW OF THE ARGUMENTS",
    "Was sagten die Mieter über die Heizung?",
    "Fasse die Diskussion über den Etat zusammen",
    "¿Qué opinó el alcalde sobre el puente?",
    "Résumé de la discussion sur le budget",
    "Cosa pensava Marta del bilancio?",
    "Wat vond de burgemeester van de brug?",
    "O que disseram sobre a ponte?",
    "总结一下会议关于预算的讨论",
    "予算についての議論をまとめてください",
    "예산에 대한 논의를 요약해 주세요",
    "О чём говорили? Опиши ход обсуждения.",
]
NARROW = [
    "When does the lease end?",
    "Who painted the door?",
    "What is the governing law of this contract?",
    "How many men drowned in 1902?",
    "Wann endet der Mietvertrag?",
    "¿Cuándo termina el contrato?",
    "Quand le bail prend-il fin?",
    "租约什么时候结束？",
    "契約はいつ終わりますか",
    "Essay",
    "unsaid thinker viewer",
    "",
    "42",
]


@pytest.mark.parametrize("question", BROAD)
def test_questions_for_a_discussion_or_an_opinion_are_broad(question):
    assert asks_broadly(question)
    assert asks_broadly(question.upper())


@pytest.mark.parametrize("question", NARROW)
def test_questions_for_one_thing_are_not(question):
    assert not asks_broadly(question)


def test_a_narrow_question_has_less_reach_and_is_not_read_on():
    broad, narrow = (Fusion().for_question(question) for question in ("What was said of it?", "When was it?"))
    assert broad == Fusion()
    assert narrow.forward == Fusion().forward * 0.75
    assert narrow.region_weight == Fusion().region_weight * 0.75
    assert narrow.reading_on == 0
    assert narrow.for_question("When was it?") == narrow, "narrowed once, not again"
    assert Fusion(focus=1.0).for_question("When was it?").forward == Fusion().forward


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 2))
def test_the_dense_share_is_a_share_that_grows_with_what_bm25_cannot_find(weight, known, slope):
    fusion = Fusion(dense_weight=weight, unknown_terms=slope)
    assert 0 <= fusion.dense_share(known) <= 1
    assert fusion.dense_share(known) >= fusion.dense_share(1.0)
    assert Fusion(dense_weight=weight, unknown_terms=0).dense_share(known) == weight


def test_a_share_of_one_or_none_stays():
    for known in (0.0, 0.5, 1.0):
        assert Fusion(dense_weight=1.0).dense_share(known) == 1
        assert Fusion(dense_weight=0.0).dense_share(known) == 0


def test_kernels_of_two_reaches_are_kept_side_by_side():
    candidates = Case([5, 3], np.full(8, 100), np.zeros(8, np.float32), np.zeros(8, np.float32)).candidates()
    broad, narrow = Fusion(), Fusion().for_question("When?")
    assert kernel(candidates, broad) is kernel(candidates, broad)
    first = kernel(candidates, narrow)
    assert kernel(candidates, broad) is not first
    assert kernel(candidates, narrow) is first


@given(cases(), st.floats(0, 3))
def test_reading_on_deals_the_same_scores_out_anew(case, lift):
    fused = case.dense.astype(np.float32)
    dealt = read_on(fused, case.candidates(), lift)
    np.testing.assert_allclose(np.sort(dealt), np.sort(fused), atol=1e-4)
    assert np.argmax(dealt) == np.argmax(fused), "the best hit stays the best"


@given(cases())
def test_without_a_lift_nothing_changes(case):
    assert (read_on(case.dense, case.candidates(), 0.0) == case.dense).all()


def test_what_follows_a_hit_ranks_next_within_its_document_alone():
    candidates = Case([4, 4], np.full(8, 100), np.zeros(8, np.float32), np.zeros(8, np.float32)).candidates()
    fused = np.array([0, 0, 0, 3.0, 1.0, 2.0, 0, 0.1], np.float32)  # the best hit is the last of its document
    order = np.argsort(-read_on(fused, candidates, 1.9), kind="stable")
    assert order[:4].tolist() == [3, 5, 6, 7]
    assert order.tolist().index(4) > 3, "the passage before a hit gains less than those after it"


def test_a_stretch_is_read_on_passage_by_passage_while_nothing_else_is_better():
    candidates = Case([6], np.full(6, 100), np.zeros(6, np.float32), np.zeros(6, np.float32)).candidates()
    fused = np.array([5, 0, 0, 0, 1.5, 0], np.float32)
    orders = {lift: np.argsort(-read_on(fused, candidates, lift), kind="stable").tolist() for lift in (0.4, 1.6)}
    assert orders[0.4][:3] == [0, 4, 1], "the other hit is better than what follows the first"
    assert orders[1.6][:4] == [0, 1, 2, 4], "the fourth passage gains from the hit that was read up to, too"


def test_equal_scores_are_read_in_the_order_of_the_text():
    n = MOST_READ + 30
    candidates = Case([n], np.full(n, 100), np.zeros(n, np.float32), np.zeros(n, np.float32)).candidates()
    dealt = read_on(np.zeros(n, np.float32), candidates, 1.0)
    assert np.argsort(-dealt, kind="stable").tolist() == list(range(n))


FILLING = [
    Document(f"Passage {number} tells of {word}s and of the weather in the month of the {word}.", f"filling-{number}")
    for number, word in enumerate(
        ["lamp", "gate", "mill", "stone", "oven", "queue", "reef", "snow", "apple", "bread"] * 12
    )
]
HOP = [
    Document("The Silver Hind was a trawler. It was built by Eskil Thorsen at the yard by the canal.", "ship"),
    Document("Eskil Thorsen came from the town of Halden, where his mother kept a shop.", "man"),
]


def memo_of(*documents, **settings):
    memo = MemoRAG(**settings)
    memo.memorize([*FILLING, *documents], progress=False)
    return memo


def test_a_rare_name_of_the_best_hit_leads_to_the_second_step():
    query = "Who was the builder of the Silver Hind, and what of the parent?"
    found = memo_of(*HOP).retrieve(query, 5)
    assert [piece.document_id for piece in found[:2]] == ["ship", "man"]
    names = {one.by for one in found[1].found_by if one.signal == "bridge"}
    assert names == {"Eskil", "Thorsen"}
    without = memo_of(*HOP, fusion=Fusion(bridge_weight=0)).retrieve(query, 200)
    rank = next(n for n, piece in enumerate(without, 1) if piece.document_id == "man")
    assert rank > 2
    assert not any(one.signal == "bridge" for piece in without for one in piece.found_by)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("eskil thorsen came from the town of halden", "names are written with a capital there too, or not at all"),
        ("Somebody came from the town of Halden.", "no name is shared"),
    ],
)
def test_what_shares_no_name_of_the_hit_gains_nothing(second, why):
    ship = HOP[0].text.replace("Eskil Thorsen", "eskil thorsen") if second[0].islower() else HOP[0].text
    found = memo_of(Document(ship, "ship"), Document(second, "man")).retrieve("Who built the Silver Hind?", 200)
    assert not any(one.signal == "bridge" for piece in found for one in piece.found_by), why


def test_a_name_of_the_query_builds_no_bridge():
    found = memo_of(*HOP).retrieve("Did Eskil Thorsen build the Silver Hind?", 200)
    assert not any(one.signal == "bridge" for piece in found for one in piece.found_by)


def test_a_name_that_many_passages_hold_builds_no_bridge():
    many = [Document(f"Eskil Thorsen, entry {number} of the register.", f"register-{number}") for number in range(30)]
    found = memo_of(*HOP, *many).retrieve("Who built the Silver Hind?", 200)
    assert not any(one.signal == "bridge" for piece in found for one in piece.found_by)


def test_a_bridge_leads_only_to_what_competes():
    memo = memo_of(HOP[0], Document(HOP[1].text, "man", {"hidden": True}))
    found = memo.retrieve("Who built the Silver Hind?", 200, filters=lambda metadata: not metadata.get("hidden"))
    assert "man" not in {piece.document_id for piece in found}
    assert not any(one.signal == "bridge" for piece in found for one in piece.found_by)


@given(arrays.arrays(np.float32, 6, elements=st.floats(0, 20, width=32)), st.floats(0, 1))
def test_hybrid_keeps_its_fixed_shares(bm25, known):
    case = Case([6], np.full(6, 100), bm25, np.linspace(-1, 1, 6, dtype=np.float32))
    from dataclasses import replace

    from memorag_integrations.retrieval.baselines import rank_baseline

    scores = activate(replace(case.signals(), known_terms=known), Fusion())
    full = activate(replace(case.signals(), known_terms=0.9), Fusion())
    np.testing.assert_allclose(
        rank_baseline(scores, "hybrid", Fusion()).fused, rank_baseline(full, "hybrid", Fusion()).fused, atol=1e-5
    )
