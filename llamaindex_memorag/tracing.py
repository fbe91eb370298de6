"""Events for LlamaIndex's instrumentation: what the memory was asked and how clues were weighed, within the retrieval's span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llama_index.core.instrumentation as instrument
from llama_index.core.instrumentation.events import BaseEvent

from memorag_integrations.retrieval.trace import RecallStep, Step, watching

dispatcher = instrument.get_dispatcher(__name__)  # type: ignore[attr-defined]


class MemoRAGRecallEvent(BaseEvent):
    """The memory was asked for clues.

    Args:
        query: The query.
        clues: Kind and text of each clue, best first.
        memories: How many memories were asked.
        usage: The fields of `Usage`: calls, tokens read, read from a cache, and generated; seconds of the model.
        seconds: How long it took.
    """

    query: str
    clues: list[dict[str, str]]
    memories: int
    usage: dict[str, Any]
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        return "MemoRAGRecallEvent"


class MemoRAGFusionEvent(BaseEvent):
    """Scores of the query and of its clues became a ranking.

    Args:
        query: The query.
        mode: The retriever's mode.
        weights: What each text that was searched for counted in the sum; the query's is 1.
        candidates: How many passages were ranked.
        seconds: How long it took.
    """

    query: str
    mode: str
    weights: dict[str, float]
    candidates: int
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        return "MemoRAGFusionEvent"


@contextmanager
def traced() -> Iterator[None]:
    """Have the steps of retrievals within this block told to LlamaIndex's instrumentation."""
    with watching(_event):
        yield


def _event(step: Step) -> None:
    fields = {name: value for name, value in step.to_json().items() if name != "step"}
    event = MemoRAGRecallEvent(**fields) if isinstance(step, RecallStep) else MemoRAGFusionEvent(**fields)
    dispatcher.event(event)
