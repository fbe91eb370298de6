"""A beacon memory on disk: the files of `decoding.storage`, and its layout's numbers in the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..decoding import storage as stored
from ..decoding.branches import Entries
from ..decoding.storage import check_storage, check_whole, read_manifest
from ..errors import MemoryModelError
from .layout import Layout

__all__ = ["check_storage", "check_whole", "load", "read_manifest", "save"]


def save(
    path: Path, entries: Entries, layout: Layout, storage: str, fingerprint: str, about: Mapping[str, Any]
) -> None:
    """Write a memory to a new folder; see `decoding.storage.save`. The open window's entries are kept as they are.

    Args:
        layout: Its numbers.
    """
    numbers, left = layout.to_json(), layout.entries - layout.memory
    stored.save(path, entries, storage, fingerprint, about, layout=numbers, open_entries=left)


def load(path: Path, manifest: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> tuple[Layout, Entries]:
    """The layout and entries of a stored memory; see `decoding.storage.load`.

    Raises:
        MemoryModelError: Where the tensors are not what the manifest says.
    """
    entries = stored.load(path, manifest, dtype, device)
    try:
        layout = Layout.from_json(manifest["layout"])
        shapes = {tuple(tensor.shape) for pair in entries for tensor in pair}
        if len(shapes) != 1 or next(iter(shapes))[2] != layout.entries:
            raise ValueError(f"expected {layout.entries} entries in every layer, found shapes {shapes}")
    except (KeyError, ValueError, TypeError) as error:
        raise MemoryModelError(f"The memory at {path} cannot be read ({error}). Memorize the text again.") from error
    return layout, entries
