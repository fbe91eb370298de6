"""The beacon memory: a long text as a small KV cache, asked for clues (MemoRAG, arXiv 2409.05591)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from ..beacon.branching import BeaconBranches
from ..beacon.checkpoint import BeaconCheckpoint, load_decoder, open_checkpoint
from ..beacon.decoder import BeaconDecoder, BeaconState
from ..beacon.layout import Layout, check_reach, reach
from ..beacon.size import Shape
from ..contracts import Config, Progress
from ..decoding import storage
from ..decoding.branches import Entries
from ..documents import Shard
from ..errors import Cancelled, MemoryModelError
from .files import UNREADABLE
from .kv_memory import KVMemory, TextPart
from .kv_model import KVMemoryModel

HEADROOM = 1024
"""Tokens kept free behind a text: for a task's prompt and its reply."""
TEMPLATE = 256
"""Tokens that the reading prompt and the chat template put around a text, at most; a longer one is still an error."""


@dataclass
class BeaconMemory(KVMemoryModel):
    """Settings of the beacon memory. The checkpoint is read when first used, and once.

    Args:
        model_name_or_path: A published memory checkpoint: a local folder or a repo id.
        ratio: Raw tokens for one memory entry; a list is mixed as the checkpoint says; None for the checkpoint's own.
        revision, token, cache_dir, dtype, device, device_map, bits, prompts, language, storage, draft_answer, sampling:
            See `KVMemoryModel`.

    Raises:
        InputError: For settings that make no sense.
    """

    kind: ClassVar[str] = "beacon"

    ratio: int | Sequence[int] | None = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        ratios = [self.ratio] if isinstance(self.ratio, int) else self.ratio
        if ratios is not None:
            Layout.new(2048, list(ratios)[:1])  # Says what is wrong with it, before anything is downloaded.

    @property
    def config(self) -> Config | None:
        settings = self.settings()
        ratio = list(self.ratio) if isinstance(self.ratio, Sequence) else self.ratio
        return None if settings is None else {**settings, "ratio": ratio}

    @cached_property
    def checkpoint(self) -> BeaconCheckpoint:
        """The checkpoint's folder and configuration, without its weights."""
        return open_checkpoint(
            self.model_name_or_path, revision=self.revision, token=self.token, cache_dir=self.cache_dir
        )

    @cached_property
    def shape(self) -> Shape:
        return Shape.from_config(self.checkpoint.config)

    @property
    def ratios(self) -> tuple[int, ...]:
        if self.ratio is None:
            return self.checkpoint.settings.ratios
        return (self.ratio,) if isinstance(self.ratio, int) else tuple(self.ratio)

    @property
    def decoder(self) -> BeaconDecoder:
        """The model, loaded when first asked for."""
        with self._lock:
            if "_loaded" not in self.__dict__:
                device, _ = self.picked()
                self._check_room(device)
                self._loaded = load_decoder(
                    self.checkpoint, dtype=self.dtype, device=str(device), device_map=self.device_map, bits=self.bits
                )
            return self._loaded

    def _check_room(self, device: torch.device) -> None:
        precision = self.precision() if self.bits is None else f"{self.bits} bits"
        what = f"for {self.checkpoint.name} in {precision}"
        remedy = "Pass a smaller dtype, bits=8 or 4, or another device."
        self.need(self.shape.weight_bytes(precision), device, what, remedy)

    def _check_memory_room(self, layout: Layout, tokens: int, device: torch.device) -> None:
        """Refuse a memory that the device has no room for, before the first window: a CPU would not say so in time."""
        dtype, ratio = self.precision(), min(self.ratios)
        needed = layout.peak_positions(tokens) * self.shape.entry_bytes(dtype) + self.shape.working_bytes(ratio, dtype)
        what = f"to memorize {tokens:,} tokens at ratio {ratio} in {dtype}"
        self.need(needed, device, what, "Pass a larger ratio or a smaller dtype; `memorag plan` tells what fits.")

    @property
    def parts(self) -> dict[str, str]:
        settings = self.checkpoint.settings
        layout = Layout.new(settings.window, self.ratios, settings.mix)
        ratios = " ".join(map(str, layout.draw.ratios))
        return {
            "weights": self.weights_hash,
            "tokenizer": self.tokenizer_hash,
            "prompts": self.texts.memory_hash,
            "ratio": ratios if len(layout.draw.ratios) == 1 else f"{ratios} {settings.mix}",
            "window": str(settings.window),
            "bits": str(self.bits),
        }

    @property
    def reach(self) -> int:
        return reach(self.checkpoint.settings.window, min(self.ratios), self.shape.max_positions)

    def branches_of_nothing(self, count: int = 1) -> BeaconBranches:
        decoder, shape = self.decoder, self.shape
        nothing = torch.empty(1, shape.kv_heads, 0, shape.head_size, dtype=decoder.dtype, device=decoder.device)
        return BeaconBranches(decoder, decoder.start(self.ratios).layout, [(nothing, nothing)] * shape.layers, count)

    @property
    def capacity(self) -> int | None:
        """Tokens of one shard, room for prompts and replies taken off."""
        return max(1, self.reach - HEADROOM - TEMPLATE)

    def read(self, shard: Shard, text: str, progress: Progress, cancel: threading.Event | None) -> FormedBeaconMemory:
        """Read the shard's text once, window by window. Progress is in tokens, once a window.

        Raises:
            InputError: For a text beyond the checkpoint's reach at this ratio, which is said before the
                weights load.
            MemoryModelError: Where the checkpoint cannot be used, or the device has no room.
            Cancelled: Between two windows; nothing is left behind.
        """
        shape = self.shape  # Says what is wrong with the configuration before the tokenizer trips over it.
        ids = self.chat.reading(self.texts.read(self.chat.plain(text)), self.texts.acknowledgement)
        settings = self.checkpoint.settings
        layout = Layout.new(settings.window, self.ratios, settings.mix)
        check_reach(layout, len(ids) + HEADROOM, shape.max_positions)
        decoder = self.decoder
        self._check_memory_room(layout, len(ids), decoder.device)
        state = decoder.start(self.ratios)
        try:
            state.cache.reserve(layout.peak_positions(len(ids)))
            self._read(decoder, state, ids, progress, cancel)
            if state.cache.nbytes > 1.1 * sum(k.nbytes + v.nbytes for k, v in state.cache.entries()):
                state.cache.trim()
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise MemoryModelError(
                f"No room on {decoder.device} for a memory of {len(ids):,} tokens at ratio {min(self.ratios)} ({error}). "
                f"Pass a larger ratio; `memorag plan` tells what fits."
            ) from error
        return FormedBeaconMemory(self, shard, state.layout, state.cache.entries())

    def _read(
        self,
        decoder: BeaconDecoder,
        state: BeaconState,
        ids: list[int],
        progress: Progress,
        cancel: threading.Event | None,
    ) -> None:
        progress("memorizing", 0, len(ids))
        for _ in decoder.passes(state, torch.tensor([ids])):
            progress("memorizing", state.layout.tokens, len(ids))
            if cancel is not None and cancel.is_set():
                raise Cancelled("Cancelled while the memory was formed; nothing of it was kept.")

    def load(self, path: Path, shard: Shard) -> FormedBeaconMemory:
        manifest = storage.read_manifest(path)
        self.check_same(path, manifest)
        storage.check_size(path, manifest)
        self.check_text(path, manifest, shard)
        device, dtype = self.picked()
        entries = storage.load(path, manifest, dtype, device)
        layout = _read_layout(path, manifest, entries)
        self._check_entries(path, entries)
        return FormedBeaconMemory(self, shard, layout, entries)

    def _check_entries(self, path: Path, entries: Entries) -> None:
        shape = self.shape
        expected = (shape.layers, 1, shape.kv_heads, shape.head_size)
        batch, heads, _, size = entries[0][0].shape
        if (len(entries), batch, heads, size) != expected:
            raise MemoryModelError(
                f"Expected layers, batch, heads and head size {expected} in {path}, found "
                f"{(len(entries), batch, heads, size)}. Memorize the text again."
            )


@dataclass(frozen=True)
class FormedBeaconMemory(KVMemory):
    """A memory over one shard.

    Args:
        model: What made it.
        shard: The text.
        layout: Its numbers.
        entries: Keys and values of each layer, [1, kv heads, entries, head size].
    """

    model: BeaconMemory
    shard: Shard
    layout: Layout
    entries: Entries = field(repr=False)

    @property
    def parts(self) -> Sequence[TextPart]:  # type: ignore[override]
        return (TextPart((0, len(self.text)), self.layout.tokens),)

    def branches(self, part: int, count: int) -> BeaconBranches:
        return BeaconBranches(self.model.decoder, self.layout, self.entries, count)

    def save(self, path: Path) -> None:
        model = self.model
        about = model.about(self.shard, self.entries[0][0].dtype, self.layout.tokens)
        # The open window's entries are kept as they are: the memory is still to be made of them.
        open_entries = self.layout.entries - self.layout.memory
        storage.save(
            path,
            self.entries,
            model.storage,
            model.fingerprint,
            about,
            layout=self.layout.to_json(),
            open_entries=open_entries,
        )


def _read_layout(path: Path, manifest: Mapping[str, Any], entries: Entries) -> Layout:
    """The layout of a stored memory.

    Raises:
        MemoryModelError: Where its numbers are missing or do not fit the entries.
    """
    try:
        layout = Layout.from_json(manifest["layout"])
        shapes = {tuple(tensor.shape) for pair in entries for tensor in pair}
        if len(shapes) != 1 or next(iter(shapes))[2] != layout.entries:
            raise ValueError(f"expected {layout.entries} entries in every layer, found shapes {shapes}")
    except UNREADABLE as error:
        raise MemoryModelError(f"The memory at {path} cannot be read ({error}). Memorize the text again.") from error
    return layout
