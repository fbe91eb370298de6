"""Reading a published checkpoint: config.json, sharded safetensors. None of its code is ever run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..encoders import pretrained
from ..errors import MemoryModelError, MissingExtraError
from .attention import register

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Families whose attention is known to fit: separate q/k/v projections and half-split RoPE. A test reads with each."""

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
"""What is downloaded of a repository: no code and no pickles."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SAMPLES, SAMPLE_BYTES = 64, 4096


@dataclass(frozen=True)
class Checkpoint:
    """A folder that was checked: its files are there and whole, and its configuration is one we follow.

    Args:
        folder: Where it lies.
        name: The repo id or path it was asked for by.
        revision: The commit, for one from a hub; else "".
        config: config.json.
        files: The safetensors files.
    """

    folder: Path
    name: str
    revision: str
    config: Mapping[str, Any]
    files: tuple[Path, ...]

    @staticmethod
    def find(
        name: str | Path, *, revision: str | None, token: str | None, cache_dir: str | Path | None
    ) -> tuple[pretrained.Found, dict[str, Any]]:
        """Folder and config.json of a local checkpoint, or one of the hub, downloaded where it is not yet.

        Raises:
            MemoryModelError: Where it is neither, cannot be had, or has no config.json that can be read.
        """
        found = pretrained.find_folder(
            name, MemoryModelError, revision=revision, token=token, cache_dir=cache_dir, wanted=WANTED
        )
        return found, pretrained.read_config(found.path, MemoryModelError)

    def fingerprint(self) -> str:
        """Hash of what decides the model's numbers: config.json, every tensor's name, type and shape, and samples of
        the weights (64 stretches of 4 KiB of each file): reading all of 15 GB takes longer than loading them.
        """
        digest = hashlib.sha256(json.dumps(numeric_config(self.config), sort_keys=True).encode())
        for path in self.files:
            size = path.stat().st_size
            with path.open("rb") as file:
                header = int.from_bytes(file.read(8), "little")
                digest.update(size.to_bytes(8, "little") + file.read(header))
                for i in range(SAMPLES):
                    file.seek(8 + header + max(0, size - 8 - header - SAMPLE_BYTES) * i // (SAMPLES - 1))
                    digest.update(file.read(SAMPLE_BYTES))
        return digest.hexdigest()


def numeric_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json without what changes no number: the writing version, code references, names."""
    skipped = (
        "transformers_version",
        "auto_map",
        "_name_or_path",
        "torch_dtype",
        "dtype",
        "architectures",
        "use_cache",
    )
    return {key: value for key, value in config.items() if key not in skipped}


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a folder, each with a sound header.

    Raises:
        MemoryModelError: Where there are none, or one is missing or cut short.
    """
    if (folder / INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MemoryModelError(f"{folder / INDEX} is not an index of weights ({error!r}).") from error
        files = [folder / str(name) for name in names]
    else:
        files = [folder / SINGLE]
    for path in files:
        if path.parent != folder:
            raise MemoryModelError(f"{folder / INDEX} names {path}, which is outside of the checkpoint.")
        if not path.is_file():
            raise MemoryModelError(
                f"Expected the weights {path.name} in {folder}, found none. Only safetensors are read, never pickles "
                f"(*.bin): convert them, or finish the download."
            )
        check_safetensors(path)
    return tuple(files)


def check_safetensors(path: Path) -> None:
    """Whether the file's header is sound and its length is what the header says.

    Raises:
        MemoryModelError: Where not.
    """
    try:
        with safe_open(path, "pt") as file:
            file.keys()
    except (SafetensorError, OSError) as error:
        raise MemoryModelError(
            f"{path} is no whole safetensors file ({error}): it was cut short or changed. Get it again."
        ) from error


def pick_device(device: str | None) -> torch.device:
    """The device asked for; see `encoders.pretrained.pick_device`."""
    return torch.device(pretrained.pick_device(device, MemoryModelError))


def pick_dtype(dtype: str | torch.dtype | None, config: Mapping[str, Any], device: torch.device) -> torch.dtype:
    """The dtype asked for; None for the checkpoint's own on an accelerator, and float32 on a CPU."""
    if dtype is None:
        own = config.get("dtype") or config.get("torch_dtype") or "float32"
        dtype = "float32" if device.type == "cpu" else own
    if isinstance(dtype, str):
        if dtype not in DTYPES:
            raise MemoryModelError(f"Expected a dtype out of {', '.join(DTYPES)}, found {dtype!r}.")
        return DTYPES[dtype]
    return dtype


def stock_config(config: Mapping[str, Any], name: str) -> Any:
    """The transformers configuration: ours without the beacon keys, the code references, and sliding windows.

    Raises:
        MemoryModelError: For a family that is not supported, or values that transformers refuses.
    """
    from transformers import CONFIG_MAPPING

    family = config.get("model_type")
    if family not in FAMILIES:
        raise MemoryModelError(f"Expected a model_type out of {', '.join(FAMILIES)}, found {family!r} in {name}.")
    dropped = {"auto_map", "sliding_window", "use_sliding_window", "layer_types", "max_window_layers"}
    plain = {k: v for k, v in config.items() if not k.startswith("beacon_") and k not in dropped}
    try:
        return CONFIG_MAPPING[family](**plain, sliding_window=None)
    except Exception as error:  # transformers validates with many kinds of errors
        raise MemoryModelError(f"config.json of {name} is not a {family} configuration: {error}") from error


def load_model(
    checkpoint: Checkpoint,
    config: Any,
    dtype: torch.dtype,
    device: torch.device,
    device_map: Any = None,
    bits: Any = None,
) -> Any:
    """A causal language model with its weights, attending in parts.

    Args:
        config: Of transformers; see `stock_config`.
        dtype: Of weights, activations and cache; see `pick_dtype`.
        device: See `pick_device`.
        device_map: For weights over several devices, as transformers takes it (needs accelerate).
        bits: 8 or 4 for quantised weights on CUDA (needs bitsandbytes); None for none.

    Raises:
        MemoryModelError: For whatever is wrong with the weights, with what to do about it.
    """
    from transformers import AutoModelForCausalLM

    if config.model_type in FAMILIES:
        _check_weights(checkpoint, config)
    options: dict[str, Any] = {}
    if bits is not None:
        options["quantization_config"] = _quantisation(bits, dtype, device)
        device_map = device_map or {"": str(device)}
    if device_map is not None:
        options["device_map"] = device_map
    try:
        with pretrained.quiet_loading(warnings=False):  # the beacon tensors are not expected
            model, found = AutoModelForCausalLM.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=dtype,
                attn_implementation=register(),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except torch.OutOfMemoryError as error:
        raise MemoryModelError(
            f"{checkpoint.name} does not fit on {device}: {error}. Pass bits=8 or 4, or another device; "
            f"`memorag plan` tells what fits before anything loads."
        ) from error
    except (RuntimeError, ValueError, OSError, SafetensorError, ImportError) as error:
        raise MemoryModelError(f"The weights of {checkpoint.name} could not be loaded: {error}") from error
    if config.model_type not in FAMILIES and (missing := sorted(found["missing_keys"])):
        raise MemoryModelError(
            f"Expected all weights of a {config.model_type} in {checkpoint.name}, found no {missing[0]} ({len(missing)} "
            f"missing): transformers would make them up. Get the checkpoint again, or use a causal language model's."
        )
    try:
        return model if options else model.to(device)
    except torch.OutOfMemoryError as error:
        raise MemoryModelError(f"{checkpoint.name} does not fit on {device}. Pass bits=8 or 4.") from error


def _check_weights(checkpoint: Checkpoint, config: Any) -> None:
    """Whether every ordinary weight is there, in its shape; transformers would make up what is missing."""
    from transformers import AutoModelForCausalLM

    found: dict[str, list[int]] = {}
    for path in checkpoint.files:
        with safe_open(path, "pt") as file:
            found.update({name: file.get_slice(name).get_shape() for name in file.keys()})  # noqa: SIM118
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    for name, tensor in model.state_dict().items():
        shape = found.get(name)
        if shape is None and name in tied:
            continue
        if shape != list(tensor.shape):
            raise MemoryModelError(
                f"Expected {name} of shape {list(tensor.shape)} in {checkpoint.name}, found {shape or 'none'}: the "
                f"checkpoint is not complete, or its files and its config.json do not belong together. Get it again."
            )


def _quantisation(bits: int, dtype: torch.dtype, device: torch.device) -> Any:
    if device.type != "cuda":
        raise MemoryModelError(f"Quantised weights need CUDA, found device {device}. Leave out bits.")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise MissingExtraError("Quantised weights", "quantised") from None
    from transformers import BitsAndBytesConfig

    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype, bnb_4bit_quant_type="nf4")
