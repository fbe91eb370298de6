"""Prompts for answers and summaries."""

from __future__ import annotations

import pytest

from memorag_integrations.answers.prompts import answer_prompt, condense, summary_prompt
from memorag_integrations.clues import UsageMeter
from memorag_integrations.errors import InputError, LLMError
from memorag_integrations.prompts import fence
from memorag_integrations.text.tokens import estimate_tokens

from ..scripted import ScriptedLLM, instructions_of, text_of

PIECES = [f"Piece {i}: the committee met in room {i} and approved the lamps." for i in range(50)]


@pytest.mark.parametrize("room", [700, 1000, 5000])
def test_as_much_evidence_as_fits_numbered_and_fenced(room: int) -> None:
    made = answer_prompt("Where did they meet?", PIECES, room=room, count=estimate_tokens)
    assert estimate_tokens(made.prompt) <= room
    assert text_of(made.prompt) == "\n\n".join(f"[{i}] {piece}" for i, piece in enumerate(PIECES[: made.used], 1))
    assert (made.used == 50) == (room == 5000)
    assert made.used == 50 or estimate_tokens(made.prompt + PIECES[0]) > room - 40
    assert instructions_of(made.prompt).rstrip().endswith("Where did they meet?")


def test_the_answers_language_follows_the_query() -> None:
    made = answer_prompt("谁主持了会议？", ["会议由王丽主持。"], room=2000, count=estimate_tokens)
    assert "请用中文书写" in made.prompt


def test_evidence_that_is_missing_or_too_long() -> None:
    with pytest.raises(InputError, match="no evidence"):
        answer_prompt("Who?", [], room=1000, count=estimate_tokens)
    with pytest.raises(InputError, match="smaller passages"):
        answer_prompt("Who?", ["x" * 5000], room=1000, count=estimate_tokens)


def test_a_summary_shares_the_recalls_prefix() -> None:
    assert summary_prompt("Ann came.").startswith(fence("Ann came.")[0])


def test_condense_until_it_fits() -> None:
    llm, meter = ScriptedLLM(lambda prompt: text_of(prompt)[: len(text_of(prompt)) // 3]), UsageMeter()
    text = "\n\n".join(PIECES)
    assert condense(llm, text, room=10_000) == text
    short = condense(llm, text, room=300, meter=meter)
    assert estimate_tokens(short) <= 300
    assert meter.total.calls == len(llm.prompts) > 1
    with pytest.raises(LLMError, match="condense"):
        condense(ScriptedLLM(text_of), text, room=300)
    with pytest.raises(LLMError, match="condense"):
        condense(ScriptedLLM(""), text, room=300)
