"""A memory on disk: `memory.safetensors` (keys and values) and `memory.json` (everything else).

| tensor                          | stored                 | what                                                      |
|---------------------------------|------------------------|-----------------------------------------------------------|
| `keys.N`, `values.N`            | same, bfloat16         | [1, kv heads, entries, head size], N counts the pairs     |
| `keys.N`, `values.N`            | int8, int4             | the first entries, quantised in groups along the head     |
| `….scale`, `….least`            | int8, int4             | bfloat16, one a group; `least` for int4                   |
| `….open`                        | int8, int4             | the last entries, as they were (a beacon's open window)   |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError, MemoryModelError
from .branches import Entries

Storage = Literal["same", "bfloat16", "int8", "int4"]
TENSORS, MANIFEST = "memory.safetensors", "memory.json"
VERSION = 1
GROUP = 32


def check_storage(storage: str) -> None:
    """Raises InputError for a way to store that there is not."""
    if storage not in get_args(Storage):
        raise InputError(f"Expected storage out of {', '.join(get_args(Storage))}, found {storage!r}.")


def save(
    path: Path,
    entries: Entries,
    storage: str,
    fingerprint: str,
    about: Mapping[str, Any],
    *,
    layout: Mapping[str, Any],
    open_entries: int = 0,
) -> None:
    """Write a memory to a new folder.

    Args:
        path: Does not exist yet; nothing is left there on failure.
        entries: Keys and values of each layer; of several parts, one part's layers after another's.
        storage: See the table above.
        fingerprint: Of the model that made it.
        about: Goes into the manifest too: what that is made of, over which text, ….
        layout: The memory's numbers, in JSON; goes into the manifest.
        open_entries: How many of the last entries are never quantised.

    Raises:
        InputError: Where `path` exists.
        MemoryModelError: Where it cannot be written.
    """
    check_storage(storage)
    if path.exists():
        raise InputError(f"Expected {path} not to exist yet, found something there. Nothing was written.")
    tensors: dict[str, Tensor] = {}
    for i, pair in enumerate(entries):
        for name, tensor in zip((f"keys.{i}", f"values.{i}"), pair, strict=True):
            tensors.update(_encode(name, tensor, tensor.shape[2] - open_entries, storage))
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise MemoryModelError(f"The memory could not be written to {path} ({error}). Pass another folder.") from error
    try:
        save_file(tensors, path / TENSORS, metadata={"format": "pt"})
        manifest = {
            "version": VERSION,
            "fingerprint": fingerprint,
            "storage": storage,
            "layers": len(entries),
            "layout": dict(layout),
            "about": dict(about),
            "bytes": (path / TENSORS).stat().st_size,
        }
        (path / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        for name in (TENSORS, MANIFEST):
            (path / name).unlink(missing_ok=True)
        path.rmdir()
        raise MemoryModelError(f"The memory could not be written to {path} ({error}). Make room there.") from error


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a stored memory; see `check_size`.

    Raises:
        MemoryModelError: Where it is missing, no manifest, or of another version.
    """
    try:
        manifest: Any = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MemoryModelError(f"No memory can be read at {path} ({error}). Memorize the text again.") from error
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version != VERSION or not isinstance(manifest.get("about"), dict) or "fingerprint" not in manifest:
        raise MemoryModelError(
            f"Expected the manifest of a stored memory of version {VERSION} at {path}, found version {version!r}. "
            f"Memorize the text again."
        )
    return dict(manifest)


def check_size(path: Path, manifest: Mapping[str, Any]) -> None:
    """Whether the tensors beside a manifest have the size they were written with.

    Whether every byte is as it was written is for the store to say, which keeps a checksum of each file of a memory.
    Manifests of earlier versions hold checksums of their own, `sample` and `seal`; they are not read.

    Raises:
        MemoryModelError: Where they are missing or cut short.
    """
    tensors, expected = path / TENSORS, manifest.get("bytes")
    size = tensors.stat().st_size if tensors.is_file() else 0
    if size != expected:
        raise MemoryModelError(
            f"Expected {expected} bytes in {tensors}, found {size}: the file was cut short or changed. Memorize the text "
            f"again."
        )


def load(path: Path, manifest: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> Entries:
    """The entries of a stored memory, as many pairs as the manifest says. Their shapes are the caller's to check.

    On the CPU, and stored in the dtype asked for, the tensors stay in the mapped file: pages are read when used.

    Raises:
        MemoryModelError: Where the tensors are not what the manifest says.
    """
    try:
        with safe_open(path / TENSORS, "pt", device=str(device)) as file:
            names = set(file.keys())

            def get(name: str) -> Tensor | None:
                return file.get_tensor(name) if name in names else None

            return [
                (
                    _decode(f"keys.{i}", get, manifest["storage"], dtype),
                    _decode(f"values.{i}", get, manifest["storage"], dtype),
                )
                for i in range(manifest["layers"])
            ]
    except torch.OutOfMemoryError as error:
        raise MemoryModelError(f"The memory at {path} does not fit on {device}: {error}") from error
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise MemoryModelError(f"The memory at {path} cannot be read ({error}). Memorize the text again.") from error


def _encode(name: str, tensor: Tensor, memory: int, storage: str) -> dict[str, Tensor]:
    tensor = tensor.detach().cpu()
    if storage == "same":
        return {name: tensor.contiguous()}
    if storage == "bfloat16":
        return {name: tensor.to(torch.bfloat16).contiguous()}
    quantise = _to_int8 if storage == "int8" else _to_int4
    parts = {f"{name}{suffix}": part for suffix, part in quantise(tensor[:, :, :memory]).items()}
    return {**parts, f"{name}.open": tensor[:, :, memory:].contiguous()}


def _decode(name: str, get: Callable[[str], Tensor | None], storage: str, dtype: torch.dtype) -> Tensor:
    tensor = get(name)
    if tensor is None:
        raise ValueError(f"no tensor {name}")
    if storage in ("same", "bfloat16"):
        return tensor.to(dtype)
    scale, least, rest = get(f"{name}.scale"), get(f"{name}.least"), get(f"{name}.open")
    if scale is None or rest is None or (storage == "int4" and least is None):
        raise ValueError(f"no scale of {name}")
    memory = _from_int8(tensor, scale) if least is None else _from_int4(tensor, scale, least)
    return torch.cat((memory.to(dtype), rest.to(dtype)), 2)


def _groups(tensor: Tensor) -> Tensor:
    """[..., head size] → float32 [..., groups, group]."""
    size = tensor.shape[-1]
    group = GROUP if size % GROUP == 0 else size
    return tensor.float().reshape(*tensor.shape[:-1], size // group, group)


def _to_int8(tensor: Tensor) -> dict[str, Tensor]:
    grouped = _groups(tensor)
    scale = (grouped.abs().amax(-1, keepdim=True) / 127).to(torch.bfloat16)
    steps = (grouped / scale.float().clamp_min(1e-30)).round_().clamp_(-127, 127).to(torch.int8)
    return {"": steps.reshape(tensor.shape), ".scale": scale.squeeze(-1)}


def _from_int8(steps: Tensor, scale: Tensor) -> Tensor:
    grouped = steps.reshape(*scale.shape, -1).float() * scale.float().unsqueeze(-1)
    return grouped.reshape(steps.shape)


def _to_int4(tensor: Tensor) -> dict[str, Tensor]:
    grouped = _groups(tensor)
    least = grouped.amin(-1, keepdim=True).to(torch.bfloat16)
    scale = ((grouped.amax(-1, keepdim=True) - least.float()) / 15).to(torch.bfloat16)
    steps = ((grouped - least.float()) / scale.float().clamp_min(1e-30)).round_().clamp_(0, 15).to(torch.uint8)
    flat = steps.reshape(*tensor.shape[:-1], -1, 2)
    return {"": flat[..., 0] | flat[..., 1] << 4, ".scale": scale.squeeze(-1), ".least": least.squeeze(-1)}


def _from_int4(packed: Tensor, scale: Tensor, least: Tensor) -> Tensor:
    steps = torch.stack((packed & 15, packed >> 4), -1).reshape(*scale.shape, -1).float()
    grouped = steps * scale.float().unsqueeze(-1) + least.float().unsqueeze(-1)
    return grouped.reshape(*packed.shape[:-1], -1)
