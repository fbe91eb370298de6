"""Plans from config.json alone, checked against what a model and its memory really take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from memorag_integrations.beacon.checkpoint import load_decoder
from memorag_integrations.beacon.size import Shape
from memorag_integrations.errors import InputError, MemoryModelError
from memorag_integrations.planner import plan

QWEN2_7B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "num_hidden_layers": 28,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "beacon_window": 2048,
    "beacon_ratio": [2, 4, 8, 16, 32],
}
GIB = 2**30


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A folder with nothing but a config.json: nothing else is needed."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN2_7B))
    return tmp_path


def test_the_counts_are_those_of_a_loaded_model(checkpoints: Callable[..., Path]) -> None:
    folder = checkpoints("qwen2")
    shape = Shape.from_config(json.loads((folder / "config.json").read_text()))
    decoder = load_decoder(folder)
    matrices = [p for p in decoder.model.parameters() if p.dim() > 1]
    counted = sum(p.numel() for p in matrices) + decoder.embedding.numel()
    assert shape.linear_weights + shape.beacon_weights + shape.table_weights == counted
    state = decoder.start((4,))
    decoder.feed(state, torch.zeros(1, 70, dtype=torch.long))
    held = sum(k.nbytes + v.nbytes for k, v in state.cache.entries())
    assert held == state.layout.entries * shape.entry_bytes("float32")


def test_published_sizes(big: Path) -> None:
    found = plan(big, 400_000, room=80 * GIB)
    assert (found.chosen.ratio, found.chosen.precision) == (4, "bfloat16")
    assert found.seconds is None
    beyond = [option for option in found.options if option.obstacle]
    assert {option.ratio for option in beyond} == {2}
    assert 14 * GIB < found.chosen.weight_bytes < 18 * GIB
    assert 5 * GIB < found.chosen.memory_bytes < 6 * GIB
    assert "<-- take this" in str(found)
    assert "beyond reach" in str(found)


def test_less_room_means_fewer_bits_or_a_larger_ratio(big: Path) -> None:
    choices = [plan(big, 200_000, room=room * GIB).chosen for room in (40, 20, 14, 8)]
    assert [choice.precision for choice in choices] == ["bfloat16", "bfloat16", "8 bits", "4 bits"]
    for choice, room in zip(choices, (40, 20, 14, 8), strict=True):
        assert choice.total_bytes < room * GIB


def test_refusals_name_the_remedy(big: Path) -> None:
    with pytest.raises(MemoryModelError, match=r"at least [\d.]+ GiB free"):
        plan(big, 200_000, room=2 * GIB)
    with pytest.raises(MemoryModelError, match=r"Split the text into 3 shards"):
        plan(big, 10_000_000, room=80 * GIB)
    with pytest.raises(InputError):
        plan(big, 0)
    with pytest.raises(InputError):
        plan(big, 10, ratios=[0], room=GIB)
    (big / "config.json").write_text(json.dumps({**QWEN2_7B, "beacon_unknown": 1}))
    with pytest.raises(MemoryModelError, match="beacon_unknown"):
        plan(big, 10, room=GIB)
    (big / "config.json").write_text("{}")
    with pytest.raises(MemoryModelError, match="num_attention_heads"):
        plan(big, 10, room=GIB)


def test_seconds_come_from_a_calibration(checkpoints: Callable[..., Path]) -> None:
    found = plan(checkpoints("qwen2"), 700, device="cpu")
    assert found.seconds is not None
    assert 0 < found.seconds < 60
    assert found.room is None or found.room > 0
    assert "to memorize" in str(found)
    assert found.dtype == "float32"
