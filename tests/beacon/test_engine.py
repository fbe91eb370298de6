"""The beacon memory in the whole line: memorize, recall, retrieve, save, load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from memorag_integrations.decoding.generation import Sampling
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import MemoRAGError
from memorag_integrations.memories.beacon import BeaconMemory

TEXTS = [
    "Mira kept the blue lantern in the attic. " * 20,
    "Joss sold the boat to a ferryman for nine silver coins. " * 20,
]


def test_memorize_recall_retrieve_save_load(checkpoints: Callable[..., Path], tmp_path: Path) -> None:
    folder = checkpoints("qwen2", max_position_embeddings=4096)
    memory = BeaconMemory(str(folder), device="cpu", sampling=Sampling(max_tokens=8))
    memo = MemoRAG(memory=memory, embedder=None)
    memo.memorize(TEXTS, save_dir=tmp_path / "book.memo", progress=False)
    recall = memo.recall("Who sold the boat?")
    assert recall.usage.tokens_cached > 0
    evidence = memo.retrieve("Who sold the boat?", k=2)
    assert "Joss" in evidence[0].passage.text
    again = MemoRAG.load(tmp_path / "book.memo")
    assert again.recall("Who sold the boat?").clues == recall.clues
    assert again.answer("Who sold the boat?").usage.calls == 1
    assert "".join(again.stream_answer("Who sold the boat?")) == again.answer("Who sold the boat?").text
    other = BeaconMemory(str(folder), ratio=8, device="cpu")
    with pytest.raises(MemoRAGError, match=memory.fingerprint):
        MemoRAG.load(tmp_path / "book.memo", memory=other)
