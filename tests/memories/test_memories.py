"""Every memory passes the contract."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from memorag_integrations.decoding.generation import Sampling
from memorag_integrations.memories.activation import ActivationMemoryModel
from memorag_integrations.memories.beacon import BeaconMemory
from memorag_integrations.memories.gist import GistMemory
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.memories.longcontext import LongContextMemory
from memorag_integrations.memories.random import RandomMemoryModel
from memorag_integrations.memories.recall_cache import CachedMemoryModel

from ..beacon.tiny import make_checkpoint
from ..memory_contract import MemoryContract, Subject
from ..scripted import ScriptedLLM, lang_chain_llm, llama_index_llm, text_of


def reader(prompt: str) -> str:
    """Reads what is in the fence as a language model would: a quote, a question, an answer; or a gist."""
    text = text_of(prompt).replace("\ufffd", "")
    lines = [line for line in text.splitlines() if line.strip()]
    if '"spans"' not in prompt:
        return " ".join(line[: len(line) * 2 // 3] for line in lines)
    asked = "money" in prompt or "设计" in prompt
    quote = next((line for line in lines if ("budget" in line) == asked), lines[0])
    spans = [quote[: len(quote) * 3 // 4], lines[-1]]
    return json.dumps(
        {"spans": spans, "questions": ["Who said so at the meeting?"], "answer": quote}, ensure_ascii=False
    )


def lang_chain(folder: Path) -> LLMMemory:
    from langchain_memorag import LLMMemory as make

    return make(lang_chain_llm(reader))


def llama_index(folder: Path) -> LLMMemory:
    from llamaindex_memorag import LLMMemory as make

    return make(llama_index_llm(reader))


@cache
def checkpoint() -> str:
    return str(make_checkpoint(Path(tempfile.mkdtemp(prefix="beacon-")), max_position_embeddings=4096))


def beacon(folder: Path) -> BeaconMemory:
    return BeaconMemory(checkpoint(), device="cpu", sampling=Sampling(max_tokens=16))


BRIEF = {"reading": "{text}", "acknowledgement": "Yes.", "spans": "Where? {question}", "questions": "What? {question}"}
BRIEF |= {"answer": "{question}", "key_points": "What is said?"}


def long_context(folder: Path) -> LongContextMemory:
    return LongContextMemory(checkpoint(), device="cpu", prompts=BRIEF, sampling=Sampling(max_tokens=8))


def long_context_parts(folder: Path) -> LongContextMemory:
    return replace(long_context(folder), context_window=1400)


MEMORIES = {
    "llm, cached": Subject(lambda folder: CachedMemoryModel(LLMMemory(ScriptedLLM(reader)))),
    "beacon": Subject(beacon),
    "long context": Subject(long_context),
    "long context, parts": Subject(long_context_parts),
    "activation": Subject(lambda folder: ActivationMemoryModel(), asks=False),
    "random": Subject(lambda folder: RandomMemoryModel(), asks=False),
    "llm": Subject(lambda folder: LLMMemory(ScriptedLLM(reader))),
    "llm, split": Subject(lambda folder: LLMMemory(ScriptedLLM(reader, 1300), reply_tokens=128)),
    "llm, LlamaIndex": Subject(llama_index),
    "llm, LangChain": Subject(lang_chain),
    "gist": Subject(lambda folder: GistMemory(ScriptedLLM(reader), folder=folder / "gists", stretch=200, words=5)),
    "gist of gists": Subject(
        lambda folder: GistMemory(
            ScriptedLLM(reader, 1250), folder=folder / "gists", stretch=200, words=5, reply_tokens=128
        )
    ),
}


@pytest.fixture(params=MEMORIES)
def subject(request: pytest.FixtureRequest) -> Subject:
    return MEMORIES[request.param]


class TestMemories(MemoryContract):
    pass
