"""Both hosts' OpenAI clients speak HTTP to a real OpenAI-compatible server, `transformers serve`, with a tiny model.

Part of `make test-all` (extra `test-all`); a package that is missing fails here, it does not skip.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from llama_index.llms.openai_like import OpenAILike

import langchain_memorag
import llamaindex_memorag
from langchain_memorag.llm import LangChainLLM
from llamaindex_memorag.llm import LlamaIndexLLM
from memorag_integrations.documents import Document, Shard
from memorag_integrations.errors import LLMError
from memorag_integrations.llms.huggingface import HuggingFaceLLM

from ..tiny_model import make_tiny_model

WINDOW = 8192

# langchain-openai shares one async HTTP client among all models of a URL, and its connections die with their event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Server:
    url: str
    model: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = make_tiny_model(tmp_path_factory.mktemp("served"), chat=True, window=WINDOW)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder.parent / "server.log"
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail(f"transformers serve ended: {log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail(f"transformers serve did not come up: {log.read_text()[-2000:]}")
        yield Server(f"http://127.0.0.1:{port}/v1", str(folder))
    finally:
        process.terminate()
        process.wait(20)


def llama_index(server: Server, **settings: Any) -> OpenAILike:
    fixed = {
        "api_base": server.url,
        "model": server.model,
        "api_key": "none",
        "is_chat_model": True,
        "temperature": 0.0,
    }
    return OpenAILike(**{**fixed, "context_window": WINDOW, "max_retries": 0, "timeout": 60.0, **settings})


def lang_chain(server: Server, **settings: Any) -> ChatOpenAI:
    fixed = {"base_url": server.url, "model": server.model, "api_key": "none", "temperature": 0.0}
    return ChatOpenAI(**{**fixed, "max_retries": 0, "timeout": 60.0, **settings})


WRAPPED = {
    "LlamaIndex": lambda server: LlamaIndexLLM(llama_index(server)),
    "LangChain": lambda server: LangChainLLM(lang_chain(server), context_window=WINDOW),
}
MEMORIES = {
    "LlamaIndex": lambda server: llamaindex_memorag.LLMMemory(llama_index(server), reply_tokens=24),
    "LangChain": lambda server: langchain_memorag.LLMMemory(lang_chain(server), context_window=WINDOW, reply_tokens=24),
}


@pytest.mark.parametrize("host", WRAPPED)
async def test_completion_streaming_and_usage_over_http(server: Server, host: str) -> None:
    llm = WRAPPED[host](server)
    assert llm.context_window == WINDOW
    done = llm.complete("The harbour master said", max_tokens=12)
    local = HuggingFaceLLM(server.model).complete("The harbour master said", max_tokens=12)
    assert done.usage.tokens_read == local.usage.tokens_read
    assert 0 < done.usage.tokens_generated <= 12
    assert done.usage.seconds > 0
    adone = await llm.acomplete("The harbour master said", max_tokens=12)
    assert adone.usage.tokens_read == done.usage.tokens_read
    assert "".join(llm.stream("The harbour master said", max_tokens=12))
    assert [piece async for piece in llm.astream("The harbour master said", max_tokens=12)]


@pytest.mark.parametrize("host", MEMORIES)
async def test_a_memory_over_http(server: Server, host: str) -> None:
    model = MEMORIES[host](server)
    text = "Ann opened the meeting at nine. The committee approved fifteen thousand euros.\n\n" * 20
    memory = model.form(Shard((Document(text, "minutes"),)))
    recalls = memory.recall(["How much?", "Who?"], scores=[])
    recalls += await memory.arecall(["How much?"], scores=[])
    for recall in recalls:
        assert recall.usage.calls == 1
        assert recall.usage.tokens_read + recall.usage.tokens_cached > len(text)  # a token a character
        assert recall.usage.tokens_generated <= 24
        assert recall.clues or "query alone" in recall.warnings[-1]
    assert model.usage.calls == 3


@pytest.mark.parametrize("host", MEMORIES)
async def test_retrieval_with_it_in_the_host(server: Server, host: str) -> None:
    package: Any = {"LlamaIndex": llamaindex_memorag, "LangChain": langchain_memorag}[host]
    texts = ["Ann opened the meeting at nine.", "The committee approved fifteen thousand euros for lamps."]
    if host == "LlamaIndex":
        from llama_index.core import Document as HostDocument

        retriever = package.MemoRAGRetriever.from_documents(
            [HostDocument(text=text) for text in texts], memory=MEMORIES[host](server), embed_model=None
        )
        found = [node.text for node in retriever.retrieve("How much money for lamps?")]
        found_async = [node.text for node in await retriever.aretrieve("How much money for lamps?")]
    else:
        from langchain_core.documents import Document as HostDocument  # type: ignore[assignment]

        retriever = package.MemoRAGRetriever.from_documents(
            [HostDocument(page_content=text) for text in texts], memory=MEMORIES[host](server)
        )
        found = [document.page_content for document in retriever.invoke("How much money for lamps?")]
        found_async = [document.page_content for document in await retriever.ainvoke("How much money for lamps?")]
    assert found[0] == found_async[0] == texts[1]
    assert retriever.memo.usage.calls == 1  # the clue cache knew the second


@pytest.mark.parametrize("host", MEMORIES)
async def test_gists_over_http(server: Server, host: str, tmp_path: Path) -> None:
    wrapped = WRAPPED[host](server)
    package: Any = {"LlamaIndex": llamaindex_memorag, "LangChain": langchain_memorag}[host]
    model = package.GistMemory(wrapped, folder=tmp_path, stretch=400, words=20, reply_tokens=24, together=2)
    memory = model.form(Shard((Document("Ann opened the meeting at nine o'clock sharp. " * 30, "minutes"),)))
    calls = model.usage.calls
    assert calls == len(memory.levels[0])
    assert (await memory.arecall(["Who?"], scores=[]))[0].usage.calls == 1


@pytest.mark.parametrize("host", MEMORIES)
async def test_a_server_that_is_not_there_speaks_for_itself(host: str) -> None:
    nowhere = Server("http://127.0.0.1:9/v1", "no-model")
    memory = MEMORIES[host](nowhere).form(Shard((Document("Ann opened the meeting.", "minutes"),)))
    with pytest.raises(LLMError, match="Connection"):
        memory.recall(["Who?"], scores=[])
    with pytest.raises(LLMError, match="Connection"):
        await memory.arecall(["Who?"], scores=[])
