"""The answer of a memory: clues, their grounding in the text, and the cost of the recall."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

ClueKind = Literal["span", "question", "answer"]


@dataclass(frozen=True)
class Grounding:
    """The place in a document that a clue is about.

    Args:
        document_id: The document.
        start, end: Character range in it.
        score: How well the place supports the clue, in [0, 1]; 1 where the clue stands there word for word.
    """

    document_id: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Clue:
    """One clue from a memory (MemoRAG, arXiv 2409.05591, section 2).

    Args:
        text: A span that matters, a sharper surrogate question, or a draft answer.
        kind: Which of the three.
        grounding: Its place in the corpus, or None where none was found.
        confidence: How sure the memory is of it, in [0, 1]; comparable within one recall.
        weight: The weight that fusion gave it beside the query's 1. None before it was used for retrieval, and for the
            embedded memory's clues, which are peaks of the query's own scores.
        document_id: The document that it is grounded in. Without a grounding, the one document that the memory was
            formed over; None where there are several.
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


class UsageMeter:
    """Adds up what a model was asked for, by whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = Usage()

    def __reduce__(self) -> tuple[type[UsageMeter], tuple[()]]:
        """Copies and pickles begin at nothing."""
        return type(self), ()

    def add(self, usage: Usage) -> None:
        with self._lock:
            self._total += usage

    @property
    def total(self) -> Usage:
        return self._total


@dataclass(frozen=True)
class Recall:
    """A memory's answer to one query.

    Args:
        query: The query asked.
        clues: Best first.
        answer: The draft answer, where the memory writes one.
        usage: What it cost.
        warnings: What went wrong without stopping the recall, in sentences for people.
        fuse: Whether retrieval searches with the clues. The embedded memory's clues are peaks of the query's own scores;
            to search with them would count the query twice.
    """

    query: str
    clues: Sequence[Clue] = ()
    answer: str | None = None
    usage: Usage = field(default_factory=Usage)
    warnings: Sequence[str] = ()
    fuse: bool = True


NO_CLUES = "The language model gave no usable clue; the search goes on with the query alone."
"""The warning of a recall without clues. A merged recall keeps it only where no part had any."""


def merge_recalls(query: str, recalls: Sequence[Recall], most: int) -> Recall:
    """One recall of those of several shards: the `most` clues of highest confidence, each text once, and all costs."""
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
    """`recall` with the document of each clue, for a memory over these documents."""
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
