"""The `beacon_*` keys of a checkpoint's config.json: what we follow, and what we refuse by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import MemoryModelError
from .layout import Layout

FIXED: dict[str, Any] = {
    "beacon_pos": "interleave",
    "beacon_attn": "full-coverage",
    "beacon_attend_prev": True,
    "beacon_sink_size": 0,
    "beacon_parallel_window": 1,
}
"""Keys of which only one value is implemented: that of the published checkpoints."""
READ = ("beacon_window", "beacon_stride", "beacon_ratio", "beacon_ratio_mix", "beacon_param", "beacon_embed_init")
PROJECTIONS = ("q", "k", "v", "o")


@dataclass(frozen=True)
class BeaconSettings:
    """How a checkpoint was trained to compress.

    Args:
        window: Raw tokens of a window.
        ratios: Raw tokens for one beacon; several for a mix.
        mix: How one of several is picked for a window.
        projections: Which of the attention's projections have a beacon twin.
        embed_init: Whose row an untrained beacon embedding copies: "eos" or "bos".
    """

    window: int = 2048
    ratios: tuple[int, ...] = (4,)
    mix: str = "step-random"
    projections: tuple[str, ...] = ("q", "k", "v")
    embed_init: str = "eos"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BeaconSettings:
        """What config.json says; the published values where it says nothing (a plain checkpoint).

        Raises:
            MemoryModelError: For an unknown `beacon_*` key, a value that is not implemented, or one of the wrong type.
        """
        for key, value in config.items():
            if key.startswith("beacon_") and key not in FIXED and key not in READ:
                raise MemoryModelError(
                    f"config.json has the key {key!r} ({value!r}), which this version does not know: the "
                    f"checkpoint may compute something else. Known are {', '.join([*READ, *FIXED])}."
                )
        for key, expected in FIXED.items():
            if key in config and (config[key] != expected or type(config[key]) is not type(expected)):
                raise MemoryModelError(
                    f"config.json: expected {key} = {expected!r}, the only value implemented, found {config[key]!r}."
                )
        window = config.get("beacon_window", cls.window)
        stride = config.get("beacon_stride", window)
        if stride != window:
            raise MemoryModelError(
                f"config.json: expected beacon_stride equal to beacon_window ({window!r}), found {stride!r}: "
                f"overlapping windows are not implemented."
            )
        return cls._checked(config, window)

    @classmethod
    def _checked(cls, config: Mapping[str, Any], window: Any) -> BeaconSettings:
        ratios = config.get("beacon_ratio", list(cls.ratios))
        ratios = [ratios] if isinstance(ratios, int) else ratios
        mix = config.get("beacon_ratio_mix", cls.mix)
        if not isinstance(ratios, list):
            raise MemoryModelError(f"config.json: expected beacon_ratio to be a list of numbers, found {ratios!r}.")
        try:
            Layout.new(window, ratios[:1], mix)
            if any(isinstance(r, bool) or not isinstance(r, int) or r < 1 for r in ratios):
                raise ValueError(f"a ratio in {ratios!r} is no whole number of at least 1")
        except ValueError as error:
            raise MemoryModelError(f"config.json: {error}") from error
        parameters = config.get("beacon_param", list(cls.projections))
        if not isinstance(parameters, list) or any(name not in PROJECTIONS for name in parameters):
            raise MemoryModelError(
                f"config.json: expected beacon_param to list some of {', '.join(PROJECTIONS)}, found {parameters!r}."
            )
        embed_init = config.get("beacon_embed_init", cls.embed_init)
        if embed_init not in ("eos", "bos"):
            raise MemoryModelError(f"config.json: expected beacon_embed_init eos or bos, found {embed_init!r}.")
        return cls(window, tuple(ratios), mix, tuple(parameters), embed_init)
