"""Properties of fusion, on random corpora: it is pure, so it is tested without a model or an index."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from memorag_integrations import Fusion, Passage
from memorag_integrations.clues import Grounding
from memorag_integrations.errors import InputError
from memorag_integrations.retrieval.fusion import (
    WeightedClue,
    activate,
    build_kernel,
    clue_weights,
    combine_clues,
    kernel,
    lift_grounded,
    rank,
    region,
    sharpen,
    standardize,
)
from memorag_integrations.scores import Candidates, Signals

FINITE = st.integers(-400, 400).map(lambda eighths: eighths / 8)
FUSIONS = st.builds(
    Fusion,
    dense_weight=st.floats(0, 1),
    sharpness=st.sampled_from([0.0, 0.25, 1.0]),
    forward=st.floats(0, 5),
    backward=st.floats(0, 5),
    region_weight=st.floats(0, 2),
    document_weight=st.floats(0, 1),
)


@dataclass
class Case:
    """Documents of some passages of some lengths, and a score by each signal for every passage."""

    sizes: list[int]
    lengths: np.ndarray
    bm25: np.ndarray
    dense: np.ndarray

    @property
    def n(self):
        return sum(self.sizes)

    def candidates(self):
        document = np.repeat(np.arange(len(self.sizes), dtype=np.int32), self.sizes)
        centres, passages = [], []
        at = 0
        for number, size in enumerate(self.sizes):
            start = 0
            for _ in range(size):
                end = start + int(self.lengths[at])
                centres.append((start + end) / 2)
                passages.append(Passage(str(at), str(number), "x", start, end, centres[-1]))
                start, at = end, at + 1
        return Candidates(passages, document, np.array(centres), float(np.median(self.lengths)))

    def signals(self, dense=True):
        return Signals(text="query", candidates=self.candidates(), bm25=self.bm25, dense=self.dense if dense else None)

    def scores(self, fusion):
        return activate(self.signals(), fusion)

    def permuted(self, order):
        rows = np.concatenate([np.arange(self.n)[self.rows(number)] for number in order])
        return Case([self.sizes[i] for i in order], self.lengths[rows], self.bm25[rows], self.dense[rows]), rows

    def rows(self, number):
        start = sum(self.sizes[:number])
        return slice(start, start + self.sizes[number])


@st.composite
def cases(draw, most=5):
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=most))
    n = sum(sizes)
    return Case(
        sizes,
        draw(arrays.arrays(np.int64, n, elements=st.integers(50, 1500))),
        draw(arrays.arrays(np.float32, n, elements=st.floats(0, 30, width=32))),
        draw(arrays.arrays(np.float32, n, elements=st.floats(-1, 1, width=32))),
    )


def dense_kernel(made, n):
    return np.array([made.spread(row) for row in np.eye(n)]).T


@given(arrays.arrays(np.float32, st.integers(1, 40), elements=FINITE))
def test_standardize_has_zero_mean_and_unit_deviation(values):
    z = standardize(values)
    assert z.dtype == np.float64
    assert abs(z.mean()) < 1e-6
    assert z.std() == pytest.approx(1, abs=1e-6) or not z.any()
    if z.any():
        assert (np.argsort(values, kind="stable") == np.argsort(z, kind="stable")).all()
        np.testing.assert_allclose(standardize(3 * values.astype(np.float64) + 7), z, atol=1e-5)


def test_standardize_of_nothing_and_of_constants():
    assert standardize(np.array([])).size == 0
    assert standardize(np.full(5, 3.3, dtype=np.float32)).tolist() == [0] * 5


@given(cases(), st.floats(0, 5000), st.floats(0, 5000))
def test_the_kernel_is_a_gaussian_within_documents_whose_rows_sum_to_one(case, forward, backward):
    candidates = case.candidates()
    matrix = dense_kernel(build_kernel(candidates.document, candidates.centre, forward, backward), case.n)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-9)
    expected = np.zeros((case.n, case.n))
    for i in range(case.n):
        for j in range(case.n):
            if candidates.document[i] == candidates.document[j]:
                deviation = max(forward if j < i else backward, 1e-9)
                distance = abs(candidates.centre[i] - candidates.centre[j]) / deviation
                expected[i, j] = 1 if i == j else np.exp(-0.5 * distance**2) * (distance <= 4)
    np.testing.assert_allclose(matrix, expected / expected.sum(axis=1, keepdims=True), atol=1e-9)


@given(cases(), st.data())
def test_spreading_never_crosses_documents(case, data):
    candidates = case.candidates()
    made = kernel(candidates, Fusion())
    values = case.bm25.astype(np.float64)
    number = data.draw(st.integers(0, len(case.sizes) - 1))
    changed = values.copy()
    changed[case.rows(number)] += 10
    moved = np.flatnonzero(made.spread(changed) != made.spread(values))
    assert set(moved) <= set(range(case.n)[case.rows(number)])


def test_a_hit_reaches_further_after_it_than_before_it():
    case = Case([9], np.full(9, 1000), np.eye(9, dtype=np.float32)[4], np.zeros(9, dtype=np.float32))
    spread = kernel(case.candidates(), Fusion()).spread(case.bm25.astype(np.float64))
    assert spread[4] == spread.max()
    assert spread[5] > spread[3] > 0
    assert (np.diff(spread[:5]) > 0).all()


def test_the_kernel_is_kept_as_long_as_its_candidates_and_settings():
    candidates = Case([3], np.full(3, 100), np.zeros(3), np.zeros(3)).candidates()
    first = kernel(candidates, Fusion())
    assert kernel(candidates, Fusion()) is first
    assert kernel(candidates, Fusion(forward=3.0)) is not first
    assert len(kernel(candidates, Fusion(forward=0, backward=0)).bands) == 1, "no reach, no neighbours"


@given(cases(), FUSIONS)
def test_constant_input_prefers_nothing(case, fusion):
    case.bm25[:], case.dense[:] = 2.5, 0.3
    scores = case.scores(fusion)
    assert not scores.local.any()
    assert not rank(scores, [], fusion).any()


@given(cases(), FUSIONS, st.randoms())
def test_the_order_of_documents_changes_no_score(case, fusion, random):
    order = list(range(len(case.sizes)))
    random.shuffle(order)
    other, rows = case.permuted(order)
    fused = rank(case.scores(fusion), [], fusion)
    np.testing.assert_allclose(rank(other.scores(fusion), [], fusion), fused[rows], atol=1e-4)


@given(cases(most=1), FUSIONS)
def test_one_document_has_no_document_term(case, fusion):
    without = Fusion(**{**vars(fusion), "document_weight": 0.0})
    np.testing.assert_allclose(
        rank(case.scores(fusion), [], fusion), rank(case.scores(without), [], without), atol=1e-5
    )


@given(cases())
def test_a_better_best_neighbourhood_lifts_its_whole_document(case):
    own = standardize(case.bm25)
    light, heavy = Fusion(document_weight=0.0), Fusion(document_weight=0.5)
    candidates = case.candidates()
    around = region(own, candidates, light)
    lift = region(own, candidates, heavy) - around
    best = [around[case.rows(number)].max() for number in range(len(case.sizes))]
    lifts = [lift[case.rows(number)] for number in range(len(case.sizes))]
    for a in range(len(best)):
        np.testing.assert_allclose(lifts[a], lifts[a][0], atol=1e-9)
        for b in range(len(best)):
            if best[a] > best[b] + 1e-6:
                assert lifts[a][0] > lifts[b][0]


@given(st.integers(2, 40))
def test_the_document_term_is_continuous_in_the_number_of_documents(n):
    """One document more among n, all alike but for the first's hit, moves no score by more than O(1/√n), as z-scores go."""

    def fused(documents):
        size = documents * 4
        hit = np.zeros(size, dtype=np.float32)
        hit[1] = 1
        case = Case([4] * documents, np.full(size, 1000), hit, hit)
        own = np.asarray(hit, dtype=np.float64)
        candidates = case.candidates()
        term = region(own, candidates, Fusion()) - region(own, candidates, Fusion(document_weight=0.0))
        return term[:4]

    np.testing.assert_allclose(fused(n), fused(n + 1), atol=0.5 / n**0.5)


@given(cases(), FUSIONS)
def test_clues_that_weigh_nothing_are_as_if_they_were_not_there(case, fusion):
    query = case.scores(fusion)
    other = Case(case.sizes, case.lengths, case.bm25[::-1].copy(), case.dense[::-1].copy()).scores(fusion)
    alone = rank(query, [], fusion)
    np.testing.assert_array_equal(rank(query, [WeightedClue(other, weight=0.0)], fusion), alone)
    np.testing.assert_array_equal(
        rank(query, [WeightedClue(other, [other], 0.0), WeightedClue(other, weight=0.0)], fusion), alone
    )


@given(cases(), FUSIONS)
def test_saying_a_thing_twice_adds_nothing(case, fusion):
    query = case.scores(fusion)
    other = Case(case.sizes, case.lengths, case.bm25[::-1].copy(), case.dense[::-1].copy()).scores(fusion)
    once = rank(query, [WeightedClue(other, weight=0.7)], fusion)
    np.testing.assert_array_equal(
        rank(query, [WeightedClue(other, [other], 0.7), WeightedClue(other, weight=0.5)], fusion), once
    )


def test_each_sentence_of_a_clue_speaks_for_a_place_of_its_own():
    def at(*rows):
        hit = np.zeros(12, np.float32)
        hit[list(rows)] = 1
        return Case([12], np.full(12, 1000), hit, hit).scores(Fusion())

    query, whole = at(0), at(1)
    bare = rank(query, [WeightedClue(whole, weight=0.8)], Fusion())
    told = rank(query, [WeightedClue(whole, [at(5), at(10)], 0.8)], Fusion())
    assert told[5] - told[7] > bare[5] - bare[7]
    assert told[10] - told[7] > bare[10] - bare[7]


def test_a_clue_is_heard_best_where_the_query_finds_something_around():
    hit = np.zeros(20, np.float32)
    hit[[1, 2, 4]] = 1
    query = Case([20], np.full(20, 1000), hit, hit).scores(Fusion())
    both = np.zeros(20, np.float32)
    both[[3, 16]] = 1
    clue = Case([20], np.full(20, 1000), both, both).scores(Fusion())
    assert query.local[3] == query.local[16]
    joined = combine_clues(
        np.asarray(query.local, float), np.asarray(query.activation, float), [(np.asarray(clue.local, float), 0.5)]
    )
    assert joined[3] > joined[16] > joined[12]


def test_a_clue_lifts_what_it_speaks_of():
    case = Case([3, 3, 3], np.full(9, 1000), np.eye(9, dtype=np.float32)[0], np.eye(9, dtype=np.float32)[0])
    clue = Case([3, 3, 3], np.full(9, 1000), np.eye(9, dtype=np.float32)[4], np.eye(9, dtype=np.float32)[4])
    query, said = case.scores(Fusion()), clue.scores(Fusion())
    before = rank(query, [], Fusion())
    light, heavy = (rank(query, [WeightedClue(said, weight=weight)], Fusion()) for weight in (0.2, 0.9))
    assert before[4] < light[4] < heavy[4]
    assert heavy.argmax() == 0, "the query's own hit stays first while the clue weighs less"


@given(cases(), st.data())
def test_more_of_a_signal_never_lowers_what_a_passage_says_by_itself(case, data):
    row = data.draw(st.integers(0, case.n - 1))
    before = case.scores(Fusion(dense_weight=0.0)).local
    case.bm25[row] += 5
    after = case.scores(Fusion(dense_weight=0.0)).local
    assert after[row] >= before[row] - 1e-4


@given(cases())
def test_without_dense_scores_bm25_has_all_the_weight(case):
    found = activate(case.signals(dense=False), Fusion()).local
    np.testing.assert_allclose(found, standardize(case.bm25), atol=1e-5)
    case.dense = case.bm25
    np.testing.assert_allclose(case.scores(Fusion(dense_weight=0.0)).local, found, atol=1e-5)


@given(cases())
def test_dense_weight_goes_from_bm25_to_dense(case):
    np.testing.assert_allclose(case.scores(Fusion(dense_weight=1.0)).local, standardize(case.dense), atol=1e-4)
    np.testing.assert_allclose(case.scores(Fusion(dense_weight=0.0)).local, standardize(case.bm25), atol=1e-4)


@given(cases(), FUSIONS)
def test_the_ranking_is_the_better_of_own_and_neighbourhood(case, fusion):
    scores = case.scores(fusion)
    fused = rank(scores, [], fusion)
    assert fused.dtype == np.float32
    assert np.isfinite(fused).all()
    assert (fused >= scores.activation).all()
    assert (fused >= standardize(sharpen(scores.local.astype(np.float64), fusion)) - 1e-4).all()


def test_extreme_scores_do_not_overflow():
    n = 20_000
    bm25 = np.zeros(n, dtype=np.float32)
    bm25[7] = 1e30
    case = Case([n], np.full(n, 1000), bm25, bm25)
    with np.errstate(all="raise", under="ignore"):
        fused = rank(case.scores(Fusion(sharpness=10.0)), [], Fusion(sharpness=10.0))
    assert np.isfinite(fused).all()
    assert fused.argmax() == 7


def test_no_candidates_have_no_scores():
    case = Case([], np.array([1000]), np.array([], dtype=np.float32), np.array([], dtype=np.float32))
    assert rank(case.scores(Fusion()), [], Fusion()).size == 0


@pytest.mark.parametrize("sharpness", [0.25, 10, 100])
def test_sharpening_keeps_order_and_stays_finite(sharpness):
    own = np.linspace(-3, 3, 7)
    with np.errstate(all="raise", under="ignore"):
        assert (np.diff(sharpen(own, Fusion(sharpness=sharpness))) > 0).all()


@pytest.mark.parametrize(
    "arguments",
    [{"sharpness": -1}, {"forward": float("nan")}, {"backward": "2"}, {"region_weight": True}, {"dense_weight": 1.5}],
)
def test_settings_out_of_range_are_refused_by_name(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Fusion(**arguments)


def test_a_clue_in_other_words_speaks_at_the_place_where_it_stands():
    case = Case(
        [6], np.full(6, 1000), np.array([5, 0, 0, 0, 0, 1], np.float32), np.array([5, 0, 0, 0, 0, 1], np.float32)
    )
    clue = case.scores(Fusion())
    passage = clue.candidates.passages[3]
    lifted = lift_grounded(clue, Grounding(passage.document_id, passage.start + 1, passage.end - 1, 0.9))
    assert lifted.local[3] == lifted.local.max() == clue.local.max()
    np.testing.assert_array_equal(np.delete(lifted.local, 3), np.delete(clue.local, 3))
    unsure = lift_grounded(clue, Grounding(passage.document_id, passage.start, passage.end, 0.2))
    assert clue.local[3] < unsure.local[3] < unsure.local.max()
    assert lift_grounded(clue, None) is clue
    elsewhere = Grounding("another document", passage.start, passage.end, 1.0)
    np.testing.assert_array_equal(lift_grounded(clue, elsewhere).local, clue.local)


@given(st.booleans(), st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
def test_no_clue_counts_as_much_as_the_query_and_better_grounding_never_less(dense, one, other, cosine):
    case = Case([3], np.full(3, 1000), np.array([1, 0, 2], np.float32), np.array([0.5, 0.1, 0.2], np.float32))
    vectors = (
        [np.array([1, 0], np.float32), np.array([cosine, (1 - cosine**2) ** 0.5], np.float32)] if dense else [None] * 2
    )
    query, clue = (replace(case.scores(Fusion()), vector=vector, terms={1: 2.0, 2: 1.0}) for vector in vectors)
    low, high = sorted((one, other))
    weights = clue_weights(query, [clue, clue], [low, high])
    assert 0 < weights[0] <= weights[1] < 1
