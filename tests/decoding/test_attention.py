"""Attention in parts equals attention with a dense mask, whatever the kernel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memorag_integrations.decoding import attention
from memorag_integrations.decoding import onednn as matmul
from memorag_integrations.decoding.attention import KVPart, attend, attention_in_parts
from memorag_integrations.decoding.cache import GrowingCache


def dense(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    groups = query.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    return torch.nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("onednn", [True, False])
@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 2),
    groups=st.sampled_from([1, 3]),
    count=st.sampled_from([1, 2, 31, 33, 70, 300]),
    past=st.sampled_from([0, 1, 17, 129, 400]),
)
def test_a_window_over_a_memory(onednn: bool, batch: int, groups: int, count: int, past: int) -> None:
    if onednn and not matmul.available():
        pytest.skip("oneDNN does not pay on this CPU")
    query = random(batch, 2 * groups, count, 16, seed=1)
    buffer = random(2, batch, 2, past + count + 9, 16, seed=2)
    keys, values = buffer[0, :, :, : past + count], buffer[1, :, :, : past + count]
    with pytest.MonkeyPatch.context() as patch:
        if not onednn:
            patch.setattr(matmul, "available", lambda: False)
        patch.setattr(attention, "CACHED_SCORES", 1 << 12)
        found = attention_in_parts(torch.nn.Module(), query, keys, values, None)[0].transpose(1, 2)
    mask = torch.ones(count, past + count, dtype=torch.bool).tril(past)
    torch.testing.assert_close(found, dense(query, keys, values, mask), atol=2e-5, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), count=st.sampled_from([1, 5, 40]))
def test_parts_merge_to_the_whole(lengths: list[int], count: int) -> None:
    query = random(1, 4, count, 8, seed=3) * 3
    keys, values = random(2, 1, 2, sum(lengths), 8, seed=4)
    mask = random(count, sum(lengths), seed=5) > 0
    mask[:, 0] = True
    parts, at = [], 0
    for i, length in enumerate(lengths):
        span = slice(at, at + length)
        if i % 2:
            mask[:, span] = True
        added = torch.zeros(count, length).masked_fill_(~mask[:, span], float("-inf"))
        parts.append(KVPart(keys[:, :, span], values[:, :, span], None if i % 2 else added))
        at += length
    torch.testing.assert_close(attend(query, parts), dense(query, keys, values, mask), atol=2e-5, rtol=1e-4)


def test_the_fallback_for_other_devices_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "available", lambda: False)
    monkeypatch.setattr(attention, "_kernel", attention._plain_kernel)
    query, (keys, values) = random(1, 4, 40, 8), random(2, 1, 2, 60, 8)
    found = attention_in_parts(torch.nn.Module(), query, keys, values, None)[0].transpose(1, 2)
    mask = torch.ones(40, 60, dtype=torch.bool).tril(20)
    torch.testing.assert_close(found, dense(query, keys, values, mask), atol=2e-5, rtol=1e-4)


def test_half_precision_on_a_cpu() -> None:
    query, (keys, values) = random(1, 4, 40, 16).bfloat16(), random(2, 1, 2, 60, 16).bfloat16()
    found = attention_in_parts(torch.nn.Module(), query, keys, values, None)[0].transpose(1, 2)
    mask = torch.ones(40, 60, dtype=torch.bool).tril(20)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), dense(query, keys, values, mask).float(), atol=3e-2, rtol=3e-2)


@given(rows=st.integers(1, 70), bias=st.booleans())
def test_products_agree_with_torch(rows: int, bias: bool) -> None:
    x, w, b = random(rows, 24), random(10, 24, seed=1), random(10, seed=2) if bias else None
    torch.testing.assert_close(matmul.product(x, w, b), torch.nn.functional.linear(x, w, b), atol=1e-5, rtol=1e-5)


@given(st.lists(st.integers(1, 90), max_size=20))
def test_a_growing_cache_moves_little_and_loses_nothing(chunks: list[int]) -> None:
    cache = GrowingCache(1)
    states = [random(1, 2, n, 4, seed=n) for n in chunks]
    for part in states:
        cache.update(part, -part, 0)
    if chunks:
        keys, values = cache.entries()[0]
        assert torch.equal(keys, torch.cat(states, 2))
        assert torch.equal(values, -keys)
        assert cache.copied <= 2 * 3 * keys.nbytes
        cache.truncate(1)
        cache.trim()
        assert cache.nbytes == 2 * 2 * 4 * 4
