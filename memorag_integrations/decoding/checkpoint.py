"""Reading a published checkpoint: config.json, sharded safetensors. None of its code is ever run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..encoders.pretrained import not_had
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


def config_alone(
    name: str | Path, *, revision: str | None = None, token: str | None = None, cache_dir: str | Path | None = None
) -> dict[str, Any]:
    """config.json of a checkpoint, without downloading anything else.

    Raises:
        MemoryModelError: Where there is none, or it cannot be read.
    """
    if Path(name).expanduser().exists() or str(name).count("/") != 1:
        return read_config(find_folder(str(name), revision, token, cache_dir)[0])
    try:
        from huggingface_hub import hf_hub_download

        path = hf_hub_download(str(name), "config.json", revision=revision, token=token, cache_dir=cache_dir)
    except Exception as error:  # The hub's client raises errors of many libraries.
        raise MemoryModelError(not_had(str(name), error, revision)) from error
    return read_config(Path(path).parent)


def find_folder(
    name: str, revision: str | None = None, token: str | None = None, cache_dir: str | Path | None = None
) -> tuple[Path, str]:
    """A local folder, or a repository of the Hugging Face hub, downloaded where it is not yet; and its commit, or "".

    Raises:
        MemoryModelError: Where it is neither, or cannot be had.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path, ""
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise MemoryModelError(
            f"Expected a checkpoint's folder or a repo id like owner/name, found {name!r}, "
            f"which is {'a file' if path.exists() else 'neither'}."
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingExtraError("Downloading a checkpoint", "hf") from None
    try:
        folder = Path(
            snapshot_download(name, revision=revision, token=token, cache_dir=cache_dir, allow_patterns=WANTED)
        )
    except Exception as error:  # The hub's client raises errors of many libraries.
        raise MemoryModelError(not_had(name, error, revision)) from error
    return folder, folder.name


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder.

    Raises:
        MemoryModelError: Where there is none, or it is no JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MemoryModelError(
            f"Expected a checkpoint in {folder}, found no config.json there. "
            f"A checkpoint's folder has config.json, *.safetensors and the tokenizer's files."
        ) from None
    except (OSError, ValueError) as error:
        raise MemoryModelError(f"{path} is not readable JSON ({error}). Download the checkpoint again.") from error
    if not isinstance(config, dict):
        raise MemoryModelError(f"{path}: expected a JSON object, found {type(config).__name__}.")
    return config


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
    """The device asked for; None for CUDA, then MPS, then the CPU.

    Raises:
        MemoryModelError: Where this machine has none such.
    """
    if device is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise MemoryModelError(f"Expected a device like cpu, cuda, cuda:1 or mps, found {device!r}.") from error
    absent = (found.type == "cuda" and not torch.cuda.is_available()) or (
        found.type == "mps" and not torch.backends.mps.is_available()
    )
    if absent:
        raise MemoryModelError(f"This machine's torch has no device {device!r}. Pass device='cpu', or install for it.")
    return found


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
        with _quiet():
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from listing the beacon tensors as unexpected, and from drawing a bar."""
    from transformers.utils import logging as theirs

    level, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bar:
            theirs.enable_progress_bar()


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
