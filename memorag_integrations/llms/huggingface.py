"""A local Hugging Face causal language model as the `LLM` contract."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..clues import Completion, Usage
from ..contracts import LLM, Config
from ..documents import clean_text
from ..encoders.pretrained import not_had
from ..errors import InputError, LLMError, MemoryModelError, check_extra
from ..threads import in_thread

_CONTENT = "\ue000content\ue001"
_NO_LIMIT = 10**9


@dataclass
class _Prefix:
    """Keys and values of a prompt and its reply [layers × (1, heads, tokens, head size)], and their token ids."""

    ids: list[int]
    cache: Any


class HuggingFaceLLM(LLM):
    """`AutoModelForCausalLM` by folder or hub name, loaded when first used; greedy decoding.

    Weights are read from safetensors alone, and no code that a checkpoint carries is run. Special tokens that stand in
    a prompt are read as plain characters, so that a document cannot end its turn of the chat. The keys and values of
    the last prompts are kept: a prompt that begins like one reads only the rest (reported as cached tokens).

    Args:
        model: Folder, or name on the hub.
        device: Where to run, as torch names it; None: on a GPU where torch finds one.
        dtype: As torch names it, or "auto" for the checkpoint's own.
        context_window: Tokens of prompt and reply; the checkpoint's own otherwise.
        chat: Whether to speak through the tokenizer's chat template; None: where it has one.
        prefixes: Prompts whose keys and values are kept, the last used; each takes memory on the device. 0: none.

    Raises:
        MissingExtraError: Without torch and transformers (the `hf` extra).
    """

    DEFAULT_REPLY = 1024
    """Most tokens of a reply where the call does not say."""

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | None = None,
        dtype: str = "auto",
        context_window: int | None = None,
        chat: bool | None = None,
        prefixes: int = 1,
    ) -> None:
        check_extra("HuggingFaceLLM", "hf")
        self._source = str(model)
        self._wanted_device, self._dtype, self._window, self._chat = device, dtype, context_window, chat
        self._most_prefixes = prefixes
        self._prefixes: list[_Prefix] = []
        self._running = threading.Lock()
        self._loading = threading.RLock()
        self._tokenizing = threading.Lock()

    @property
    def name(self) -> str:
        return f"HuggingFaceLLM {Path(self._source).name if Path(self._source).exists() else self._source}"

    @property
    def config(self) -> Config | None:
        """How a store makes it again: for a folder only, so that loading a store downloads nothing."""
        if not Path(self._source).is_dir():
            return None
        settings = {
            "device": self._wanted_device,
            "dtype": self._dtype,
            "context_window": self._window,
            "chat": self._chat,
        }
        settings |= {"prefixes": self._most_prefixes}
        return {"kind": "huggingface", "model": str(Path(self._source).resolve()), **settings}

    @cached_property
    def context_window(self) -> int | None:
        if self._window:
            return self._window
        config = self._config
        sizes = [getattr(config.get_text_config(), "max_position_embeddings", None), self._tokenizer.model_max_length]
        return min((size for size in sizes if isinstance(size, int) and 0 < size < _NO_LIMIT), default=None)

    def count_tokens(self, text: str) -> int:
        return len(self._ids(text, plain=True))

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        return self._complete(prompt, max_tokens, threading.Event())

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        """`complete` in a thread; cancelling the task stops the generation at its next token."""
        stop = threading.Event()
        try:
            return await in_thread(self._complete, prompt, max_tokens, stop)
        finally:
            stop.set()

    def complete_batch(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[Completion]:
        """All prompts in one pass, padded on the left; the time is shared out evenly."""
        import torch

        began = time.perf_counter()
        rows = [self._encode(prompt) for prompt in prompts]
        longest = max(map(len, rows))
        limit = self._limit(longest, max_tokens)
        ids = torch.tensor([[self._pad] * (longest - len(row)) + row for row in rows], device=self._device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self._device)
        with self._running, torch.inference_mode():
            found = self._model.generate(ids, attention_mask=mask, max_new_tokens=limit, **self._greedy)
        replies = [self._until_end(reply) for reply in found[:, longest:].tolist()]
        seconds = (time.perf_counter() - began) / len(rows)
        return [
            Completion(self._decode(reply), Usage(len(row), 0, len(reply), seconds, 1))
            for row, reply in zip(rows, replies, strict=True)
        ]

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        """The reply in pieces; closing the iterator stops the generation."""
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        stop = threading.Event()
        failed: list[BaseException] = []

        def work() -> None:
            try:
                self._complete(prompt, max_tokens, stop, streamer)
            except BaseException as error:
                failed.append(error)
                streamer.end()

        thread = threading.Thread(target=work, name="memorag-stream", daemon=True)
        thread.start()
        try:
            yield from streamer
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        pieces = self.stream(prompt, max_tokens=max_tokens)
        try:
            while (piece := await in_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            await in_thread(pieces.close)  # type: ignore[attr-defined]

    # ── loading ───────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _config(self) -> Any:
        from transformers import AutoConfig

        from ..decoding.families import check_no_encoder

        with _loading_errors(self._source):
            config = AutoConfig.from_pretrained(self._source, trust_remote_code=False)
        try:
            check_no_encoder(config.to_dict(), self._source)
        except MemoryModelError as error:
            raise LLMError(str(error)) from error
        return config

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        with self._loading, _loading_errors(self._source):
            return AutoTokenizer.from_pretrained(self._source, trust_remote_code=False)

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModelForCausalLM

        _ = self._config  # says what is none
        with self._loading, _loading_errors(self._source):
            model: Any = AutoModelForCausalLM.from_pretrained(
                self._source, dtype=self._dtype, trust_remote_code=False, use_safetensors=True
            )
        return model.to(self._device).eval()

    @cached_property
    def _device(self) -> str:
        import torch

        return self._wanted_device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def _pad(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(pad if pad is not None else (self._ends or [0])[0])

    @property
    def _ends(self) -> list[int]:
        ends = self._model.generation_config.eos_token_id
        ends = self._tokenizer.eos_token_id if ends is None else ends
        return [] if ends is None else [int(end) for end in (ends if isinstance(ends, list) else [ends])]

    @property
    def _greedy(self) -> dict[str, Any]:
        unset = {"temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": False, "num_beams": 1, "pad_token_id": self._pad, **unset}

    # ── prompts and replies ───────────────────────────────────────────────────────────────────────────────────────

    def _encode(self, prompt: str) -> list[int]:
        """Token ids of the prompt as the model is to read it; special tokens only where the template sets them."""
        if not prompt.strip():
            raise InputError("A prompt must hold some text, found a blank one.")
        tokenizer = self._tokenizer
        chat = bool(tokenizer.chat_template) if self._chat is None else self._chat
        if not chat:
            head, tail = "", ""
            begin = tokenizer.bos_token_id if getattr(tokenizer, "add_bos_token", False) else None
            start = [] if begin is None else [begin]
        else:
            if not tokenizer.chat_template:
                raise InputError(f"{self.name} has no chat template. Leave chat out, or pass chat=False.")
            message = [{"role": "user", "content": _CONTENT}]
            whole = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
            head, _, tail = whole.partition(_CONTENT)
            start = []
        return [*start, *self._ids(head), *self._ids(prompt, plain=True), *self._ids(tail)]

    def _ids(self, text: str, plain: bool = False) -> list[int]:
        """Token ids; with `plain`, special tokens are spelled out. One thread at a time: a call sets the tokenizer up."""
        if not text:
            return []
        tokenizer = self._tokenizer
        with self._tokenizing:
            ids = tokenizer(clean_text(text), add_special_tokens=False, split_special_tokens=plain).input_ids
        return [int(token) for token in ids]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _until_end(self, ids: list[int]) -> list[int]:
        ends = set(self._ends)
        return ids[: next((i + 1 for i, token in enumerate(ids) if token in ends), len(ids))]

    def _limit(self, read: int, max_tokens: int | None) -> int:
        window = self.context_window or _NO_LIMIT
        if read + (max_tokens or 1) > window:
            raise LLMError(
                f"The prompt has {read} tokens and the reply up to {max_tokens or 1}, but the window of {self.name} "
                f"is {window}. Shorten the text, or use a model with a larger window."
            )
        return max_tokens or min(self.DEFAULT_REPLY, window - read)

    def _complete(self, prompt: str, max_tokens: int | None, stop: threading.Event, streamer: Any = None) -> Completion:
        import torch
        from transformers import StoppingCriteriaList

        began = time.perf_counter()
        ids = self._encode(prompt)
        limit = self._limit(len(ids), max_tokens)
        with self._running, torch.inference_mode():
            cached, cache = self._take_prefix(ids)
            found = self._model.generate(
                torch.tensor([ids], device=self._device),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=self._device),
                past_key_values=cache,
                max_new_tokens=limit,
                stopping_criteria=StoppingCriteriaList([lambda *_, **__: torch.tensor([stop.is_set()])]),
                streamer=streamer,
                return_dict_in_generate=True,
                **self._greedy,
            )
            sequence = found.sequences[0].tolist()
            self._keep_prefix(sequence, found.past_key_values)
        reply = sequence[len(ids) :]
        usage = Usage(len(ids) - cached, cached, len(reply), time.perf_counter() - began, 1)
        return Completion(self._decode(reply), usage)

    def _take_prefix(self, ids: list[int]) -> tuple[int, Any]:
        """How many first tokens of `ids` are kept from an earlier call, and their keys and values; they are taken out.

        A prompt that shares less than half of what is kept leaves it to those that will share more.
        """
        shared = [_shared(ids[:-1], kept.ids) for kept in self._prefixes]
        best = max(range(len(shared)), key=shared.__getitem__, default=None)
        if best is None or 2 * shared[best] < len(self._prefixes[best].ids):
            return 0, None
        kept = self._prefixes.pop(best)
        if surplus := len(kept.ids) - shared[best]:
            kept.cache.crop(-surplus)
        return shared[best], kept.cache

    def _keep_prefix(self, sequence: list[int], cache: Any) -> None:
        """Only caches that hold every position can be cropped: those of sliding windows and state spaces are let go."""
        from transformers.cache_utils import DynamicCache, DynamicLayer

        whole = isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)
        if self._most_prefixes and whole:
            self._prefixes.append(_Prefix(sequence[: int(cache.get_seq_length())], cache))
            del self._prefixes[: -self._most_prefixes]


def _shared(one: list[int], other: list[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


class _loading_errors:
    """What transformers says of a checkpoint that it cannot load comes out as LLMError."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError | KeyError | RuntimeError | ImportError):
            raise LLMError(
                f"{not_had(self._source, error)} Expected a folder or hub name with config.json, a tokenizer and "
                f"*.safetensors weights."
            ) from error
