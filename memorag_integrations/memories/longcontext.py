"""The long-context memory: any causal language model reads the text once, and its KV cache is kept and asked for clues.

MemoRAG's "long LLM as memory" (arXiv 2409.05591): no compression, no special checkpoint, a cache of the text's length.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import torch

from ..beacon.size import BYTES
from ..contracts import Config, Progress
from ..decoding import storage
from ..decoding.branches import Entries
from ..decoding.cache import GrowingCache
from ..decoding.causal import CausalDecoder, PrefixBranches
from ..decoding.checkpoint import FAMILIES, Checkpoint, load_model, weight_files
from ..decoding.families import causal_config, check_causal, window_of
from ..decoding.quantised import QuantisedEntries, check_cache_dtype
from ..documents import Shard
from ..errors import Cancelled, InputError, MemoryModelError
from ..text.chunking import Range, fit_to_tokens
from .files import UNREADABLE
from .kv_memory import KEY_POINTS, KVMemory, TextPart
from .kv_model import KVMemoryModel

QUERY_TOKENS = 512
"""Tokens of the window kept free for a query."""
SLACK = 16
"""Tokens kept free because a text has a few more in its prompt than by itself."""
LEAST_TEXT = 64
"""Tokens of text below which a window is of no use."""
OVERFLOWS = ("split", "refuse")


@dataclass
class LongContextMemory(KVMemoryModel):
    """Settings of the long-context memory. The checkpoint is read when first used, and once.

    Args:
        model_name_or_path: An instruct checkpoint with a chat template: a local folder or a repo id.
        context_window: Most tokens of text, prompts and replies together; None for all the checkpoint has.
        overflow: What becomes of a text beyond the window: "split" reads its parts one by one and joins their clues,
            "refuse" raises when the memory is formed. Nothing is ever cut off unseen.
        kv_cache_dtype: How the text's keys and values are held: "auto", as the model computes, or "fp8", by transformers'
            Fp8QuantizedLayer, in a half (bfloat16) or a quarter (float32) of that. A part is read in full before it is
            quantised; `storage` says how it is saved.
        revision, token, cache_dir, dtype, device, device_map, bits, prompts, language, storage, draft_answer, sampling:
            See `KVMemoryModel`.

    Raises:
        InputError: For settings that make no sense.
    """

    kind: ClassVar[str] = "longcontext"

    context_window: int | None = None
    overflow: str = "split"
    kv_cache_dtype: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        window = self.context_window
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise InputError(f"Expected context_window to be a number of tokens or None, found {window!r}.")
        check_cache_dtype(self.kv_cache_dtype)
        if self.overflow not in OVERFLOWS:
            raise InputError(f"Expected overflow out of {', '.join(OVERFLOWS)}, found {self.overflow!r}.")

    @property
    def config(self) -> Config | None:
        settings = self.settings()
        own = {name: getattr(self, name) for name in ("context_window", "overflow", "kv_cache_dtype")}
        return None if settings is None else {**settings, **own}

    @cached_property
    def checkpoint(self) -> Checkpoint:
        name = self.model_name_or_path
        found, config = Checkpoint.find(name, revision=self.revision, token=self.token, cache_dir=self.cache_dir)
        check_causal(config, name)
        return Checkpoint(found.path, name, found.commit, config, weight_files(found.path))

    @cached_property
    def reach(self) -> int:
        """The window, in tokens."""
        return window_of(self.checkpoint.folder, self.checkpoint.name, self.context_window)

    @cached_property
    def task_room(self) -> int:
        """Tokens kept free behind a text: for a task's prompt with a query in it, and its reply."""
        tasks = [self.chat.task(self.texts.ask(task, "")) for task in ("spans", "questions", "answer", "key_points")]
        reply = max(self.settled_sampling.max_tokens, KEY_POINTS.max_tokens)
        return max(map(len, tasks)) + QUERY_TOKENS + reply

    @cached_property
    def capacity(self) -> int:
        """Tokens of text that one reading holds, room for prompts and replies taken off.

        Raises:
            InputError: For a window that leaves none.
        """
        frame = len(self._reading(""))
        room = self.reach - frame - self.task_room - SLACK
        if room < LEAST_TEXT:
            raise InputError(
                f"A window of {self.reach:,} tokens leaves {max(room, 0)} for the text, beside {frame} for the reading "
                f"prompt and {self.task_room} for a task and its reply. Pass a larger context_window, or another model."
            )
        return room

    @property
    def decoder(self) -> CausalDecoder:
        """The model, loaded when first asked for."""
        with self._lock:
            if "_loaded" not in self.__dict__:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> CausalDecoder:
        device, dtype = self.picked()
        checkpoint, window = self.checkpoint, self.reach
        precision = self.precision() if self.bits is None else f"{self.bits} bits"
        own = str(checkpoint.config.get("dtype") or checkpoint.config.get("torch_dtype") or "float32")
        needed = sum(path.stat().st_size for path in checkpoint.files) * BYTES[precision] / BYTES.get(own, 4.0)
        remedy = "Pass a smaller dtype, bits=8 or 4, or another device."
        self.need(int(needed), device, f"for {checkpoint.name} in {precision}", remedy)
        config = causal_config(checkpoint.folder, checkpoint.config, checkpoint.name)
        decoder = CausalDecoder(load_model(checkpoint, config, dtype, device, self.device_map, self.bits), window)
        if config.model_type not in FAMILIES:
            decoder.prove()
        return decoder

    def branches_of_nothing(self, count: int = 1) -> PrefixBranches:
        return PrefixBranches(self.decoder, [], count)

    @property
    def parts(self) -> dict[str, str]:
        return {
            "weights": self.weights_hash,
            "tokenizer": self.tokenizer_hash,
            "prompts": self.texts.memory_hash,
            "window": str(self.reach),
            "bits": str(self.bits),
        }

    def _reading(self, text: str) -> list[int]:
        return self.chat.reading(self.texts.read(self.chat.plain(text)), self.texts.acknowledgement)

    def read(
        self, shard: Shard, text: str, progress: Progress, cancel: threading.Event | None
    ) -> FormedLongContextMemory:
        """Read the shard's text once, piece by piece; no logits are computed. Progress is in tokens, once a piece.

        Raises:
            InputError: With overflow="refuse", for a text beyond the window, which is said before the
                weights load.
            MemoryModelError: Where the checkpoint cannot be used, or the device has no room.
            Cancelled: Between two pieces; nothing is left behind.
        """
        places = self._places(text)
        readings = [self._reading(text[start:end]) for start, end in places]
        parts = tuple(TextPart(place, len(ids)) for place, ids in zip(places, readings, strict=True))
        decoder = self.decoder
        self._check_room(decoder, sum(map(len, readings)))
        try:
            entries = self._read(decoder, readings, progress, cancel)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise MemoryModelError(
                f"No room on {decoder.device} for a cache of {sum(map(len, readings)):,} tokens ({error}). Pass a "
                f"smaller dtype, shorter texts, or use BeaconMemory, which keeps a fraction of it."
            ) from error
        return FormedLongContextMemory(self, shard, parts, entries)

    def _places(self, text: str) -> list[Range]:
        tokens, most = self.count_tokens(text), self.capacity
        if tokens <= most:
            return [(0, len(text))]
        if self.overflow == "refuse":
            raise InputError(
                f"The text has {tokens:,} tokens, and {self.checkpoint.name} holds {most:,} beside prompts and replies. "
                f'Pass overflow="split" to read its parts one by one, a larger window, or use BeaconMemory.'
            )
        return fit_to_tokens(text, self.count_tokens, most)

    def _check_room(self, decoder: CausalDecoder, tokens: int) -> None:
        """Refuse a cache that the device has no room for, before the first piece: a CPU would not say so in time."""
        config = decoder.model.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        needed = 2 * decoder.layers * heads * size * tokens * decoder.dtype.itemsize
        what = f"to memorize {tokens:,} tokens in {self.precision()}"
        self.need(
            needed, decoder.device, what, "Pass a smaller dtype, or use BeaconMemory, which keeps a fraction of it."
        )

    def _read(
        self,
        decoder: CausalDecoder,
        readings: Sequence[Sequence[int]],
        progress: Progress,
        cancel: threading.Event | None,
    ) -> Entries:
        total, before = sum(map(len, readings)), 0
        entries: Any = self._held([])
        progress("memorizing", 0, total)
        for ids in readings:
            cache = GrowingCache(decoder.layers, room=len(ids))
            for done in decoder.read(cache, ids):
                progress("memorizing", before + done, total)
                if cancel is not None and cancel.is_set():
                    raise Cancelled("Cancelled while the memory was formed; nothing of it was kept.")
            before += len(ids)
            entries += self._held(cache.entries())
        return cast(Entries, entries)

    def _held(self, entries: Entries) -> Any:
        return QuantisedEntries(entries) if self.kv_cache_dtype == "fp8" else list(entries)

    def load(self, path: Path, shard: Shard) -> FormedLongContextMemory:
        manifest = storage.read_manifest(path)
        self.check_same(path, manifest)
        storage.check_size(path, manifest)
        self.check_text(path, manifest, shard)
        device, dtype = self.picked()
        entries = storage.load(path, manifest, dtype, device)
        try:
            parts = tuple(TextPart((int(a), int(b)), int(tokens)) for a, b, tokens in manifest["layout"]["parts"])
            self._check_entries(parts, entries)
        except UNREADABLE as error:
            raise MemoryModelError(
                f"The memory at {path} cannot be read ({error}). Memorize the text again."
            ) from error
        return FormedLongContextMemory(self, shard, parts, self._held(entries))

    def _check_entries(self, parts: Sequence[TextPart], entries: Entries) -> None:
        config: Any = self.checkpoint.config
        layers = int(config["num_hidden_layers"])
        if not parts or len(entries) != layers * len(parts):
            raise ValueError(f"expected {layers} layers for each of {len(parts)} parts, found {len(entries)} in all")
        shape = entries[0][0].shape
        for i, pair in enumerate(entries):
            expected = [1, shape[1], parts[i // layers].tokens, shape[3]]
            if any(list(tensor.shape) != expected for tensor in pair):
                raise ValueError(f"expected keys and values {expected}, found {[list(t.shape) for t in pair]}")


@dataclass(frozen=True)
class FormedLongContextMemory(KVMemory):
    """A memory over one shard.

    Args:
        model: What made it.
        shard: The text.
        parts: In the order of the text; one unless it was beyond the window.
        entries: Keys and values of each layer, [1, kv heads, tokens of the part, head size]; the layers of the first
            part, then those of the second, ….
    """

    model: LongContextMemory
    shard: Shard
    parts: tuple[TextPart, ...]
    entries: Entries = field(repr=False)

    def branches(self, part: int, count: int) -> PrefixBranches:
        layers = len(self.entries) // len(self.parts)
        return PrefixBranches(self.model.decoder, self.entries[layers * part : layers * (part + 1)], count)

    def save(self, path: Path) -> None:
        model = self.model
        about = model.about(self.shard, self.entries[0][0].dtype, self.token_count)
        layout = {"parts": [[*part.place, part.tokens] for part in self.parts]}
        storage.save(path, self.entries, model.storage, model.fingerprint, about, layout=layout)
