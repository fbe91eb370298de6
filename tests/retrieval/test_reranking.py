"""A reranker on top of each ranking: a contract, its checks, and the cross-encoders we ship."""

import threading

import numpy as np
import pytest
import torch

from memorag_integrations import BGEM3Reranker, CrossEncoderReranker, MemoRAG, Reranking
from memorag_integrations.contracts import Reranker
from memorag_integrations.encoders.rerankers import resolve_reranker
from memorag_integrations.errors import InputError, RerankerError
from memorag_integrations.retrieval.reranking import scores_of
from tests.bge_checkpoint import change_config, make_m3, make_reranker
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER

QUERY = "Why did the trawler strike the reef?"


class WordReranker(Reranker):
    """Counts a word, and notes what it is asked."""

    def __init__(self, word="bread", answer=None):
        self.word, self.answer = word, answer
        self.asked = []
        self.threads = set()

    def rerank(self, query, passages):
        self.asked.append((query, list(passages)))
        self.threads.add(threading.current_thread())
        if self.answer is not None:
            return self.answer(passages)
        return [float(text.count(self.word)) for text in passages]


class AwaitedReranker(WordReranker):
    awaited = 0

    async def arerank(self, query, passages):
        self.awaited += 1
        return self.rerank(query, passages)


@pytest.fixture
def memo(documents):
    def make(reranker=None, **settings):
        memo = MemoRAG(reranker=reranker, passage_size=150, **settings)
        memo.memorize(documents, progress=False)
        return memo

    return make


# ── the step ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_best_take_the_rerankers_order(memo):
    reranker = WordReranker()
    plain, reread = memo().retrieve(QUERY, k=50), memo(reranker).retrieve(QUERY, k=50)
    [(query, texts)] = reranker.asked
    assert query == QUERY
    assert texts[0] == plain[0].text, "the best of the fused ranking stands first"
    assert "bread" in reread[0].text
    assert "bread" not in plain[0].text
    assert {piece.passage.id for piece in reread} == {piece.passage.id for piece in plain}
    assert [piece.score for piece in reread] == [piece.score for piece in plain], "the same scores, dealt out anew"
    said = [piece.raw["reranker"] for piece in reread]
    assert said == sorted(said, reverse=True)
    assert said[0] == float(reread[0].text.count("bread"))


def test_evidence_tells_what_the_reranker_said_and_how_it_was_ranked_before(memo):
    plain = {piece.passage.id: piece for piece in memo().retrieve(QUERY, k=50)}
    for place, piece in enumerate(memo(WordReranker()).retrieve(QUERY, k=50), 1):
        [found] = [reason for reason in piece.found_by if reason.signal == "reranker"]
        assert (found.by, found.rank) == (QUERY, place)
        before = plain[piece.passage.id]
        assert piece.raw["fused"] == before.raw["fused"]
        assert [one for one in piece.found_by if one.signal != "reranker"] == list(before.found_by)


def test_only_so_many_candidates_are_read_and_the_others_stay(memo):
    reranker = WordReranker("")
    plain = memo().retrieve(QUERY, k=50)
    reread = memo(Reranking(WordReranker("zzz", lambda texts: range(len(texts))), candidates=3)).retrieve(QUERY, k=50)
    ids = [piece.passage.id for piece in plain]
    assert [piece.passage.id for piece in reread] == [*reversed(ids[:3]), *ids[3:]]
    assert [("reranker" in piece.raw) for piece in reread] == [True] * 3 + [False] * (len(ids) - 3)
    memo(Reranking(reranker, candidates=2)).retrieve(QUERY)
    assert len(reranker.asked[0][1]) == 2


def test_equal_scores_leave_the_order(memo):
    plain, reread = memo().retrieve(QUERY, k=50), memo(WordReranker("zzzz")).retrieve(QUERY, k=50)
    assert [piece.passage.id for piece in plain] == [piece.passage.id for piece in reread]


@pytest.mark.parametrize("mode", ["memorag", "bm25", "hybrid"])
def test_every_mode_is_reread_and_answers_are_written_from_it(memo, mode):
    assert "bread" in memo(WordReranker()).retrieve(QUERY, 1, mode=mode)[0].text
    assert "bread" not in memo().retrieve(QUERY, 1, mode=mode)[0].text


def test_nothing_to_rank_asks_nobody(memo):
    reranker = WordReranker()
    assert memo(reranker).retrieve(QUERY, filters={"kind": "nothing"}) == []
    assert not reranker.asked


@pytest.mark.parametrize("kind", [WordReranker, AwaitedReranker])
async def test_async_is_the_same_off_the_event_loop_or_awaited(memo, kind):
    reranker = kind()
    engine = memo(reranker)
    for mode in ("memorag", "hybrid"):
        sync = engine.retrieve(QUERY, mode=mode)
        reranker.threads.clear()
        assert await engine.aretrieve(QUERY, mode=mode) == sync
        if kind is WordReranker:
            assert threading.main_thread() not in reranker.threads
    assert getattr(reranker, "awaited", 2) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda texts: [float("nan")] + [0.0] * (len(texts) - 1), r"1 of \d+ scores that are NaN or infinite"),
        (lambda texts: [float("inf")] * len(texts), r"scores that are NaN or infinite"),
        (lambda texts: [1.0], r"should return \d+ scores"),
        (lambda texts: [[1.0]] * len(texts), r"should return \d+ scores"),
        (lambda texts: ["high"] * len(texts), r"should return \d+ numbers"),
        (lambda texts: None, r"WordReranker"),
    ],
)
async def test_what_is_no_scores_is_refused(memo, answer, said):
    def none(texts):
        return answer(texts) if answer(texts) is not None else object()

    engine = memo(WordReranker(answer=none))
    with pytest.raises(RerankerError, match=said) as caught:
        engine.retrieve(QUERY)
    assert "WordReranker" in str(caught.value)
    with pytest.raises(RerankerError, match=said):
        await engine.aretrieve(QUERY)


@pytest.mark.parametrize("value", ["", 5, object(), WordReranker, ["a"]])
def test_what_is_no_reranker_is_refused(value):
    with pytest.raises(InputError, match="reranker must be None"):
        MemoRAG(reranker=value)


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "many"])
def test_candidates_is_a_count(value):
    with pytest.raises(InputError, match="candidates must be a whole number"):
        Reranking(WordReranker(), candidates=value)


def test_a_store_does_not_keep_it_and_load_and_open_take_it(memo, tmp_path):
    memo(WordReranker()).save(tmp_path)
    assert MemoRAG.load(tmp_path).reranking is None
    for make in (MemoRAG.load, MemoRAG.open):
        loaded = make(tmp_path, reranker=Reranking(WordReranker(), candidates=9))
        assert loaded.reranking.candidates == 9
        assert "bread" in loaded.retrieve(QUERY, 1)[0].text
    with pytest.raises(InputError, match="reranker must be None"):
        MemoRAG.open(tmp_path / "fresh", reranker=3)
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize(
    ("back", "expected"),
    [
        ([("1", 0.9), ("0", 0.2)], [0.2, 0.9, -0.8]),
        ([("2", None), ("0", None)], [1.0, 0.0, 2.0]),
        ([("2", 0.0), ("0", 0.0)], [1.0, 0.0, 2.0]),
        ([("0", 1.0), ("2", 3.0)], [2.0, 0.0, 1.0]),
        ([], [0.0, 0.0, 0.0]),
        ([("1", -5.0)], [-6.0, -5.0, -6.0]),
    ],
)
def test_what_a_host_gives_back_becomes_scores(back, expected):
    assert scores_of(back, 3, "A host's") == pytest.approx(expected)


@pytest.mark.parametrize("back", [[("3", 1.0)], [("new", 1.0)], [("0", 1.0), ("0", 0.5)], [("", None)]])
def test_what_was_not_given_is_not_taken_back(back):
    with pytest.raises(RerankerError, match="some of the 3 passages it was given"):
        scores_of(back, 3, "A host's")


# ── cross-encoders ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_reranker(tmp_path_factory.mktemp("reranker") / "model")


@pytest.fixture(scope="module")
def cross(folder):
    return CrossEncoderReranker(str(folder), device="cpu")


def test_a_cross_encoder_scores_as_transformers_does(folder, cross):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    passages = [LIGHTHOUSE, BAKERY, "bread", RIVER, ""]
    with torch.no_grad():
        expected = [float(model(**tokenizer([QUERY], [text], return_tensors="pt")).logits) for text in passages]
    np.testing.assert_allclose(cross.rerank(QUERY, passages), expected, atol=1e-5)
    few = CrossEncoderReranker(str(folder), device="cpu", batch_size=2)
    np.testing.assert_allclose(few.rerank(QUERY, passages), expected, atol=1e-5)
    assert cross.rerank(QUERY, []) == []


def test_a_cross_encoder_scores_as_flagembedding_does(folder, cross):
    from FlagEmbedding import FlagReranker

    passages = [LIGHTHOUSE, BAKERY, RIVER]
    expected = FlagReranker(str(folder), devices=["cpu"]).compute_score([(QUERY, text) for text in passages])
    np.testing.assert_allclose(cross.rerank(QUERY, passages), expected, atol=1e-4)


def test_a_cross_encoder_reads_long_passages_and_long_queries(folder, cross):
    long = LIGHTHOUSE * 60
    assert np.isfinite(cross.rerank(long, [long, "bread"])).all()
    short = CrossEncoderReranker(str(folder), max_length=32, device="cpu")
    assert np.isfinite(short.rerank(LIGHTHOUSE, [BAKERY])).all()
    with pytest.raises(RerankerError, match="beyond the 8192 tokens"):
        CrossEncoderReranker(str(folder), max_length=9000, device="cpu").rerank(QUERY, ["a"])


def test_the_engine_takes_a_folder_of_either_kind(folder, memo, tmp_path):
    m3 = make_m3(tmp_path / "m3")
    assert isinstance(resolve_reranker(str(m3)), BGEM3Reranker)
    assert isinstance(resolve_reranker("BAAI/bge-m3"), BGEM3Reranker)
    assert isinstance(resolve_reranker("BAAI/bge-reranker-v2-m3"), CrossEncoderReranker)
    for path in (folder, m3):
        found = memo(str(path)).retrieve(QUERY)
        said = [piece.raw["reranker"] for piece in found]
        assert said == sorted(said, reverse=True)
        again = resolve_reranker(str(path)).rerank(QUERY, [piece.text for piece in found])
        np.testing.assert_allclose(again, said, atol=1e-5)


def test_a_model_with_nan_weights_is_refused_by_the_engine(memo, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = make_reranker(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    save_file({k: v * float("nan") for k, v in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RerankerError, match="NaN or infinite"):
        memo(str(folder)).retrieve(QUERY)


def test_what_is_no_cross_encoder_is_refused(tmp_path):
    inner = make_m3(tmp_path / "m3")
    (inner / "colbert_linear.pt").unlink()
    with pytest.raises(RerankerError, match=r"Expected a cross-encoder .* found XLMRobertaModel"):
        CrossEncoderReranker(str(inner), device="cpu").rerank(QUERY, ["a"])
    three = make_reranker(tmp_path / "three", labels=3)
    with pytest.raises(RerankerError, match="found 3 labels"):
        CrossEncoderReranker(str(three), device="cpu").rerank(QUERY, ["a"])
    change_config(three, model_type="unheard-of", auto_map={"AutoConfig": "evil.Evil"}, id2label={"0": "LABEL_0"})
    with pytest.raises(RerankerError, match="code of its own"):
        CrossEncoderReranker(str(three), device="cpu").rerank(QUERY, ["a"])
    with pytest.raises(RerankerError, match="Pass the path of a folder"):
        CrossEncoderReranker("nobody/has-this-model", device="cpu").rerank(QUERY, ["a"])
    with pytest.raises(RerankerError, match="which is neither"):
        CrossEncoderReranker("./nothing", device="cpu").rerank(QUERY, ["a"])


def test_what_the_model_says_when_it_fails_is_what_is_said(cross):
    def fail(*_):
        raise RuntimeError("an illegal memory access was encountered")

    model = cross._loaded._model
    hook = model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RerankerError, match="an illegal memory access"):
            cross.rerank(QUERY, ["a", "b"])
    finally:
        hook.remove()


async def test_a_cross_encoder_awaited_is_the_same(cross):
    passages = [LIGHTHOUSE, BAKERY]
    assert await cross.arerank(QUERY, passages) == cross.rerank(QUERY, passages)
