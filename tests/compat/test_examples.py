"""What the original's README shows, on tiny checkpoints in the real layouts: the same calls, after another import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memorag_integrations.compat import Agent, MemoRAG, MemoRAGLite, Memory, Model
from memorag_integrations.encoders.bge_m3 import BGEM3Embedder
from memorag_integrations.memories.beacon import BeaconMemory
from memorag_integrations.memories.longcontext import LongContextMemory
from tests.compat.api_server import Server, server
from tests.compat.conftest import CONTEXT, QUERY, Echo
from tests.conftest import LIGHTHOUSE

__all__ = ["server"]


def test_basic_usage(beacon: str, retriever: str, instruct: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pipe = MemoRAG(
        mem_model_name_or_path=beacon,
        ret_model_name_or_path=retriever,
        gen_model_name_or_path=instruct,
        cache_dir=str(tmp_path / "models"),
        access_token="hf_token",
        beacon_ratio=4,
        retrieval_chunk_size=40,
    )
    pipe.memorize(CONTEXT, save_dir=str(tmp_path / "store"), print_stats=True)
    told = capsys.readouterr().out
    assert f"Passages: {len(pipe.retrieval_corpus)}, of {len(CONTEXT):,} characters" in told
    assert f"MiB in {tmp_path / 'store'}" in told
    res = pipe(context=CONTEXT, query=QUERY, task_type="memorag", max_new_tokens=24)
    assert 0 < len(res) <= 24, "a token of these checkpoints is a byte"
    assert pipe(query="Who opens the bakery at four?", max_new_tokens=24) != res
    assert not list((tmp_path / "store").rglob("*.bin"))

    again = MemoRAG(beacon, retriever, instruct, retrieval_chunk_size=40)
    again.load(str(tmp_path / "store"), print_stats=True)
    assert "Passages: " in capsys.readouterr().out
    read = again.memo.memory_model.model.decoder.model
    tokens: list[int] = []
    read.get_input_embeddings().register_forward_hook(lambda module, given, made: tokens.append(given[0].numel()))
    assert again(context=CONTEXT, query=QUERY, task_type="memorag", max_new_tokens=24) == res
    assert max(tokens) < len(CONTEXT) / 2, "the text was not read again"


def test_lite_mode(instruct: str, retriever: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pipe = MemoRAGLite(gen_model_name_or_path=instruct, ret_model_name_or_path=retriever, retrieval_chunk_size=40)
    pipe.memorize(CONTEXT, save_dir=str(tmp_path / "store"), print_stats=False, gist_chunk_size=128)
    gists = [gist.text for gist in pipe._formed.levels[0]]
    assert len(gists) > 1
    assert all(gists)
    res = pipe(QUERY, CONTEXT, task_type="memorag", max_new_tokens=16)
    assert res == pipe(query=QUERY, max_new_tokens=16)
    assert pipe(QUERY, task_type="qa", max_new_tokens=16) == pipe.answer(QUERY, 16)
    again = MemoRAGLite(gen_model_name_or_path=instruct, ret_model_name_or_path=retriever)
    again.load(str(tmp_path / "store"), gist_chunk_size=128)
    assert [gist.text for gist in again._formed.levels[0]] == gists
    assert again(QUERY, max_new_tokens=16) == res


def test_a_long_llm_as_memory(instruct: str, beacon: str, retriever: str, echo: Echo):
    pipe = MemoRAG(
        mem_model_name_or_path=instruct, ret_model_name_or_path=retriever, customized_gen_model=echo,
        retrieval_chunk_size=40,
    )  # fmt: skip
    assert pipe.mem_model.memo_type == "longllm"
    assert isinstance(pipe.mem_model.memory_model, LongContextMemory)
    assert isinstance(MemoRAG(beacon, retriever).mem_model.memory_model, BeaconMemory)
    pipe.memorize(CONTEXT)
    memory = pipe.mem_model.memory
    assert memory.entries[0][0].shape[2] == memory.token_count > len(CONTEXT), "an entry for each token"
    assert pipe(CONTEXT, QUERY, "memorag") == "The board had sold the boat."
    assert pipe(CONTEXT, QUERY, "qa", max_new_tokens=8) == memory.answer(QUERY, sampling=_tokens(8)).text
    assert len(echo.prompts) == 1
    assert QUERY in echo.prompts[0]


def test_apis_as_generators(server: Server, beacon: str, retriever: str, tmp_path: Path):
    first = MemoRAG(beacon, retriever, retrieval_chunk_size=40)
    first.memorize(CONTEXT, save_dir=tmp_path / "store")
    for source, api_dict in {
        "azure": {"endpoint": server.url, "api_version": "2024-02-15-preview", "api_key": "secret"},
        "deepseek": {"base_url": f"{server.url}/v1", "api_key": "secret"},
        "openai": {"base_url": f"{server.url}/v1", "api_key": "secret"},
    }.items():
        agent = Agent("gpt-35-turbo-16k", source, api_dict)
        assert agent.generate("hi!") == ["You said 3 characters."]
        pipe = MemoRAG(
            mem_model_name_or_path=beacon, ret_model_name_or_path=retriever, cache_dir="path_to_model_cache",
            customized_gen_model=agent,
        )  # fmt: skip
        pipe.load(tmp_path / "store", print_stats=True)
        res = pipe(context=CONTEXT, query=QUERY, task_type="memorag", max_new_tokens=256)
        sent = server.requests[-1]
        [message] = sent.body["messages"]
        assert res == f"You said {len(message['content'])} characters."
        assert QUERY in message["content"]
        assert any(passage in message["content"] for passage in pipe.retrieval_corpus)
        assert sent.body["max_tokens"] == 256
        assert sent.body["temperature"] == 0.0
        assert sent.headers["api-key" if source == "azure" else "authorization"].endswith("secret")


def test_the_memory_model(beacon: str, tmp_path: Path):
    memo_model = Memory(beacon, cache_dir=str(tmp_path / "models"), beacon_ratio=4)
    memo_model.memorize(CONTEXT)
    (tmp_path / "cache").mkdir()
    memo_model.save(tmp_path / "cache" / "memory.bin")
    memory = memo_model.memory
    assert memory.entries[0][0].shape[2] < memory.token_count / 3, "compressed"
    said = {}
    for name in ("answer", "recall", "rewrite"):
        said[name] = getattr(memo_model, name)(QUERY)
        assert isinstance(said[name], str)
        assert said[name]
    assert said["answer"] == memory.answer(QUERY).text
    [recall] = memory.recall([QUERY])
    assert said["recall"].split("\n") == [clue.text for clue in recall.clues if clue.kind == "span"]
    assert said["rewrite"].split("\n") == [clue.text for clue in recall.clues if clue.kind == "question"]
    assert len(memo_model.recall(QUERY, max_new_tokens=5)) <= 5
    loaded = Memory(beacon)
    loaded.load(tmp_path / "cache" / "memory.bin")
    assert {name: getattr(loaded, name)(QUERY) for name in said} == said
    other = Memory(beacon)
    other.memorize(LIGHTHOUSE)
    assert {name: getattr(other, name)(QUERY) for name in said} != said


def test_memory_augmented_retrieval(beacon: str, retriever: str, tmp_path: Path):
    pipe = MemoRAG(
        mem_model_name_or_path=beacon, ret_model_name_or_path=retriever, retrieval_chunk_size=40,
        retrieval="per-clue-union",
    )  # fmt: skip
    pipe.memorize(CONTEXT, save_dir=tmp_path / "store", print_stats=True)
    clues = pipe.mem_model.recall(QUERY).split("\n")
    clues = [clue for clue in clues if len(clue.split()) > 3] or ["the oil ran out for three nights", *clues]
    found = pipe._retrieve(clues)
    embedder = BGEM3Embedder(retriever)
    scores = embedder.embed_queries(clues) @ embedder.embed_passages(pipe.retrieval_corpus).T
    union = sorted({int(row) for ranked in np.argsort(-scores, axis=1)[:, :3] for row in ranked})
    assert found == [pipe.retrieval_corpus[row] for row in union]
    pipe.retrieval = "memorag"
    assert set(pipe._retrieve(clues)) <= set(pipe.retrieval_corpus)


def test_summarization(beacon: str, retriever: str, echo: Echo):
    pipe = MemoRAG(beacon, retriever, customized_gen_model=echo, retrieval_chunk_size=40)
    points = ["The trawler Silver Hind struck the reef", "Marta learned baking from her grandmother", "no"]
    pipe.mem_model.summarize = lambda: "\n".join(f"- {point}" for point in points)  # random weights name none
    res = pipe(context=CONTEXT, task_type="summarize", max_new_tokens=512)
    assert res == echo.reply
    assert echo.limits == [512]
    [prompt] = echo.prompts
    assert "- The trawler Silver Hind struck the reef\n- Marta learned baking from her grandmother\n" in prompt
    assert "- no\n" not in prompt
    excerpts = [text for text in pipe.retrieval_corpus if text in prompt]
    assert 1 < len(excerpts) <= 2 * 3
    assert [prompt.index(text) for text in excerpts] == sorted(prompt.index(text) for text in excerpts)


def test_a_summary_by_the_memory_alone_runs_through(beacon: str, retriever: str):
    pipe = MemoRAG(beacon, retriever, retrieval_chunk_size=40)
    pipe.memorize(CONTEXT)
    assert 0 < len(pipe.mem_model.summarize(64)) <= 64
    assert 0 < len(pipe(task_type="summarize", max_new_tokens=32)) <= 32


def test_a_model_alone(instruct: str):
    model = Model(instruct)
    prompts = ["Who sold the boat?", "A longer prompt about the harbour board of Corran Point?", "hi!"]
    replies = model.generate(prompts, batch_size=2, max_new_tokens=12)
    assert replies == [reply for prompt in prompts for reply in model.generate(prompt, max_new_tokens=12)]
    assert len(set(replies)) > 1
    assert all(0 < len(reply) <= 12 for reply in replies)


def _tokens(count: int):
    from memorag_integrations.decoding.generation import Sampling

    return Sampling(count)
