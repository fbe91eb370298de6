"""Models that cannot be had or are of the wrong kind: each loader says what was expected, what was found, what to do."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memorag_integrations import (
    BeaconMemory,
    BGEM3Embedder,
    BGEM3Reranker,
    CrossEncoderReranker,
    HuggingFaceLLM,
    LLMMemory,
    LongContextMemory,
    MemoRAG,
    Reranking,
)
from memorag_integrations.contracts import Reranker
from memorag_integrations.documents import Document, Shard
from memorag_integrations.encoders.embedders import SentenceTransformerEmbedder
from memorag_integrations.errors import EmbedderError, InputError, LLMError, MemoryModelError, RerankerError
from tests.beacon.tiny import make_checkpoint
from tests.bge_checkpoint import make_m3
from tests.conftest import LIGHTHOUSE

SHARD = Shard((Document(LIGHTHOUSE, "lighthouse"),))
TEXT = "The lamp was lit each dusk."

LOADERS: dict[str, tuple[Callable[[str], Any], type[Exception]]] = {
    "BeaconMemory": (lambda model: BeaconMemory(model).form(SHARD), MemoryModelError),
    "LongContextMemory": (lambda model: LongContextMemory(model).form(SHARD), MemoryModelError),
    "HuggingFaceLLM": (lambda model: HuggingFaceLLM(model).complete("Hello!"), LLMError),
    "LLMMemory": (lambda model: MemoRAG(LLMMemory(HuggingFaceLLM(model))).memorize(TEXT, progress=False), LLMError),
    "BGEM3Embedder": (lambda model: BGEM3Embedder(model).embed_queries([TEXT]), EmbedderError),
    "an embedder's name": (lambda model: MemoRAG(embedder=model).memorize(TEXT, progress=False), EmbedderError),
    "SentenceTransformerEmbedder": (lambda model: SentenceTransformerEmbedder(model).embed_queries([TEXT]), EmbedderError),
    "CrossEncoderReranker": (lambda model: CrossEncoderReranker(model).rerank("a", [TEXT]), RerankerError),
    "BGEM3Reranker": (lambda model: BGEM3Reranker(model).rerank("a", [TEXT]), EmbedderError),
}  # fmt: skip
WRITERS = ("BeaconMemory", "LongContextMemory", "HuggingFaceLLM", "LLMMemory")


@pytest.mark.parametrize("name", LOADERS)
def test_a_model_that_is_not_there_offline_says_how_to_pass_a_path(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    load, kind = LOADERS[name]
    with pytest.raises(kind, match=r"The model 'nobody/has-this' could not be loaded: .*Pass the path of a folder that holds it"):  # fmt: skip
        load("nobody/has-this")


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub that says no as the real one does."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("X-Error-Code", "GatedRepo" if "/gated" in self.path else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


SCRIPT = """
from memorag_integrations.errors import MemoRAGError
from tests.test_bad_input import LOADERS
for model in ("owner/gated", "owner/nothing"):
    for name, (load, kind) in LOADERS.items():
        try:
            load(model)
        except kind as error:
            print(model, name, error, sep="|")
"""


def test_a_gated_model_without_a_token_says_where_to_get_one(tmp_path: Path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path),
        }
        kept = {key: value for key, value in os.environ.items() if key not in ("HF_TOKEN", "HF_HUB_CACHE")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=kept | there, capture_output=True, text=True, timeout=300, check=True
        )  # fmt: skip
        server.shutdown()
    said = dict(line.rsplit("|", 1) for line in done.stdout.splitlines())
    assert set(said) == {f"{model}|{name}" for model in ("owner/gated", "owner/nothing") for name in LOADERS}
    for name in LOADERS:
        gated, nothing = said[f"owner/gated|{name}"], said[f"owner/nothing|{name}"]
        assert (
            "accept its terms at https://huggingface.co/owner/gated, then set HF_TOKEN or run `hf auth login`" in gated
        )
        assert "There is no such repository, or it is private: check the name, and set HF_TOKEN" in nothing
        assert all("pass the path of a folder that holds the model" in message for message in (gated, nothing)), name


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_m3(tmp_path_factory.mktemp("encoder") / "m3"))


@pytest.mark.parametrize("name", WRITERS)
def test_an_encoder_is_no_memory(name: str, encoder: str):
    load, kind = LOADERS[name]
    with pytest.raises(kind, match=r"Expected a causal language model in .*found model_type 'xlm-roberta' .*an encoder: it cannot write\. Pass an instruct checkpoint .*belongs into embedder="):  # fmt: skip
        load(encoder)


@pytest.fixture(scope="module")
def mute(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint whose tokenizer has no chat template."""
    folder = make_checkpoint(tmp_path_factory.mktemp("mute") / "checkpoint")
    (folder / "chat_template.jinja").unlink()
    return str(folder)


@pytest.mark.parametrize("kind", [BeaconMemory, LongContextMemory])
def test_a_memory_needs_a_chat_template(kind: Callable[[str], Any], mute: str):
    with pytest.raises(MemoryModelError, match=r"Expected a chat template with the tokenizer .*found none.*Use an instruct checkpoint, or put chat_template\.jinja"):  # fmt: skip
        kind(mute).form(SHARD)


def test_a_language_model_told_to_chat_needs_one_too(mute: str):
    with pytest.raises(InputError, match=r"has no chat template\. Leave chat out, or pass chat=False"):
        HuggingFaceLLM(mute, chat=True).complete("Hello!")


class Broken(Reranker):
    def rerank(self, query: str, passages: Any) -> list[float]:
        return [float("nan")] * len(passages)


async def test_a_reranker_that_returns_nan():
    memo = MemoRAG(reranker=Reranking(Broken(), candidates=3), passage_size=200)
    memo.memorize(LIGHTHOUSE, progress=False)
    said = r"Broken returned 3 of 3 scores that are NaN or infinite\. Check its precision .*or leave the reranker out"
    with pytest.raises(RerankerError, match=said):
        memo.retrieve("Who lit the lamp?")
    with pytest.raises(RerankerError, match=said):
        await memo.aretrieve("Who lit the lamp?")


@pytest.mark.parametrize("name", LOADERS)
def test_a_folder_that_is_not_there(name: str, tmp_path: Path):
    load, kind = LOADERS[name]
    with pytest.raises(kind, match=r"repo id like owner/name, found '.*nowhere', which is neither|There is no such folder: pass the path of one that holds the model"):  # fmt: skip
        load(str(tmp_path / "nowhere"))
