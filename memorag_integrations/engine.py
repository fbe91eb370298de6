"""The line from documents to evidence, top to bottom: memorize → recall → retrieve."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from . import registry
from .answering import Answering
from .answers.writer import Writer
from .changing import Changing, Documents, off_loop
from .clues import Recall, attributed, merge_recalls
from .contracts import LLM, Embedder, MemoryModel, Progress, Reranker
from .corpus.revise import Change, Split, with_text
from .corpus.splitter import Splitter
from .corpus.state import Corpus, Part
from .documents import clean_text, read_documents
from .encoders.checked import CheckedEmbedder
from .encoders.embedders import resolve_embedder
from .errors import InputError
from .evidence import Evidence, Signal
from .index import learned_sparse as lexical
from .index.index import Filters
from .llms.scheduling import UsageMeter
from .memories.recall_cache import cached
from .retrieval import fusion as fusing
from .retrieval import per_clue_union as union
from .retrieval.clue_search import MOST_WEIGHED, Searches, best
from .retrieval.fusion import Fusion
from .retrieval.provenance import Ranking, Reasons
from .retrieval.reranking import Reranking, arerank, rerank
from .retrieval.selection import Selection, merge_neighbours, select
from .scores import Floats, Scores
from .store import store
from .text.terms import check_language

logger = logging.getLogger(__name__)

Mode = Literal["memorag", "plain", "bm25", "hybrid", "per-clue-union"]
"""How to rank: memory-guided (the default); by vectors alone, by terms alone, or by both, without spreading or clues; or
with the memory's clues as the original MemoRAG does (`union`)."""

GUIDED = ("memorag", "per-clue-union")
"""The modes that ask the memory."""


class MemoRAG(Changing, Answering):
    """A memory over a corpus, and evidence by the clues it gives (Qian et al., MemoRAG, arXiv 2409.05591).

    Args:
        memory: What forms the memory: a model object such as `LLMMemory(llm)`, or the name of one that needs no
            settings. The default needs no model weights.
        generator: The language model that writes answers and summaries, or a `Writer` with its settings; by default the
            memory's own, where it has one.
        embedder: For dense scores: an object, "minilm" (the `embedded` extra), "BAAI/bge-m3" (the `bge` extra), the name or
            path of any sentence-transformers model, or None for BM25 alone.
        reranker: What reads the best of each ranking again, in every mode: an object, the name or path of a cross-encoder
            ("BAAI/bge-reranker-v2-m3"), "BAAI/bge-m3" for its late interaction (both the `bge` extra), or a `Reranking`
            with its settings.
        passage_size: Most characters of a passage.
        language: ISO 639-1 code of the documents, or "auto" to detect it for each.
        fusion: How scores and clues become a ranking.
        shards: Most memories that one query asks; the first pass over the index picks them. Small memories of gists that
            share a prompt count as one.
        clues: Most clues of one recall.

    Raises:
        InputError: For an argument out of range.
        MissingExtraError: Where the embedder's or the reranker's packages are not installed.
    """

    def __init__(
        self,
        memory: str | MemoryModel = "activation",
        embedder: str | Embedder | None = None,
        *,
        reranker: str | Reranker | Reranking | None = None,
        generator: LLM | Writer | None = None,
        passage_size: int = 1000,
        language: str = "auto",
        fusion: Fusion | None = None,
        shards: int = 8,
        clues: int = 10,
    ) -> None:
        self.memory_model = cached(registry.memory_by_name(memory) if isinstance(memory, str) else memory)
        for name, value in (("shards", shards), ("clues", clues)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, found {value!r}.")
        resolved = resolve_embedder(embedder)
        self.embedder = None if resolved is None else CheckedEmbedder(resolved)
        self.splitter = Splitter(passage_size)
        self.language = check_language(language)
        self.fusion = fusion or Fusion()
        self.shards = shards
        self.clues = clues
        self.generator = generator
        self.reranking = Reranking.of(reranker)
        self.meter = UsageMeter()
        self._corpus: Corpus | None = None
        self._writing = threading.Lock()

    # ── documents → memory + index ────────────────────────────────────────────────────────────────────────────────

    def memorize(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        save_dir: str | Path | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Read the corpus once: from now on it is these documents. Texts encoded before are not encoded again.

        Further documents come by `add`; `replace`, `delete` and `refresh` change what is there.

        Args:
            documents: One text, one document, or any iterable of these; consumed once.
            split: A document's passages, where they are not ours to cut (a host's nodes).
            save_dir: Folder to save to when done. What is finished before that is kept there by content, so that a stop
                loses little: the same call again goes on from it.
            progress: True for a bar for each stage that takes a while, False for none, or a function (stage, done, total).
            cancel: When set, the work ends with `errors.Cancelled`, and the corpus is the one before.

        Raises:
            InputError: For an empty corpus, a repeated id, metadata that JSON cannot hold.
            EmbedderError: Where the embedding model answers with something else than embeddings.
        """
        if self.embedder is None:
            logger.info("No embedder: BM25 alone. Pass embedder= for dense scores beside it.")
        folder = None if save_dir is None else store.check_target(Path(save_dir))
        new = with_text(list(read_documents(documents)))
        return self._change(lambda before: new, split, progress, cancel, folder)

    async def amemorize(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        save_dir: str | Path | None = None,
        progress: bool | Progress = True,
    ) -> Change:
        """`memorize` off the event loop. Cancelling the task ends the work and keeps the corpus there was."""
        return await off_loop(self.memorize, documents, split=split, save_dir=save_dir, progress=progress)

    @property
    def corpus(self) -> Corpus:
        """What was memorized.

        Raises:
            InputError: Where nothing was yet.
        """
        if self._closed:
            raise InputError("This corpus is closed. Load or open it again.")
        if self._corpus is None:
            raise InputError("Nothing is memorized yet. Call memorize(documents), or MemoRAG.load(folder).")
        return self._corpus

    # ── query → clues ─────────────────────────────────────────────────────────────────────────────────────────────

    def recall(self, query: str, *, filters: Filters | None = None) -> Recall:
        """The memory's clues for `query`, best first; of several memories, those that weigh most beside the query."""
        corpus, query = self.corpus, check_query(query)
        [scores] = self._scores(corpus, [query], self._embed([query]), filters)
        recall = self._recall(corpus, scores)
        if len(recall.clues) <= self.clues or not (clues := to_search(recall)):
            return replace(recall, clues=recall.clues[: self.clues])
        vectors = with_query(scores, self._embed(clues))
        return self._best(self._scores(corpus, [query, *clues], vectors, filters), recall)

    async def arecall(self, query: str, *, filters: Filters | None = None) -> Recall:
        corpus, query = self.corpus, check_query(query)
        vectors = await self._aembed([query])
        [scores] = await asyncio.to_thread(self._scores, corpus, [query], vectors, filters)
        recall = await self._arecall(corpus, scores)
        if len(recall.clues) <= self.clues or not (clues := to_search(recall)):
            return replace(recall, clues=recall.clues[: self.clues])
        vectors = with_query(scores, await self._aembed(clues))
        every = await asyncio.to_thread(self._scores, corpus, [query, *clues], vectors, filters)
        return await asyncio.to_thread(self._best, every, recall)

    # ── query → clues → evidence ──────────────────────────────────────────────────────────────────────────────────

    def retrieve(
        self,
        query: str,
        k: int | None = None,
        *,
        budget: int | None = None,
        mode: Mode = "memorag",
        filters: Filters | None = None,
        cutoff: float = 0.0,
        merge: bool = False,
        recall: Recall | None = None,
    ) -> list[Evidence]:
        """The passages that bear on `query`, best first, each with its score, place and what found it.

        Args:
            query: The question.
            k: Most pieces of evidence; 5 where no budget is given.
            budget: Most characters of evidence together, in the place of k or beside it.
            mode: See `Mode`.
            filters: {metadata key: value or list of values}, or a function of the metadata.
            cutoff: Least score, in [0, 1].
            merge: Whether evidence that touches in its document becomes one piece.
            recall: Clues to search with, such as some of those that `recall` gave, in the place of asking the memory.

        Raises:
            InputError: For a blank query, k or budget below 1, an unknown mode, a mode that needs an embedder, a recall
                where the mode takes no clues.
            RerankerError: Where the reranker fails, or answers with something else than scores.
        """
        corpus, query, selection = self.corpus, check_query(query), choose(k, budget, cutoff)
        self._check_mode(mode, recall)
        vectors = None if mode == "bm25" else self._embed([query])
        [scores] = self._scores(corpus, [query], vectors, filters)
        if mode not in GUIDED:
            return finish(corpus, rerank(self.reranking, baseline(scores, mode)), selection, merge)
        recall, every = recall or self._recall(corpus, scores), [scores]
        if clues := to_search(recall, mode):
            vectors = with_query(scores, self._embed(clues))
            every = self._scores(corpus, [query, *clues], vectors, filters)
        return finish(corpus, rerank(self.reranking, self._fuse(every, recall, mode)), selection, merge)

    async def aretrieve(
        self,
        query: str,
        k: int | None = None,
        *,
        budget: int | None = None,
        mode: Mode = "memorag",
        filters: Filters | None = None,
        cutoff: float = 0.0,
        merge: bool = False,
        recall: Recall | None = None,
    ) -> list[Evidence]:
        """`retrieve` off the event loop; an embedder or a memory with its own async calls is awaited."""
        corpus, query, selection = self.corpus, check_query(query), choose(k, budget, cutoff)
        self._check_mode(mode, recall)
        vectors = None if mode == "bm25" else await self._aembed([query])
        [scores] = await asyncio.to_thread(self._scores, corpus, [query], vectors, filters)
        if mode not in GUIDED:
            ranking = await arerank(self.reranking, await asyncio.to_thread(baseline, scores, mode))
            return await asyncio.to_thread(finish, corpus, ranking, selection, merge)
        recall, every = recall or await self._arecall(corpus, scores), [scores]
        if clues := to_search(recall, mode):
            vectors = with_query(scores, await self._aembed(clues))
            every = await asyncio.to_thread(self._scores, corpus, [query, *clues], vectors, filters)
        ranking = await arerank(self.reranking, await asyncio.to_thread(self._fuse, every, recall, mode))
        return await asyncio.to_thread(finish, corpus, ranking, selection, merge)

    # ── the steps ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _embed(self, texts: Sequence[str]) -> Floats | None:
        return None if self.embedder is None else self.embedder.embed_queries(texts)

    async def _aembed(self, texts: Sequence[str]) -> Floats | None:
        return None if self.embedder is None else await self.embedder.aembed_queries(texts)

    def _scores(
        self, corpus: Corpus, texts: Sequence[str], vectors: Floats | None, filters: Filters | None
    ) -> list[Scores]:
        signals = lexical.join(corpus.index.signals(texts, vectors, filters), self.embedder)
        return [fusing.activate(one, self.fusion) for one in signals]

    def _recall(self, corpus: Corpus, scores: Scores) -> Recall:
        parts = corpus.route(scores, self.shards, self.memory_model)
        together = min(len(parts), self.memory_model.together)
        if together <= 1:
            return self._merge(scores, [_ask(part) for part in parts])
        with ThreadPoolExecutor(together, thread_name_prefix="memorag-recall") as pool:
            asked = [pool.submit(copy_context().run, _ask, part) for part in parts]
            return self._merge(scores, [recall.result() for recall in asked])

    async def _arecall(self, corpus: Corpus, scores: Scores) -> Recall:
        parts = await asyncio.to_thread(corpus.route, scores, self.shards, self.memory_model)
        turns = asyncio.Semaphore(self.memory_model.together)
        return self._merge(scores, await asyncio.gather(*(_aask(part, turns) for part in parts)))

    def _merge(self, scores: Scores, recalls: Sequence[Recall]) -> Recall:
        most = self.clues if len(recalls) <= 1 else MOST_WEIGHED * self.clues
        recall = merge_recalls(scores.text, recalls, most)
        self.meter.add(recall.usage)
        for warning in recall.warnings:
            logger.warning(warning)
        return recall

    def _fuse(self, every: Sequence[Scores], recall: Recall, mode: Mode) -> Ranking:
        if mode == "per-clue-union":
            return union.rank_union(every)
        query = every[0]
        leads = Searches.of(recall).leads(query, every[1:], recall, self.clues)
        weights = [lead.weight for lead in leads]
        fused = fusing.rank(query, leads, self.fusion)
        return Ranking(fused, Reasons(query, [lead.clue for lead in leads], weights, best(recall, leads, self.clues)))

    def _best(self, every: Sequence[Scores], recall: Recall) -> Recall:
        leads = Searches.of(recall).leads(every[0], every[1:], recall, self.clues)
        return best(recall, leads, self.clues)

    def _check_mode(self, mode: str, recall: Recall | None) -> None:
        if mode not in get_args(Mode):
            raise InputError(f"mode must be one of {', '.join(get_args(Mode))}; found {mode!r}.")
        if mode in ("plain", "per-clue-union") and self.embedder is None:
            raise InputError(f'mode "{mode}" ranks by vectors and needs an embedder. Pass one, or use mode="bm25".')
        if recall is not None and mode not in GUIDED:
            raise InputError(f'mode "{mode}" takes no clues. Leave recall out, or use one of {", ".join(GUIDED)}.')


def finish(corpus: Corpus, ranking: Ranking, selection: Selection, merge: bool) -> list[Evidence]:
    """The selected evidence, its neighbours merged where asked for."""
    reasons = ranking.reasons
    if reasons.candidates.passages and not reasons.any:
        logger.warning(
            "No term of the query occurs in the corpus (is it in another language?), so the evidence is no better than "
            "any other. An embedder finds by meaning: MemoRAG(embedder=…)."
        )
    evidence = select(ranking.fused, reasons, selection)
    return merge_neighbours(evidence, corpus.texts) if merge else evidence


def baseline(scores: Scores, mode: Mode) -> Ranking:
    """The ranking by one signal, or by both, as they are."""
    signals: dict[str, tuple[Signal, ...]] = {"plain": ("dense",), "bm25": ("bm25",), "hybrid": ("bm25", "dense")}
    values = {"plain": scores.dense, "bm25": scores.bm25, "hybrid": scores.own}[mode]
    fused = fusing.standardize(scores.bm25 if values is None else values).astype(np.float32)
    return Ranking(fused, Reasons(scores, signals=signals[mode]))


def to_search(recall: Recall, mode: Mode = "memorag") -> list[str]:
    """Each clue's text once; none where the clues are the query's own scores' peaks, unless all are to be searched."""
    if mode == "per-clue-union":
        return union.searched(recall)
    return Searches.of(recall).texts


def with_query(scores: Scores, vectors: Floats | None) -> Floats | None:
    """The clues' vectors below the query's, which is known already."""
    return None if vectors is None or scores.vector is None else np.vstack([scores.vector[None], vectors])


def choose(k: int | None, budget: int | None, cutoff: float) -> Selection:
    """k and budget as given; 5 pieces where neither is."""
    return Selection(5 if k is None and budget is None else k, budget, cutoff)


def check_query(query: str) -> str:
    """The query as valid Unicode, without blanks around it.

    Raises:
        InputError: Where nothing is left, or it is no text.
    """
    if not isinstance(query, str) or not query.strip():
        raise InputError(f"A query must be a text that is not blank, found {query!r}.")
    return clean_text(query.strip())


def _ask(part: Part) -> Recall:
    [recall] = part.memory.recall([part.scores.text], scores=[part.scores])
    return attributed(recall, part.documents)


async def _aask(part: Part, turns: asyncio.Semaphore) -> Recall:
    async with turns:
        [recall] = await part.memory.arecall([part.scores.text], scores=[part.scores])
    return attributed(recall, part.documents)
