"""A repeated query costs nothing, and no failure is kept."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memorag_integrations.clues import Usage
from memorag_integrations.documents import Document, Shard
from memorag_integrations.errors import InputError, LLMError
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.memories.recall_cache import CachedMemoryModel

from ..scripted import ScriptedLLM

FINE = json.dumps({"spans": ["Ann came"], "answer": "Ann."})
SHARD = Shard((Document("Ann came. Bob left.", "d"),))


async def test_a_repeated_query_costs_nothing() -> None:
    llm = ScriptedLLM(FINE)
    model = CachedMemoryModel(LLMMemory(llm))
    memory = model.form(SHARD)
    first = memory.recall(["Who?", "Who?", "Why?"], scores=[])
    assert len(llm.prompts) == 2
    assert [recall.usage.calls for recall in first] == [1, 0, 1]
    again = memory.recall(["Why?", "Who?"], scores=[])
    assert (await memory.arecall(["Who?", "When?"], scores=[]))[0].clues == first[0].clues
    assert [recall.usage for recall in again] == [Usage(), Usage()]
    assert [recall.clues for recall in again] == [first[2].clues, first[0].clues]
    assert len(llm.prompts) == 3
    assert model.usage.calls == 3


def test_failures_and_empty_recalls_are_asked_again() -> None:
    replies = iter(["", FINE])
    llm = ScriptedLLM(lambda prompt: next(replies))
    memory = CachedMemoryModel(LLMMemory(llm)).form(SHARD)
    assert not memory.recall(["Who?"], scores=[])[0].clues
    assert memory.recall(["Who?"], scores=[])[0].clues
    with pytest.raises(LLMError, match="StopIteration"):
        memory.recall(["Why?"], scores=[])
    assert memory.recall(["Who?"], scores=[])[0].clues


def test_the_longest_unused_go_first() -> None:
    llm = ScriptedLLM(FINE)
    memory = CachedMemoryModel(LLMMemory(llm), most=2).form(SHARD)
    for query in ("a?", "b?", "a?", "c?", "a?"):
        memory.recall([query], scores=[])
    assert len(llm.prompts) == 3
    memory.recall(["b?"], scores=[])
    assert len(llm.prompts) == 4
    with pytest.raises(InputError, match="most"):
        CachedMemoryModel(LLMMemory(llm), most=0)


def test_a_store_loads_with_and_without_the_cache(tmp_path: Path) -> None:
    model = LLMMemory(ScriptedLLM(FINE))
    CachedMemoryModel(model).form(SHARD).save(tmp_path / "one")
    assert model.load(tmp_path / "one", SHARD).recall(["Who?"], scores=[])[0].clues
    assert CachedMemoryModel(model).load(tmp_path / "one", SHARD).recall(["Who?"], scores=[])[0].clues


def test_threads() -> None:
    memory = CachedMemoryModel(LLMMemory(ScriptedLLM(FINE)), most=3).form(SHARD)
    with ThreadPoolExecutor(8) as pool:
        recalls = list(pool.map(lambda i: memory.recall([f"{i % 7}?"], scores=[])[0], range(200)))
    assert [recall.query for recall in recalls] == [f"{i % 7}?" for i in range(200)]
