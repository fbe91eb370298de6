"""Small documents share a prompt, whether or not a memory, and clues still lead to the right one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memorag_integrations.answers.key_points import name_key_points
from memorag_integrations.documents import Document
from memorag_integrations.engine import MemoRAG
from memorag_integrations.memories.gist import GistMemory
from memorag_integrations.memories.llm import LLMMemory

from ..scripted import ScriptedLLM, text_of

DAYS = {f"day-{i}": f"On day {i} the crew of boat {i * 3} mended nets and sang." for i in range(50)}
QUERY = "Which crew mended nets?"


def days() -> list[Document]:
    return [Document(text, id) for id, text in DAYS.items()]


def model_of(kind: str, llm: ScriptedLLM, folder: Path) -> LLMMemory | GistMemory:
    return LLMMemory(llm) if kind == "llm" else GistMemory(llm, folder=folder / "gists")


@pytest.mark.parametrize("kind", ["llm", "gist"])
async def test_many_small_documents_cost_one_call_and_clues_find_their_own(tmp_path: Path, kind: str) -> None:
    llm = ScriptedLLM(json.dumps({"spans": ["the crew of boat 51 mended nets"]}))
    memo = MemoRAG(model_of(kind, llm, tmp_path))
    memo.memorize(days(), progress=False)
    recall = memo.recall(QUERY)
    assert len(llm.prompts) == 1
    place = recall.clues[0].grounding
    assert place
    assert place.document_id == recall.clues[0].document_id == "day-17"
    assert DAYS["day-17"][place.start : place.end] == "the crew of boat 51 mended nets"
    assert memo.recall(QUERY).clues == (await memo.arecall(QUERY)).clues == recall.clues
    assert len(llm.prompts) == 1, "what was said is kept"
    memo.save(tmp_path / "store")
    loaded = MemoRAG.load(tmp_path / "store", memory=model_of(kind, llm, tmp_path))
    assert loaded.recall(QUERY).clues == recall.clues


def long(name: str, words: str) -> Document:
    return Document(" ".join(f"{words} number {i} was written down by {name}." for i in range(60)), name)


def gisted(llm: ScriptedLLM, folder: Path, **settings: int) -> MemoRAG:
    memo = MemoRAG(GistMemory(llm, folder=folder, stretch=600, words=30, reply_tokens=200), **settings)
    memo.memorize([long(f"keeper{n}", f"The lamp of tower {n}") for n in range(12)], progress=False)
    return memo


def script(prompt: str) -> str:
    if '"spans"' in prompt:
        return json.dumps({"spans": [line[:60] for line in text_of(prompt).splitlines() if line][:3]})
    return text_of(prompt)[:180]


def test_a_change_of_one_document_asks_for_its_gists_alone(tmp_path: Path) -> None:
    llm = ScriptedLLM(script, window=4000)
    memo = gisted(llm, tmp_path)
    assert [len(shard.documents) for shard in memo.corpus.shards] == [1] * 12
    before, asked = list(memo.corpus.memories), len(llm.prompts)
    change = memo.replace(long("keeper7", "The oil of another tower"), progress=False)
    assert (change.formed, change.reused) == (1, 11)
    assert all("another tower" in prompt for prompt in llm.prompts[asked:])
    assert [one is other for one, other in zip(before, memo.corpus.memories, strict=True)].count(False) == 1
    asked = len(llm.prompts)
    assert memo.delete("keeper3", progress=False).reused == 11
    assert len(llm.prompts) == asked


def test_the_prompts_of_a_query_are_as_few_as_hold_the_gists_and_no_more_than_the_setting(tmp_path: Path) -> None:
    llm = ScriptedLLM(script, window=2600)
    memo = gisted(llm, tmp_path, shards=2)
    asked = len(llm.prompts)
    found = memo.recall("Who wrote down the lamp of tower 5?")
    prompts = [text_of(prompt) for prompt in llm.prompts[asked:]]
    assert len(prompts) == 2
    told = [[n for n in range(12) if f"tower {n} " in prompt] for prompt in prompts]
    assert all(len(numbers) > 1 and numbers == sorted(numbers) for numbers in told), told
    read = [n for numbers in told for n in numbers]
    assert len(set(read)) == len(read) < 12, "each document once, the best alone"
    assert 5 in read
    assert all(clue.grounding is not None for clue in found.clues)
    for clue in found.clues:
        assert clue.grounding
        text = memo.corpus.documents[clue.grounding.document_id].text
        assert text[clue.grounding.start : clue.grounding.end][:20] in clue.text or clue.text[:20] in text
    llm.window = 60_000
    wide = gisted(llm, tmp_path, shards=2)
    asked = len(llm.prompts)
    wide.recall("Who wrote down the lamp of tower 5?")
    assert len(llm.prompts) == asked + 1
    name_key_points(wide.corpus, wide.memory_model, None)
    assert len(llm.prompts) == asked + 2, "one prompt for the points of all"
