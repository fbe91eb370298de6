"""The loop over windows on four families: any chunking is the same text, and the past is never touched again."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memorag_integrations.beacon.checkpoint import load_decoder
from memorag_integrations.beacon.decoder import BeaconDecoder, BeaconState
from memorag_integrations.errors import InputError, MemoryModelError

FAMILIES = ["qwen2", "mistral", "llama", "qwen3"]
TEXT = torch.randint(0, 320, (2, 120), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def decoders(checkpoints: Callable[..., Path]) -> Callable[[str], BeaconDecoder]:
    return cache(lambda family: load_decoder(checkpoints(family)))


def read(
    decoder: BeaconDecoder, ids: torch.Tensor, chunks: list[int], ratios: tuple[int, ...]
) -> tuple[BeaconState, torch.Tensor]:
    state = decoder.start(ratios, batch=ids.shape[0])
    at = 0
    for chunk in [*chunks, ids.shape[1]]:
        chunk = min(chunk, ids.shape[1] - at)
        if chunk:
            hidden = decoder.feed(state, ids[:, at : at + chunk])
            at += chunk
    return state, decoder.logits(hidden[:, -1])


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.integers(1, 40), max_size=6),
    length=st.integers(1, 90),
    ratios=st.sampled_from([(4,), (3,), (20,), (2, 4, 8)]),
    batch=st.integers(1, 2),
)
def test_any_chunking_is_the_same_text(
    decoders: Callable[[str], BeaconDecoder],
    family: str,
    chunks: list[int],
    length: int,
    ratios: tuple[int, ...],
    batch: int,
) -> None:
    decoder = decoders(family)
    ids = TEXT[:batch, :length]
    whole, expected = read(decoder, ids, [], ratios)
    parts, found = read(decoder, ids, chunks, ratios)
    assert whole.layout == parts.layout
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for (k, v), (k2, v2) in zip(whole.cache.entries(), parts.cache.entries(), strict=True):
        torch.testing.assert_close(k2, k, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(v2, v, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_its_texts_one_by_one(decoders: Callable[[str], BeaconDecoder], family: str) -> None:
    decoder = decoders(family)
    both = read(decoder, TEXT, [], (4,))[1]
    alone = torch.cat([read(decoder, TEXT[i : i + 1], [], (4,))[1] for i in range(2)])
    torch.testing.assert_close(both, alone, atol=1e-4, rtol=1e-4)


def test_a_window_never_rewrites_the_memory(decoders: Callable[[str], BeaconDecoder]) -> None:
    decoder = decoders("qwen2")
    state = decoder.start()
    decoder.feed(state, TEXT[:1, :32])
    held = state.layout.memory
    before = [(k.clone(), v.clone()) for k, v in state.cache.entries()]
    decoder.feed(state, TEXT[:1, 32:])
    for (k, v), (k2, v2) in zip(before, state.cache.entries(), strict=True):
        assert torch.equal(k, k2[:, :, :held])
        assert torch.equal(v, v2[:, :, :held])


def test_appending_copies_a_bounded_share(decoders: Callable[[str], BeaconDecoder]) -> None:
    decoder = decoders("qwen2")
    state = decoder.start()
    for _ in range(12):
        decoder.feed(state, TEXT[:1, :100])
    held = sum(k.numel() + v.numel() for k, v in state.cache.entries()) * 4
    assert state.cache.copied < 3 * held
    copied = state.cache.copied
    state.cache.reserve(state.layout.after(60).entries + 20)
    moved = state.cache.copied - copied
    decoder.feed(state, TEXT[:1, :60])
    assert state.cache.copied == copied + moved


def test_sliding_windows_are_off(checkpoints: Callable[..., Path]) -> None:
    plain = load_decoder(checkpoints("mistral"))
    sliding = load_decoder(checkpoints("mistral", sliding_window=4))
    torch.testing.assert_close(read(plain, TEXT[:1], [], (4,))[1], read(sliding, TEXT[:1], [], (4,))[1])


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
        {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 128},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "rope_theta": 10000.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ],
)
def test_scaled_rope_keys_move_right(checkpoints: Callable[..., Path], rope: dict[str, object]) -> None:
    """A memory key equals the beacon's key rotated afresh to its place: read off a pass at another position."""
    decoder = load_decoder(checkpoints("llama", rope_parameters=rope))
    state, _ = read(decoder, TEXT[:1, :16], [], (4,))
    # The first layer's key of a token depends on the token and its position alone.
    layer = decoder.model.model.layers[0]
    row = layer.self_attn.k_proj.beacon(layer.input_layernorm(decoder.embedding))
    row = row.view(1, 1, 2, 8).transpose(1, 2)
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    cosine, sine = decoder.model.model.rotary_emb(row, torch.arange(4).unsqueeze(0))
    expected = apply_rotary_pos_emb(row.expand(1, 2, 4, 8), row.expand(1, 2, 4, 8), cosine, sine)[1]
    torch.testing.assert_close(state.cache.entries()[0][0], expected, atol=1e-5, rtol=1e-5)


def test_rope_that_changes_with_length_is_refused_by_name(checkpoints: Callable[..., Path]) -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    with pytest.raises(MemoryModelError, match="dynamic"):
        load_decoder(checkpoints("llama", rope_parameters=rope))


def test_a_text_beyond_reach_names_the_ratio_before_the_first_window(checkpoints: Callable[..., Path]) -> None:
    decoder = load_decoder(checkpoints("qwen2", max_position_embeddings=32))
    state = decoder.start((2,))
    with pytest.raises(InputError, match=r"(?s)found 120.*Ratio 8 would do"):
        decoder.feed(state, TEXT[:1])
    assert state.layout.tokens == 0
    decoder.feed(decoder.start((8,)), TEXT[:1])


@pytest.mark.parametrize(
    ("ids", "message"),
    [([[320]], "beacon's own"), ([[999]], "from 0 to 319"), ([[-1]], "found -1"), ([[]], "at least 1")],
)
def test_bad_ids(decoders: Callable[[str], BeaconDecoder], ids: list[list[int]], message: str) -> None:
    decoder = decoders("qwen2")
    with pytest.raises(InputError, match=message):
        decoder.feed(decoder.start(), torch.tensor(ids, dtype=torch.long))
