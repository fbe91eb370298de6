"""`Model` and `Memory`: a checkpoint that writes, and one that has read a text and writes from memory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import engine
from ..decoding.generation import Sampling
from ..encoders.pretrained import find_config
from ..errors import InputError, MemoryModelError, check_extra
from ..memories.beacon import BeaconMemory
from ..memories.kv_memory import KVMemory
from ..memories.kv_model import KVLanguageModel
from ..memories.longcontext import LongContextMemory
from ..memories.recall_cache import uncached
from ..replies.clue_parsing import parse_list
from .arguments import NAME, as_document, check_count, check_switch, refuse_unknown

if TYPE_CHECKING:
    from ..memories.kv_model import KVMemoryModel

logger = logging.getLogger(__name__)


class Model:
    """An instruct checkpoint that replies to prompts. Its configuration is read at once, its weights when first used.

    Args:
        model_name_or_path: A local folder or a repo id.
        cache_dir, access_token: For the hub; "" or None for its client's own.
        beacon_ratio: Raw tokens for one memory entry, for a memory checkpoint alone; None for 4.
        load_in_4bit: Quantised weights, on CUDA (the `quantised` extra).
        enable_flash_attn: Taken for the original's sake: attention always runs on torch's fused kernels.

    Raises:
        InputError: For an unknown argument, and for one that cannot be honoured.
        MemoryModelError: Where the checkpoint cannot be had, is an encoder, or has no chat template.
    """

    def __init__(
        self,
        model_name_or_path: str,
        cache_dir: str | None = "",
        access_token: str | None = "",
        beacon_ratio: int | None = None,
        load_in_4bit: bool = False,
        enable_flash_attn: bool = True,
        **unknown: Any,
    ) -> None:
        refuse_unknown(type(self).__name__, Model.__init__, unknown)
        check_switch(load_in_4bit=load_in_4bit, enable_flash_attn=enable_flash_attn)
        self.model_name_or_path = model_name_or_path
        self.memory_model = open_model(model_name_or_path, cache_dir, access_token, beacon_ratio, load_in_4bit)

    def generate(
        self,
        prompts: str | list[str],
        batch_size: int = 1,
        max_new_tokens: int = 256,
        temperature: float | None = None,
        top_p: float | None = None,
        do_sample: bool = False,
    ) -> list[str]:
        """The reply to each prompt, always a list.

        Args:
            prompts: User messages, each by itself.
            batch_size: Prompts written side by side.
            max_new_tokens: Most tokens of a reply.
            temperature, top_p: With do_sample alone; draws follow torch's own generator (`torch.manual_seed`).
        """
        check_count(batch_size=batch_size)
        asked = [prompts] if isinstance(prompts, str) else list(prompts)
        sampling = as_sampling(max_new_tokens, temperature, top_p, do_sample)
        llm = KVLanguageModel(self.memory_model, sampling)
        batches = [asked[first : first + batch_size] for first in range(0, len(asked), batch_size)]
        return [reply.text for batch in batches for reply in llm.complete_batch(batch)]


class Memory(Model):
    """A checkpoint as a memory: it reads a text once and keeps the cache; replies are written over it.

    A checkpoint with beacon_* keys in its config.json compresses what it reads ("beacon"); any other keeps it whole
    ("longllm"). The prompts are Chinese where the checkpoint's name says so, as in the original.

    Args:
        model_name_or_path, cache_dir, access_token, beacon_ratio, load_in_4bit, enable_flash_attn: See `Model`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "chinese" in str(self.model_name_or_path).lower():
            self.memory_model.language = "zh"
        self.settings: dict[str, Any] = {}
        self.memo = self._empty()

    @property
    def memo_type(self) -> str:
        """ "beacon" or "longllm"."""
        return "beacon" if isinstance(self.memory_model, BeaconMemory) else "longllm"

    @property
    def memory(self) -> KVMemory | None:
        """What was formed, or None."""
        try:
            [found] = self.memo.corpus.memories
        except InputError:
            return None
        memory = uncached(found)
        assert isinstance(memory, KVMemory)
        return memory

    def memorize(self, context: str, **unknown: Any) -> None:
        """Read a text once. One beyond a beacon checkpoint's reach is refused; of another it is read in parts.

        Raises:
            InputError: For anything but a text, a blank one, or an unknown argument.
        """
        refuse_unknown("Memory.memorize", Memory.memorize, unknown)
        self.memo.memorize(as_document(context))

    def save(self, path: str | Path) -> None:
        """Write text and memory to `path`, a folder whatever its name ends in; nothing in it can run code.

        Raises:
            StoreError: Where something else lies there.
        """
        self._formed()
        self.memo.save(path)

    def load(self, path: str | Path) -> None:
        """Read what `save`, or `MemoRAG.memorize(save_dir=…)`, wrote.

        Raises:
            StoreError: For anything else; what the original wrote is recognised, and never opened.
        """
        loaded = engine.MemoRAG.load(path, memory=self.memory_model, **self.settings)
        if list(loaded.corpus.documents) != [NAME]:
            raise InputError(
                f"Expected a store of one text at {path}, found {len(loaded.corpus.documents)} documents. Load it with "
                f"memorag_integrations.MemoRAG.load."
            )
        self.memo = loaded

    def answer(self, query: str, max_new_tokens: int = 128) -> str:
        """The answer from memory alone."""
        return self._formed().answer(query, sampling=as_sampling(max_new_tokens)).text

    def recall(self, query: str, max_new_tokens: int = 128) -> str:
        """Text clues: passages to look up, one a line."""
        return self._lines("spans", query, max_new_tokens)

    def rewrite(self, query: str, max_new_tokens: int = 128) -> str:
        """Surrogate questions, one a line."""
        return self._lines("questions", query, max_new_tokens)

    def summarize(self, max_new_tokens: int = 512) -> str:
        """The text's key points, one a line."""
        return self._lines("key_points", "", max_new_tokens)

    def generate(  # type: ignore[override]  # the original's own two forms
        self,
        instruct: str | list[str],
        query: str = "",
        max_new_tokens: int = 256,
        temperature: float | None = None,
        top_p: float | None = None,
        do_sample: bool = False,
        with_cache: bool = True,
    ) -> list[str]:
        """The reply to each instruction over the memory, always a list.

        Args:
            instruct: Messages, with {question} where the query goes.
            query: Fills {question}.
            with_cache: False for replies without the memory.
        """
        check_switch(with_cache=with_cache)
        asked = [instruct] if isinstance(instruct, str) else list(instruct)
        asked = [message.replace("{question}", query) for message in asked] if query else asked
        if not with_cache:
            return super().generate(asked, 1, max_new_tokens, temperature, top_p, do_sample)
        sampling = as_sampling(max_new_tokens, temperature, top_p, do_sample)
        return [reply.text for reply in self._formed().reply(asked, sampling=sampling)]

    def reset(self) -> None:
        """Forget the text."""
        self.memo = self._empty()

    def _empty(self) -> engine.MemoRAG:
        return engine.MemoRAG(self.memory_model, **self.settings)

    def _formed(self) -> KVMemory:
        memory = self.memory
        if memory is None:
            raise InputError("There is no memory yet. Call memorize(context), or load(path), first.")
        return memory

    def _lines(self, task: str, query: str, max_new_tokens: int) -> str:
        memory = self._formed()
        if task != "key_points" and not query.strip():
            raise InputError(f"Expected a question, found {query!r}.")
        message = self.memory_model.texts.ask(task, query)
        [reply] = memory.reply([message], sampling=as_sampling(max_new_tokens))
        return "\n".join(parse_list(reply.text))


def open_model(
    name: str, cache_dir: str | None, access_token: str | None, beacon_ratio: int | None, load_in_4bit: bool
) -> KVMemoryModel:
    """The memory model for a checkpoint, by its config.json; all but its weights is there and checked.

    Raises:
        InputError, MemoryModelError: As `Model`.
    """
    check_extra("A checkpoint", "hf")
    if load_in_4bit:
        _check_cuda()
    where: dict[str, Any] = {"token": access_token or None, "cache_dir": cache_dir or None}
    config = find_config(name, MemoryModelError, **where)
    bits = 4 if load_in_4bit else None
    model: KVMemoryModel
    if any(key.startswith("beacon_") for key in config):
        model = BeaconMemory(str(name), ratio=4 if beacon_ratio is None else beacon_ratio, bits=bits, **where)
    elif beacon_ratio is not None:
        raise InputError(
            f"beacon_ratio={beacon_ratio!r} is for memory checkpoints, which compress what they read; {name} is an "
            f"ordinary model (no beacon_* keys in its config.json), and keeps it whole. Leave beacon_ratio out."
        )
    else:
        model = LongContextMemory(str(name), bits=bits, **where)
    _ = model.checkpoint, model.chat, model.reach  # what is wrong with them is said now
    return model


def as_sampling(
    max_new_tokens: int, temperature: float | None = None, top_p: float | None = None, do_sample: bool = False
) -> Sampling:
    """How replies are written, out of the original's arguments; draws begin where torch's own generator stands."""
    check_count(max_new_tokens=max_new_tokens)
    check_switch(do_sample=do_sample)
    if not do_sample:
        if temperature is not None or top_p is not None:
            logger.warning("temperature and top_p do nothing without do_sample=True: the likeliest token is taken.")
        return Sampling(max_new_tokens)
    import torch

    seed = int(torch.randint(2**31, ()).item())
    return Sampling(
        max_new_tokens, 1.0 if temperature is None else temperature, 1.0 if top_p is None else top_p, (), seed
    )


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise InputError("load_in_4bit=True needs a CUDA device, and there is none here. Leave it out.")
