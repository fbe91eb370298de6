"""Key points of a corpus, named by its memories: the outline of a summary (MemoRAG, arXiv 2409.05591, section 3)."""

from __future__ import annotations

from ..clues import Usage
from ..corpus.state import Corpus
from ..memories.recall_cache import CachedMemoryModel, as_cached
from ..replies.clue_parsing import parse_list
from ..retrieval import per_clue_union

HITS = 3
"""Pieces of evidence for each key point, where no two are the same."""

MOST_POINTS = 100
"""Key points taken of one memory."""


def name_key_points(corpus: Corpus, model: CachedMemoryModel, document_id: str | None) -> tuple[list[str], Usage]:
    """The key points that the memories name, each once, and what it cost.

    Args:
        corpus: The corpus.
        model: Of its memories.
        document_id: None for the whole corpus; otherwise only the memory that holds this document is asked.

    Raises:
        InputError: Where the memory has no language model.
    """
    points: dict[str, None] = {}
    usage = Usage()
    numbers = [
        number
        for number, shard in enumerate(corpus.shards)
        if document_id is None or any(document.id == document_id for document in shard.documents)
    ]
    for memory, _ in corpus.joined(model, {number: corpus.memories[number] for number in numbers}, len(numbers)):
        reply = as_cached(memory).summarize()
        usage += reply.usage
        points |= dict.fromkeys(key_points_of(reply.text))
    return list(points), usage


def key_points_of(text: str) -> list[str]:
    """The points of a memory's reply that are long enough to be searched for, or all where none is."""
    points = parse_list(text, most=MOST_POINTS)
    return per_clue_union.worth_searching(points) or points
