"""Learned lexical weights beside BM25 or in its place."""

import numpy as np
import pytest

from memorag_integrations import BGEM3Embedder, MemoRAG
from memorag_integrations.contracts import LexicalEmbedder, LexicalWeights
from memorag_integrations.errors import EmbedderError, InputError
from memorag_integrations.flagembedding import load_m3
from memorag_integrations.index.embedders import CheckedEmbedder
from memorag_integrations.index.lexical import LexicalMatrix
from tests.bge_checkpoint import make_m3
from tests.conftest import HashEmbedder

QUERY = "Why did the trawler strike the reef?"


class WordWeights(HashEmbedder, LexicalEmbedder):
    """Letters as tokens, their counts as weights; counts what it reads."""

    def __init__(self, lexical="instead", wrong=None):
        super().__init__()
        self._lexical, self.wrong = lexical, wrong
        self.read = []

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
    [scores] = memo._scores(memo.corpus, [QUERY], memo._embed([QUERY]), None)
    [before] = plain._scores(plain.corpus, [QUERY], plain._embed([QUERY]), None)
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


def test_a_loaded_corpus_reads_its_passages_once_more_and_says_so(documents, tmp_path, caplog):
    memo = memorized(WordWeights(), documents)
    memo.save(tmp_path)
    loaded = MemoRAG.load(tmp_path, embedder=WordWeights())
    assert loaded.retrieve(QUERY) == memo.retrieve(QUERY)
    assert f"lexical weights of {len(memo.corpus.index)} passages are not at hand" in caplog.text
    caplog.clear()
    loaded.retrieve(QUERY)
    assert not caplog.text


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
