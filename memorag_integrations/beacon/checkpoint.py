"""Reading a published beacon checkpoint: an ordinary one with `beacon_*` settings and tensors."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..decoding.checkpoint import (
    Checkpoint,
    load_model,
    pick_device,
    pick_dtype,
    stock_config,
    weight_files,
)
from ..decoding.families import check_no_encoder
from .decoder import EMBEDDING, BeaconDecoder
from .settings import BeaconSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BeaconCheckpoint(Checkpoint):
    """A folder that was checked: its files are there and whole, and its configuration is one we follow.

    Args:
        settings: Its `beacon_*` keys.
    """

    settings: BeaconSettings

    def beacon_tensors(self) -> dict[str, Tensor]:
        """The beacon parameters, by name."""
        tensors = {}
        for path in self.files:
            with safe_open(path, "pt") as file:
                names = [name for name in file.keys() if "self_attn.beacon_" in name or name == EMBEDDING]  # noqa: SIM118
                tensors.update({name: file.get_tensor(name) for name in names})
        return tensors


def open_checkpoint(
    name: str | Path, *, revision: str | None = None, token: str | None = None, cache_dir: str | Path | None = None
) -> BeaconCheckpoint:
    """A local folder, or a repository of the Hugging Face hub, downloaded where it is not yet.

    Raises:
        MemoryModelError: Where it is no checkpoint, a file is missing or cut short, or its configuration is unknown.
    """
    found, config = Checkpoint.find(name, revision=revision, token=token, cache_dir=cache_dir)
    check_no_encoder(config, str(name))
    settings = BeaconSettings.from_config(config)
    return BeaconCheckpoint(found.path, str(name), found.commit, config, weight_files(found.path), settings)


def load_decoder(
    source: str | Path | BeaconCheckpoint,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | None = "cpu",
    device_map: Any = None,
    bits: int | None = None,
) -> BeaconDecoder:
    """The decoder of a checkpoint, with its weights.

    Args:
        source: What `open_checkpoint` takes or gives.
        dtype: Of weights, activations and memory; see `pick_dtype`.
        device: See `pick_device`.
        device_map: For weights over several devices, as transformers takes it (needs accelerate).
        bits: 8 or 4 for quantised weights on CUDA (needs bitsandbytes); None for none.

    Raises:
        MemoryModelError: For whatever is wrong with the checkpoint, with what to do about it.
    """
    checkpoint = source if isinstance(source, BeaconCheckpoint) else open_checkpoint(source)
    found = pick_device(device)
    wanted = pick_dtype(dtype, checkpoint.config, found)
    config = stock_config(checkpoint.config, checkpoint.name)
    model = load_model(checkpoint, config, wanted, found, device_map, bits)
    decoder = BeaconDecoder(model, checkpoint.settings, checkpoint.beacon_tensors())
    if decoder.missing:
        logger.warning(
            "%s lacks %d beacon tensors (%s, …): they start as copies of the ordinary ones. The memory is UNTRAINED; "
            "train it, or use a published memory checkpoint.",
            checkpoint.name,
            len(decoder.missing),
            decoder.missing[0],
        )
    return decoder
