"""The whole line on random small corpora: whatever the texts and the query are, it answers, and says truly where from."""

import json
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import Document, MemoRAG
from memorag_integrations.documents import clean_text
from memorag_integrations.errors import InputError
from tests.conftest import HashEmbedder

ANY = st.text(st.characters(exclude_categories=()), max_size=80)
"""Any code points, lone surrogates and NUL among them."""
PROSE = st.lists(
    st.sampled_from(
        ["the lamp", "ships come.", "Reef!", "\n\n", "\n", "看守人", "Straße", "re_read_File", "ไทย", "‏עברית", "\t"]
    ),
    max_size=40,
).map(" ".join)
TEXTS = st.lists(st.one_of(PROSE, ANY), min_size=1, max_size=6)
MODES = st.sampled_from(["memorag", "bm25", "hybrid"])


def memorized(texts, embedder=None):
    memo = MemoRAG(embedder=embedder, passage_size=60)
    documents = [Document(text, f"d{number}", {"number": number}) for number, text in enumerate(texts)]
    try:
        memo.memorize(documents, progress=False)
    except InputError:
        assert not any(text.strip() for text in texts)
        return None
    return memo


@given(TEXTS, st.one_of(PROSE, ANY), MODES, st.booleans(), st.booleans())
def test_any_query_of_any_texts_is_answered_exactly(texts, query, mode, dense, merge):
    memo = memorized(texts, HashEmbedder(16) if dense else None)
    if memo is None:
        return
    if not query.strip():
        query = "x"
    found = memo.retrieve(query, 99, mode=mode, merge=merge)
    assert found
    for piece in found:
        number = piece.passage.metadata["number"]
        assert clean_text(texts[number])[piece.passage.start : piece.passage.end] == piece.text
        assert piece.document_id == f"d{number}"
        assert piece.text.strip() == piece.text != ""
        assert 0 <= piece.score <= 1
        assert piece.found_by or not (piece.raw["bm25"] or piece.raw.get("dense"))
        json.dumps(piece.to_json(), allow_nan=False).encode()
    scores = [piece.score for piece in found]
    assert scores == sorted(scores, reverse=True)
    for clue in memo.recall(query).clues:
        at = clue.grounding
        assert memo.corpus.texts[at.document_id][at.start : at.end] == clue.text != ""


@given(TEXTS, PROSE, MODES)
def test_every_passage_is_shown_or_named_once(texts, query, mode):
    memo = memorized(texts)
    if memo is None:
        return
    found = memo.retrieve(query.strip() or "x", 999, mode=mode)
    shown = Counter(place.id for piece in found for place in (piece.passage, *piece.repeats))
    assert shown == Counter(passage.id for passage in memo.corpus.index.passages)


@given(TEXTS, PROSE, st.integers(1, 8))
def test_k_pieces_are_the_first_of_more(texts, query, k):
    memo = memorized(texts, HashEmbedder(16))
    if memo is None:
        return
    query = query.strip() or "x"
    every = memo.retrieve(query, 999)
    assert [piece.passage for piece in memo.retrieve(query, k)] == [piece.passage for piece in every[:k]]


@given(TEXTS, PROSE, st.randoms())
def test_the_order_of_documents_changes_no_score(texts, query, random):
    memo = memorized(texts)
    if memo is None:
        return
    order = list(range(len(texts)))
    random.shuffle(order)
    other = MemoRAG(passage_size=60)
    other.memorize([Document(texts[n], f"d{n}", {"number": n}) for n in order], progress=False)

    def scores(engine):
        [found] = engine.scores([query.strip() or "x"])
        return {passage.id: score for passage, score in zip(found.candidates.passages, found.activation, strict=True)}

    mine, theirs = scores(memo), scores(other)
    assert set(mine) == set(theirs)
    np.testing.assert_allclose([theirs[id] for id in mine], list(mine.values()), atol=1e-3)
