"""Compaction: of a full window keep the beacons' keys and values, at their places in memory; forget the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decoding.cache import GrowingCache
from .layout import Stride
from .rope import rotate, turns


def compact(cache: GrowingCache, memory: int, window: Stride, frequencies: Tensor) -> None:
    """Keep of the entries from `memory` on only the window's beacons, moved to memory, memory + 1, ….

    Nothing below `memory` is read or written, so a window costs the same however long the text.

    Args:
        cache: Holds `memory` + `window.length` entries.
        memory: Beacons already in memory.
        window: Where the beacons stand in the finished window.
        frequencies: RoPE's, [head size / 2].
    """
    places = window.positions()
    end = memory + window.beacons
    moved = torch.arange(window.beacons) - torch.tensor(list(places), dtype=torch.long)
    turn = turns(moved, frequencies)
    for layer in cache.layers:
        keys, values = layer.buffers
        kept = slice(memory + window.lead, memory + window.length, window.period)
        # The two ranges may overlap, so the kept entries are taken out first: `rotate` and `clone` do.
        keys[:, :, memory:end] = rotate(keys[:, :, kept], turn)
        values[:, :, memory:end] = values[:, :, kept].clone()
    cache.truncate(end)
