"""From evidence to the prompt for an answer, from a text of any length to the prompt for a summary.

What asks (an engine, sync or async, streamed or not) sends the prompt to any `LLM` of the contract.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from ..clues import UsageMeter
from ..contracts import LLM
from ..documents import clean_text
from ..errors import InputError, LLMError
from ..llms.gate import PromptGate
from ..llms.scheduling import ask
from ..prompts import Prompts, fence, prompts_for
from ..prompts.languages import detect, reply_sentence
from ..replies.clue_parsing import parse_text
from ..text.chunking import fit_to_tokens
from ..text.tokens import Count, counter


class AnswerPrompt(NamedTuple):
    """A prompt, and how many pieces of evidence stand in it; those after them did not fit."""

    prompt: str
    used: int


def answer_prompt(
    query: str,
    pieces: Sequence[str],
    *,
    room: int,
    count: Count,
    language: str = "auto",
    prompts: Prompts | None = None,
) -> AnswerPrompt:
    """Ask for an answer from numbered pieces of evidence.

    Args:
        query: The question; its language decides that of the answer unless told otherwise.
        pieces: Texts of the evidence, best first; as many as fit are taken, whole.
        room: Tokens that the prompt may have: the window less the reply.
        count: Tokens of a text.
        language: Code or name of a language, or "auto".
        prompts: Templates in the place of ours.

    Raises:
        InputError: Where there is no evidence, or its first piece does not fit.
    """
    if not pieces:
        raise InputError("There is no evidence to answer from. Retrieve some first, or answer without a prompt.")
    query = clean_text(query).strip()
    code = detect(query) if language == "auto" else language
    templates = prompts or prompts_for(code)

    def written(used: int) -> str:
        numbered = "\n\n".join(f"[{i}] {clean_text(piece)}" for i, piece in enumerate(pieces[:used], 1))
        fenced, tag = fence(numbered)
        return fenced + templates.answer.format(tag=tag, query=query, language=reply_sentence(templates, code))

    used = fit(pieces, room - count(written(0)), count)
    return AnswerPrompt(written(used), used)


def fit(pieces: Sequence[str], room: int, count: Count) -> int:
    """How many pieces of evidence, from the first on and whole, fit `room` tokens with their numbers.

    Raises:
        InputError: Where not even the first does.
    """
    used, left = 0, room
    for number, piece in enumerate(pieces, 1):
        size = count(f"[{number}] {piece}\n\n")
        if size > left:
            break
        used, left = number, left - size
    if pieces and not used:
        raise InputError(
            f"The first piece of evidence has {count(pieces[0])} tokens, but {max(room, 0)} are left for evidence. Use "
            f"smaller passages, or a model with a larger window."
        )
    return used


def points_prompt(points: str, pieces: Sequence[str], *, language: str = "auto", prompts: Prompts | None = None) -> str:
    """Ask for a summary from key points, one a line, and numbered excerpts in the order of the text."""
    numbered = "\n\n".join(f"[{i}] {clean_text(piece)}" for i, piece in enumerate(pieces, 1))
    return _over(f"{points}\n\n{numbered}", "summary_of_points", language, prompts)


def summary_prompt(text: str, *, language: str = "auto", prompts: Prompts | None = None) -> str:
    """Ask for a summary. The text comes first, as in a recall: one prefix in the provider's cache serves both."""
    return _over(text, "summary", language, prompts)


def condense(
    llm: LLM,
    text: str,
    *,
    room: int,
    reply_tokens: int = 1024,
    language: str = "auto",
    prompts: Prompts | None = None,
    gate: PromptGate | None = None,
    cancel: threading.Event | None = None,
    meter: UsageMeter | None = None,
) -> str:
    """`text`, or where it is longer than `room` tokens the gists of its parts, and of those again until they fit.

    Args:
        llm: Asked for the gists.
        room: Tokens that the result may have.
        reply_tokens: Most tokens of a gist.
        language, prompts: As in `answer_prompt`.
        gate: Admits prompts; None for a gate of four slots.
        cancel: Ends the work when set.
        meter: Is told what each gist cost.

    Raises:
        LLMError: What the provider said, or that the model does not shorten the text.
        Cancelled: When `cancel` was set.
    """
    count, gate = counter(llm), gate or PromptGate(4)
    text = clean_text(text)
    while (tokens := count(text)) > room:
        parts = [text[start:end] for start, end in fit_to_tokens(text, count, max(64, room * 3 // 4))]
        words = max(40, room // (2 * len(parts)))
        chains = [[_over(part, "gist", language, prompts, words)] for part in parts]
        answers = ask(llm, chains, max_tokens=reply_tokens, gate=gate, cancel=cancel)
        if meter is not None:
            for [completion] in answers:
                meter.add(completion.usage)
        text = "\n\n".join(filter(None, (parse_text(completion.text) for [completion] in answers)))
        if not text or count(text) > 0.9 * tokens:
            raise LLMError(
                f"{llm.name} was asked to condense {tokens} tokens to fit {room} and gave back {count(text)}. Use "
                f"another model, or one with a larger window."
            )
    return text


def _over(text: str, name: str, language: str, prompts: Prompts | None, words: int = 0) -> str:
    code = detect(text) if language == "auto" else language
    templates = prompts or prompts_for(code)
    fenced, tag = fence(text)
    fields = {"tag": tag, "language": reply_sentence(templates, code), "words": words}
    return fenced + str(getattr(templates, name)).format(**fields)
