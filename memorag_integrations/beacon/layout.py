"""Window arithmetic in whole numbers: where beacons stand, when a window is full, how far a checkpoint reaches.

No tensors here. Entries are counted in the order of the cache: the memory's beacons first, then the open window's
entries, raw tokens and beacons mixed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from ..errors import InputError

RatioMix = Literal["step-random", "instance-random", "sequence"]
SEED = 42
"""Of the draw between ratios; the published training code's."""
MOST_WINDOWS = 1 << 20
"""Above this a stored layout is taken for damaged rather than replayed."""


@dataclass(frozen=True)
class Stride:
    """Where the beacons stand among `length` entries: at `lead`, and then every `period` entries.

    Args:
        length: Entries, raw tokens and beacons.
        lead: Raw tokens before the first beacon.
        period: Distance of two beacons: the ratio plus one.
    """

    length: int
    lead: int
    period: int

    @property
    def beacons(self) -> int:
        """How many of the entries are beacons."""
        return max(0, -(-(self.length - self.lead) // self.period))

    @property
    def raw(self) -> int:
        """How many of the entries are raw tokens."""
        return self.length - self.beacons

    @property
    def whole_groups(self) -> bool:
        """Whether the entries are groups of `period - 1` raw tokens and one beacon, with nothing before or after."""
        return self.lead == self.period - 1 and self.length == self.beacons * self.period

    def positions(self) -> range:
        """The beacons' places among the entries."""
        return range(self.lead, self.length, self.period)

    def raw_positions(self) -> list[int]:
        """The raw tokens' places among the entries."""
        taken = set(self.positions())
        return [i for i in range(self.length) if i not in taken]


@dataclass(frozen=True)
class Step:
    """One pass through the model: some raw tokens of one window, and the beacons among them.

    Args:
        raw: Raw tokens read.
        stride: The entries that the model sees.
        start: Position of the first of them.
        completes: Whether the window is full afterwards, and is compacted.
        ratio: Of this window.
    """

    raw: int
    stride: Stride
    start: int
    completes: bool
    ratio: int


@dataclass(frozen=True)
class RatioDraw:
    """Which ratio each new window has.

    Args:
        ratios: Those to choose from: one, used as it is, or several, each a divisor of the window.
        mix: "step-random" draws one for each window, "instance-random" one for each text, "sequence" takes turns.
        drawn: Windows that were given a ratio so far. It is the whole state: the generator starts from `SEED`.
    """

    ratios: tuple[int, ...]
    mix: RatioMix = "step-random"
    drawn: int = 0

    @classmethod
    def of(cls, ratios: Sequence[int], window: int, mix: str = "step-random") -> RatioDraw:
        """The draw for a window of `window` raw tokens.

        Raises:
            InputError: For no ratio, one below 1, several of which none divides the window, or an unknown mix.
        """
        if not ratios or any(isinstance(r, bool) or not isinstance(r, int) or r < 1 for r in ratios):
            raise InputError(f"Expected one or more ratios, whole numbers of at least 1, found {ratios!r}.")
        if mix not in get_args(RatioMix):
            raise InputError(f"Expected a ratio mix out of {', '.join(get_args(RatioMix))}, found {mix!r}.")
        kept = tuple(ratios) if len(ratios) == 1 else tuple(r for r in ratios if window % r == 0)
        if not kept:
            raise InputError(
                f"Of several ratios those that divide the window are used, but none of {list(ratios)} divides "
                f"{window}. Pass a single ratio, or divisors of {window}."
            )
        return cls(kept, mix)  # type: ignore[arg-type]

    def ratio(self) -> int:
        """The ratio of the next window."""
        if len(self.ratios) == 1:
            return self.ratios[0]
        if self.mix == "sequence":
            return self.ratios[self.drawn % len(self.ratios)]
        return _drawn(self.ratios, self.drawn if self.mix == "step-random" else 0)

    def next(self) -> RatioDraw:
        return replace(self, drawn=self.drawn + 1)


@cache
def _drawing(ratios: tuple[int, ...]) -> tuple[np.random.Generator, list[int], threading.Lock]:
    return np.random.default_rng(SEED), [], threading.Lock()


def _drawn(ratios: tuple[int, ...], index: int) -> int:
    """The draw number `index`, the first being 0, always the same. Draws made once are kept."""
    generator, draws, lock = _drawing(ratios)
    with lock:
        while len(draws) <= index:
            # One call for each: an array of draws need not consume the generator's bits in the same way.
            draws.append(int(generator.choice(ratios)))
        return draws[index]


@dataclass(frozen=True)
class Layout:
    """What a memory holds, in numbers: the whole state of the window arithmetic.

    Args:
        window: Raw tokens of a window.
        draw: Which ratio the next window gets.
        memory: Beacons in memory; they hold positions 0 … memory - 1.
        open: The unfinished window's entries, at positions memory, memory + 1, …
        ratio: Of the unfinished window, or of the last one where none is open.
        since: Raw tokens since the last beacon, over window edges.
        tokens: Raw tokens read so far.
    """

    window: int
    draw: RatioDraw
    memory: int = 0
    open: Stride = Stride(0, 0, 1)
    ratio: int = 0
    since: int = 0
    tokens: int = 0

    @classmethod
    def new(cls, window: int, ratios: Sequence[int], mix: str = "step-random") -> Layout:
        """An empty memory's.

        Raises:
            InputError: For a window below 1 or ratios that cannot be used (`RatioDraw.of`).
        """
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise InputError(f"Expected a window of at least 1 token, found {window!r}.")
        return cls(window, RatioDraw.of(ratios, window, mix))

    @property
    def entries(self) -> int:
        """Entries in the cache, which is also the next one's position."""
        return self.memory + self.open.length

    def step(self, available: int) -> tuple[Step, Layout]:
        """The next pass over at most `available` raw tokens (at least 1), and the layout after it."""
        layout = self._opened() if self.open.length == 0 else self
        ratio = layout.ratio
        raw = min(available, layout.window - layout.open.raw)
        beacons = (layout.since + raw) // ratio
        stride = Stride(raw + beacons, ratio - layout.since, ratio + 1)
        length = layout.open.length + stride.length
        completes = layout.open.raw + raw == layout.window
        after = replace(
            layout,
            open=Stride(length, layout.open.lead, layout.open.period),
            since=(layout.since + raw) % ratio,
            tokens=layout.tokens + raw,
        )
        return Step(raw, stride, layout.entries, completes, ratio), after.compacted() if completes else after

    def steps(self, tokens: int) -> Iterator[tuple[Step, Layout]]:
        """All passes over `tokens` raw tokens, each with the layout after it."""
        layout = self
        while tokens > 0:
            step, layout = layout.step(tokens)
            tokens -= step.raw
            yield step, layout

    def after(self, tokens: int) -> Layout:
        """The layout after `tokens` more raw tokens."""
        layout = self
        while layout.tokens < self.tokens + tokens:
            layout = layout.step(self.tokens + tokens - layout.tokens)[1]
        return layout

    def peak_positions(self, tokens: int) -> int:
        """Positions that the model needs to read `tokens` more raw tokens."""
        return max((step.start + step.stride.length for step, _ in self.steps(tokens)), default=self.entries)

    def full_window(self, step: Step) -> Stride:
        """Where the beacons stand in the window that `step`, taken from here, completes."""
        if self.open.length == 0:
            return step.stride
        return replace(self.open, length=self.open.length + step.stride.length)

    def compacted(self) -> Layout:
        """After the open window's beacons went to memory and its raw tokens were forgotten."""
        return replace(self, memory=self.memory + self.open.beacons, open=Stride(0, 0, 1))

    def _opened(self) -> Layout:
        ratio = self.draw.ratio()
        return replace(self, draw=self.draw.next(), ratio=ratio, open=Stride(0, ratio - self.since, ratio + 1))

    def to_json(self) -> dict[str, Any]:
        """What must be stored to go on later."""
        return {
            "window": self.window,
            "ratios": list(self.draw.ratios),
            "mix": self.draw.mix,
            "drawn": self.draw.drawn,
            "memory": self.memory,
            "open": [self.open.length, self.open.lead, self.open.period],
            "ratio": self.ratio,
            "since": self.since,
            "tokens": self.tokens,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Layout:
        """The layout that `to_json` wrote.

        Raises:
            InputError: Where it is none, or its numbers cannot come from reading a text.
        """
        names = ("window", "drawn", "memory", "ratio", "since", "tokens")
        try:
            numbers = {name: data[name] for name in names}
            lists = [*data["ratios"], *data["open"]]
            if any(type(n) is not int or n < 0 for n in [*numbers.values(), *lists]):
                raise ValueError("a count is not a whole number")
            if data["tokens"] > MOST_WINDOWS * data["window"]:
                raise ValueError("more windows than any text has")
            draw = RatioDraw(tuple(data["ratios"]), data["mix"], data["drawn"])
            layout = cls.new(data["window"], draw.ratios, draw.mix).after(data["tokens"])
            found = replace(
                layout,
                draw=draw,
                **{name: numbers[name] for name in ("memory", "ratio", "since")},
                open=Stride(*data["open"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"Expected a stored layout, found {data!r} ({error!r}).") from error
        if found != layout:
            raise InputError(f"Stored layout disagrees with its own token count: expected {layout}, found {found}.")
        return layout


def reach(window: int, ratio: int, max_positions: int) -> int:
    """The most raw tokens, prompt and generated ones included, whose every position exists in the model.

    Args:
        window: Raw tokens of a window.
        ratio: Raw tokens for one beacon; of several the smallest.
        max_positions: Positions of the model.
    """
    # F full windows need window + (F * window) // ratio positions; t tokens after them, t + (F * window + t) // ratio.
    windows = max(0, ((max_positions - window + 1) * ratio - 1) // window)
    low, high = 0, window - 1
    while low < high:
        middle = (low + high + 1) // 2
        fits = middle + (windows * window + middle) // ratio <= max_positions
        low, high = (middle, high) if fits else (low, middle - 1)
    return windows * window + low


def smallest_ratio(window: int, tokens: int, max_positions: int, ratios: Sequence[int] | None = None) -> int | None:
    """The smallest ratio with which `tokens` are within reach, or None.

    Args:
        ratios: Those to choose from; None for the divisors of the window.
    """
    candidates = sorted(ratios) if ratios else [r for r in range(1, window + 1) if window % r == 0]
    return next((r for r in candidates if reach(window, r, max_positions) >= tokens), None)


def check_reach(layout: Layout, tokens: int, max_positions: int) -> None:
    """Whether `tokens` more raw tokens have their positions in the model.

    Raises:
        InputError: Naming the ratio that would do.
    """
    if layout.peak_positions(tokens) <= max_positions:
        return
    ratio = min(layout.draw.ratios)
    wanted = layout.tokens + tokens
    better = smallest_ratio(layout.window, wanted, max_positions)
    remedy = f"Ratio {better} would do." if better else "No ratio would do: split the text, or take another model."
    raise InputError(
        f"Expected at most {reach(layout.window, ratio, max_positions):,} tokens (the model has {max_positions:,} "
        f"positions; window {layout.window}, ratio {ratio}), found {wanted:,}. {remedy}"
    )
