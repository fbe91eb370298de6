"""Stretches cover the text, keep to their size, and stay where an edit did not touch them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.errors import InputError
from memorag_integrations.text.chunking import fitting, stretches
from memorag_integrations.text.tokens import estimate_tokens


def prose(paragraphs: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    word = lambda: "".join(rng.choices("abcdefghij", k=rng.randint(2, 9)))  # noqa: E731
    sentence = lambda: " ".join(word() for _ in range(rng.randint(4, 15))).capitalize() + "."  # noqa: E731
    return "\n\n".join(" ".join(sentence() for _ in range(rng.randint(1, 6))) for _ in range(paragraphs))


@given(st.text(max_size=2000), st.integers(10, 300))
def test_every_character_that_is_not_blank_is_covered_in_order(text: str, size: int) -> None:
    ranges = stretches(text, size)
    assert "".join(text[a:b] for a, b in ranges).split() == text.split() or not any(map(str.strip, text))
    assert all(a < b <= c for (a, b), (c, _) in pairwise(ranges))
    assert all(b - a <= 1.4 * size + 1 for a, b in ranges)


@given(st.text(max_size=600), st.integers(5, 100))
def test_parts_fit(text: str, most: int) -> None:
    ranges = fitting(text, estimate_tokens, most)
    assert all(estimate_tokens(text[a:b]) <= most for a, b in ranges)
    assert not text.strip() or "".join(text[a:b] for a, b in ranges).split() == text.split()


def test_an_edit_moves_few_stretches() -> None:
    text = prose(800)
    before = {text[a:b] for a, b in stretches(text, 2000)}
    edited = text[:60_000] + "A new sentence stands here. " + text[60_000:]
    after = [edited[a:b] for a, b in stretches(edited, 2000)]
    assert len(before) > 40
    assert sum(stretch not in before for stretch in after) <= 4


def test_one_long_line_without_blanks() -> None:
    ranges = stretches("x" * 100_000, 1000)
    assert sum(b - a for a, b in ranges) == 100_000


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(InputError, match="at least 10"):
        stretches("abc", 3)
