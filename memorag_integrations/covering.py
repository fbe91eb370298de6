"""Evidence for several texts at once, none of them before the others: key points of a summary, clues without a query."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from .clues import Usage
from .corpus.state import Corpus
from .documents import clean_text
from .errors import InputError
from .evidence import Evidence
from .index.index import Filters
from .memories.recall_cache import CachedMemoryModel, as_cached
from .replies.clue_parsing import parse_list
from .retrieval import fusion as fusing
from .retrieval import per_clue_union as union
from .retrieval.fusion import Fusion
from .retrieval.provenance import Ranking, Reasons
from .retrieval.selection import Selection, select
from .scores import Floats, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from .encoders.checked import CheckedEmbedder

EachMode = Literal["memorag", "per-clue-union"]

HITS = 3
"""Pieces of evidence for each key point, where no two are the same."""
MOST_POINTS = 100
"""Key points taken of one memory."""


class Covering:
    """What `MemoRAG` finds for many texts."""

    memory_model: CachedMemoryModel
    embedder: CheckedEmbedder | None
    fusion: Fusion

    if TYPE_CHECKING:
        _embed: Callable[[Sequence[str]], Floats | None]
        _aembed: Callable[[Sequence[str]], Coroutine[Any, Any, Floats | None]]
        _scores: Callable[[Corpus, Sequence[str], Floats | None, Filters | None], list[Scores]]

        @property
        def corpus(self) -> Corpus: ...

    def retrieve_each(
        self,
        texts: Sequence[str],
        k: int | None = None,
        *,
        budget: int | None = None,
        mode: EachMode = "memorag",
        filters: Filters | None = None,
    ) -> list[Evidence]:
        """The passages that bear on any of `texts`: the best of each in turn, then the second of each, and so on.

        The memory is not asked, and a reranker does not read: there is no query.

        Args:
            texts: Clues or key points, at least one that is not blank.
            k, budget: As in `retrieve`; 5 pieces where neither is given.
            mode: "memorag" ranks for each text as `retrieve` does for a query without clues; "per-clue-union" by vectors
                alone, as the original MemoRAG does.
            filters: As in `retrieve`.

        Raises:
            InputError: For no text, k or budget below 1, an unknown mode, a mode that needs an embedder.
        """
        corpus, texts, selection = self._asked(texts, k, budget, mode)
        every = self._scores(corpus, texts, self._embed(texts), filters)
        return best_of_each(every, self.fusion, mode, selection)

    async def aretrieve_each(
        self,
        texts: Sequence[str],
        k: int | None = None,
        *,
        budget: int | None = None,
        mode: EachMode = "memorag",
        filters: Filters | None = None,
    ) -> list[Evidence]:
        """`retrieve_each` off the event loop."""
        corpus, texts, selection = self._asked(texts, k, budget, mode)
        vectors = await self._aembed(texts)
        every = await asyncio.to_thread(self._scores, corpus, texts, vectors, filters)
        return await asyncio.to_thread(best_of_each, every, self.fusion, mode, selection)

    def _asked(
        self, texts: Sequence[str], k: int | None, budget: int | None, mode: str
    ) -> tuple[Corpus, list[str], Selection]:
        given = [texts] if isinstance(texts, str) else list(texts)
        if any(not isinstance(text, str) for text in given):
            raise InputError(f"Expected texts, found {[type(text).__name__ for text in given][:5]}.")
        found = list(dict.fromkeys(clean_text(text.strip()) for text in given if text.strip()))
        if not found:
            raise InputError("There is nothing to retrieve for: pass at least one text that is not blank.")
        if mode not in ("memorag", "per-clue-union"):
            raise InputError(f"mode must be one of memorag, per-clue-union; found {mode!r}.")
        if mode == "per-clue-union" and self.embedder is None:
            raise InputError('mode "per-clue-union" ranks by vectors and needs an embedder. Pass one.')
        return self.corpus, found, Selection(5 if k is None and budget is None else k, budget)

    def _key_points(self, document_id: str | None) -> tuple[list[str], Usage]:
        """What the memories say of the corpus, or of the shard that one document is in; and what it cost.

        Raises:
            InputError: Where the memory has no language model.
        """
        corpus = self.corpus
        points: dict[str, None] = {}
        usage = Usage()
        numbers = [
            number
            for number, shard in enumerate(corpus.shards)
            if document_id is None or any(document.id == document_id for document in shard.documents)
        ]
        for memory, _ in corpus.joined(self.memory_model, numbers, len(numbers)):
            said = as_cached(memory).summarize()
            usage += said.usage
            points |= dict.fromkeys(key_points_of(said.text))
        return list(points), usage

    def _covered(self, points: Sequence[str], document_id: str | None) -> tuple[list[str], list[Evidence]]:
        """Evidence for key points, best first, and the points that it is for: of one document, those that lead there."""
        every = self._scores(self.corpus, points, self._embed(points), None)
        if document_id is not None:
            there = [scores for scores in every if _leads_to(scores, self.fusion, document_id)] or every
            every = [scores.of_documents({document_id}) for scores in there]
        found = best_of_each(every, self.fusion, "memorag", Selection(HITS * len(every)))
        return [scores.text for scores in every], found


def key_points_of(text: str) -> list[str]:
    """The points of a memory's reply that are long enough to be searched for, or all where none is."""
    points = parse_list(text, most=MOST_POINTS)
    return union.worth_searching(points) or points


def best_of_each(every: Sequence[Scores], fusion: Fusion, mode: EachMode, selection: Selection) -> list[Evidence]:
    """The rankings for several texts, taken in turn."""
    if mode == "per-clue-union":
        ranking = union.rank_union(every, asked=every[0].text)
    else:
        fused = union.round_robin([fusing.rank(scores, [], fusion) for scores in every])
        ranking = Ranking(fused, Reasons(every[0], every[1:], [1.0] * (len(every) - 1), asked=every[0].text))
    return select(ranking.fused, ranking.reasons, selection)


def _leads_to(scores: Scores, fusion: Fusion, document_id: str) -> bool:
    best = int(np.argmax(fusing.rank(scores, [], fusion)))
    return scores.candidates.passages[best].document_id == document_id
