"""Learned lexical weights beside BM25 or in its place."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from memorag_integrations import BGEM3Embedder, Document, MemoRAG
from memorag_integrations.contracts import LexicalEmbedder
from memorag_integrations.documents import text_hash
from memorag_integrations.encoders import checked
from memorag_integrations.encoders.checked import CheckedEmbedder
from memorag_integrations.encoders.fingerprint import EmbedderFingerprint
from memorag_integrations.encoders.flagembedding import load_m3
from memorag_integrations.errors import EmbedderError, InputError
from memorag_integrations.index.learned_sparse import LexicalMatrix, pack_weights, unpack_weights
from memorag_integrations.scores import LexicalWeights
from memorag_integrations.store.maintenance import Repair, compact, repair, verify
from memorag_integrations.store.store import DATABASE, Store
from tests.bge_checkpoint import make_m3
from tests.conftest import HashEmbedder

QUERY = "Why did the trawler strike the reef?"


class WordWeights(HashEmbedder, LexicalEmbedder):
    """Letters as tokens, their counts as weights; remembers what it reads."""

    def __init__(self, lexical="instead", wrong=None):
        super().__init__()
        self._lexical, self.wrong = lexical, wrong
        self.read = []
        self.encoded = []

    def _embed(self, texts):
        self.encoded += texts
        return super()._embed(texts)

    @property
    def lexical(self):
        return self._lexical

    def embed_lexical(self, texts):
        self.read += texts
        weights = []
        for text in texts:
            tokens, counts = np.unique([ord(letter) for letter in text], return_counts=True)
            weights.append(LexicalWeights(tokens.astype(np.uint32), counts.astype(np.float32)))
        if self.wrong == "count":
            weights = weights[:-1]
        if self.wrong == "nan":
            weights[0].weights[0] = np.nan
        return self._embed(texts), weights


def weights(**said):
    items = sorted((int(token[1:]), weight) for token, weight in said.items())
    return LexicalWeights(np.array([t for t, _ in items], np.uint32), np.array([w for _, w in items], np.float32))


def memorized(embedder, documents):
    memo = MemoRAG(embedder=embedder, passage_size=150)
    memo.memorize(documents, progress=False)
    return memo


def test_a_matrix_gives_inner_products():
    matrix = LexicalMatrix([weights(t3=1.0, t9=0.5), weights(), weights(t3=2.0), weights(t250001=4.0)])
    np.testing.assert_allclose(matrix.score(weights(t3=0.5, t250001=0.25, t250002=9.0)), [0.5, 0, 1.0, 1.0])
    np.testing.assert_allclose(matrix.score(weights(t9=2.0)), [1.0, 0, 0, 0])
    assert not matrix.score(weights()).any()
    assert LexicalMatrix([]).score(weights(t1=1.0)).shape == (0,)


def test_many_passages_lose_no_precision():
    rng = np.random.default_rng(5)
    rows = []
    for _ in range(3000):
        tokens = np.unique(rng.integers(0, 5000, 60)).astype(np.uint32)
        rows.append(LexicalWeights(tokens, rng.random(len(tokens), dtype=np.float32)))
    dense = np.zeros((len(rows), 5000), np.float64)
    for i, row in enumerate(rows):
        dense[i, row.tokens] = row.weights
    np.testing.assert_allclose(LexicalMatrix(rows).score(rows[7]), dense @ dense[7], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("how", ["instead", "beside"])
def test_the_lexical_signal_is_bge_m3s(tmp_path, documents, how):
    folder = make_m3(tmp_path / "m3")
    memo = memorized(BGEM3Embedder(str(folder), device="cpu", lexical=how), documents)
    plain = memorized(BGEM3Embedder(str(folder), device="cpu"), documents)
    [scores] = memo.scores([QUERY])
    [before] = plain.scores([QUERY])
    np.testing.assert_allclose(scores.dense, before.dense, atol=1e-6)
    texts = [passage.text for passage in scores.candidates.passages]
    [asked, *read] = load_m3(str(folder), "cpu").encode([QUERY, *texts], lexical=True).lexical
    said = dict(zip(*(part.tolist() for part in asked), strict=True))
    learned = np.array([sum(w * said.get(t, 0.0) for t, w in zip(*row, strict=True)) for row in read])
    expected = learned if how == "instead" else before.bm25 / before.bm25.std() + learned / learned.std()
    np.testing.assert_allclose(scores.bm25, expected, rtol=1e-4, atol=1e-5)
    assert memo.retrieve(QUERY) != plain.retrieve(QUERY)


def test_vectors_and_weights_come_of_one_pass(documents):
    embedder = WordWeights()
    memo = memorized(embedder, documents)
    passages = [passage.text for passage in memo.corpus.index.passages]
    assert sorted(embedder.read) == sorted(passages)
    embedder.read.clear()
    memo.retrieve(QUERY)
    memo.retrieve(QUERY, filters={"kind": "story"})
    assert embedder.read == [QUERY, QUERY], "passages are not read again, and a query once"
    memo.retrieve(QUERY, mode="bm25")
    assert len(embedder.read) == 2


def test_bm25_alone_stays_bm25(documents):
    learned, plain = memorized(WordWeights(), documents), memorized(HashEmbedder(), documents)
    assert learned.retrieve(QUERY, mode="bm25") == plain.retrieve(QUERY, mode="bm25")
    assert learned.retrieve(QUERY, mode="hybrid") != plain.retrieve(QUERY, mode="hybrid")
    assert memorized(WordWeights(None), documents).retrieve(QUERY) == plain.retrieve(QUERY)


async def test_async_is_the_same(documents):
    memo = memorized(WordWeights("beside"), documents)
    assert await memo.aretrieve(QUERY) == memo.retrieve(QUERY)


def test_what_changes_is_read_alone(documents):
    embedder = WordWeights()
    memo = memorized(embedder, documents)
    embedder.read.clear()
    memo.add(["A trawler called again."], progress=False)
    memo.retrieve("trawler")
    assert embedder.read == ["A trawler called again.", "trawler"]


# ── in a store ────────────────────────────────────────────────────────────────────────────────────────────────────

PROBE = EmbedderFingerprint.PROBE


def stored(folder, documents, embedder=None):
    memo = memorized(embedder or WordWeights(), documents)
    memo.save(folder)
    return memo


def weights_in(folder):
    """Those of the texts in a store, by key."""
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        [(number,)] = database.execute("SELECT number FROM spaces WHERE fingerprint LIKE '%lexical weights%'")
        return dict(database.execute("SELECT key, vector FROM vectors WHERE space = ?", (number,)))


def keys_of(memo):
    return {bytes.fromhex(text_hash(passage.text)) for passage in memo.corpus.index.passages}


@pytest.mark.parametrize("read", [MemoRAG.load, MemoRAG.open])
def test_a_corpus_out_of_a_store_encodes_nothing(documents, tmp_path, caplog, read):
    memo, embedder = stored(tmp_path, documents), WordWeights()
    loaded = read(tmp_path, embedder=embedder)
    assert loaded.retrieve(QUERY) == memo.retrieve(QUERY)
    assert embedder.encoded == [PROBE, QUERY]
    assert "lexical weights" not in caplog.text


def test_weights_come_back_to_the_bit(tmp_path, documents):
    folder = make_m3(tmp_path / "m3")
    memo = stored(tmp_path / "store", documents, BGEM3Embedder(str(folder), device="cpu", lexical="beside"))
    loaded = MemoRAG.load(tmp_path / "store")
    assert set(loaded.embedder.weights) == set(memo.embedder.weights)
    for key, row in memo.embedder.weights.items():
        np.testing.assert_array_equal(loaded.embedder.weights[key].tokens, row.tokens)
        np.testing.assert_array_equal(loaded.embedder.weights[key].weights, row.weights)
    assert loaded.retrieve(QUERY) == memo.retrieve(QUERY)


def test_bytes_that_are_no_weights_are_not_taken_for_such():
    assert len(unpack_weights(pack_weights(weights())).tokens) == 0
    packed = pack_weights(weights(t3=1.0, t9=0.5))
    assert unpack_weights(packed).tokens.tolist() == [3, 9]
    other = (
        packed[:-1],
        packed[4:8] + packed[:4] + packed[8:],
        pack_weights(weights(t3=-1.0)),
        pack_weights(weights(t3=np.nan)),
    )
    assert [unpack_weights(one) for one in other] == [None] * 4


def test_changes_keep_the_weights_of_what_is_new(documents, tmp_path):
    embedder = WordWeights()
    with MemoRAG.open(tmp_path, embedder=embedder) as memo:
        memo.add(documents, progress=False)
        other = MemoRAG.open(tmp_path, embedder=(reader := WordWeights()))
        reader.encoded.clear()
        memo.add(Document("A trawler called again.", id="new"), progress=False)
        memo.replace(Document("A trawler never called again.", id="new"), progress=False)
        assert keys_of(memo) < set(weights_in(tmp_path)), "and of what was there before, until compact"
        assert other.reload()
        assert other.retrieve(QUERY, 20) == memo.retrieve(QUERY, 20)
        assert reader.encoded == [QUERY]
        embedder.encoded.clear()
        memo.replace(Document("A trawler called again.", id="new"), progress=False)
        memo.retrieve(QUERY)
        assert embedder.encoded == [QUERY], "what the store had is not read again"


def test_work_that_was_broken_off_is_not_done_again(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(checked, "BATCH", 2)

    class Failing(WordWeights):
        def embed_lexical(self, texts):
            if len(self.read) >= 4:
                raise KeyboardInterrupt
            return super().embed_lexical(texts)

    with pytest.raises(KeyboardInterrupt):
        MemoRAG(embedder=Failing(), passage_size=150).memorize(documents, save_dir=tmp_path, progress=False)
    assert len(weights_in(tmp_path)) == 4
    memo = MemoRAG(embedder=(embedder := WordWeights()), passage_size=150)
    memo.memorize(documents, save_dir=tmp_path, progress=False)
    assert len(embedder.read) == len(keys_of(memo)) - 4
    memo.retrieve(QUERY)
    assert len(embedder.read) == len(keys_of(memo)) - 4 + 1


def test_a_store_without_weights_opens_and_gets_them_when_first_asked(documents, tmp_path, caplog):
    memo = memorized(WordWeights(), documents)
    stored(tmp_path, documents, WordWeights(None))
    first, second = WordWeights(), WordWeights()
    assert MemoRAG.load(tmp_path, embedder=first).retrieve(QUERY) == memo.retrieve(QUERY)
    assert len(first.read) == len(keys_of(memo)) + 1
    assert f"lexical weights of {len(memo.corpus.index)} passages are not at hand" in caplog.text
    assert verify(tmp_path) == []
    assert MemoRAG.load(tmp_path, embedder=second).retrieve(QUERY) == memo.retrieve(QUERY)
    assert second.read == [QUERY]


def test_where_somebody_writes_a_query_neither_waits_nor_fails(documents, tmp_path):
    memo = memorized(WordWeights(), documents)
    stored(tmp_path, documents, WordWeights(None))
    loaded = MemoRAG.load(tmp_path, embedder=WordWeights())
    with Store(tmp_path).transaction():
        assert loaded.retrieve(QUERY) == memo.retrieve(QUERY)
    loaded.save(tmp_path / "copy")
    assert set(weights_in(tmp_path / "copy")) == keys_of(memo), "a copy has them"


def test_compact_drops_the_weights_of_what_is_gone(documents, tmp_path):
    memo = stored(tmp_path, documents)
    assert set(weights_in(tmp_path)) == keys_of(memo)
    memo.delete(documents[0].id, progress=False)
    memo.save(tmp_path)
    assert set(weights_in(tmp_path)) > keys_of(memo)
    compact(tmp_path)
    assert set(weights_in(tmp_path)) == keys_of(memo)
    MemoRAG.load(tmp_path, embedder=(embedder := WordWeights())).retrieve(QUERY)
    assert embedder.read == [QUERY]


def test_broken_weights_are_named_made_again_and_never_used(documents, tmp_path):
    store = tmp_path / "store"
    memo = stored(store, documents)
    with closing(sqlite3.connect(store / DATABASE)) as database:
        [(number,)] = database.execute("SELECT number FROM spaces WHERE fingerprint LIKE '%lexical weights%'")
        database.execute(
            "UPDATE vectors SET vector = zeroblob(16) WHERE space = ? AND key = ?", (number, min(keys_of(memo)))
        )
        database.commit()
    assert verify(store) == ["The lexical weights of 1 passages are broken. The embedder can make them again."]
    shutil.copytree(store, copy := tmp_path / "copy")
    assert MemoRAG.load(store, embedder=(embedder := WordWeights())).retrieve(QUERY) == memo.retrieve(QUERY)
    assert len(embedder.read) == 2, "the broken one and the query"
    assert verify(store) == []
    assert repair(copy, embedder=WordWeights(), progress=False) == Repair(encoded=1)
    assert verify(copy) == []
    MemoRAG.load(copy, embedder=(embedder := WordWeights())).retrieve(QUERY)
    assert embedder.read == [QUERY]


def test_weights_are_reused_with_the_vectors(documents, tmp_path):
    stored(tmp_path, documents)
    memo = MemoRAG(embedder=(embedder := WordWeights()), passage_size=150)
    memo.reuse(tmp_path)
    memo.memorize(documents, progress=False)
    memo.retrieve(QUERY)
    assert embedder.read == [QUERY]


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wrong", "said"), [("count", "lexical weights of 1 texts, found those of 0"), ("nan", "positive")]
)
def test_what_is_no_weights_is_refused(wrong, said):
    with pytest.raises(EmbedderError, match=said):
        CheckedEmbedder(WordWeights(wrong=wrong)).embed_queries(["a text"])


def test_the_setting_is_one_of_three_and_is_kept():
    with pytest.raises(InputError, match='lexical must be "beside", "instead" or None'):
        BGEM3Embedder(lexical="both")
    assert BGEM3Embedder(lexical="beside").config["lexical"] == "beside"
