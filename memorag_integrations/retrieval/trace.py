"""What a retrieval does, told step by step to whoever watches: a host's tracing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from ..clues import Recall, Usage
from .provenance import Ranking
from .query import Query


@dataclass(frozen=True)
class RecallStep:
    """The memory was asked.

    Args:
        query: The query.
        clues: Kind and text of each clue, best first.
        memories: How many memories were asked.
        usage: What a language model read and wrote.
        seconds: How long it took.
    """

    query: str
    clues: Sequence[Mapping[str, str]]
    memories: int
    usage: Usage
    seconds: float

    @classmethod
    def of(cls, recall: Recall, memories: int, seconds: float) -> RecallStep:
        clues = [{"kind": clue.kind, "text": clue.text} for clue in recall.clues]
        return cls(recall.query, clues, memories, recall.usage, seconds)

    def to_json(self) -> dict[str, Any]:
        return {"step": "recall", **asdict(self)}


@dataclass(frozen=True)
class FusionStep:
    """Scores of the query and of its clues became a ranking.

    Args:
        query: The query.
        mode: How.
        weights: What each text that was searched for counted in the sum; the query's is 1.
        candidates: How many passages were ranked.
        seconds: How long it took.
    """

    query: str
    mode: str
    weights: Mapping[str, float]
    candidates: int
    seconds: float

    @classmethod
    def of(cls, ranking: Ranking, query: Query, seconds: float) -> FusionStep:
        provenance = ranking.provenance
        return cls(query.text, query.mode, provenance.weights, len(provenance.candidates.passages), seconds)

    def to_json(self) -> dict[str, Any]:
        return {"step": "fusion", **asdict(self)}


Step = RecallStep | FusionStep

_watcher: ContextVar[Callable[[Step], None] | None] = ContextVar("memorag_watcher", default=None)


@dataclass
class Trace:
    """The steps of one retrieval."""

    steps: list[Step] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        return [step.to_json() for step in self.steps]


@contextmanager
def watching(watcher: Callable[[Step], None]) -> Iterator[None]:
    """Have `watcher` told of each step of retrievals that begin within this block, in this task or thread."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell(step: Step) -> None:
    """Tell whoever watches of a step."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(step)
