"""Branches over one memory: the same numbers as one after another, and the memory bit for bit what it was."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from memorag_integrations.beacon.branching import BeaconBranches
from memorag_integrations.beacon.checkpoint import load_decoder
from memorag_integrations.beacon.decoder import BeaconDecoder, BeaconState
from memorag_integrations.beacon.layout import Layout
from memorag_integrations.decoding import branches as branches_module
from memorag_integrations.decoding.cache import GrowingCache
from memorag_integrations.errors import InputError

TEXT = torch.randint(0, 320, (1, 400), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="session")
def decoder_of(checkpoints: Callable[..., Path]) -> Callable[[str], BeaconDecoder]:
    return cache(lambda family: load_decoder(checkpoints(family)))


def formed(decoder: BeaconDecoder, length: int, ratio: int) -> BeaconState:
    state = decoder.start((ratio,))
    if length:
        decoder.feed(state, TEXT[:, :length])
    return state


def alone(decoder: BeaconDecoder, state: BeaconState, pieces: list[list[int]]) -> list[torch.Tensor]:
    """The logits after each piece, read on a copy of the memory by the plain loop."""
    copy = BeaconState(state.layout, GrowingCache.of([(k.clone(), v.clone()) for k, v in state.cache.entries()]))
    return [decoder.logits(decoder.feed(copy, torch.tensor([piece]))[0, -1]) for piece in pieces]


@pytest.mark.parametrize("family", ["qwen2", "mistral", "llama", "qwen3"])
@settings(max_examples=10, deadline=None)
@given(
    length=st.integers(17, 60),
    ratio=st.sampled_from([2, 4, 3]),
    cuts=st.lists(st.lists(st.integers(0, 25), min_size=2, max_size=4), min_size=1, max_size=3),
)
def test_together_is_one_after_another(
    decoder_of: Callable[[str], BeaconDecoder], family: str, length: int, ratio: int, cuts: list[list[int]]
) -> None:
    decoder = decoder_of(family)
    state = formed(decoder, length, ratio)
    before = [(k.clone(), v.clone()) for k, v in state.cache.entries()]
    texts = [TEXT[0, 100 * i :].tolist() for i in range(len(cuts))]
    pieces = [
        [text[sum(cut[:j]) : sum(cut[: j + 1])] for j in range(len(cut))] for text, cut in zip(texts, cuts, strict=True)
    ]
    together = BeaconBranches(decoder, state.layout, state.cache.entries(), len(cuts))
    found: list[list[torch.Tensor]] = [[] for _ in cuts]
    for turn in range(4):
        fed = [branch[turn] if turn < len(branch) else [] for branch in pieces]
        for branch, logits in enumerate(together.feed(fed)):
            assert (logits is None) == (not fed[branch])
            if logits is not None:
                found[branch].append(logits)
    for branch, parts in enumerate(pieces):
        expected = alone(decoder, state, [part for part in parts if part])
        for one, other in zip(found[branch], expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    for (k, v), (k2, v2) in zip(before, state.cache.entries(), strict=True):
        assert torch.equal(k, k2)
        assert torch.equal(v, v2)


def test_hidden_entries_are_packed_away(
    decoder_of: Callable[[str], BeaconDecoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branches_module, "LEAST_DEAD", 8)
    decoder = decoder_of("qwen2")
    state = formed(decoder, 50, 4)
    together = BeaconBranches(decoder, state.layout, state.cache.entries(), 2)
    texts = [TEXT[0, :90].tolist(), TEXT[0, 200:290].tolist()]
    found: list[torch.Tensor | None] = []
    for at in range(0, 90, 9):
        found = together.feed([text[at : at + 9] for text in texts])
    for branch, text in enumerate(texts):
        logits = found[branch]
        assert logits is not None
        torch.testing.assert_close(logits, alone(decoder, state, [text])[0], atol=1e-4, rtol=1e-4)
    assert together._cache.length <= 120  # of 224 and the copies of the tail


def test_no_branch_copies_the_memory(decoder_of: Callable[[str], BeaconDecoder]) -> None:
    decoder = decoder_of("qwen2")
    state = formed(decoder, 400, 2)
    entries = state.cache.entries()
    together = BeaconBranches(decoder, state.layout, entries, 6)
    for _ in range(5):
        together.feed([[1, 2]] * 6)
    assert all(
        a.data_ptr() == b.data_ptr()
        for pair in zip(together._entries, entries, strict=True)
        for a, b in zip(*pair, strict=True)
    )
    own_entries = 6 * (10 + 5)
    per_entry = sum(k[:, :, :1].nbytes + v[:, :, :1].nbytes for k, v in entries)
    assert together.nbytes <= 2 * own_entries * per_entry


def test_bad_tokens_and_reach(decoder_of: Callable[[str], BeaconDecoder]) -> None:
    decoder = decoder_of("qwen2")
    state = formed(decoder, 20, 4)
    together = BeaconBranches(decoder, state.layout, state.cache.entries(), 2)
    with pytest.raises(InputError, match="found 320"):
        together.feed([[1], [320]])
    with pytest.raises(InputError, match="would do"):
        together.feed([[1] * 4000, [1]])
    assert together.feed([[1], []])[1] is None


class CountBytes(TorchDispatchMode):
    """Bytes of every tensor that an operation makes; views count nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.bytes += tensor.nbytes
        return made


def test_a_token_costs_the_same_bytes_however_long_the_memory(decoder_of: Callable[[str], BeaconDecoder]) -> None:
    """Nothing is made for a token or a query that grows with the memory: neither copies of it nor masks over it."""
    decoder = decoder_of("qwen2")
    layout = Layout.new(16, [1]).after(16 * 8)
    costs = []
    for times in (1, 30):
        entries = [(torch.randn(1, 2, 16 * 8 * times, 8), torch.randn(1, 2, 16 * 8 * times, 8)) for _ in range(2)]
        together = BeaconBranches(decoder, layout, entries, 3)
        together.feed([[1, 2, 3]] * 3)
        with CountBytes() as count:
            together.feed([[4]] * 3)
        costs.append(count.bytes)
    assert costs[0] == costs[1]


def test_the_contexts_logits_are_never_computed(decoder_of: Callable[[str], BeaconDecoder]) -> None:
    decoder = decoder_of("qwen2")
    calls: list[int] = []
    hook = decoder.model.lm_head.register_forward_hook(lambda *_: calls.append(1))
    formed(decoder, 100, 4)
    hook.remove()
    assert not calls
