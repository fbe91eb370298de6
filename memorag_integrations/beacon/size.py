"""Bytes and room: what a checkpoint and its memory take, from config.json alone, and what a device has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import MemoryModelError
from .layout import Layout
from .settings import BeaconSettings

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "8 bits": 1.0, "4 bits": 0.5625}
"""Bytes of a weight; 4 bits are NF4's half byte and a float32 for every 64 weights."""


@dataclass(frozen=True)
class Shape:
    """A decoder's numbers out of config.json.

    Args:
        layers, hidden, heads, kv_heads, head_size, intermediate, vocabulary, max_positions: As usual.
        tied: Whether the head shares the embedding's weights.
        settings: The beacon keys.
        dtype: Of the checkpoint.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    max_positions: int
    tied: bool
    settings: BeaconSettings
    dtype: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """Raises MemoryModelError where a number is missing or none."""
        try:
            heads = int(config["num_attention_heads"])
            return cls(
                int(config["num_hidden_layers"]),
                int(config["hidden_size"]),
                heads,
                int(config.get("num_key_value_heads") or heads),
                int(config.get("head_dim") or config["hidden_size"] // heads),
                int(config["intermediate_size"]),
                int(config["vocab_size"]),
                int(config["max_position_embeddings"]),
                bool(config.get("tie_word_embeddings", False)),
                BeaconSettings.from_config(config),
                str(config.get("dtype") or config.get("torch_dtype") or "float32"),
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise MemoryModelError(f"config.json lacks what a decoder's size needs ({error!r}).") from error

    @property
    def linear_weights(self) -> int:
        """Weights of the layers' linear maps, beacon ones apart: what quantisation shrinks."""
        attention = self.hidden * self.head_size * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def beacon_weights(self) -> int:
        sizes = {"q": self.heads, "k": self.kv_heads, "v": self.kv_heads, "o": self.heads}
        heads = sum(sizes[name] for name in self.settings.projections)
        return self.layers * self.hidden * self.head_size * heads + self.hidden

    @property
    def table_weights(self) -> int:
        """The embedding and the head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def weight_bytes(self, precision: str) -> int:
        """Bytes of all weights; with 8 or 4 bits the tables and the beacon's stay in 16."""
        rest = 2.0 if precision.endswith("bits") else BYTES[precision]
        return int(self.linear_weights * BYTES[precision] + (self.beacon_weights + self.table_weights) * rest)

    def entry_bytes(self, dtype: str) -> int:
        """Bytes of one memory entry: a key and a value in every layer."""
        return int(2 * self.layers * self.kv_heads * self.head_size * BYTES[dtype])

    def memory_bytes(self, tokens: int, ratio: int, dtype: str) -> int:
        """Most bytes of keys and values while `tokens` are memorized, the open window included."""
        peak = Layout.new(self.settings.window, [ratio]).peak_positions(tokens)
        return peak * self.entry_bytes(dtype)

    def working_bytes(self, ratio: int, dtype: str) -> int:
        """Estimate of a pass's activations: a window's rows in the MLP and the attention, a few copies of each."""
        rows = self.settings.window + -(-self.settings.window // ratio)
        return int(rows * (3 * self.intermediate + 8 * self.hidden + 4 * self.heads * self.head_size) * BYTES[dtype])

    def operations(self, tokens: int, ratio: int) -> tuple[float, float]:
        """Floating-point operations to memorize: of the linear maps, and of attention with each pair counted once.

        No logits are among them, as none are computed.
        """
        rows = pairs = 0
        for step, _ in Layout.new(self.settings.window, [ratio]).steps(tokens):
            rows += step.stride.length
            pairs += step.stride.length * step.start + step.stride.length * (step.stride.length + 1) // 2
        return 2.0 * self.linear_weights * rows, 4.0 * pairs * self.heads * self.head_size * self.layers


def free_bytes(device: str) -> int | None:
    """Bytes free on a device now, or None where it does not say."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device == "cpu":
        return _free_memory()
    return None


def _free_memory() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
