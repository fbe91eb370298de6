"""The line from a query to evidence, written once: scores → recall → clue scores → fuse → rerank → select.

Every step is a generator that yields a request where something has to be waited for: an embedding, the recall of a
memory, a reranker's scores, a language model's text. The drivers in `drivers` answer the requests, sync or async.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from .answers.key_points import HITS, name_key_points
from .answers.writer import Answer, Writer
from .clues import Recall, Usage, UsageMeter, merge_recalls
from .corpus.disclosure import without_excluded
from .corpus.recall import Ask
from .corpus.state import Corpus
from .drivers import Steps
from .encoders.background import Background, background_of
from .encoders.checked import CheckedEmbedder
from .errors import InputError, LLMError
from .evidence import Evidence
from .index.admitted import Admitted
from .index.index import Filters
from .memories.recall_cache import CachedMemoryModel
from .retrieval import fusion, per_clue_union, trace
from .retrieval.baselines import rank_baseline
from .retrieval.bridges import find_bridges
from .retrieval.calibration import calibrated_scores
from .retrieval.clue_search import MOST_WEIGHED, ClueQueries, keep_heaviest
from .retrieval.multi_query import EachMode, check_each_mode, check_each_text, check_texts, leads_to, rank_each
from .retrieval.provenance import Provenance, Ranking
from .retrieval.query import GUIDED, Mode, Query
from .retrieval.reading_on import read_on
from .retrieval.reranking import Rerank, Reranking, best_rows, reorder
from .retrieval.scoring import Scorer
from .retrieval.selection import Selection, merge_neighbours, select
from .scores import Floats, Scores
from .store.save import Settings
from .text.languages import foreign_warning

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"\d+")
"""The numbers of "The reply held more than 6 clues of a kind; 3 were left out."."""

_NOT_ASKED = (
    "The filter excludes a part of the text of {} memories, which can only be asked about all of it; they were not asked. "
    "LLMMemory can be asked about a part: see docs/memories.md, Filters."
)

Method = Literal["whole", "key-points"]
"""How to summarize: by reading everything, or by the memory's key points."""


# ── what has to be waited for ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Embed:
    """The vectors of texts to search for, float32 [n, dimension]."""

    embedder: CheckedEmbedder
    texts: Sequence[str]

    def run(self) -> Floats:
        return self.embedder.embed_queries(self.texts)

    async def arun(self) -> Floats:
        return await self.embedder.aembed_queries(self.texts)


@dataclass(frozen=True)
class Write:
    """What a language model writes to a prompt; `evidence` and `usage` go into the answer as they are."""

    writer: Writer
    prompt: str
    evidence: Sequence[Evidence] = ()
    usage: Usage = field(default_factory=Usage)

    def run(self) -> Answer:
        return self.writer.write(self.prompt, self.evidence, self.usage)

    async def arun(self) -> Answer:
        return await self.writer.awrite(self.prompt, self.evidence, self.usage)


# ── the line ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Pipeline:
    """The steps, and the models and settings that they use.

    Args:
        memory_model: Of the corpus's memories.
        embedder: For dense scores, or None for BM25 alone.
        reranking: What reads the best of a ranking again, or None.
        settings: Of the engine: how scores become a ranking, most memories asked, most clues of one recall.
        meter: Adds up what was spent.
        warned: Kinds of warnings that were logged already.
    """

    memory_model: CachedMemoryModel
    embedder: CheckedEmbedder | None
    reranking: Reranking | None
    settings: Settings
    meter: UsageMeter
    warned: set[str] = field(default_factory=set)

    def retrieve(
        self, corpus: Corpus, query: Query, selection: Selection, merge: bool = False
    ) -> Steps[list[Evidence]]:
        """The evidence for a query, best first; evidence that touches in its document becomes one piece with `merge`."""
        ranking = yield from self.rank(corpus, query)
        if ranking.provenance.candidates.passages and not ranking.provenance.any:
            self._warn_once(foreign_warning(query.text, corpus.index.languages))
        calibrated = calibrated_scores(ranking, [ranking.provenance.signals], self._background(corpus))
        evidence = select(ranking.fused, ranking.provenance, selection, calibrated)
        return merge_neighbours(evidence, corpus.texts) if merge else evidence

    def rank(self, corpus: Corpus, query: Query) -> Steps[Ranking]:
        """All candidates ranked, and why."""
        if query.mode in ("plain", "per-clue-union") and self.embedder is None:
            raise InputError(
                f'mode "{query.mode}" ranks by vectors and needs an embedder. Pass one, or use mode="bm25".'
            )
        dense = query.mode != "bm25"
        admitted = corpus.index.admitted(query.filters)
        scores = yield from self.query_scores(corpus, query.text, admitted, dense=dense, vector=query.vector)
        if query.mode not in GUIDED:
            ranking = rank_baseline(scores, query.mode, self.settings.fusion)
        else:
            recall = query.recall or (yield from self._ask(corpus, scores, admitted))
            clue_scores = yield from self.clue_scores(corpus, scores, texts_to_search(recall, query.mode), admitted)
            begun = time.perf_counter()
            ranking = self._fuse(corpus, clue_scores, recall, query.mode)
            trace.tell(trace.FusionStep.of(ranking, query, time.perf_counter() - begun))
        return (yield from self._rerank(ranking))

    def recall(self, corpus: Corpus, query: Query) -> Steps[Recall]:
        """The memory's clues for a query, best first; of several memories, those that weigh most beside the query."""
        admitted = corpus.index.admitted(query.filters)
        scores = yield from self.query_scores(corpus, query.text, admitted)
        recall = yield from self._ask(corpus, scores, admitted)
        texts = texts_to_search(recall)
        if len(recall.clues) <= self.settings.clues or not texts:
            return replace(recall, clues=recall.clues[: self.settings.clues])
        query_scores, *clue_scores = yield from self.clue_scores(corpus, scores, texts, admitted)
        weighted = ClueQueries.of(recall).weigh(query_scores, clue_scores, recall, self.settings.clues)
        return keep_heaviest(recall, weighted, self.settings.clues)

    def retrieve_each(
        self, corpus: Corpus, texts: Sequence[str], selection: Selection, mode: EachMode, filters: Filters | None
    ) -> Steps[list[Evidence]]:
        """The evidence for several texts: the best of each in turn, then the second of each, and so on."""
        unique = check_texts(texts)
        check_each_mode(mode, self.embedder is not None)
        scores = yield from self.scores(corpus, unique, filters)
        ranking = rank_each(scores, self.settings.fusion, mode)
        return select(
            ranking.fused, ranking.provenance, selection, calibrated_scores(ranking, scores, self._background(corpus))
        )

    # ── its steps ─────────────────────────────────────────────────────────────────────────────────────────────────

    def scores(
        self, corpus: Corpus, texts: Sequence[str], filters: Filters | Admitted | None = None
    ) -> Steps[list[Scores]]:
        """What the index says of each text, all over the same candidates."""
        texts = check_each_text(texts)
        vectors = yield from self._embed(texts)
        return self.scorer.score(corpus.index, texts, vectors, filters)

    def query_scores(
        self,
        corpus: Corpus,
        text: str,
        filters: Filters | Admitted | None = None,
        *,
        dense: bool = True,
        vector: Sequence[float] | Floats | None = None,
    ) -> Steps[Scores]:
        """What the index says of a query; by terms alone without `dense`, by `vector` where it is embedded already."""
        if vector is None or not dense or self.embedder is None:
            vectors = (yield from self._embed([text])) if dense else None
        else:
            vectors = self.embedder.check_query_vector(vector)
        [scores] = self.scorer.score(corpus.index, [text], vectors, filters)
        return scores

    def clue_scores(
        self, corpus: Corpus, query: Scores, clues: Sequence[str], filters: Filters | Admitted | None = None
    ) -> Steps[list[Scores]]:
        """The query's scores, then those of each clue, over the candidates that any of them picks."""
        vectors = (yield from self._embed(clues)) if clues else None
        return self.scorer.score_clues(corpus.index, query, clues, vectors, filters)

    @property
    def scorer(self) -> Scorer:
        return Scorer(self.embedder, self.settings.fusion)

    def _embed(self, texts: Sequence[str]) -> Steps[Floats | None]:
        if self.embedder is None:
            return None
        vectors: Floats = yield Embed(self.embedder, texts)
        return vectors

    def _ask(self, corpus: Corpus, scores: Scores, admitted: Admitted | None) -> Steps[Recall]:
        """The clues of the memories that the query's scores lead to; nothing of what a filter excludes."""
        begun = time.perf_counter()
        parts, closed = corpus.route(scores, self.settings.shards, self.memory_model, admitted)
        recalls: list[Recall] = yield Ask(parts, self.memory_model.together)
        if admitted is not None:
            recalls = without_excluded(corpus, scores.text, recalls, admitted)
        recall = merge_recalls(
            scores.text, recalls, self.settings.clues if len(recalls) <= 1 else MOST_WEIGHED * self.settings.clues
        )
        if closed:
            recall = replace(recall, warnings=(*recall.warnings, _NOT_ASKED.format(closed)))
        self.meter.add(recall.usage)
        trace.tell(trace.RecallStep.of(recall, len(parts), time.perf_counter() - begun))
        for warning in recall.warnings:
            self._warn_once(warning)
        return recall

    def _warn_once(self, warning: str | None) -> None:
        """Log a warning, once for each engine, whatever the numbers in it."""
        kind = _NUMBER.sub("", warning or "")
        if warning and kind not in self.warned:
            self.warned.add(kind)
            logger.warning(warning)

    def _fuse(self, corpus: Corpus, scores: Sequence[Scores], recall: Recall, mode: Mode) -> Ranking:
        """The ranking by the query's scores and its clues'."""
        if mode == "per-clue-union":
            return per_clue_union.rank_union(scores)
        query, *clues = scores
        weighted = ClueQueries.of(recall).weigh(query, clues, recall, self.settings.clues)
        settings = self.settings.fusion
        fused = fusion.rank(query, weighted, settings)
        bridges = find_bridges(fused, query, corpus.index)
        fused = (fused + settings.bridge_weight * bridges.gain).astype(np.float32)
        fused = read_on(fused, query.candidates, settings.for_question(query.text).reading_on)
        weights, heaviest = [clue.weight for clue in weighted], keep_heaviest(recall, weighted, self.settings.clues)
        names = bridges.names if settings.bridge_weight else {}
        return Ranking(fused, Provenance(query, [clue.scores for clue in weighted], weights, heaviest, bridges=names))

    def _background(self, corpus: Corpus) -> Background | None:
        """The embedder's background; None without an embedder, or where too little is known of it."""
        vectors = corpus.index.vectors
        if self.embedder is None or vectors is None:
            return None
        return background_of(self.embedder.embedder.name, vectors.matrix)

    def _rerank(self, ranking: Ranking) -> Steps[Ranking]:
        """The ranking with its best passages in the reranker's order."""
        if self.reranking is None:
            return ranking
        rows = best_rows(self.reranking, ranking)
        if not len(rows):
            return ranking
        reranker, passages = self.reranking.model, ranking.provenance.candidates.passages
        scores = yield Rerank(reranker, ranking.provenance.query, [passages[row].text for row in rows])
        return reorder(ranking, rows, scores, type(reranker).__name__)

    # ── evidence → answer, texts → summary ────────────────────────────────────────────────────────────────────────

    def answer(self, corpus: Corpus, writer: Writer, query: Query, selection: Selection, merge: bool) -> Steps[Answer]:
        """An answer, written from the evidence for a query."""
        evidence = yield from self.retrieve(corpus, query, selection, merge)
        answer: Answer = yield Write(writer, *writer.answer_prompt(query.text, evidence))
        self.meter.add(answer.usage)
        return answer

    def answer_prompt(
        self, corpus: Corpus, writer: Writer, query: Query, selection: Selection, merge: bool
    ) -> Steps[str]:
        """The prompt for an answer."""
        evidence = yield from self.retrieve(corpus, query, selection, merge)
        prompt, _ = writer.answer_prompt(query.text, evidence)
        return prompt

    def summary(self, corpus: Corpus, writer: Writer, document_id: str | None, method: Method) -> Steps[Answer]:
        """A summary of one document, or of the whole corpus."""
        write = yield from self._summary_request(corpus, writer, document_id, method)
        answer: Answer = yield write
        self.meter.add(answer.usage)
        return answer

    def summary_prompt(self, corpus: Corpus, writer: Writer, document_id: str | None, method: Method) -> Steps[str]:
        """The prompt for a summary; what was spent on it is counted."""
        write = yield from self._summary_request(corpus, writer, document_id, method)
        self.meter.add(write.usage)
        return write.prompt

    def _summary_request(self, corpus: Corpus, writer: Writer, document_id: str | None, method: Method) -> Steps[Write]:
        documents = corpus.documents
        if method not in get_args(Method):
            raise InputError(f"method must be one of {', '.join(get_args(Method))}; found {method!r}.")
        if document_id is not None and (not isinstance(document_id, str) or document_id not in documents):
            raise InputError(f"Expected the id of a memorized document, found {str(document_id)[:80]!r}.")
        if method == "whole":
            chosen = documents.values() if document_id is None else [documents[document_id]]
            prompt, usage = writer.summary_prompt("\n\n".join(document.text for document in chosen))
            return Write(writer, prompt, (), usage)
        points, usage = name_key_points(corpus, self.memory_model, document_id)
        if not points:
            raise LLMError(
                f'The memory named no key points. Use method="whole", or another memory than {self.memory_model.fingerprint}.'
            )
        points, evidence = yield from self._evidence_for(corpus, points, document_id)
        number = {id: number for number, id in enumerate(documents)}
        order = [(number[piece.document_id], piece.passage.centre) for piece in evidence]
        prompt, used, more = writer.points_prompt(points, evidence, order)
        return Write(writer, prompt, used, usage + more)

    def _evidence_for(
        self, corpus: Corpus, points: Sequence[str], document_id: str | None
    ) -> Steps[tuple[list[str], list[Evidence]]]:
        """The key points that lead to a document, or all without one, and evidence for them, best first."""
        scores = yield from self.scores(corpus, points)
        if document_id is not None:
            leading = [one for one in scores if leads_to(one, self.settings.fusion, document_id)] or scores
            scores = [one.of_documents({document_id}) for one in leading]
        ranking = rank_each(scores, self.settings.fusion, "memorag")
        evidence = select(ranking.fused, ranking.provenance, Selection(HITS * len(scores)))
        return [one.text for one in scores], evidence


def texts_to_search(recall: Recall, mode: Mode = "memorag") -> list[str]:
    """Each text to search for beside the query, once. None where the clues are peaks of the query's own scores."""
    if mode == "per-clue-union":
        return per_clue_union.searched(recall)
    return ClueQueries.of(recall).texts
