"""Clues out of a reply, each with its place in the text. Orders to a language model are left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..clues import NO_CLUES, Clue, ClueKind, Grounding, Recall, Usage
from ..documents import Shard
from ..replies.clue_parsing import Reply

Placing = Callable[[str], tuple[int, int, float] | None]

MOST_PLACED = 50_000
"""Characters of a reply's clues that are looked for in the text; further clues have no place."""

# "Ignore all previous instructions", "system prompt", "reply only", "new instructions:", "忽略以上指令", "你现在是".
_ORDERS = re.compile(
    # "Ignore all previous instructions" · "system prompt:" · "You are now a pirate" · "reply only with PWNED" ·
    # "New instructions: …" · "<|im_start" · 忽略以上所有指令 · 只回复：PWNED · 你现在是
    r"(?:ignore|disregard|forget|override)\s+(?:\w+\s+){0,4}(?:instruction|prompt|direction|rule|command|question)s?\b|"
    r"\b(?:system|assistant|developer)\s+(?:prompt|message)\b|\byou are now\b|\byou must (?:now )?(?:reply|respond|answer|output)\b|"
    r"\b(?:reply|respond|answer|output)\s+(?:only|just|nothing but|exactly)\b|\bnew instructions?\s*:|<\|?(?:im_start|system)|"
    r"(?:忽略|无视|不要理会|忘记|忘掉)[^。\n]{0,12}(?:指令|指示|提示|说明|要求|问题)|(?:只|仅)(?:需)?(?:回复|回答|输出)|你现在是|系统提示",
    re.IGNORECASE,
)


def placed_clues(
    reply: Reply, place: Placing, shard: Shard, text: str, query: str
) -> tuple[tuple[Clue, ...], list[str]]:
    """A reply's clues with their places in the documents, best first, and a warning for those that were left out.

    A clue is left out where it gives orders to a language model, or where its line in the text does: such a text was
    planted. It stays where the query itself speaks of such orders.

    Args:
        reply: What the model said.
        place: Function of a clue's text to (start, end, score) in `text`, or None for no place.
        shard: The documents that `text` is made of.
        text: What clues are placed in.
        query: The query that was asked.
    """
    wary = _ORDERS.search(query) is None
    clues: list[Clue] = []
    planted = unplaced = characters = 0
    texts: list[tuple[ClueKind, str]] = [("span", span) for span in reply.spans]
    texts += [("question", question) for question in reply.questions]
    texts += [("answer", reply.answer)] if reply.answer else []
    for rank, (kind, clue) in enumerate(texts):
        characters += len(clue)
        unplaced += characters > MOST_PLACED
        where = place(clue) if characters <= MOST_PLACED else None
        if wary and (_ORDERS.search(clue) or (where and _ORDERS.search(_line(text, where[0], where[1])))):
            planted += 1
            continue
        score = where[2] if where else 0.0
        grounding = Grounding(*shard.locate(where[0], where[1]), score) if where else None
        clues.append(Clue(clue, kind, grounding, _confidence(kind, score, rank)))
    clues.sort(key=lambda clue: -clue.confidence)
    warnings: list[str] = []
    if planted:
        warnings.append(f"{planted} clues were orders to a language model, not evidence, and were left out.")
    if unplaced:
        warnings.append(f"The clues had {characters} characters; {unplaced} beyond {MOST_PLACED} were not looked for.")
    return tuple(clues), warnings


def _line(text: str, start: int, end: int) -> str:
    """The lines that the range stands on, up to 200 characters beyond it on either side."""
    low = max(text.rfind("\n", max(0, start - 200), start) + 1, start - 200, 0)
    high = text.find("\n", end, end + 200)
    return text[low : high if high >= 0 else end + 200]


def _confidence(kind: ClueKind, score: float, rank: int) -> float:
    """Spans and answers by how well they are grounded, questions in the middle; earlier ones first among equals."""
    base = {"span": 0.2 + 0.8 * score, "answer": 0.4 + 0.6 * score, "question": 0.5}[kind]
    return max(0.0, base - 0.001 * rank)


def say_if_empty(recall: Recall) -> Recall:
    """`recall`, with a warning where it has no clue."""
    if recall.clues:
        return recall
    return replace(recall, warnings=(*recall.warnings, NO_CLUES))


def cut_prompt(usage: Usage, expected: int) -> list[str]:
    """A warning where a provider reports to have read far less than it was sent: some servers cut prompts in silence."""
    read = usage.tokens_read + usage.tokens_cached
    if not 0 < read < 0.3 * expected:  # the estimate errs upwards, by up to 1.7 times in English
        return []
    return [
        f"The provider read {read} tokens of a prompt of about {expected}: it seems to have cut it. Raise the server's "
        f"context length (Ollama: num_ctx), or pass its true size as context_window."
    ]
