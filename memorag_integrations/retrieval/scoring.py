"""Scores of texts: the index's signals, an embedder's lexical weights among them, and their spreading along documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..encoders.checked import CheckedEmbedder
from ..index.admitted import Admitted
from ..index.index import Filters, Index
from ..index.learned_sparse import add_lexical_scores
from ..scores import Floats, Scores, Signals
from .fusion import Fusion, activate


@dataclass(frozen=True)
class Scorer:
    """Scores texts against an index.

    Args:
        embedder: The embedder of the texts' vectors, for its lexical weights where it has any; None for BM25 alone.
        fusion: The settings.
    """

    embedder: CheckedEmbedder | None
    fusion: Fusion

    def score(
        self, index: Index, texts: Sequence[str], vectors: Floats | None, filters: Filters | Admitted | None = None
    ) -> list[Scores]:
        """The scores of each text, all over the same candidates: the passages that any of the texts picks.

        Args:
            index: The index.
            texts: A query, or several texts that are searched for side by side.
            vectors: float32 [len(texts), dimension], or None for BM25 alone.
            filters: Which passages may compete, or what the index said of them (`Index.admitted`).
        """
        return self._activate(index.signals(texts, vectors, filters))

    def score_clues(
        self,
        index: Index,
        query: Scores,
        texts: Sequence[str],
        vectors: Floats | None,
        filters: Filters | Admitted | None = None,
    ) -> list[Scores]:
        """The scores of a query, then those of each clue, over the candidates of the query and of the clues.

        The query's scores are the ones that were passed, unless clues add candidates: then its signals are kept, and only
        what depends on all candidates (z-scores, spreading) is computed anew.

        Args:
            index: The index.
            query: The query's scores, of `score` with the same index and filters.
            texts: The clues' texts.
            vectors: float32 [len(texts), dimension], or None for BM25 alone.
            filters: Which passages may compete, or what the index said of them (`Index.admitted`).
        """
        if not texts:
            return [query]
        query_signals, *clue_signals = index.more_signals(query, texts, vectors, filters)
        if query_signals is query:
            return [query, *self._activate(clue_signals)]
        return self._activate([query_signals, *clue_signals])

    def _activate(self, signals: Sequence[Signals]) -> list[Scores]:
        if self.embedder is not None and self.embedder.lexical is not None:
            signals = add_lexical_scores(signals, self.embedder)
        return [activate(one, self.fusion) for one in signals]
