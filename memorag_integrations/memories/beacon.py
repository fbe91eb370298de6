"""The beacon memory: a long text as a small KV cache, asked for clues (MemoRAG, arXiv 2409.05591)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..beacon import storage as stored
from ..beacon.checkpoint import BeaconCheckpoint, load_decoder, open_checkpoint
from ..beacon.decoder import BeaconDecoder, BeaconState
from ..beacon.layout import Layout, check_reach, reach
from ..beacon.size import Shape, free_bytes
from ..contracts import LLM, Config, MemoryModel, Progress
from ..decoding.branches import Entries
from ..decoding.chat import Chat, load_chat, tokenizer_fingerprint
from ..decoding.checkpoint import pick_device, pick_dtype
from ..decoding.writing import Sampling
from ..documents import Shard, clean_text
from ..errors import Cancelled, InputError, MemoryModelError
from ..prompts.beacon import LANGUAGES, BeaconPrompts
from ..prompts.memorag import installed_prompts
from .beacon_formed import FormedBeaconMemory
from .beacon_llm import BeaconLLM

HEADROOM = 1024
"""Tokens kept free behind a text: for a task's prompt and its reply."""
TEMPLATE = 256
"""Tokens that the reading prompt and the chat template put around a text, at most; a longer one is still an error."""


@dataclass
class BeaconMemory(MemoryModel):
    """Settings of the beacon memory. The checkpoint is read when first used, and once.

    Args:
        model_name_or_path: A published memory checkpoint: a local folder or a repo id.
        ratio: Raw tokens for one memory entry; a list is mixed as the checkpoint says; None for the checkpoint's own.
        revision, token, cache_dir: For the hub. The token is never stored.
        dtype: "float32", "bfloat16" or "float16"; None for float32 on a CPU, else the checkpoint's own.
        device: "cpu", "cuda", "cuda:1", "mps"; None for the best at hand.
        device_map: For weights over several devices, as transformers takes it.
        bits: 8 or 4 for quantised weights on CUDA.
        prompts: "ours", "memorag" (read out of an installed memorag), or messages of one's own.
        language: Of the prompts, "en" or "zh".
        storage: How a saved memory is stored: "same", "bfloat16", "int8" or "int4".
        draft_answer: Whether a recall writes a draft answer beside the clues.
        sampling: How replies are written; greedy by default.

    Raises:
        InputError: For settings that make no sense.
    """

    model_name_or_path: str
    ratio: int | Sequence[int] | None = 4
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    cache_dir: str | None = None
    dtype: str | None = None
    device: str | None = None
    device_map: Any = None
    bits: int | None = None
    prompts: str | BeaconPrompts | Mapping[str, str] = "ours"
    language: str = "en"
    storage: str = "same"
    draft_answer: bool = True
    sampling: Sampling | Mapping[str, Any] = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not isinstance(self.model_name_or_path, str | Path) or not str(self.model_name_or_path).strip():
            raise InputError(f"Expected a checkpoint's folder or repo id, found {self.model_name_or_path!r}.")
        self.model_name_or_path = str(self.model_name_or_path)
        stored.check_storage(self.storage)
        if self.language not in LANGUAGES:
            raise InputError(f"Expected language out of {', '.join(LANGUAGES)}, found {self.language!r}.")
        if isinstance(self.prompts, str) and self.prompts not in ("ours", "memorag"):
            raise InputError(f"Expected prompts 'ours', 'memorag' or BeaconPrompts, found {self.prompts!r}.")
        if self.bits not in (None, 8, 4):
            raise InputError(f"Expected bits to be 8, 4 or None, found {self.bits!r}.")
        self.settled_sampling = _sampling(self.sampling)
        ratios = [self.ratio] if isinstance(self.ratio, int) else self.ratio
        if ratios is not None:
            Layout.new(2048, list(ratios)[:1])  # Says what is wrong with it, before anything is downloaded.
        self._lock = threading.RLock()

    @property
    def llm(self) -> LLM:
        """The same model as a writer of answers and summaries from evidence."""
        return BeaconLLM(self)

    @property
    def config(self) -> Config | None:
        if self.device_map is not None and not isinstance(self.device_map, str | Mapping):
            return None
        names = ("model_name_or_path", "revision", "cache_dir", "dtype", "device", "device_map", "bits", "language")
        sampling = self.settled_sampling
        return {
            "kind": "beacon",
            **{name: getattr(self, name) for name in names},
            "ratio": list(self.ratio) if isinstance(self.ratio, Sequence) else self.ratio,
            "prompts": self.prompts.to_json() if isinstance(self.prompts, BeaconPrompts) else self.prompts,
            "storage": self.storage,
            "draft_answer": self.draft_answer,
            "sampling": {**vars(sampling), "stop": list(sampling.stop)},
        }

    @cached_property
    def checkpoint(self) -> BeaconCheckpoint:
        """The checkpoint's folder and configuration, without its weights."""
        return open_checkpoint(
            self.model_name_or_path, revision=self.revision, token=self.token, cache_dir=self.cache_dir
        )

    @cached_property
    def chat(self) -> Chat:
        return load_chat(self.checkpoint.folder, self.checkpoint.config.get("eos_token_id"))

    @cached_property
    def texts(self) -> BeaconPrompts:
        """The prompts in use."""
        if isinstance(self.prompts, str):
            return LANGUAGES[self.language] if self.prompts == "ours" else installed_prompts(self.language)
        return self.prompts if isinstance(self.prompts, BeaconPrompts) else BeaconPrompts(**self.prompts)

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
                device = pick_device(self.device)
                self._check_room(device)
                self._loaded = load_decoder(
                    self.checkpoint, dtype=self.dtype, device=str(device), device_map=self.device_map, bits=self.bits
                )
            return self._loaded

    def _check_room(self, device: torch.device) -> None:
        """Refuse before loading what cannot fit. A map over several devices is the caller's own business."""
        precision = self._dtype(device) if self.bits is None else f"{self.bits} bits"
        what = f"for {self.checkpoint.name} in {precision}"
        remedy = "Pass a smaller dtype, bits=8 or 4, or another device."
        self._need(self.shape.weight_bytes(precision), device, what, remedy)

    def _check_memory_room(self, layout: Layout, tokens: int, device: torch.device) -> None:
        """Refuse a memory that the device has no room for, before the first window: a CPU would not say so in time."""
        dtype, ratio = self._dtype(device), min(self.ratios)
        needed = layout.peak_positions(tokens) * self.shape.entry_bytes(dtype) + self.shape.working_bytes(ratio, dtype)
        what = f"to memorize {tokens:,} tokens at ratio {ratio} in {dtype}"
        self._need(needed, device, what, "Pass a larger ratio or a smaller dtype; `memorag plan` tells what fits.")

    def _need(self, needed: int, device: torch.device, what: str, remedy: str) -> None:
        free = free_bytes(str(device)) if self.device_map is None else None
        if free is not None and needed > free:
            raise MemoryModelError(
                f"Expected {needed / 2**30:.1f} GiB free on {device} {what}, found {free / 2**30:.1f} GiB. {remedy}"
            )

    def _dtype(self, device: torch.device) -> str:
        return str(pick_dtype(self.dtype, self.checkpoint.config, device)).removeprefix("torch.")

    @property
    def parts(self) -> dict[str, str]:
        """What the fingerprint is made of, by name."""
        settings = self.checkpoint.settings
        layout = Layout.new(settings.window, self.ratios, settings.mix)
        ratios = " ".join(map(str, layout.draw.ratios))
        return {
            "weights": self._weights,
            "tokenizer": self._tokenizer,
            "prompts": self.texts.memory_hash,
            "ratio": ratios if len(layout.draw.ratios) == 1 else f"{ratios} {settings.mix}",
            "window": str(settings.window),
            "bits": str(self.bits),
        }

    @cached_property
    def _weights(self) -> str:
        return self.checkpoint.fingerprint()

    @cached_property
    def _tokenizer(self) -> str:
        return tokenizer_fingerprint(self.checkpoint.folder)

    @property
    def fingerprint(self) -> str:
        return f"beacon-{hashlib.sha256(json.dumps(self.parts).encode()).hexdigest()[:32]}"

    @property
    def capacity(self) -> int | None:
        """Tokens of one shard, room for prompts and replies taken off."""
        most = reach(self.checkpoint.settings.window, min(self.ratios), self.shape.max_positions)
        return max(1, most - HEADROOM - TEMPLATE)

    def count_tokens(self, text: str) -> int:
        return self.chat.count(self.chat.plain(clean_text(text)))

    def form(
        self, shard: Shard, *, progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> FormedBeaconMemory:
        """Read the shard's text once, window by window. Progress is in tokens, once a window.

        Raises:
            InputError: For a blank text, or one beyond the checkpoint's reach at this ratio, which is said before the
                weights load.
            MemoryModelError: Where the checkpoint cannot be used, or the device has no room.
            Cancelled: Between two windows; nothing is left behind.
        """
        if cancel is not None and cancel.is_set():
            raise Cancelled("Cancelled before the memory was formed.")
        if not shard.text.strip():
            raise InputError("A memory needs a text to be formed over; this shard's is blank.")
        shape = self.shape  # Says what is wrong with the configuration before the tokenizer trips over it.
        ids = self.chat.reading(self.texts.read(self.chat.plain(clean_text(shard.text))), self.texts.acknowledgement)
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
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> None:
        if progress is not None:
            progress("memorizing", 0, len(ids))
        for _ in decoder.passes(state, torch.tensor([ids])):
            if progress is not None:
                progress("memorizing", state.layout.tokens, len(ids))
            if cancel is not None and cancel.is_set():
                raise Cancelled("Cancelled while the memory was formed; nothing of it was kept.")

    def load(self, path: Path, shard: Shard) -> FormedBeaconMemory:
        manifest = stored.read_manifest(path)
        if manifest["fingerprint"] != self.fingerprint:
            raise MemoryModelError(self._another(path, manifest))
        stored.check_whole(path, manifest)
        about = manifest["about"]
        if about["content"] != shard.content_hash:
            raise MemoryModelError(
                f"The memory at {path} was formed over text {about['content'][:12]}, but text "
                f"{shard.content_hash[:12]} was given. Memorize the text again."
            )
        device = pick_device(self.device)
        dtype = pick_dtype(self.dtype, self.checkpoint.config, device)
        layout, entries = stored.load(path, manifest, dtype, device)
        self._check_entries(path, entries)
        return FormedBeaconMemory(self, shard, layout, entries)

    def _another(self, path: Path, manifest: Mapping[str, Any]) -> str:
        """That a memory was made by another model, and in what that one differs."""
        about, parts = manifest["about"], self.parts
        theirs = about.get("parts", {})
        differ = [name for name in parts if theirs.get(name) != parts[name]]
        return (
            f"The memory at {path} was made by {manifest['fingerprint']} ({about.get('model')}), but {self.fingerprint} "
            f"({self.checkpoint.name}) was given: {', '.join(differ) or 'the fingerprint'} differ (ratio "
            f"{theirs.get('ratio')} there, {parts['ratio']} here). Pass the model it was made by, or memorize the text "
            f"again."
        )

    def _check_entries(self, path: Path, entries: Entries) -> None:
        shape = self.shape
        expected = (shape.layers, 1, shape.kv_heads, shape.head_size)
        batch, heads, _, size = entries[0][0].shape
        if (len(entries), batch, heads, size) != expected:
            raise MemoryModelError(
                f"Expected layers, batch, heads and head size {expected} in {path}, found "
                f"{(len(entries), batch, heads, size)}. Memorize the text again."
            )


def _sampling(given: Sampling | Mapping[str, Any]) -> Sampling:
    if isinstance(given, Sampling):
        return given
    stop = given.get("stop", ())
    return Sampling(**{**given, "stop": stop if isinstance(stop, str) else tuple(stop)})
