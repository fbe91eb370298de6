"""The base of the memory models that keep keys and values: the checkpoint's settings, and the checkpoint as a writer."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from ..beacon.size import free_bytes
from ..clues import Completion, Usage
from ..contracts import LLM
from ..decoding.chat import Chat, load_chat, tokenizer_fingerprint
from ..decoding.checkpoint import Checkpoint, pick_device, pick_dtype
from ..decoding.generation import Sampling, Transcript, write
from ..decoding.storage import check_storage
from ..documents import Shard, clean_text
from ..errors import InputError, MemoryModelError, check_extra
from ..prompts.beacon import LANGUAGES, BeaconPrompts
from ..prompts.memorag import installed_prompts
from .base import BaseMemoryModel


@dataclass(kw_only=True)
class KVMemoryModel(BaseMemoryModel):
    """The settings; the checkpoint is read when first used, and once.

    Args:
        model_name_or_path: A local folder or a repo id.
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
        MissingExtraError: Without torch and transformers (the `hf` extra).
    """

    kind: ClassVar[str]
    """Its name in the registry."""

    model_name_or_path: str = field(kw_only=False)
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
        check_extra(type(self).__name__, "hf")
        if not isinstance(self.model_name_or_path, str | Path) or not str(self.model_name_or_path).strip():
            raise InputError(f"Expected a checkpoint's folder or repo id, found {self.model_name_or_path!r}.")
        if isinstance(self.model_name_or_path, Path):
            self.model_name_or_path = str(self.model_name_or_path)
        check_storage(self.storage)
        if self.language not in LANGUAGES:
            raise InputError(f"Expected language out of {', '.join(LANGUAGES)}, found {self.language!r}.")
        if isinstance(self.prompts, str) and self.prompts not in ("ours", "memorag"):
            raise InputError(f"Expected prompts 'ours', 'memorag' or BeaconPrompts, found {self.prompts!r}.")
        if isinstance(self.prompts, Mapping):
            try:
                self.prompts = BeaconPrompts(**self.prompts)
            except TypeError as error:
                raise InputError(
                    f"Expected prompts with the fields of BeaconPrompts, found others: {error}."
                ) from error
        if self.bits not in (None, 8, 4):
            raise InputError(f"Expected bits to be 8, 4 or None, found {self.bits!r}.")
        self.settled_sampling = _sampling(self.sampling)
        self._lock = threading.RLock()

    @property
    @abstractmethod
    def checkpoint(self) -> Checkpoint:
        """The checkpoint's folder and configuration, without its weights."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, str]:
        """What the fingerprint is made of, by name."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Tokens of a prompt and its reply, without a memory."""

    @abstractmethod
    def branches_of_nothing(self, count: int = 1) -> Any:
        """Branches that start without a memory.

        Args:
            count: Branches.
        """

    @property
    def llm(self) -> LLM:  # type: ignore[override]
        """The same model as a writer of answers and summaries from evidence."""
        return KVLanguageModel(self)

    def settings(self) -> dict[str, Any] | None:
        """The settings above in JSON, or None where they hold what JSON cannot."""
        if self.device_map is not None and not isinstance(self.device_map, str | Mapping):
            return None
        names = ("model_name_or_path", "revision", "cache_dir", "dtype", "device", "device_map", "bits", "language")
        sampling = self.settled_sampling
        return {
            "kind": self.kind,
            **{name: getattr(self, name) for name in names},
            "prompts": self.prompts.to_json() if isinstance(self.prompts, BeaconPrompts) else self.prompts,
            "storage": self.storage,
            "draft_answer": self.draft_answer,
            "sampling": {**vars(sampling), "stop": list(sampling.stop)},
        }

    @cached_property
    def chat(self) -> Chat:
        return load_chat(self.checkpoint.folder, self.checkpoint.config.get("eos_token_id"))

    @cached_property
    def texts(self) -> BeaconPrompts:
        """The prompts in use."""
        if isinstance(self.prompts, str):
            return LANGUAGES[self.language] if self.prompts == "ours" else installed_prompts(self.language)
        assert isinstance(self.prompts, BeaconPrompts)  # a mapping was made one at the start
        return self.prompts

    @cached_property
    def weights_hash(self) -> str:
        return self.checkpoint.fingerprint()

    @cached_property
    def tokenizer_hash(self) -> str:
        return tokenizer_fingerprint(self.checkpoint.folder)

    @property
    def fingerprint(self) -> str:
        return f"{self.kind}-{hashlib.sha256(json.dumps(self.parts).encode()).hexdigest()[:32]}"

    def count_tokens(self, text: str) -> int:
        return self.chat.count(self.chat.plain(clean_text(text)))

    def picked(self) -> tuple[torch.device, torch.dtype]:
        """Where and in what precision the model runs."""
        device = pick_device(self.device)
        return device, pick_dtype(self.dtype, self.checkpoint.config, device)

    def precision(self) -> str:
        """Of activations and memory, by name."""
        return str(self.picked()[1]).removeprefix("torch.")

    def need(self, needed: int, device: torch.device, what: str, remedy: str) -> None:
        """Refuse what cannot fit a device. With `device_map` nothing is refused: the caller has chosen the devices.

        Args:
            needed: Bytes.
            device: Where they are needed.
            what, remedy: For the message.

        Raises:
            MemoryModelError: Where the device has less room than `needed` bytes.
        """
        free = free_bytes(str(device)) if self.device_map is None else None
        if free is not None and needed > free:
            raise MemoryModelError(
                f"Expected {needed / 2**30:.1f} GiB free on {device} {what}, found {free / 2**30:.1f} GiB. {remedy}"
            )

    def about(self, shard: Shard, dtype: torch.dtype, tokens: int) -> dict[str, Any]:
        """What a saved memory's manifest says of its making."""
        return {
            "parts": self.parts,
            "model": self.checkpoint.name,
            "revision": self.checkpoint.revision,
            "prompts": self.texts.to_json(),
            "dtype": str(dtype).removeprefix("torch."),
            "content": shard.content_hash,
            "tokens": tokens,
        }

    def check_same(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Whether a saved memory is this model's.

        Raises:
            MemoryModelError: With both fingerprints, and in what the models differ.
        """
        if manifest["fingerprint"] == self.fingerprint:
            return
        about, parts = manifest["about"], self.parts
        theirs = about.get("parts", {})
        differ = [name for name in parts if theirs.get(name) != parts[name]]
        short = [f"{name} {theirs.get(name)} there, {parts[name]} here" for name in differ if len(parts[name]) < 32]
        raise MemoryModelError(
            f"The memory at {path} was made by {manifest['fingerprint']} ({about.get('model')}), but {self.fingerprint} "
            f"({self.checkpoint.name}) was given: {', '.join(differ) or 'the fingerprint'} differ"
            f"{' (' + ', '.join(short) + ')' if short else ''}. Pass the model it was made by, or memorize the text again."
        )

    def check_text(self, path: Path, manifest: Mapping[str, Any], shard: Shard) -> None:
        """Raises MemoryModelError where a saved memory was formed over another text."""
        found = str(manifest["about"].get("content"))
        if found != shard.content_hash:
            raise MemoryModelError(
                f"The memory at {path} was formed over text {found[:12]}, but text {shard.content_hash[:12]} was given. "
                f"Memorize the text again."
            )


@dataclass(frozen=True)
class KVLanguageModel(LLM):
    """A memory model's checkpoint as a writer of answers, as in the original MemoRAG: the prompt is all it reads.

    A beacon checkpoint compresses what is beyond its window.

    Args:
        model: Whose weights and settings are used.
        sampling: How replies are written; None for as the model says.
    """

    model: KVMemoryModel
    sampling: Sampling | None = None

    @property
    def name(self) -> str:
        return f"{self.model.kind} {self.model.model_name_or_path}"

    @property
    def context_window(self) -> int | None:
        return self.model.reach

    def count_tokens(self, text: str) -> int:
        return self.model.count_tokens(text)

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        """The reply to one user message.

        Raises:
            InputError: For a prompt beyond the model's reach.
        """
        return self.complete_batch([prompt], max_tokens=max_tokens)[0]

    def complete_batch(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[Completion]:
        """The replies to several, written side by side; the time is shared out evenly."""
        began = time.perf_counter()
        transcripts, read, pieces = self._writing(prompts, max_tokens)
        for _ in pieces:
            pass
        seconds = (time.perf_counter() - began) / len(prompts)
        return [
            Completion(transcript.text, Usage(tokens, 0, len(transcript.ids), seconds, 1))
            for transcript, tokens in zip(transcripts, read, strict=True)
        ]

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        """The reply in pieces, as it is written."""
        for _, piece in self._writing([prompt], max_tokens)[2]:
            yield piece

    def _writing(
        self, prompts: Sequence[str], max_tokens: int | None
    ) -> tuple[list[Transcript], list[int], Iterator[tuple[int, str]]]:
        model = self.model
        sampling = self.sampling or model.settled_sampling
        sampling = replace(sampling, max_tokens=max_tokens or sampling.max_tokens)
        ids = [model.chat.task(model.chat.plain(clean_text(prompt))) for prompt in prompts]
        branches = model.branches_of_nothing(len(ids))
        branches.check([len(tokens) + sampling.max_tokens for tokens in ids])
        drawn = [replace(sampling, seed=sampling.seed + i) for i in range(len(ids))]  # else equal prompts draw alike
        transcripts = [Transcript(model.chat.text, one, model.chat.ends) for one in drawn]
        return transcripts, [len(tokens) for tokens in ids], write(branches, ids, transcripts)


def _sampling(given: Sampling | Mapping[str, Any]) -> Sampling:
    if isinstance(given, Sampling):
        return given
    stop = given.get("stop", ())
    return Sampling(**{**given, "stop": stop if isinstance(stop, str) else tuple(stop)})
