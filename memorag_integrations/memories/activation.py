"""The embedded memory: no model weights. Its clues are the peaks that the query's own scores form along the text."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..clues import Clue, Grounding, Recall
from ..contracts import Config, Progress
from ..documents import Shard
from ..errors import InputError
from ..scores import Floats, Scores
from ..text.sentences import sentences
from .base import BaseMemory, BaseMemoryModel, check_not_cancelled
from .files import UNREADABLE, broken, read_memory, write_memory

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class ActivationMemoryModel(BaseMemoryModel):
    """Settings of the embedded memory.

    The scores of a query, spread along the text, rise where the text speaks of what was asked, though no passage there
    may name it (a spreading activation: Collins and Loftus 1975; over text positions: Lv and Zhai, SIGIR 2009). Each
    such region's strongest passage is a clue. Retrieval ranks by the very same scores, so the clues explain it and
    are not searched with again.

    Args:
        clues: Most clues of one recall.
    """

    clues: int = 5

    def __post_init__(self) -> None:
        if self.clues < 1:
            raise InputError(f"clues must be at least 1, found {self.clues!r}.")

    @property
    def config(self) -> Config | None:
        return {"kind": "activation", "clues": self.clues}

    @property
    def fingerprint(self) -> str:
        return "activation-1"

    def count_tokens(self, text: str) -> int:
        return len(text) // _CHARACTERS_PER_TOKEN

    def read(
        self, shard: Shard, text: str, progress: Progress, cancel: threading.Event | None
    ) -> FormedActivationMemory:
        return FormedActivationMemory(self, shard.content_hash, len(shard.text))

    def load(self, path: Path, shard: Shard) -> FormedActivationMemory:
        stored = read_memory(path, self.fingerprint, shard)
        try:
            return FormedActivationMemory(self, shard.content_hash, int(stored["characters"]))
        except UNREADABLE as error:
            raise broken(path, error) from error


@dataclass(frozen=True)
class FormedActivationMemory(BaseMemory):
    """Over one shard: nothing but a name, since the index holds what it reads."""

    model: ActivationMemoryModel
    content: str
    characters: int
    reads_text = False

    @property
    def token_count(self) -> int:
        return self.characters // _CHARACTERS_PER_TOKEN

    @property
    def nbytes(self) -> int:
        return 0

    def recall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        check_not_cancelled(cancel, "the memory was asked")
        return [
            Recall(query, tuple(self._clues(scored)), fuse=False) for query, scored in zip(queries, scores, strict=True)
        ]

    def _clues(self, scores: Scores) -> Iterator[Clue]:
        for row in peaks(scores, self.model.clues):
            passage = scores.candidates.passages[row]
            start, end = sharpest_span(passage.text, scores.text)
            place = None
            if passage.start is not None:
                place = Grounding(passage.document_id, passage.start + start, passage.start + end, 1.0)
            confidence = 1 / (1 + float(np.exp(-_strength(scores)[row])))
            yield Clue(passage.text[start:end], "span", place, confidence)

    def recall_key(self, query: str, scores: Scores | None) -> None:
        """None: to look at the scores costs less than to hash them."""

    def save(self, path: Path) -> None:
        write_memory(path, self.model.fingerprint, self.content, {"characters": self.characters})


def peaks(scores: Scores, most: int) -> list[int]:
    """Rows where the strength is positive and no neighbour's in the same document is higher, strongest first."""
    strength, document = _strength(scores), scores.candidates.document
    if not strength.size:
        return []
    rising = np.ones(len(strength), dtype=bool)
    same = document[1:] == document[:-1]
    rising[1:] &= ~same | (strength[1:] > strength[:-1])
    rising[:-1] &= ~same | (strength[:-1] >= strength[1:])
    rows = np.flatnonzero(rising & (strength > 0))
    return [int(row) for row in rows[np.argsort(-strength[rows], kind="stable")][:most]]


def _strength(scores: Scores) -> Floats:
    """By itself or by its neighbourhood, as in the ranking: spread alone, a single hit's peak may be the passage beside."""
    return np.maximum(scores.local, scores.activation)


def sharpest_span(text: str, query: str) -> tuple[int, int]:
    """Range of the sentence in `text` that shares most with `query`, by runs of three characters; the first of equals.

    Runs of characters, not words, so that word forms and scripts without blanks need no care.
    """
    wanted = _runs(query)
    spans = sentences(text) or [(0, len(text))]
    return max(spans, key=lambda span: len(wanted & _runs(text[slice(*span)])))


def _runs(text: str) -> set[str]:
    folded = text.casefold()
    return {folded[i : i + 3] for i in range(len(folded) - 2)}
