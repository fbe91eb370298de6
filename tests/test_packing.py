"""Small documents share a memory up to its capacity, and clues still lead to the right one."""

from __future__ import annotations

import json

from memorag_integrations.documents import Document
from memorag_integrations.engine import MemoRAG
from memorag_integrations.memories.llm import LLMMemory

from .scripted import ScriptedLLM


def test_many_small_documents_cost_one_call_and_clues_find_their_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    texts = {f"day-{i}": f"On day {i} the crew of boat {i * 3} mended nets and sang." for i in range(50)}
    llm = ScriptedLLM(json.dumps({"spans": ["the crew of boat 51 mended nets"]}))
    memo = MemoRAG(LLMMemory(llm))
    memo.memorize([Document(text, id) for id, text in texts.items()], progress=False)
    recall = memo.recall("Which crew mended nets?")
    assert len(llm.prompts) == 1
    place = recall.clues[0].grounding
    assert place
    assert place.document_id == "day-17"
    assert texts["day-17"][place.start : place.end] == "the crew of boat 51 mended nets"
    memo.save(tmp_path / "store")
    loaded = MemoRAG.load(tmp_path / "store", memory=LLMMemory(llm))
    assert loaded.recall("Which crew mended nets?").clues == recall.clues
