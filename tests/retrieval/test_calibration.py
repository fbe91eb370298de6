"""Scores with a meaning: whatever the signals are, they are probabilities that fall strictly along the ranking."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from memorag_integrations.encoders.background import KNOWN, UNRELATED, Background, background_of
from memorag_integrations.retrieval.calibration import (
    WITH_EMBEDDER,
    WITHOUT_EMBEDDER,
    calibrate,
    pool,
    term_share,
)
from tests.retrieval.test_fusion import Case, cases

BACKGROUND = Background(0.1, 0.1)
PROBABILITIES = arrays.arrays(np.float64, st.integers(1, 300), elements=st.floats(1e-9, 1 - 1e-9))


@given(PROBABILITIES, st.randoms())
def test_scores_fall_strictly_along_any_ranking(probabilities, random):
    order = list(range(len(probabilities)))
    random.shuffle(order)
    scores = calibrate(np.array(order), probabilities)
    ranked = scores[order]
    assert ((ranked >= 0) & (ranked <= 1)).all()
    assert (np.diff(ranked) < 0).all()


@given(PROBABILITIES)
def test_a_ranking_by_probability_keeps_its_probabilities(probabilities):
    order = np.argsort(-probabilities, kind="stable")
    np.testing.assert_allclose(calibrate(order, probabilities), probabilities, rtol=1e-4)


@given(PROBABILITIES)
def test_pooling_is_the_nearest_falling_sequence(values):
    pooled = pool(values)
    assert (np.diff(pooled) <= 0).all()
    assert pooled.mean() == pytest.approx(values.mean())
    assert ((pooled - values) ** 2).sum() <= ((np.full_like(values, values.mean()) - values) ** 2).sum() + 1e-9


@given(cases(), st.booleans(), st.floats(0, 1))
def test_any_signals_have_probabilities(case, dense, known):
    signals = replace(case.signals(dense), terms={0: 2.0, 1: 0.5}, known_terms=known)
    for calibration, background in ((WITH_EMBEDDER, BACKGROUND), (WITHOUT_EMBEDDER, None)):
        found = calibration.probabilities(signals, background)
        assert found.shape == (case.n,)
        assert ((found > 0) & (found < 1)).all()


def signals_of(bm25, dense=None, terms=None, known=1.0):
    bm25 = np.asarray(bm25, np.float32)
    case = Case([len(bm25)], np.full(len(bm25), 100), bm25, np.asarray(bm25 if dense is None else dense, np.float32))
    return replace(case.signals(dense is not None), terms=terms or {0: 1.0}, known_terms=known)


def test_a_higher_cosine_and_more_terms_are_likelier():
    cosines = WITH_EMBEDDER.probabilities(signals_of([0.5] * 3, [0.1, 0.4, 0.8]), BACKGROUND)
    assert (np.diff(cosines) > 0).all()
    for calibration, background in ((WITH_EMBEDDER, BACKGROUND), (WITHOUT_EMBEDDER, None)):
        terms = calibration.probabilities(signals_of([0.0, 0.2, 0.6], [0.3] * 3), background)
        assert (np.diff(terms) > 0).all()


@given(st.integers(1, 200))
def test_the_score_of_a_passage_does_not_depend_on_how_many_others_there_are(n):
    alone = WITH_EMBEDDER.probabilities(signals_of([0.6], [0.7]), BACKGROUND)[0]
    among = WITH_EMBEDDER.probabilities(signals_of([0.6, *[0.0] * n], [0.7, *[0.1] * n]), BACKGROUND)
    assert calibrate(np.argsort(-among), among)[0] == pytest.approx(alone)


def test_terms_that_the_corpus_does_not_have_count_as_missing():
    known, half = (term_share(signals_of([0.8], terms={0: 1.0, 1: 1.0}, known=share))[0] for share in (1.0, 0.5))
    assert known == pytest.approx(0.4)
    assert half == pytest.approx(0.2)
    assert term_share(signals_of([0.0], known=0.0))[0] == 0


def test_the_background_is_the_embedders_own():
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(len(UNRELATED), 64))
    crowded = vectors + 3.0  # a model whose cosines are all high
    unit, narrow = (
        Background.of((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)) for v in (vectors, crowded)
    )
    assert abs(unit.mean) < 0.1 < 0.8 < narrow.mean
    assert narrow.deviation < unit.deviation
    assert len(set(UNRELATED)) == len(UNRELATED)


def test_a_models_background_is_known_or_taken_from_the_corpus_and_costs_no_call(minilm):
    measured = Background.of(minilm.embed_passages(list(UNRELATED)))
    known = background_of(minilm.name, np.zeros((0, 0), np.float32))
    assert known == KNOWN[minilm.name]
    assert (known.mean, known.deviation) == pytest.approx((measured.mean, measured.deviation), abs=2e-3)
    draw = np.random.default_rng(2).normal(size=(300, 64)).astype(np.float32)
    vectors = draw / np.linalg.norm(draw, axis=1, keepdims=True)
    assert background_of("another", vectors[:5]) is None
    assert background_of("another", vectors).mean == pytest.approx(0, abs=0.1)
