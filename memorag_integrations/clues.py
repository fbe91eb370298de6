"""What a memory answers with: clues, where they are grounded, and what the asking cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

ClueKind = Literal["span", "question", "answer"]


@dataclass(frozen=True)
class Grounding:
    """The place in a document that a clue speaks of.

    Args:
        document_id: The document.
        start, end: Character range in it.
        score: How well the place carries the clue, in [0, 1]; 1 is word for word.
    """

    document_id: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Clue:
    """One lead from a memory (MemoRAG, arXiv 2409.05591, section 2).

    Args:
        text: A span that matters, a sharper surrogate question, or a draft answer.
        kind: Which of the three.
        grounding: Where it stands in the corpus, or None where no place was found.
        confidence: The memory's own belief in it, in [0, 1]; comparable within one recall.
        weight: What fusion gave it, relative to the query's 1; None until it was used for retrieval, and always for
            clues that are read off the scores themselves (those of the embedded memory).
        document_id: The document that it is about: where it is grounded, else the one that the memory was formed over;
            None where that has several.
    """

    text: str
    kind: ClueKind = "span"
    grounding: Grounding | None = None
    confidence: float = 1.0
    weight: float | None = None
    document_id: str | None = None


@dataclass(frozen=True)
class Usage:
    """The cost of asking a model: tokens read anew, read from a cache, and generated; wall-clock seconds; calls made."""

    tokens_read: int = 0
    tokens_cached: int = 0
    tokens_generated: int = 0
    seconds: float = 0.0
    calls: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.tokens_read + other.tokens_read,
            self.tokens_cached + other.tokens_cached,
            self.tokens_generated + other.tokens_generated,
            self.seconds + other.seconds,
            self.calls + other.calls,
        )


@dataclass(frozen=True)
class Recall:
    """A memory's answer to one query.

    Args:
        query: The query asked.
        clues: Best first.
        answer: The draft answer, where the memory writes one.
        usage: What it cost.
        warnings: What went wrong without stopping the recall, in sentences for people.
        fuse: Whether the clues carry something that the query's own scores do not, so that retrieval searches with
            them. The embedded memory's clues are those scores' peaks: counting them again would only echo the query.
    """

    query: str
    clues: Sequence[Clue] = ()
    answer: str | None = None
    usage: Usage = field(default_factory=Usage)
    warnings: Sequence[str] = ()
    fuse: bool = True


NO_CLUES = "The language model gave no usable clue; the search goes on with the query alone."
"""The warning of a recall without clues; of several merged, it stays only where none had any."""


def merge_recalls(query: str, recalls: Sequence[Recall], most: int) -> Recall:
    """One recall out of those of several shards: the `most` most confident clues, each text once, costs added up."""
    ranked = sorted((clue for recall in recalls for clue in recall.clues), key=lambda clue: -clue.confidence)
    unique = list({(clue.kind, clue.text): clue for clue in reversed(ranked)}.values())[::-1]
    answers = [recall.answer for recall in recalls if recall.answer]
    return Recall(
        query,
        tuple(unique[:most]),
        answers[0] if answers else None,
        sum((recall.usage for recall in recalls), Usage()),
        tuple(w for w in dict.fromkeys(w for r in recalls for w in r.warnings) if w != NO_CLUES or not unique),
        any(recall.fuse for recall in recalls),
    )


def attributed(recall: Recall, documents: Collection[str]) -> Recall:
    """`recall` with the document of each of its clues, of a memory over these documents."""
    only = next(iter(documents)) if len(documents) == 1 else None
    clues = (replace(c, document_id=c.grounding.document_id if c.grounding else only) for c in recall.clues)
    return replace(recall, clues=tuple(clues))


def weighted(recall: Recall, weights: Mapping[str, float]) -> Recall:
    """`recall` with the weight that fusion gave each of its clues, by text."""
    return replace(recall, clues=tuple(replace(clue, weight=weights.get(clue.text)) for clue in recall.clues))


@dataclass(frozen=True)
class Completion:
    """A language model's text and what it cost."""

    text: str
    usage: Usage
