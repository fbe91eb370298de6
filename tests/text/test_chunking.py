"""Stretches cover the text, keep to their size, and stay where an edit did not touch them."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.errors import InputError
from memorag_integrations.text.chunking import content_chunks, fit_to_tokens
from memorag_integrations.text.tokens import estimate_tokens


def prose(paragraphs: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    word = lambda: "".join(rng.choices("abcdefghij", k=rng.randint(2, 9)))  # noqa: E731
    sentence = lambda: " ".join(word() for _ in range(rng.randint(4, 15))).capitalize() + "."  # noqa: E731
    return "\n\n".join(" ".join(sentence() for _ in range(rng.randint(1, 6))) for _ in range(paragraphs))


@given(st.text(max_size=2000), st.integers(10, 300))
def test_every_character_that_is_not_blank_is_covered_in_order(text: str, size: int) -> None:
    ranges = content_chunks(text, size)
    assert "".join(text[a:b] for a, b in ranges).split() == text.split() or not any(map(str.strip, text))
    assert all(a < b <= c for (a, b), (c, _) in pairwise(ranges))
    assert all(b - a <= 1.4 * size + 1 for a, b in ranges)


@given(st.text(max_size=600), st.integers(5, 100))
def test_parts_fit(text: str, most: int) -> None:
    ranges = fit_to_tokens(text, estimate_tokens, most)
    assert all(estimate_tokens(text[a:b]) <= most for a, b in ranges)
    assert not text.strip() or "".join(text[a:b] for a, b in ranges).split() == text.split()


def test_an_edit_moves_few_stretches() -> None:
    text = prose(800)
    before = {text[a:b] for a, b in content_chunks(text, 2000)}
    edited = text[:60_000] + "A new sentence stands here. " + text[60_000:]
    after = [edited[a:b] for a, b in content_chunks(edited, 2000)]
    assert len(before) > 40
    assert sum(stretch not in before for stretch in after) <= 4


def test_one_long_line_without_blanks() -> None:
    ranges = content_chunks("x" * 100_000, 1000)
    assert sum(b - a for a, b in ranges) == 100_000


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(InputError, match="at least 10"):
        content_chunks("abc", 3)


def greedy(text: str, count: Callable[[str], int], most: int, size: int) -> list[tuple[int, int]]:
    """Neighbouring chunks joined one by one, each join counted: what `fit_to_tokens` does, by the plain way."""
    ranges: list[tuple[int, int]] = []
    for start, end in content_chunks(text, size):
        if ranges and count(text[ranges[-1][0] : end]) <= most:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges


@given(st.text(alphabet="ab 。水\n.", min_size=200, max_size=800), st.integers(120, 200))
def test_as_many_neighbours_as_fit_are_merged(text: str, most: int) -> None:
    total = estimate_tokens(text)
    size = max(10, len(text) // max(1, -(-total // most)) * 7 // 10)
    whole = all(estimate_tokens(text[a:b]) <= most for a, b in content_chunks(text, size))
    if total > most and whole:
        assert fit_to_tokens(text, estimate_tokens, most) == greedy(text, estimate_tokens, most, size)


@pytest.mark.parametrize(
    "text",
    [
        "水" * 1_000 + "a " * 15_000,  # tokens are not spread evenly: the sparse half is cut far too small at first
        "a " * 15_000 + "水" * 1_000,
        "1. " * 10_000,
        "word\n" * 21_000,
        "x" * 30_000,
        "水。" * 15_000,
        "a\n\n" * 10_000,
    ],
)
def test_characters_counted_grow_with_the_text_and_not_faster(text: str) -> None:
    """A tokenizer that takes runs of one kind together, as those for blanks do, makes chunks of very different weight."""
    counted = 0

    def count(part: str) -> int:
        nonlocal counted
        counted += len(part)
        return len(part.encode()) // 3 if "水" in part[:100] else len(part) // 200 + 1

    for most in (50, 200):
        work = []
        for repeats in (1, 2, 4):
            counted = 0
            ranges = fit_to_tokens(text * repeats, count, most)
            assert sum(end - start for start, end in ranges) >= 0.9 * len(text) * repeats
            work.append(counted / (len(text) * repeats))
        assert max(work) <= 25
