"""Picking tokens, ending texts, and showing them as they come."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.decoding.generation import Sampling, Transcript, pick, write
from memorag_integrations.errors import Cancelled, InputError

END = 256


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def one_hot(token: int) -> torch.Tensor:
    logits = torch.full((257,), -20.0)
    logits[token] = 20.0
    return logits


class Script:
    """Branches whose every next token is fixed."""

    def __init__(self, *texts: bytes) -> None:
        self.left = [[*text, END] for text in texts]
        self.fed: list[list[list[int]]] = []

    def feed(self, tokens: Sequence[Sequence[int]]) -> list[torch.Tensor | None]:
        self.fed.append([list(ids) for ids in tokens])
        return [one_hot(left.pop(0)) if ids else None for left, ids in zip(self.left, tokens, strict=True)]


@given(st.text(max_size=30), st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_pieces_add_up_and_stops_are_never_shown(one: str, other: str, stops: list[str]) -> None:
    sampling = Sampling(max_tokens=500, stop=tuple(stops))
    texts = [one, other]
    transcripts = [Transcript(decode, sampling, frozenset([END])) for _ in texts]
    shown = ["", ""]
    for branch, piece in write(Script(*(text.encode() for text in texts)), [[1], [2, 3]], transcripts):
        shown[branch] += piece
    for text, transcript, pieces in zip(texts, transcripts, shown, strict=True):
        cuts = [at for at in (text.find(stop) for stop in stops) if at >= 0]
        assert transcript.text == pieces == (text[: min(cuts)] if cuts else text)


def test_a_finished_branch_waits() -> None:
    script = Script(b"ab", b"abcd")
    transcripts = [Transcript(decode, Sampling(), frozenset([END])) for _ in range(2)]
    list(write(script, [[9], [9]], transcripts))
    assert script.fed[-1][0] == []
    assert [transcript.text for transcript in transcripts] == ["ab", "abcd"]


def test_the_limit() -> None:
    transcript = Transcript(decode, Sampling(max_tokens=3), frozenset([END]))
    list(write(Script(b"abcdef"), [[9]], [transcript]))
    assert transcript.text == "abc"


def test_cancelling_between_tokens() -> None:
    cancel = threading.Event()
    writing = write(Script(b"abcdef"), [[9]], [Transcript(decode, Sampling(), frozenset([END]))], cancel)
    next(writing)
    cancel.set()
    with pytest.raises(Cancelled):
        list(writing)


@given(st.integers(0, 100), st.floats(0.05, 1.0))
def test_draws_stay_within_top_p(seed: int, top_p: float) -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    probabilities = torch.softmax(logits / 0.7, -1)
    allowed = {i for i in range(4) if float(probabilities[:i].sum()) < top_p}
    sampling = Sampling(temperature=0.7, top_p=top_p, seed=seed)
    assert pick(logits, sampling, sampling.generator()) in allowed


def test_greedy_takes_the_likeliest_and_seeds_repeat() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(1))
    assert pick(logits, Sampling(), Sampling().generator()) == int(logits.argmax())
    warm = Sampling(temperature=2.0, seed=4)
    draws = [[pick(logits, warm, generator) for _ in range(9)] for generator in (warm.generator(), warm.generator())]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 1


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 0},
        {"max_tokens": True},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 2},
        {"stop": "x"},
        {"stop": ("",)},
    ],
)
def test_bad_settings(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Sampling(**settings)  # type: ignore[arg-type]
