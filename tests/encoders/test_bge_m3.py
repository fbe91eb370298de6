"""BGE-M3 through FlagEmbedding, on a tiny checkpoint in its layout, against transformers and against itself."""

import json
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from memorag_integrations import BGEM3Embedder, BGEM3Reranker, MemoRAG, registry
from memorag_integrations.contracts import Embedder
from memorag_integrations.encoders import embedders
from memorag_integrations.encoders.checked import CheckedEmbedder
from memorag_integrations.encoders.embedders import resolve_embedder
from memorag_integrations.encoders.flagembedding import MOST_TOKENS, load_m3
from memorag_integrations.errors import EmbedderError, InputError, MemoRAGError, MissingExtraError
from tests.bge_checkpoint import POSITIONS, change_config, make_m3
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER

TEXTS = ["Who lit the lamp at dusk?", LIGHTHOUSE, BAKERY, "", "bread", RIVER]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_m3(tmp_path_factory.mktemp("bge") / "m3")


@pytest.fixture(scope="module")
def m3(folder):
    return load_m3(str(folder), "cpu")


@pytest.fixture(scope="module")
def by_hand(folder):
    """The last hidden states of each text by transformers alone, its token ids, and the two linear layers."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    linear = {name: torch.load(folder / f"{name}_linear.pt", weights_only=True) for name in ("colbert", "sparse")}

    def states(text):
        read = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            return read["input_ids"][0].tolist(), model(**read).last_hidden_state[0]

    return states, linear, tokenizer


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


# ── its numbers ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dense_vector_is_the_first_state_at_unit_length(folder, by_hand):
    states, _, _ = by_hand
    found = BGEM3Embedder(str(folder), device="cpu").embed_passages(TEXTS)
    assert found.dtype == np.float32
    for vector, text in zip(found, TEXTS, strict=True):
        np.testing.assert_allclose(vector, unit(states(text)[1][0]).numpy(), atol=1e-5)


def test_a_words_weight_is_the_largest_of_its_tokens(m3, by_hand):
    states, linear, tokenizer = by_hand
    silent = {tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
    for text, (tokens, weights) in zip(TEXTS, m3.encode(TEXTS, lexical=True).lexical, strict=True):
        ids, hidden = states(text)
        said = torch.relu(hidden @ linear["sparse"]["weight"][0] + linear["sparse"]["bias"]).tolist()
        expected: dict[int, float] = {}
        for id, weight in zip(ids, said, strict=True):
            if id not in silent and weight > 0:
                expected[id] = max(weight, expected.get(id, 0.0))
        assert tokens.dtype == np.uint32
        assert tokens.tolist() == sorted(expected)
        np.testing.assert_allclose(weights, [expected[id] for id in tokens.tolist()], atol=1e-5)


def test_late_interaction_is_the_mean_of_each_tokens_best_match(folder, by_hand):
    states, linear, _ = by_hand

    def tokens(text):
        return unit(states(text)[1][1:] @ linear["colbert"]["weight"].T + linear["colbert"]["bias"])

    query, passages = TEXTS[0], TEXTS[1:]
    expected = [float((tokens(query) @ tokens(text).T).max(dim=1).values.mean()) for text in passages]
    np.testing.assert_allclose(BGEM3Reranker(str(folder), device="cpu").rerank(query, passages), expected, atol=1e-5)


def test_all_three_are_flagembeddings_own(folder, m3):
    from FlagEmbedding import BGEM3FlagModel

    theirs = BGEM3FlagModel(str(folder), use_fp16=False, devices=["cpu"])
    asked = theirs.encode(TEXTS, return_dense=True, return_sparse=True, return_colbert_vecs=True)
    ours = m3.encode(TEXTS, dense=True, lexical=True, colbert=True, batch_size=4)
    np.testing.assert_allclose(ours.dense, asked["dense_vecs"], atol=1e-5)
    for (tokens, weights), expected in zip(ours.lexical, asked["lexical_weights"], strict=True):
        assert {str(t): pytest.approx(float(w), abs=1e-5) for t, w in zip(tokens, weights, strict=True)} == dict(
            expected
        )
    for vectors, expected in zip(ours.colbert, asked["colbert_vecs"], strict=True):
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    pairs = [(TEXTS[0], text) for text in TEXTS[1:]]
    scores = theirs.compute_score(pairs, max_passage_length=512)["colbert"]
    np.testing.assert_allclose(BGEM3Reranker(str(folder), device="cpu").rerank(TEXTS[0], TEXTS[1:]), scores, atol=1e-4)


def test_only_what_is_asked_for_comes(m3):
    found = m3.encode(["a"], lexical=True)
    assert found.dense is None
    assert found.colbert is None
    assert found.lexical is not None


# ── lengths and batches ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_text_is_read_up_to_the_last_position(m3):
    assert m3.limit == POSITIONS - 2
    long = " ".join([LIGHTHOUSE, BAKERY, RIVER] * 40)
    ids = m3._tokenizer(long)["input_ids"]
    assert len(ids) > m3.limit
    [vectors] = m3.encode([long], colbert=True).colbert
    assert len(vectors) == m3.limit - 1
    longer = m3.encode([long + " bread" * 100], dense=True).dense
    np.testing.assert_allclose(m3.encode([long], dense=True).dense, longer, atol=1e-5)
    assert abs(float(longer[0] @ m3.encode([long], dense=True, max_length=64).dense[0])) < 0.9999


def test_a_length_beyond_the_positions_is_refused(folder):
    with pytest.raises(EmbedderError, match=r"max_length=9000 is beyond the 8192 tokens"):
        BGEM3Embedder(str(folder), max_length=9000, device="cpu").embed_queries(["a"])


def test_no_texts_are_no_vectors(folder):
    assert BGEM3Embedder(str(folder), device="cpu").embed_passages([]).shape == (0, 32)
    assert BGEM3Reranker(str(folder), device="cpu").rerank("a", []) == []


@pytest.fixture
def batches(m3):
    seen = []
    inner = m3._model.model
    hook = inner.register_forward_pre_hook(
        lambda module, args, named: seen.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    yield seen
    hook.remove()


def test_one_query_is_one_pass(folder, batches):
    BGEM3Embedder(str(folder), device="cpu").embed_queries(["the lamp"])
    assert len(batches) == 1
    batches.clear()
    assert len(BGEM3Reranker(str(folder), device="cpu").rerank("the lamp", [LIGHTHOUSE, BAKERY])) == 2
    assert [shape[0] for shape in batches] == [3]


def test_batches_hold_so_many_texts_and_so_many_tokens(m3, batches):
    m3.encode(["the lamp"] * 70, dense=True)
    assert [shape[0] for shape in batches] == [32, 32, 6]
    batches.clear()
    m3.encode([LIGHTHOUSE * 12] * 9, dense=True)
    assert sum(shape[0] for shape in batches) == 9
    assert len(batches) > 1
    assert all(rows * tokens <= MOST_TOKENS for rows, tokens in batches)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_model_says_when_it_fails_is_what_is_said(folder, m3):
    def fail(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    hook = m3._model.model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(EmbedderError, match="mat1 and mat2 shapes cannot be multiplied") as caught:
            BGEM3Embedder(str(folder), device="cpu").embed_queries(["a", "b"])
    finally:
        hook.remove()
    assert isinstance(caught.value.__cause__, RuntimeError)


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("file", ["colbert_linear.pt", "sparse_linear.pt", "pytorch_model.bin"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, file, writer):
    folder, ran = make_m3(tmp_path / "m3"), tmp_path / "ran"
    if file.endswith("bin"):
        (folder / "model.safetensors").unlink()
    if writer == "torch":
        torch.save({"weight": Evil(ran)}, folder / file)
    else:
        (folder / file).write_bytes(pickle.dumps({"weight": Evil(ran)}))
    with pytest.raises(EmbedderError, match="could not be loaded"):
        BGEM3Embedder(str(folder), device="cpu").embed_queries(["a"])
    assert not ran.exists()


def test_code_beside_the_weights_is_not_run(tmp_path):
    folder = make_m3(tmp_path / "m3")
    before = BGEM3Embedder(str(folder), device="cpu").embed_queries(["a"])
    other = make_m3(tmp_path / "other")
    change_config(other, auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})
    (other / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    np.testing.assert_array_equal(BGEM3Embedder(str(other), device="cpu").embed_queries(["a"]), before)
    assert not (tmp_path / "ran").exists()


def test_what_is_not_the_layout_is_refused_before_weights_are_made_up(tmp_path):
    folder = make_m3(tmp_path / "m3")
    (folder / "sparse_linear.pt").unlink()
    with pytest.raises(EmbedderError, match=r"found a 'xlm-roberta' without sparse_linear\.pt"):
        BGEM3Embedder(str(folder), device="cpu").embed_queries(["a"])
    whole = make_m3(tmp_path / "whole")
    change_config(whole, model_type="bert")
    with pytest.raises(EmbedderError, match="an xlm-roberta"):
        BGEM3Embedder(str(whole), device="cpu").embed_queries(["a"])
    (whole / "config.json").write_text("[1]")
    with pytest.raises(EmbedderError, match="expected a JSON object"):
        BGEM3Embedder(str(whole), device="cpu").embed_queries(["a"])
    with pytest.raises(EmbedderError, match=r"no config\.json"):
        BGEM3Embedder(str(tmp_path), device="cpu").embed_queries(["a"])


@pytest.mark.parametrize(
    ("device", "said"), [("teapot", "Expected a device like"), ("cuda:0", "has no device 'cuda:0'")]
)
def test_a_device_that_is_not_there_is_said(folder, device, said):
    if device.startswith("cuda") and torch.cuda.is_available():
        device = "mps"
        said = "has no device 'mps'"
    with pytest.raises(EmbedderError, match=said):
        BGEM3Embedder(str(folder), device=device).embed_queries(["a"])


def test_without_flagembedding_the_command_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "FlagEmbedding", None)  # as if it were not installed
    for make in (lambda: resolve_embedder("BAAI/bge-m3"), lambda: MemoRAG(reranker="BAAI/bge-m3")):
        with pytest.raises(MissingExtraError, match=r'pip install "memorag-integrations\[bge\]"'):
            make()


# ── in the engine ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_name_and_the_layout_go_to_it(folder, tmp_path):
    assert isinstance(resolve_embedder("BAAI/bge-m3"), BGEM3Embedder)
    assert isinstance(resolve_embedder(str(folder)), BGEM3Embedder)
    misnamed = tmp_path / "bge-m3"
    misnamed.mkdir()
    assert isinstance(resolve_embedder(str(misnamed)), embedders.SentenceTransformerEmbedder)
    assert isinstance(BGEM3Embedder(), Embedder)


def test_it_is_made_again_from_its_config(folder):
    embedder = BGEM3Embedder(str(folder), max_length=256, device="cpu", batch_size=3)
    again = registry.build(registry.EMBEDDERS, json.loads(json.dumps(embedder.config)))
    assert isinstance(again, BGEM3Embedder)
    assert again.config == embedder.config


async def test_sync_and_async_are_the_same(folder):
    checked = CheckedEmbedder(BGEM3Embedder(str(folder), device="cpu"))
    np.testing.assert_array_equal(await checked.aembed_queries(TEXTS), checked.embed_queries(TEXTS))


def test_a_store_knows_it_again_and_refuses_another(folder, documents, tmp_path):
    memo = MemoRAG(embedder=BGEM3Embedder(str(folder), device="cpu"), passage_size=150)
    memo.memorize(documents, progress=False)
    memo.save(tmp_path / "store")
    loaded = MemoRAG.load(tmp_path / "store")
    assert isinstance(loaded.embedder.embedder, BGEM3Embedder)
    for mode in ("memorag", "plain"):
        before, after = (m.retrieve("Why did the trawler strike?", mode=mode) for m in (memo, loaded))
        assert [(e.passage.id, e.raw) for e in before] == [(e.passage.id, e.raw) for e in after]
    assert all("dense" in piece.raw for piece in after)
    other = make_m3(tmp_path / "other", seed=9)
    with pytest.raises(EmbedderError, match="The stored vectors were made by BGE-M3"):
        MemoRAG.load(tmp_path / "store", embedder=str(other))


def test_embedder_and_reranker_hold_the_weights_once(folder):
    embedder, reranker = BGEM3Embedder(str(folder), device="cpu"), BGEM3Reranker(str(folder), device="cpu")
    assert embedder._loaded is reranker._loaded


def test_errors_are_in_the_tree():
    assert issubclass(EmbedderError, MemoRAGError)
    with pytest.raises(InputError, match="BAAI/bge-m3"):
        resolve_embedder(3)


def test_preparing_loads_in_a_thread_and_leaves_errors_to_the_first_call(tmp_path):
    folder = make_m3(tmp_path / "m3")
    embedder = BGEM3Embedder(str(folder), device="cpu").prepare()
    for thread in threading.enumerate():
        if thread.name == "memorag-prepare":
            thread.join()
    assert "_loaded" in vars(embedder)
    missing = BGEM3Embedder(str(tmp_path / "nothing"), device="cpu").prepare()
    with pytest.raises(EmbedderError, match="which is neither"):
        missing.embed_queries(["a"])
