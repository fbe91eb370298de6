"""`MemoRAG`: the public surface of the engine. What it does is told in `pipeline` (queries) and `live_corpus` (changes)."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from . import registry
from .answers.writer import Answer, Writer, writer_for
from .clues import Recall, Usage, UsageMeter
from .contracts import LLM, Embedder, MemoryModel, Progress, Reranker
from .corpus import edits
from .corpus.edits import Documents, Edit
from .corpus.revise import Change, Split
from .corpus.state import Corpus
from .documents import Document
from .drivers import Steps, arun, in_thread_cancellable, run
from .encoders.checked import CheckedEmbedder
from .encoders.embedders import resolve_embedder
from .evidence import Evidence
from .index.index import Filters
from .live_corpus import LiveCorpus, restored
from .memories.recall_cache import cached
from .pipeline import Method, Pipeline
from .retrieval.fusion import Fusion
from .retrieval.multi_query import EachMode
from .retrieval.provenance import Ranking
from .retrieval.query import ANSWER_K, Mode, Query, question
from .retrieval.reranking import Reranking
from .retrieval.selection import Selection
from .scores import Scores
from .store import load as stored
from .store import snapshot
from .store.paths import as_folder
from .store.save import Settings
from .text.terms import check_language
from .text.tokenizer import AnyTokenizer
from .threads import in_thread

logger = logging.getLogger(__name__)


class MemoRAG:
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
        tokenizer: Cuts texts into words in the place of our own analysis: a function, such as `jieba.lcut`, or a `Tokenizer`.

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
        tokenizer: AnyTokenizer | None = None,
    ) -> None:
        model = cached(registry.memory_by_name(memory) if isinstance(memory, str) else memory)
        checked = CheckedEmbedder.of(resolve_embedder(embedder))
        settings = Settings(passage_size, check_language(language), fusion or Fusion(), shards, clues).checked()
        self._compose(LiveCorpus.new(settings, model, checked, tokenizer), generator, Reranking.of(reranker))

    def _compose(self, live: LiveCorpus, generator: LLM | Writer | None, reranking: Reranking | None) -> None:
        """Put the parts together; `load` and `open` do it again with what a store holds."""
        self.live, self.generator, self.reranking, self.meter = live, generator, reranking, UsageMeter()
        self.memory_model, self.embedder, self.splitter = live.memory_model, live.embedder, live.splitter
        self.language, self.fusion = live.settings.language, live.settings.fusion
        self.shards, self.clues = live.settings.shards, live.settings.clues
        self.pipeline = Pipeline(self.memory_model, self.embedder, reranking, live.settings, self.meter)

    @classmethod
    def _over(cls, live: LiveCorpus, generator: LLM | Writer | None, reranking: Reranking | None) -> Self:
        """An engine over a corpus that a store held."""
        (memo := cls(live.memory_model))._compose(live, generator, reranking)
        return memo

    def __deepcopy__(self, memo: object = None) -> Self:
        """A copy over the same models; the corpus is changed apart from this one's."""
        return type(self)._over(self.live.copied(), self.generator, self.reranking)

    __copy__ = __deepcopy__

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process: a corpus in RAM as a snapshot, one that lives in a store as its folder (`store.snapshot`)."""
        snapshot.check_travel(generator=self.generator, reranker=self.reranking)
        return restored, (type(self)._over, self.live.to_state(), self.generator, self.reranking)

    @property
    def corpus(self) -> Corpus:
        """What was memorized.

        Raises:
            InputError: Where nothing was yet.
        """
        return self.live.current

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
        return self.live.apply(edits.memorize(documents), split, progress, cancel, save_dir)

    async def amemorize(self, documents: Documents, **how: Any) -> Change:
        """`memorize` off the event loop. Cancelling the task ends the work and keeps the corpus there was."""
        return await in_thread_cancellable(self.memorize, documents, **how)

    def add(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Take in new documents; those that are there are left as they are.

        Raises:
            InputError: For an id that is there already (see `replace`, `upsert`), or no document with any text.
        """
        return self.live.apply(edits.add(documents), split, progress, cancel)

    def replace(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Put new versions in the place of documents with the same ids.

        Raises:
            InputError: For an id that is not there, or a version without any text (see `delete`).
        """
        return self.live.apply(edits.replace(documents), split, progress, cancel)

    def upsert(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Put documents in the place of those with the same ids, and take in the others.

        Raises:
            InputError: For a new version without any text (see `delete`), or no document with any.
        """
        return self.live.apply(edits.upsert(documents), split, progress, cancel)

    def delete(
        self, ids: str | Iterable[str], *, progress: bool | Progress = True, cancel: threading.Event | None = None
    ) -> Change:
        """Take documents out.

        Args:
            ids: Of the documents.

        Raises:
            InputError: For an id that is not there; none is taken out then.
        """
        return self.live.apply(edits.delete(ids), None, progress, cancel)

    def refresh(
        self,
        documents: Documents,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Make the corpus these documents: new ones are added, changed ones replaced, those not named deleted.

        Raises:
            InputError: Where no document holds any text (see `delete`).
        """
        return self.live.apply(edits.memorize(documents), split, progress, cancel)

    def edit(
        self,
        edit: Edit,
        *,
        split: Split | None = None,
        progress: bool | Progress = True,
        cancel: threading.Event | None = None,
    ) -> Change:
        """Any change, whole: `edit` gets the corpus there is and gives the documents there shall be (`corpus.edits`)."""
        return self.live.apply(edit, split, progress, cancel)

    async def aadd(self, documents: Documents, **how: Any) -> Change:
        """`add` off the event loop. Cancelling the task ends the work and keeps the corpus there was; so do all twins."""
        return await in_thread_cancellable(self.add, documents, **how)

    async def areplace(self, documents: Documents, **how: Any) -> Change:
        return await in_thread_cancellable(self.replace, documents, **how)

    async def aupsert(self, documents: Documents, **how: Any) -> Change:
        return await in_thread_cancellable(self.upsert, documents, **how)

    async def adelete(self, ids: str | Iterable[str], **how: Any) -> Change:
        return await in_thread_cancellable(self.delete, ids, **how)

    async def arefresh(self, documents: Documents, **how: Any) -> Change:
        return await in_thread_cancellable(self.refresh, documents, **how)

    def get(self, id: str) -> Document | None:
        """The document with this id, or None. Its metadata is a copy."""
        return self.live.get(id)

    # ── query → clues ─────────────────────────────────────────────────────────────────────────────────────────────

    def recall(self, query: str, *, filters: Filters | None = None) -> Recall:
        """The memory's clues for `query`, best first; of several memories, those that weigh most beside the query."""
        return run(self.pipeline.recall(self.corpus, Query(query, filters=filters)))

    async def arecall(self, query: str, *, filters: Filters | None = None) -> Recall:
        return await arun(self.pipeline.recall(self.corpus, Query(query, filters=filters)))

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
        vector: Sequence[float] | None = None,
    ) -> list[Evidence]:
        """The passages that bear on `query`, best first, each with its score, place and what found it.

        Args:
            query: The question.
            k: Most pieces of evidence; 5 where no budget is given.
            budget: Most characters of evidence together, in the place of k or beside it.
            mode: See `Mode`.
            filters: {metadata key: value, list of values or {operator: value}}, or a function of the metadata (`Filters`).
            cutoff: Least score, in [0, 1].
            merge: Whether evidence that touches in its document becomes one piece.
            recall: Clues to search with, such as some of those that `recall` gave, in the place of asking the memory.
            vector: The query's vector by the same embedder, where the query is embedded already, or by another text.

        Raises:
            InputError: For a blank query, k or budget below 1, an unknown mode, a mode that needs an embedder, a recall
                where the mode takes no clues.
            RerankerError: Where the reranker fails, or answers with something else than scores.
        """
        asked, selection = Query(query, mode, filters, recall, vector), Selection.of(k, budget, cutoff)
        return run(self.pipeline.retrieve(self.corpus, asked, selection, merge))

    async def aretrieve(self, query: str, k: int | None = None, **how: Any) -> list[Evidence]:
        """`retrieve` off the event loop, with its arguments; an embedder or a memory with its own async calls is awaited."""
        return await arun(self.pipeline.retrieve(self.corpus, *question(query, k, **how)))

    def retrieve_each(self, texts: Sequence[str], k: int | None = None, **how: Any) -> list[Evidence]:
        """The passages that bear on any of `texts`: the best of each in turn, then the second of each, and so on.

        The memory is not asked, and a reranker does not read: there is no query.

        Args:
            texts: Clues or key points, at least one that is not blank.
            k: Most pieces of evidence; 5 where no budget is given.
            budget: Most characters of evidence together.
            mode: "memorag" ranks for each text as `retrieve` does for a query without clues; "per-clue-union" by vectors
                alone, as the original MemoRAG does.
            filters: As in `retrieve`.

        Raises:
            InputError: For no text, k or budget below 1, an unknown mode, a mode that needs an embedder.
        """
        return run(self._retrieve_each(texts, k, **how))

    async def aretrieve_each(self, texts: Sequence[str], k: int | None = None, **how: Any) -> list[Evidence]:
        """`retrieve_each` off the event loop."""
        return await arun(self._retrieve_each(texts, k, **how))

    def _retrieve_each(
        self,
        texts: Sequence[str],
        k: int | None = None,
        *,
        budget: int | None = None,
        mode: EachMode = "memorag",
        filters: Filters | None = None,
    ) -> Steps[list[Evidence]]:
        return self.pipeline.retrieve_each(self.corpus, texts, Selection.of(k, budget), mode, filters)

    def scores(self, texts: Sequence[str], *, filters: Filters | None = None) -> list[Scores]:
        """What the index says of each text: the scores of every candidate, all over the same candidates."""
        return run(self.pipeline.scores(self.corpus, texts, filters))

    def rank(self, query: str, *, mode: Mode = "memorag", filters: Filters | None = None) -> Ranking:
        """All candidates with the fused scores that `retrieve` selects by, and what speaks for each."""
        return run(self.pipeline.rank(self.corpus, Query(query, mode, filters)))

    # ── evidence → answer, texts → summary ────────────────────────────────────────────────────────────────────────

    @property
    def writer(self) -> Writer:
        """What writes: the generator, else the memory's own language model.

        Raises:
            InputError: Where there is neither.
        """
        return writer_for(self.generator, self.memory_model)

    def answer(self, query: str, k: int | None = None, **how: Any) -> Answer:
        """An answer to `query`, written from the evidence that `retrieve` finds; the arguments are those of `retrieve`.

        Raises:
            InputError: Without a language model, or without any evidence.
            LLMError: What the model's provider said.
        """
        return run(self.pipeline.answer(self.corpus, self.writer, *_answered(query, k, **how)))

    async def aanswer(self, query: str, k: int | None = None, **how: Any) -> Answer:
        return await arun(self.pipeline.answer(self.corpus, self.writer, *_answered(query, k, **how)))

    def stream_answer(self, query: str, k: int | None = None, **how: Any) -> Iterator[str]:
        """`answer` in pieces as it is written; what it costs is not reported by most providers, and not counted."""
        writer = self.writer
        return writer.stream(run(self.pipeline.answer_prompt(self.corpus, writer, *_answered(query, k, **how))))

    async def astream_answer(self, query: str, k: int | None = None, **how: Any) -> AsyncIterator[str]:
        writer = self.writer
        prompt = await arun(self.pipeline.answer_prompt(self.corpus, writer, *_answered(query, k, **how)))
        async for piece in writer.astream(prompt):
            yield piece

    def summarize(self, document_id: str | None = None, *, method: Method = "whole") -> Answer:
        """A summary of one document, or of the whole corpus.

        Args:
            document_id: The document, or None for all.
            method: "whole" has the language model read all of the text once: what is beyond its window in parts, side by
                side, whose gists it then joins. "key-points" does as the original MemoRAG: the memory names key points,
                evidence is retrieved for each, and the summary is written from both. It reads little, and depends on what
                the memory holds of the text.

        Raises:
            InputError: Without a language model, for an unknown document or method, for a memory without key points.
            LLMError: What the model's provider said, or that the memory named no key points.
        """
        return run(self.pipeline.summary(self.corpus, self.writer, document_id, method))

    async def asummarize(self, document_id: str | None = None, *, method: Method = "whole") -> Answer:
        return await arun(self.pipeline.summary(self.corpus, self.writer, document_id, method))

    def stream_summary(self, document_id: str | None = None, *, method: Method = "whole") -> Iterator[str]:
        """`summarize` in pieces as it is written, once the parts are read or the key points recalled."""
        writer = self.writer
        return writer.stream(run(self.pipeline.summary_prompt(self.corpus, writer, document_id, method)))

    async def astream_summary(self, document_id: str | None = None, *, method: Method = "whole") -> AsyncIterator[str]:
        writer = self.writer
        prompt = await arun(self.pipeline.summary_prompt(self.corpus, writer, document_id, method))
        async for piece in writer.astream(prompt):
            yield piece

    @property
    def usage(self) -> Usage:
        """What all recalls, answers and summaries of this object cost together."""
        return self.meter.total

    # ── the store ─────────────────────────────────────────────────────────────────────────────────────────────────

    def save(self, folder: str | Path, *, wait: float = 30.0) -> None:
        """Make the corpus the state of the store in `folder`; what is there already is not written again.

        Args:
            folder: Not there yet, empty, or a store.
            wait: Seconds to wait for another process that writes to it.

        Raises:
            StoreError: Where the folder holds something that is not a store of ours, cannot be written, or was changed
                by somebody else since this corpus was loaded from it; the store is what it was.
        """
        self.live.save(folder, wait)

    async def asave(self, folder: str | Path, *, wait: float = 30.0) -> None:
        await in_thread(self.save, folder, wait=wait)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        embedder: str | Embedder | None = None,
        memory: str | MemoryModel | None = None,
        generator: LLM | Writer | None = None,
        reranker: str | Reranker | Reranking | None = None,
        tokenizer: AnyTokenizer | None = None,
    ) -> Self:
        """What a store holds; nothing is encoded again. Changes stay in RAM until they are saved (see `open`).

        Args:
            folder: The store.
            embedder: The one it was made with, where only you can make it again (a host's model).
            memory, tokenizer: Likewise.
            generator, reranker: As in the constructor; stores do not keep them.

        Raises:
            StoreError: For a folder that is not a store, is damaged, is of a newer format, or needs what was not passed.
            EmbedderError: For another embedder than the store's; the message names both.
            MemoryModelError: Where a memory is not as it was written.
        """
        reranking = Reranking.of(reranker)
        return cls._over(LiveCorpus.load(folder, embedder, memory, tokenizer), generator, reranking)

    @classmethod
    async def aload(cls, folder: str | Path, **how: Any) -> Self:
        """`load` off the event loop."""
        return await in_thread(lambda: cls.load(folder, **how))

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        embedder: str | Embedder | None = None,
        memory: str | MemoryModel | None = None,
        generator: LLM | Writer | None = None,
        reranker: str | Reranker | Reranking | None = None,
        wait: float = 30.0,
        tokenizer: AnyTokenizer | None = None,
        **settings: Any,
    ) -> Self:
        """A corpus that lives in a folder: each change is in the store, whole, when its call returns.

        Several processes may have the same folder open and change it; each change is made to the state that the others
        left. What they changed is seen after a change of one's own, or `reload`.

        Args:
            folder: A store, or where one is made.
            embedder, memory, tokenizer: As in the constructor for a new store; for one that is there, as in `load`.
            generator, reranker: As in the constructor.
            wait: Seconds to wait for another process that is writing; 0 refuses at once.
            **settings: Of the constructor. A store that is there has its own; others are refused.

        Raises:
            StoreError: As `load`; and later from each change, where another process writes for longer than `wait`.
        """
        reranking = Reranking.of(reranker)
        new = lambda: cls(memory or "activation", embedder, tokenizer=tokenizer, **settings).live  # noqa: E731
        live = LiveCorpus.open(folder, embedder, memory, tokenizer, new=new, settings=settings, wait=wait)
        return cls._over(live, generator, reranking)

    @classmethod
    async def aopen(cls, folder: str | Path, **how: Any) -> Self:
        """`open` off the event loop."""
        return await in_thread(lambda: cls.open(folder, **how))

    def reload(self) -> bool:
        """Take over what others changed in the store since; True where they did. Reads what is new alone.

        Raises:
            InputError: Where there is no store behind this corpus, or changes in RAM would be lost.
        """
        return self.live.reload()

    async def areload(self) -> bool:
        return await in_thread(self.reload)

    def close(self) -> None:
        """Let go of corpus and memories; everything was written when it changed. Closing twice does no harm."""
        self.live.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @staticmethod
    def needs_embedder(folder: str | Path) -> bool:
        """Whether `load` has to be given the embedder: the store has vectors of a model that only its owner can make."""
        return stored.needs_embedder(as_folder(folder))

    def reuse(self, folder: str | Path) -> None:
        """Take over the vectors and memories of a store, so that texts it holds are not encoded again by `memorize`.

        What another embedder or memory model made is left where it is; where there is no store yet, nothing happens.
        """
        self.live.reuse(folder)

    def info(self) -> dict[str, Any]:
        """What is memorized and by which settings, for people and JSON."""
        return self.live.info()


_answered = partial(question, default_k=ANSWER_K)  # an answer is written from more pieces of evidence
