"""`together` holds for everything that goes to a memory model's language model, whoever sends it, sync or async."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memorag_integrations import Document, GistMemory, LLMMemory, MemoRAG
from memorag_integrations.clues import Completion
from memorag_integrations.errors import LLMError

from ..scripted import ScriptedLLM, text_of

DOCUMENTS = [
    Document(
        "\n\n".join(f"Visitor {i} of harbour {n} bought a lamp, and left in the evening." for i in range(40)), f"d{n}"
    )
    for n in range(8)
]
LIMITS = [1, 2, 3]


def reader(prompt: str) -> str:
    if '"spans"' in prompt:
        return json.dumps({"spans": [text_of(prompt).splitlines()[0]]})
    return "Lamps were bought."


def engine(together: int, seconds: float = 0.01) -> tuple[MemoRAG, ScriptedLLM]:
    """Eight shards of two parts each."""
    llm = ScriptedLLM(reader, 1250, seconds)
    memo = MemoRAG(LLMMemory(llm, reply_tokens=64, together=together), shards=8)
    memo.memorize(DOCUMENTS, progress=False)
    assert len(memo.corpus.memories) == 8
    return memo, llm


@pytest.mark.parametrize("together", LIMITS)
def test_a_recall(together: int) -> None:
    memo, llm = engine(together)
    memo.recall("Who bought a lamp?")
    assert len(llm.prompts) >= 16
    assert llm.most_under_way == together


@pytest.mark.parametrize("together", LIMITS)
async def test_an_awaited_recall(together: int) -> None:
    memo, llm = engine(together)
    await memo.arecall("Who bought a lamp?")
    assert len(llm.prompts) >= 16
    assert llm.most_under_way == together


@pytest.mark.parametrize("together", LIMITS)
def test_recalls_of_several_threads(together: int) -> None:
    memo, llm = engine(together)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(memo.recall, ["Who bought a lamp?", "When did they leave?", "What harbour?"]))
    assert llm.most_under_way == together


@pytest.mark.parametrize("together", LIMITS)
async def test_a_recall_in_a_thread_and_two_that_are_awaited(together: int) -> None:
    memo, llm = engine(together)
    await asyncio.gather(
        asyncio.to_thread(memo.recall, "Who bought a lamp?"),
        memo.arecall("When did they leave?"),
        memo.aretrieve("What harbour?"),
    )
    assert llm.most_under_way == together


@pytest.mark.parametrize("together", LIMITS)
def test_two_event_loops(together: int) -> None:
    memo, llm = engine(together)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda query: asyncio.run(memo.arecall(query)), ["Who bought a lamp?", "When did they leave?"]))
    assert llm.most_under_way == together


@pytest.mark.parametrize("together", LIMITS)
def test_gists_that_are_formed_while_others_are_asked(together: int, tmp_path: Path) -> None:
    llm = ScriptedLLM(reader, seconds=0.005)
    model = GistMemory(llm, folder=tmp_path, stretch=200, words=5, together=together)
    asked, other = MemoRAG(model), MemoRAG(model)
    asked.memorize(DOCUMENTS[:2], progress=False)
    with ThreadPoolExecutor(2) as pool:
        forming = pool.submit(other.memorize, DOCUMENTS[2:4], progress=False)
        for i in range(5):
            asked.recall(f"Who bought lamp {i}?")
        forming.result(timeout=60)
    assert llm.most_under_way == together


@pytest.mark.parametrize("together", LIMITS)
def test_the_parts_of_a_summary_and_the_memories_answers(together: int) -> None:
    memo, llm = engine(together, 0.005)
    llm.window = 2600
    with ThreadPoolExecutor(3) as pool:
        summary = pool.submit(memo.summarize)
        answers = pool.map(memo.recall, ["Who bought a lamp?", "When did they leave?"])
        list(answers)
        assert "amps" in summary.result(timeout=60).text
    assert llm.most_under_way == together


class Failing(ScriptedLLM):
    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        if "harbour 3" in prompt:
            raise ConnectionError("the server went away")
        return super().complete(prompt)


def test_a_failed_recall_frees_its_slots() -> None:
    llm = Failing(reader, 1250, 0.005)
    memo = MemoRAG(LLMMemory(llm, reply_tokens=64, together=2), shards=8)
    memo.memorize(DOCUMENTS, progress=False)
    for _ in range(3):
        with pytest.raises(LLMError, match="went away"):
            memo.recall("Who bought a lamp?")
    memo.memorize(DOCUMENTS[4:], progress=False)
    assert memo.recall("Who bought a lamp?").clues
    assert llm.most_under_way <= 2
