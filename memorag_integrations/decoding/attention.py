"""Attention in parts: each part is computed by itself, without a mask where it can be, and merged by log-sum-exp.

A window attends to the memory without a mask and to itself causally; branches attend to a prefix that they share
without a mask and to their own entries with a small one. Neither needs a dense mask over the memory nor a copy of it,
and grouped heads read the same keys and values in place. The merge is that of blockwise softmax (Milakov and
Gimelshein, arXiv 1805.02867; for shared prefixes Juravsky et al., arXiv 2402.05099).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from . import onednn as matmul

IMPLEMENTATION = "memorag_parts"
"""The name under which `register` tells transformers of it."""
BLOCK_SCORES = 1 << 22
"""Most attention scores that the plain kernel holds at once, per head."""
CACHED_SCORES = 1 << 20
"""Scores that the blocked kernel holds at once: 4 MiB of float32, which stay in the CPU's caches."""
LEAST_BLOCKED = 32
"""Queries below which the blocked kernel's many small calls cost more than they save."""
UNSEEN = -1e30
"""Log-sum-exp of no scores at all, finite so that the merge needs no special case."""
LENGTH_STEP = 128
"""Keys that the blocked kernel's products grow by from block to block."""


@dataclass(frozen=True)
class KVPart:
    """Keys and values that the queries attend to.

    Args:
        keys, values: [batch, kv heads, length, head size]; may be views of larger buffers.
        mask: float32 [queries, length], added to the scores: 0 where a query sees a key, -inf elsewhere; None for all.
        causal: Query i of n sees keys 0 … length - n + i of this part.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None
    causal: bool = False


class Prefix(Protocol):
    """What lies before a cache's own entries and is shared.

    Args:
        own_start: How many of the own entries none of the queries sees; they come first.
    """

    own_start: int

    def parts(self, layer: int) -> list[KVPart]: ...


def register() -> str:
    """Make `attention_in_parts` known to transformers, and return its name there."""
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, attention_in_parts)
    return IMPLEMENTATION


def attention_in_parts(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    prefix: Prefix | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in every layer. A sliding window is ignored.

    Args:
        module: The layer's attention; its `layer_idx` picks the layer of `prefix`.
        query: [batch, heads, queries, head size].
        key, value: [batch, kv heads, length, head size]: the cache's own entries, the queries' last.
        attention_mask: float32 [1, 1, queries, length], added to the scores of the own entries; None for plain causal.
        scaling: Of the scores; None for 1 / sqrt(head size).
        prefix: Entries before the own ones, seen by every query or as its parts say.

    Returns:
        [batch, queries, heads, head size], and None for the weights.
    """
    if prefix is not None and prefix.own_start:
        key, value = key[:, :, prefix.own_start :], value[:, :, prefix.own_start :]
    count, length = query.shape[2], key.shape[2]
    before = [] if prefix is None else prefix.parts(module.layer_idx)  # type: ignore[arg-type]
    if attention_mask is not None:
        own = [KVPart(key, value, mask=attention_mask[0, 0])]
    elif count == 1:
        own = [KVPart(key, value)]
    elif _many(query, count):
        own = [KVPart(key, value, causal=True)]
    else:
        past = length - count
        own = [KVPart(key[:, :, past:], value[:, :, past:], causal=True)]
        if past:
            own.append(KVPart(key[:, :, :past], value[:, :, :past]))
    output = attend(query, [*before, *own], scaling)
    return output.transpose(1, 2), None


def attend(query: Tensor, parts: Sequence[KVPart], scale: float | None = None) -> Tensor:
    """Attention of `query` over all parts together.

    Args:
        query: [batch, heads, queries, head size].
        parts: At least one; each query must see at least one key of one of them.
        scale: Of the scores; None for 1 / sqrt(head size).

    Returns:
        [batch, heads, queries, head size], of the query's dtype.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    total, lse = _attend_part(query, parts[0], scale)
    for part in parts[1:]:
        output, other = _attend_part(query, part, scale)
        # Both weights from one sigmoid: they add up to one, and a part that a query does not see weighs nothing.
        weight = torch.sigmoid(other - lse).unsqueeze(-1)
        total = torch.lerp(total.float(), output.float(), weight)
        lse = torch.logaddexp(lse, other)
    return total.to(query.dtype)


def causal_mask(count: int, length: int, device: torch.device) -> Tensor:
    """float32 [count, length]: query i sees keys 0 … length - count + i."""
    return torch.full((count, length), float("-inf"), device=device).triu_(length - count + 1)


def _attend_part(query: Tensor, part: KVPart, scale: float) -> tuple[Tensor, Tensor]:
    """Output [batch, heads, queries, head size] and log-sum-exp of the scores, float32 [batch, heads, queries]."""
    batch, heads, count, size = query.shape
    kv_heads, length = part.keys.shape[1], part.keys.shape[2]
    groups = heads // kv_heads
    if part.mask is None and _many(query, count):
        return _blocked(query, part.keys, part.values, scale, length - count if part.causal else length)
    if part.mask is None and not part.causal:
        # All heads of a group and all queries see the same keys: one long list of queries for each key head.
        packed = query.reshape(batch, kv_heads, groups * count, size)
        output, lse = _kernel(packed, part.keys, part.values, scale, False)
        return output.reshape(batch, heads, count, size), lse.reshape(batch, heads, count)
    if part.causal and count == length:
        # One batch row for each key head, and the group's heads share it by a stride of zero.
        rows = query.reshape(batch * kv_heads, groups, count, size)
        output, lse = _kernel(rows, _shared(part.keys, groups), _shared(part.values, groups), scale, True)
        return output.reshape(batch, heads, count, size), lse.reshape(batch, heads, count)
    mask = causal_mask(count, length, query.device) if part.mask is None else part.mask
    packed = query.reshape(batch, kv_heads, groups * count, size)
    output, lse = _plain(packed, part.keys, part.values, scale, mask)
    return output.reshape(batch, heads, count, size), lse.reshape(batch, heads, count)


def _many(query: Tensor, count: int) -> bool:
    """Whether these are queries for the blocked kernel."""
    return count >= LEAST_BLOCKED and matmul.fast(query)


def _shared(tensor: Tensor, groups: int) -> Tensor:
    batch, kv_heads, length, size = tensor.shape
    return tensor.flatten(0, 1).unsqueeze(1).expand(batch * kv_heads, groups, length, size)


def _kernel(query: Tensor, keys: Tensor, values: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """The fastest kernel at hand that also gives the log-sum-exp."""
    if query.device.type == "cpu":
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, keys, values, 0.0, causal, scale=scale
        )
        return output, lse
    half = query.dtype in (torch.bfloat16, torch.float16)
    if query.device.type == "cuda" and half and query.shape[-1] % 8 == 0 and query.shape[-1] <= 256:
        output, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            query, keys, values, 0.0, causal, False, scale=scale
        )
        return output, lse[:, :, : query.shape[2]]
    return _plain_kernel(query, keys, values, scale, causal)


def _plain_kernel(query: Tensor, keys: Tensor, values: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    count, length = query.shape[2], keys.shape[2]
    mask = causal_mask(count, length, query.device) if causal else None
    return _plain(query, keys, values, scale, mask)


def _blocked(query: Tensor, keys: Tensor, values: Tensor, scale: float, past: int) -> tuple[Tensor, Tensor]:
    """Rows in blocks, each against all keys it sees in one product: for CPUs, float32.

    A block is the same few queries of all heads of a group. Of a causal part nothing beyond a block's last query is
    computed, and only its own corner is masked.

    Args:
        past: Query i sees keys 0 … past + i, and no more than there are.
    """
    batch, heads, count, size = query.shape
    kv_heads, length = keys.shape[1], keys.shape[2]
    groups = heads // kv_heads
    grouped = query.reshape(batch, kv_heads, groups, count, size)
    output = torch.empty_like(grouped)
    sums = torch.empty(batch, kv_heads, groups, count, dtype=torch.float32)
    # Powers of two, and lengths in steps: oneDNN keeps compiled code for every shape it has seen.
    rows = max(8, 1 << (min(512, CACHED_SCORES // length) // groups).bit_length() - 1)
    corner = torch.full((rows, rows + LENGTH_STEP), float("-inf")).triu_(1)
    for start in range(0, count, rows):
        stop = min(count, start + rows)
        seen = min(length, -(-(past + stop) // LENGTH_STEP) * LENGTH_STEP)
        for b in range(batch):
            for h in range(kv_heads):
                block = (grouped[b, h, :, start:stop] * scale).reshape(-1, size)
                scores = matmul.product(block, keys[b, h, :seen]).view(groups, stop - start, seen)
                if past + start + 1 < seen:
                    scores[:, :, past + start :] += corner[: stop - start, : seen - past - start]
                most = scores.amax(-1, keepdim=True)
                weights = scores.sub_(most).exp_()
                total = weights.sum(-1, keepdim=True)
                mixed = matmul.product(weights.view(-1, seen), values[b, h, :seen].T).view(groups, -1, size)
                torch.div(mixed, total, out=output[b, h, :, start:stop])
                sums[b, h, :, start:stop] = (most + total.log_()).squeeze(-1)
    return output.view(query.shape), sums.view(batch, heads, count)


def _plain(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Matrix products and a softmax in float32, some rows at a time; `mask` repeats where the queries are several heads'."""
    outputs, sums = [], []
    count = query.shape[2] if mask is None else mask.shape[0]
    rows = max(1, BLOCK_SCORES // max(1, keys.shape[2]))
    transposed = keys.transpose(2, 3)
    grouped = _by_head(query, count) * scale
    for start in range(0, count, rows):
        block = grouped[:, :, :, start : start + rows]
        scores = torch.matmul(block.flatten(2, 3), transposed).float()
        if mask is not None:
            _by_head(scores, block.shape[3]).add_(mask[start : start + rows])
        # A query that sees nothing here gets nothing, with a weight that the merge takes for zero.
        most = scores.amax(-1, keepdim=True).clamp_min_(UNSEEN)
        weights = scores.sub_(most).exp_()
        total = weights.sum(-1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny)
        mixed = torch.matmul(weights.to(values.dtype), values).float() / total
        outputs.append(_by_head(mixed, block.shape[3]))
        sums.append(_by_head(most + total.log_(), block.shape[3]))
    return torch.cat(outputs, 3).flatten(2, 3), torch.cat(sums, 3).flatten(2, 3).squeeze(-1)


def _by_head(rows: Tensor, count: int) -> Tensor:
    """[batch, kv heads, heads of a group * count, width] → [batch, kv heads, heads of a group, count, width]."""
    return rows.view(rows.shape[0], rows.shape[1], -1, count, rows.shape[3])
