"""Moving RoPE keys: a key at one position becomes the key at another by a rotation by the difference.

RoPE (Su et al., arXiv 2104.09864) in the half-split form of Llama, Mistral and Qwen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..decoding.families import FIXED_FREQUENCIES
from ..errors import MemoryModelError


def check_rope(config: Any) -> None:
    """Refuse what cannot be moved by a rotation.

    Args:
        config: A transformers configuration.

    Raises:
        MemoryModelError: For frequencies that change with length, or only part of a head rotated.
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    kind = parameters.get("rope_type", "default")
    if kind not in FIXED_FREQUENCIES:
        raise MemoryModelError(
            f"Expected RoPE with fixed frequencies ({', '.join(FIXED_FREQUENCIES)}), found rope_type {kind!r}, whose "
            f"frequencies change with the length read: a memory's keys could not keep their places. "
            f"Use a checkpoint without it, or remove rope_scaling from its config.json if the weights allow."
        )
    part = parameters.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", None))
    if part not in (None, 1, 1.0):
        raise MemoryModelError(f"Expected RoPE over the whole head, found partial_rotary_factor {part!r}.")


def turns(differences: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of moves by whole positions, float32 [n, head size / 2] on the CPU, angles from float64.

    Args:
        differences: [n], new position minus old.
        frequencies: [head size / 2], radians for one position.
    """
    # MPS has no float64, and the table is small.
    angles = differences.cpu().double().unsqueeze(-1) * frequencies.cpu().double()
    return angles.cos().float(), angles.sin().float()


def rotate(keys: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Keys moved by `turns`, in float32, then back in their own dtype.

    Only the angle is applied: a scaling of the attention (YaRN's) is already in the key.

    Args:
        keys: [..., n, head size], already rotated to where they stand.
        turn: Cosines and sines, [n, head size / 2] each.
    """
    cosine, sine = (table.to(keys.device) for table in turn)
    first, second = keys.float().chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1).to(keys.dtype)
