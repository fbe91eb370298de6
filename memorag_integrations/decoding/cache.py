"""A KV cache in preallocated buffers: appending writes in place, and room grows by a factor, never entry by entry."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

GROWTH = 1.5
LEAST_ROOM = 64


class GrowingLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values, [batch, kv heads, length, head size], views of buffers with room to spare.

    `copied` counts the bytes that were moved because a buffer had become too small.
    """

    is_sliding = False

    def __init__(self, room: int = LEAST_ROOM) -> None:
        super().__init__()
        self.length = 0
        self.copied = 0
        self._room = room
        self._buffers: tuple[Tensor, Tensor] | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._buffers = (_like(key_states, self._room), _like(value_states, self._room))
        self.is_initialized = True
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Append, and return everything held, as views."""
        if not self.is_initialized:
            self._room = max(self._room, key_states.shape[2])
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self._room:
            self.reserve(max(end, int(self._room * GROWTH)))
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.length : end] = states
        self.length = end
        self._show()
        return self.keys, self.values

    @property
    def buffers(self) -> tuple[Tensor, Tensor]:
        assert self._buffers is not None
        return self._buffers

    def reserve(self, room: int) -> None:
        """Make room for `room` entries in all, so that appending up to there moves nothing."""
        if room <= self._room and self.is_initialized:
            return
        self._room = max(room, self.length)
        if not self.is_initialized:
            return
        moved = []
        for buffer in self.buffers:
            grown = _like(buffer, self._room)
            grown[:, :, : self.length] = buffer[:, :, : self.length]
            moved.append(grown)
            self.copied += grown[:, :, : self.length].numel() * grown.element_size()
        self._buffers = (moved[0], moved[1])
        self._show()

    def trim(self) -> None:
        """Give back the room that is not used."""
        if self.is_initialized and self._room > self.length:
            self._room = self.length
            self._buffers = tuple(buffer[:, :, : self.length].clone() for buffer in self.buffers)  # type: ignore[assignment]
            self._show()

    def truncate(self, length: int) -> None:
        """Forget the entries from `length` on."""
        self.length = min(self.length, length)
        if self.is_initialized:
            self._show()

    def _show(self) -> None:
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self.buffers)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers, unused room included."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self._buffers or ())


class GrowingCache(Cache):  # type: ignore[misc]
    """The layers of one sequence (or of a batch of equal length).

    Args:
        layers: How many.
        room: Entries to make room for at once.
    """

    layers: list[GrowingLayer]

    def __init__(self, layers: int, room: int = LEAST_ROOM) -> None:
        super().__init__(layers=[GrowingLayer(room) for _ in range(layers)])

    @classmethod
    def of(cls, entries: Sequence[tuple[Tensor, Tensor]]) -> GrowingCache:
        """A cache that holds these keys and values of each layer as they are, without a copy until it grows."""
        cache = cls(len(entries))
        for layer, (keys, values) in zip(cache.layers, entries, strict=True):
            layer.dtype, layer.device = keys.dtype, keys.device
            layer.is_initialized = True
            layer.length = layer._room = keys.shape[2]
            layer._buffers = (keys, values)
            layer._show()
        return cache

    def entries(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer, views [batch, kv heads, length, head size]."""
        return [(layer.keys, layer.values) for layer in self.layers]

    @property
    def length(self) -> int:
        return self.layers[0].length

    def reserve(self, room: int) -> None:
        for layer in self.layers:
            layer.reserve(room)

    def trim(self) -> None:
        for layer in self.layers:
            layer.trim()

    def truncate(self, length: int) -> None:
        for layer in self.layers:
            layer.truncate(length)

    @property
    def copied(self) -> int:
        """Bytes moved so far because buffers grew."""
        return sum(layer.copied for layer in self.layers)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)


def _like(states: Tensor, room: int) -> Tensor:
    batch, heads, _, size = states.shape
    return torch.empty(batch, heads, room, size, dtype=states.dtype, device=states.device)
