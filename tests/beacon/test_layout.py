"""The window arithmetic alone: against a simulation that moves one token at a time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.beacon.layout import Layout, RatioDraw, Stride, reach, smallest_ratio
from memorag_integrations.errors import InputError

windows = st.integers(1, 40)
ratios = st.integers(1, 50)


def simulate(window: int, ratio: int, tokens: int) -> tuple[int, list[bool], int]:
    """Token by token: beacons in memory, which open entries are beacons, the most positions in use at once."""
    memory, entries, since, peak = 0, [], 0, 0
    for _ in range(tokens):
        entries.append(False)
        since += 1
        if since == ratio:
            entries.append(True)
            since = 0
        peak = max(peak, memory + len(entries))
        if entries.count(False) == window:
            memory, entries = memory + sum(entries), []
    return memory, entries, peak


@given(windows, ratios, st.integers(0, 300))
def test_layout_agrees_with_the_simulation(window: int, ratio: int, tokens: int) -> None:
    layout = Layout.new(window, [ratio])
    memory, entries, peak = simulate(window, ratio, tokens)
    after = layout.after(tokens)
    assert (after.memory, after.open.length, after.tokens) == (memory, len(entries), tokens)
    assert list(after.open.positions()) == [i for i, is_beacon in enumerate(entries) if is_beacon]
    assert layout.peak_positions(tokens) == peak


@given(windows, ratios, st.lists(st.integers(1, 50), max_size=8))
def test_any_chunking_ends_in_the_same_layout(window: int, ratio: int, chunks: list[int]) -> None:
    layout = Layout.new(window, [ratio])
    for chunk in chunks:
        layout = layout.after(chunk)
    assert layout == Layout.new(window, [ratio]).after(sum(chunks))


@given(windows, ratios, st.lists(st.integers(1, 50), max_size=8))
def test_the_steps_cover_every_token_once_and_in_order(window: int, ratio: int, chunks: list[int]) -> None:
    layout = Layout.new(window, [ratio])
    for chunk in chunks:
        for step, after in layout.steps(chunk):
            assert step.start == layout.entries
            assert step.stride.raw == step.raw
            assert len(step.stride.raw_positions()) == step.raw
            assert len(step.stride.positions()) == step.stride.beacons
            assert step.completes == (after.open.length == 0)
            layout = after
    assert layout.tokens == sum(chunks)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 200))
def test_reach_is_the_last_text_that_fits(window: int, ratio: int, max_positions: int) -> None:
    most = reach(window, ratio, max_positions)
    layout = Layout.new(window, [ratio])
    assert layout.peak_positions(most) <= max_positions
    assert layout.peak_positions(most + 1) > max_positions


def test_reach_is_about_the_formula_of_the_published_window() -> None:
    assert abs(reach(2048, 4, 131072) - ((131072 - 2048 - 512) * 4 + 2048)) <= 2048
    assert smallest_ratio(2048, 400_000, 131072, [2, 4, 8, 16]) == 4
    assert smallest_ratio(2048, 10**9, 131072) is None


def test_whole_groups() -> None:
    assert Stride(10, 4, 5).whole_groups
    assert not Stride(11, 4, 5).whole_groups
    assert not Stride(10, 3, 5).whole_groups


def test_ratio_mixes() -> None:
    kept = RatioDraw.of([2, 3, 8], 32, "sequence")
    assert kept.ratios == (2, 8)
    turns = []
    for _ in range(4):
        turns.append(kept.ratio())
        kept = kept.next()
    assert turns == [2, 8, 2, 8]
    text = RatioDraw.of([2, 4, 8], 32, "instance-random")
    assert text.ratio() == text.next().ratio() == text.next().next().ratio()
    assert RatioDraw.of([5], 32).ratio() == 5


@pytest.mark.parametrize(
    ("ratios", "window", "mix"), [([], 32, "sequence"), ([0], 32, "sequence"), ([3, 5], 32, "sequence"), ([4], 32, "x")]
)
def test_bad_ratios(ratios: list[int], window: int, mix: str) -> None:
    with pytest.raises(InputError, match=r"(?s)found|none of"):
        RatioDraw.of(ratios, window, mix)


@given(windows, st.sampled_from([[4], [7], [1, 2]]), st.integers(0, 200))
def test_a_layout_comes_back_from_json(window: int, ratios: list[int], tokens: int) -> None:
    layout = Layout.new(window * 2, ratios).after(tokens)
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


@pytest.mark.parametrize("change", [{"memory": 3}, {"tokens": -1}, {"open": [1, 2]}, {"mix": "x"}, {"window": 0}])
def test_a_tampered_layout_is_refused(change: dict[str, object]) -> None:
    data = Layout.new(32, [4]).after(100).to_json()
    with pytest.raises(InputError):
        Layout.from_json(data | change)
