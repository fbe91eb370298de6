"""What a beacon memory will cost, told from config.json before anything loads: bytes, reach, what fits, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .beacon.layout import reach
from .beacon.size import Shape, free_bytes
from .errors import InputError, MemoryModelError, check_extra

HEADROOM = 1024
"""Tokens kept free behind a text, for a task's prompt and its reply."""
MARGIN = 0.92
"""Share of a device's free memory that is counted on."""
RATIOS = (2, 4, 8, 16, 32)
"""Considered where the checkpoint names a single one."""


CALIBRATION = 0.3
"""Seconds spent on timing each of two products."""


@dataclass(frozen=True)
class Option:
    """One way to hold a model and its memory.

    Args:
        precision: Of the weights.
        ratio: Raw tokens for one memory entry.
        reach: Most tokens of a text.
        weight_bytes, memory_bytes, working_bytes: What it takes; the last is an estimate.
        obstacle: Why it will not do, or "".
    """

    precision: str
    ratio: int
    reach: int
    weight_bytes: int
    memory_bytes: int
    working_bytes: int
    obstacle: str

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.memory_bytes + self.working_bytes


@dataclass(frozen=True)
class Plan:
    """The options for one text, and the one to take.

    Args:
        model: The checkpoint.
        tokens: Of the text.
        device: Where it would run.
        dtype: Of activations and memory.
        room: Bytes free there, or None where the device does not say.
        options: Best precision first, then the smallest ratio.
        chosen: The first that will do.
        seconds: To memorize with it, from a short calibration; None without.
    """

    model: str
    tokens: int
    device: str
    dtype: str
    room: int | None
    options: tuple[Option, ...]
    chosen: Option
    seconds: float | None

    def __str__(self) -> str:
        room = "not known" if self.room is None else _size(self.room)
        lines = [
            f"{self.model} on {self.device} ({self.dtype}, {room} free), a text of {self.tokens:,} tokens",
            f"{'weights':>9}  {'ratio':>5}  {'reach':>11}  {'weights':>9}  {'memory':>9}  {'together':>9}",
        ]
        for option in self.options:
            mark = "<-- take this" if option is self.chosen else option.obstacle
            sizes = "  ".join(f"{_size(n):>9}" for n in (option.weight_bytes, option.memory_bytes, option.total_bytes))
            lines.append(f"{option.precision:>9}  {option.ratio:>5}  {option.reach:>11,}  {sizes}  {mark}".rstrip())
        if self.seconds is not None:
            lines.append(f"about {_duration(self.seconds)} to memorize")
        return "\n".join(lines)


def plan(
    model: str | Path,
    tokens: int,
    *,
    device: str | None = None,
    dtype: str | None = None,
    ratios: Sequence[int] | None = None,
    room: int | None = None,
    calibrate: bool = True,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> Plan:
    """The smallest ratio with which a text is within reach and fits the device.

    Args:
        model: A checkpoint's folder or repo id; only its config.json is read.
        tokens: Of the text, at least 1.
        device: "cpu", "cuda", …; None for the best at hand.
        dtype: Of activations and memory; None for float32 on a CPU, else the checkpoint's own.
        ratios: To choose from; None for the checkpoint's, or 2 to 32 where it names one.
        room: Bytes to plan for instead of what is free now: for a machine that is not at hand.
        calibrate: Whether to time a few products on the device (under a second).
        revision, token, cache_dir: For the hub.

    Raises:
        InputError: For a number of tokens below 1, or ratios below 1.
        MemoryModelError: Where no option will do, with the remedy; or where config.json is not a beacon checkpoint's.
        MissingExtraError: Without torch and transformers (the `hf` extra).
    """
    check_extra("A plan", "hf")
    from .decoding.checkpoint import pick_device, pick_dtype
    from .encoders.pretrained import find_config

    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise InputError(f"Expected a text of at least 1 token, found {tokens!r}.")
    config = find_config(model, MemoryModelError, revision=revision, token=token, cache_dir=cache_dir)
    shape = Shape.from_config(config)
    found = pick_device(device) if room is None else None
    place = str(found) if found is not None else device or "cpu"
    kind = "cuda" if room is not None and device != "cpu" else place.partition(":")[0]
    import torch

    used = str(pick_dtype(dtype, config, torch.device(kind))).removeprefix("torch.")
    free = free_bytes(place) if room is None else room
    options = _options(shape, tokens, kind, used, free, _ratios(shape, ratios))
    chosen = next((option for option in options if not option.obstacle), None)
    if chosen is None:
        raise MemoryModelError(_refusal(str(model), shape, tokens, place, free, options))
    seconds = _seconds(shape, tokens, chosen.ratio, place, used) if calibrate and room is None else None
    return Plan(str(model), tokens, place, used, free, options, chosen, seconds)


def _ratios(shape: Shape, asked: Sequence[int] | None) -> list[int]:
    ratios = asked or (shape.settings.ratios if len(shape.settings.ratios) > 1 else (*shape.settings.ratios, *RATIOS))
    if any(isinstance(ratio, bool) or not isinstance(ratio, int) or ratio < 1 for ratio in ratios):
        raise InputError(f"Expected ratios of at least 1, found {list(ratios)}.")
    return sorted(set(ratios))


def _options(
    shape: Shape, tokens: int, kind: str, dtype: str, free: int | None, ratios: Sequence[int]
) -> tuple[Option, ...]:
    options = []
    for precision in (dtype, "8 bits", "4 bits") if kind == "cuda" else (dtype,):
        weights = shape.weight_bytes(precision)
        for ratio in ratios:
            most = reach(shape.settings.window, ratio, shape.max_positions) - HEADROOM
            memory = shape.memory_bytes(tokens, ratio, dtype)
            working = shape.working_bytes(ratio, dtype)
            obstacle = ""
            if tokens > most:
                obstacle = "beyond reach"
            elif free is not None and weights + memory + working > free * MARGIN:
                obstacle = "does not fit"
            options.append(Option(precision, ratio, max(0, most), weights, memory, working, obstacle))
    return tuple(options)


def _refusal(model: str, shape: Shape, tokens: int, place: str, free: int | None, options: Sequence[Option]) -> str:
    within = [option for option in options if option.obstacle != "beyond reach"]
    if not within:
        furthest = max(options, key=lambda option: option.reach)
        return (
            f"Expected at most {furthest.reach:,} tokens for {model} (ratio {furthest.ratio}, {shape.max_positions:,} "
            f"positions), found {tokens:,}. Split the text into {-(-tokens // max(1, furthest.reach))} shards, or take "
            f"a model with more positions."
        )
    least = min(within, key=lambda option: option.total_bytes)
    return (
        f"Expected at least {_size(int(least.total_bytes / MARGIN))} free on {place} for {model} and {tokens:,} tokens "
        f"(weights in {least.precision}, ratio {least.ratio}), found {_size(free or 0)}. Free some, take another device "
        f"or a smaller model, or split the text."
    )


def _seconds(shape: Shape, tokens: int, ratio: int, device: str, dtype: str) -> float:
    linear, attention = shape.operations(tokens, ratio)
    linear_rate, attention_rate = calibration(shape, device, dtype)
    return linear / linear_rate + attention / attention_rate


def calibration(shape: Shape, device: str, dtype: str) -> tuple[float, float]:
    """Operations a second of this model's largest product and of its attention, timed now on a device."""
    import time

    import torch

    from .decoding.attention import KVPart, attend
    from .decoding.onednn import product

    rows = min(1024, shape.settings.window)
    options = {"device": device, "dtype": getattr(torch, dtype)}
    hidden = torch.ones(rows, shape.hidden, **options)
    weight = torch.ones(shape.intermediate, shape.hidden, **options)
    query = torch.ones(1, shape.heads, rows, shape.head_size, **options)
    keys = torch.ones(1, shape.kv_heads, 2048, shape.head_size, **options)

    def rate(operations: float, run: object) -> float:
        assert callable(run)
        run()
        best, start = float("inf"), time.perf_counter()
        while time.perf_counter() - start < CALIBRATION:
            _wait(device)
            began = time.perf_counter()
            run()
            _wait(device)
            best = min(best, time.perf_counter() - began)
        return operations / best

    with torch.inference_mode():
        linear = rate(2.0 * hidden.numel() * shape.intermediate, lambda: product(hidden, weight))
        pairs = rows * 2048 * shape.heads * shape.head_size
        attention = rate(4.0 * pairs, lambda: attend(query, [KVPart(keys, keys)]))
    return linear, attention


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
