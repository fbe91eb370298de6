"""The adapters of both hosts and of Hugging Face: completion, streaming, async, usage, windows, limits, errors."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from langchain_memorag.llm import LangChainLLM
from langchain_memorag.llm import as_llm as as_lang_chain
from llamaindex_memorag.llm import LlamaIndexLLM
from llamaindex_memorag.llm import as_llm as as_llama_index
from memorag_integrations.clues import Usage
from memorag_integrations.contracts import LLM
from memorag_integrations.errors import InputError, LLMError
from memorag_integrations.llms.huggingface import HuggingFaceLLM
from memorag_integrations.llms.provider_usage import Cost, reported_cost
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.text.tokens import estimate_tokens

from ..memory_contract import MemoryContract, Subject
from ..scripted import lang_chain_llm, llama_index_llm
from ..tiny_model import make_tiny_model

ADAPTERS = {
    "LlamaIndex": lambda script: LlamaIndexLLM(llama_index_llm(script)),
    "LangChain": lambda script: LangChainLLM(lang_chain_llm(script)),
}


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Any:
    return ADAPTERS[request.param]


async def test_the_contract_of_both_hosts(adapter: Any) -> None:
    llm = adapter(lambda prompt: f"You said: {prompt}")
    assert isinstance(llm, LLM)
    assert "scripted" in llm.name
    assert llm.context_window == 100_000
    done, adone = llm.complete("a b"), await llm.acomplete("a b")
    assert done.text == adone.text == "You said: a b"
    for usage in (done.usage, adone.usage):
        assert (usage.tokens_read, usage.tokens_cached, usage.tokens_generated, usage.calls) == (26, 64, 7, 1)
        assert usage.seconds > 0
    assert list(llm.stream("a b")) == ["You ", "said: ", "a ", "b"]
    assert [piece async for piece in llm.astream("a b")] == ["You ", "said: ", "a ", "b"]


def test_a_limit_is_passed_on_where_the_host_has_one(adapter: Any) -> None:
    llm = adapter("yes")
    llm.complete("a", max_tokens=7)
    llm.complete("a")
    first, second = llm.host.calls
    assert first["max_tokens"] == 7
    assert "max_tokens" not in second


async def test_async_does_not_block_the_loop(adapter: Any) -> None:
    def slow(prompt: str) -> str:
        time.sleep(0.2)
        return "done"

    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    assert (await adapter(slow).acomplete("a")).text == "done"
    ticking.cancel()
    assert ticks > 5


def test_a_providers_error_stays_itself_in_the_adapter_and_speaks_through_the_memory(adapter: Any) -> None:
    from memorag_integrations.documents import Document, Shard

    def failing(prompt: str) -> str:
        raise RuntimeError("429: quota of project 17 is used up")

    llm = adapter(failing)
    with pytest.raises(RuntimeError, match="429"):
        llm.complete("a")
    with pytest.raises(LLMError, match="RuntimeError: 429: quota of project 17 is used up"):
        LLMMemory(llm).form(Shard((Document("text"),))).recall(["a?"], scores=[])


def test_as_llm_takes_host_models_and_leaves_others() -> None:
    other = object()
    assert isinstance(as_llama_index(llama_index_llm("")), LlamaIndexLLM)
    assert isinstance(as_lang_chain(lang_chain_llm("")), LangChainLLM)
    assert as_llama_index(other) is other
    assert as_lang_chain(other) is other


@pytest.mark.parametrize("wrap", [LlamaIndexLLM, LangChainLLM])
def test_what_is_no_model_is_refused(wrap: Any) -> None:
    with pytest.raises(InputError, match="str"):
        wrap("gpt")


def test_lang_chain_wrappers_of_a_model() -> None:
    model = lang_chain_llm("yes")
    for wrapped in (model.with_retry(), model.bind(stop=["x"])):
        llm = LangChainLLM(wrapped)
        assert llm.context_window == 100_000
        assert "scripted" in llm.name
        assert llm.complete("a").text == "yes"


def test_lang_chains_own_fakes() -> None:
    from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
    from langchain_core.messages import AIMessage

    content: list[str | dict[str, Any]] = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "so"}]
    llm = LangChainLLM(GenericFakeChatModel(messages=iter([AIMessage(content), AIMessage("plain")])))
    assert llm.context_window is None
    done = llm.complete("a" * 300)
    assert done.text == "so"
    assert done.usage.tokens_read == estimate_tokens("a" * 300)
    assert llm.complete("b").text == "plain"
    assert LangChainLLM(FakeListLLM(responses=["text"])).complete("a").text == "text"


def test_llama_indexs_own_mock() -> None:
    from llama_index.core.llms import MockLLM

    llm = LlamaIndexLLM(MockLLM(max_tokens=2), tokenizer=str.split)
    done = llm.complete("one two three")
    assert done.text == "text text"
    assert (done.usage.tokens_read, done.usage.tokens_generated) == (3, 2)
    assert llm.context_window == 3900


def test_tokens_by_the_hosts_own_tokenizer() -> None:
    assert LangChainLLM(lang_chain_llm("", custom_get_token_ids=lambda text: [1] * 5)).count_tokens("x") == 5
    assert LlamaIndexLLM(llama_index_llm(""), tokenizer=list).count_tokens("xyz") == 3


@pytest.mark.parametrize(("tokenizer", "expected"), [(None, 1), ("a-name-on-the-hub", 1), (str, 0)])
def test_a_models_own_tokenizer_if_it_is_at_hand(tokenizer: Any, expected: int) -> None:
    host = llama_index_llm("")

    class Encoding:
        def encode(self, text: str) -> list[int]:
            return []

    object.__setattr__(host, "__dict__", {**host.__dict__, "tokenizer": Encoding() if tokenizer is str else tokenizer})
    assert LlamaIndexLLM(host).count_tokens("xyz") == expected


@pytest.mark.parametrize(
    ("raw", "cost"),
    [
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 3}}, Cost(10, 0, 3)),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}}, Cost(2, 8, 3)),
        ({"usage": {"input_tokens": 10, "output_tokens": 3, "cache_read_input_tokens": 90}}, Cost(10, 90, 3)),
        ({"usage": {"input_tokens": 1, "output_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 9}}, Cost(10, 0, 3)),
        ({"input_tokens": 10, "output_tokens": 3, "input_token_details": {"cache_read": 4}}, Cost(6, 4, 3)),
        ({"prompt_eval_count": 10, "eval_count": 3}, Cost(10, 0, 3)),
        ({"usage_metadata": {"prompt_token_count": 10, "candidates_token_count": 3, "cached_content_token_count": 7}}, Cost(3, 7, 3)),
        ({"prompt_tokens": 10, "completion_tokens": None, "prompt_cache_hit_tokens": 6}, Cost(4, 6, 0)),
        ({"usage": None}, None),
        ({"usage": {"prompt_tokens": "ten"}}, None),
        (None, None),
    ],
)  # fmt: skip
def test_what_providers_report(raw: Any, cost: Cost | None) -> None:
    assert reported_cost(raw) == cost
    assert reported_cost(None, {}, raw) == cost


def test_importing_a_host_package_loads_neither_torch_nor_the_other_host() -> None:
    for package, heavy in (
        ("memorag_integrations.memories.gist", ("torch", "transformers", "llama_index", "langchain_core")),
        ("memorag_integrations.llms.huggingface", ("torch", "transformers", "llama_index", "langchain_core")),
        ("llamaindex_memorag", ("torch", "transformers", "langchain_core")),
        ("langchain_memorag", ("torch", "transformers", "llama_index")),
        ("langchain_memorag.llm", ("torch", "llama_index")),
    ):
        code = f"import {package}, sys; print([m for m in {heavy} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", package


# ---- Hugging Face -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _offline() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("plain"), chat=False)


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("chat"), chat=True)


def fresh(folder: Path, **settings: Any) -> HuggingFaceLLM:
    return HuggingFaceLLM(folder, **settings)


@pytest.mark.parametrize("chat", [False, True])
async def test_a_checkpoint_completes_streams_and_batches(tiny: Path, tiny_chat: Path, chat: bool) -> None:
    llm = fresh(tiny_chat if chat else tiny)
    assert isinstance(llm, LLM)
    assert llm.context_window == 4096
    assert llm.count_tokens("héllo") == 6
    done = llm.complete("Once upon a time", max_tokens=12)
    assert done.usage.tokens_generated <= 12
    assert done.usage.tokens_read == len("Once upon a time") + (3 if chat else 0)
    again = await llm.acomplete("Once upon a time", max_tokens=12)
    assert again.text == done.text
    assert "".join(llm.stream("Once upon a time", max_tokens=12)) == done.text
    assert "".join([piece async for piece in llm.astream("Once upon a time", max_tokens=12)]) == done.text
    batch = llm.complete_batch(["Once upon a time", "A much longer prompt stands beside it."], max_tokens=12)
    assert batch[0].text == done.text
    assert (
        batch[1].text
        == fresh(tiny_chat if chat else tiny).complete("A much longer prompt stands beside it.", max_tokens=12).text
    )


@pytest.mark.parametrize("chat", [False, True])
def test_a_prompt_that_begins_like_the_last_reads_only_the_rest(tiny: Path, tiny_chat: Path, chat: bool) -> None:
    folder = tiny_chat if chat else tiny
    llm, text = fresh(folder), "The text of the memory. " * 20
    llm.complete(text + "Who?", max_tokens=8)
    second = llm.complete(text + "What?", max_tokens=8)
    assert second.usage.tokens_cached >= len(text)
    assert second.usage.tokens_read < 10
    alone = fresh(folder, prefixes=0).complete(text + "What?", max_tokens=8)
    assert alone.usage.tokens_cached == 0
    assert alone.text == second.text
    assert (
        llm.complete("Something else", max_tokens=8).text == fresh(folder).complete("Something else", max_tokens=8).text
    )
    assert llm.complete("Something else", max_tokens=8).usage.tokens_read >= 1


def test_several_prefixes_are_kept_for_the_parts_of_a_text(tiny: Path) -> None:
    llm = fresh(tiny, prefixes=2)
    one, other = "The first part of a text. " * 20, "Another part of the same. " * 20
    for text in (one, other):
        assert llm.complete(text + "Who?", max_tokens=4).usage.tokens_cached == 0
    for text in (one, other):
        second = llm.complete(text + "What?", max_tokens=4)
        assert second.usage.tokens_cached >= len(text)
        assert second.text == fresh(tiny).complete(text + "What?", max_tokens=4).text
    llm.complete("A third one that pushes the oldest out. " * 5, max_tokens=4)
    assert llm.complete(one + "Why?", max_tokens=4).usage.tokens_cached == 0


def test_special_tokens_in_a_document_are_plain_characters(tiny_chat: Path) -> None:
    llm = fresh(tiny_chat)
    end = llm._tokenizer.convert_tokens_to_ids("<|end|>")
    ids = llm._encode("a <|end|><|assistant|> b")
    assert ids.count(end) == 1
    assert llm._tokenizer.decode(ids).startswith("<|user|>a <|end|><|assistant|> b<|end|>")


def test_a_tokenizer_without_chat_template(tiny: Path) -> None:
    assert fresh(tiny).complete("a", max_tokens=2).usage.tokens_read == 1
    with pytest.raises(InputError, match="no chat template"):
        fresh(tiny, chat=True).complete("a")


def test_bad_input(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(LLMError, match="4096"):
        fresh(tiny).complete("x" * 5000)
    with pytest.raises(LLMError, match="4096"):
        fresh(tiny).complete("x", max_tokens=5000)
    with pytest.raises(InputError, match="blank"):
        fresh(tiny).complete(" ")
    with pytest.raises(LLMError, match="safetensors"):
        fresh(tmp_path).complete("x")
    assert fresh(tiny, context_window=100).context_window == 100


def test_pickled_weights_are_not_read(tiny: Path, tmp_path: Path) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(LLMError, match="safetensors"):
        fresh(folder).complete("x")


def test_a_checkpoints_own_code_is_not_run(tiny: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "code"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "evil.Evil")}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(LLMError):
        fresh(folder).complete("x")
    assert not (tmp_path / "ran").exists()


async def test_closing_a_stream_and_cancelling_an_await_stop_the_generation(tiny: Path) -> None:
    llm = fresh(tiny)
    pieces = llm.stream("Once", max_tokens=4000)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    task = asyncio.create_task(llm.acomplete("Once", max_tokens=4000))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llm.complete("Once", max_tokens=2).usage.calls == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "memorag-stream"]


def test_threads_take_turns(tiny: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    llm = fresh(tiny)
    alone = {prompt: fresh(tiny).complete(prompt, max_tokens=6).text for prompt in ("one", "two", "three")}
    with ThreadPoolExecutor(3) as pool:
        work = [(prompt, pool.submit(llm.complete, prompt, max_tokens=6)) for prompt in list(alone) * 3]
        assert all(future.result().text == alone[prompt] for prompt, future in work)


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3, 4.0, 1) + Usage(1, 1, 1, 1.0, 1) == Usage(2, 3, 4, 5.0, 2)


@pytest.mark.parametrize("kind", ["llm", "gist"])
def test_a_store_makes_a_local_model_again(tiny_chat: Path, tmp_path: Path, kind: str) -> None:
    from memorag_integrations.documents import Document
    from memorag_integrations.engine import MemoRAG
    from memorag_integrations.memories.gist import GistMemory

    made = {
        "llm": lambda: LLMMemory(fresh(tiny_chat, context_window=8000), reply_tokens=8),
        "gist": lambda: GistMemory(fresh(tiny_chat, context_window=8000), reply_tokens=8, folder=tmp_path / "gists"),
    }
    memo = MemoRAG(made[kind]())
    memo.memorize([Document("Ann opened the meeting.", "minutes")], progress=False, save_dir=tmp_path / "store")
    loaded = MemoRAG.load(tmp_path / "store")
    assert loaded.memory_model.fingerprint == memo.memory_model.fingerprint
    assert loaded.recall("Who?").usage.calls == 1
    with pytest.raises(InputError, match="language model"):
        MemoRAG(kind)


class TestHuggingFaceMemory(MemoryContract):
    """A random model says nothing usable, so what is checked of its clues is checked with the scripted ones."""

    @pytest.fixture
    def subject(self, tiny_chat: Path) -> Subject:
        return Subject(lambda folder: LLMMemory(fresh(tiny_chat), reply_tokens=16, context_window=8000))

    def test_recall_of_several_queries(self, subject: Subject, tmp_path: Path) -> None:
        from ..memory_contract import QUERIES, ask, shard

        recalls = ask(subject.make(tmp_path).form(shard()), shard())
        assert [recall.query for recall in recalls] == QUERIES
        assert recalls[1].usage.tokens_cached > recalls[1].usage.tokens_read
