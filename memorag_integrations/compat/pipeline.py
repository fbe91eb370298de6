"""`MemoRAG` with the original's constructor and calls; and what the lite pipeline shares with it."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import engine, union
from ..answer_prompts import answer_prompt, fit
from ..clues import Recall
from ..contracts import LLM, Embedder
from ..covering import key_points_of
from ..documents import Splitter, clean_text
from ..errors import InputError, LLMError
from ..evidence import Evidence
from ..tokens import counter
from ..writer import Writer
from .arguments import (
    Retrieval,
    check_count,
    check_prompt,
    check_retrieval,
    check_switch,
    find_embedder,
    refuse_unknown,
)
from .generators import as_llm
from .models import Memory, Model, as_document

logger = logging.getLogger(__name__)

TASKS = ("memorag", "qa", "summarize")
WINDOW = 16_000
"""Tokens that a generator whose window nobody says is taken to have: the smallest that the original's examples name."""


class TokenSplitter(Splitter):
    """Cuts as the original does: by tokens of OpenAI's cl100k vocabulary.

    Args:
        tokens: Most of a passage.
    """

    def __init__(self, tokens: int) -> None:
        from semantic_text_splitter import TextSplitter

        self.size = tokens
        self._splitter = TextSplitter.from_tiktoken_model("gpt-3.5-turbo", tokens)


class Pipeline:
    """What both pipelines do with a text and a query.

    A subclass has `memo`, the engine; `gen_model`, what writes; and says how a text is memorized and forgotten.
    """

    ret_hit: int
    retrieval: Retrieval
    gen_model: object

    @property
    @abstractmethod
    def memo(self) -> engine.MemoRAG:
        """The engine underneath."""

    @abstractmethod
    def memorize(self, context: str, save_dir: str | Path | None = None, print_stats: bool = False) -> None: ...

    @abstractmethod
    def reset(self) -> None: ...

    @abstractmethod
    def _answer(self, query: str, max_new_tokens: int) -> str:
        """From memory alone."""

    @abstractmethod
    def _key_points(self) -> str:
        """Of the text, one a line."""

    @property
    def retrieval_corpus(self) -> list[str]:
        """The passages' texts, in order."""
        return [passage.text for passage in self.memo.corpus.index.passages]

    def _run(
        self,
        context: str | None,
        query: str | None,
        task_type: str,
        prompt_template: str | None,
        max_new_tokens: int,
        reset_each_call: bool,
        use_memory_answer: bool,
    ) -> str:
        if task_type not in TASKS:
            raise InputError(f"task_type must be one of {', '.join(TASKS)}; found {task_type!r}.")
        check_count(max_new_tokens=max_new_tokens)
        check_switch(reset_each_call=reset_each_call, use_memory_answer=use_memory_answer)
        asked = "" if task_type == "summarize" else engine.check_query(query or "")
        template = check_prompt(prompt_template, needs_query=task_type != "summarize")
        if reset_each_call:
            self.reset()
        self._hold(context)
        if task_type == "qa":
            return self._answer(asked, max_new_tokens)
        if task_type == "summarize":
            return self._summary(template, max_new_tokens)
        return self._guided(asked, template, max_new_tokens, use_memory_answer)

    def _hold(self, context: str | None) -> None:
        """See to it that the text is the one memorized."""
        try:
            held = [document.text for document in self.memo.corpus.documents.values()]
        except InputError:
            held = []
        if context is None and not held:
            raise InputError(
                "Nothing is memorized yet. Pass context=, or call memorize(context) or load(save_dir) first."
            )
        if context is not None and held != [clean_text(as_document(context).text)]:
            if held:
                logger.warning("The context is another text than the one memorized, and is memorized in its place.")
            self.memorize(context)

    def _guided(self, query: str, template: str | None, max_new_tokens: int, use_memory_answer: bool) -> str:
        recall = self.memo.recall(query)
        draft = recall.answer if use_memory_answer else None
        if not use_memory_answer:
            recall = replace(recall, clues=[clue for clue in recall.clues if clue.kind != "answer"], answer=None)
        evidence = self._evidence(query, recall)
        writer = self._writer(max_new_tokens)
        if template is not None:
            return writer.write(self._filled(template, writer, evidence, query, draft)).text
        pieces = [f"(memory)\n{draft}"] if draft else []
        pieces += [piece.text for piece in evidence]
        count = counter(writer.llm)
        return writer.write(answer_prompt(query, pieces, room=writer.room, count=count).prompt).text

    def _summary(self, template: str | None, max_new_tokens: int) -> str:
        points = key_points_of(self._key_points())
        if not points:
            raise LLMError("The memory named no key points to summarize from. Use another memory model.")
        evidence, writer = self._each(points), self._writer(max_new_tokens)
        if template is not None:
            return writer.write(self._filled(template, writer, evidence)).text
        order = [(0, piece.passage.centre) for piece in evidence]
        prompt, used, usage = writer.points_prompt(points, evidence, order)
        return writer.write(prompt, used, usage).text

    def _evidence(self, query: str, recall: Recall) -> list[Evidence]:
        """For the query and its clues: of the union all there is, of ours as many pieces as that could hold."""
        most = self.ret_hit * (1 + len(union.searched(recall)))
        return self._hits(self.memo.retrieve(query, most, mode=self.retrieval, recall=recall))

    def _each(self, clues: Sequence[str]) -> list[Evidence]:
        """Likewise for clues alone."""
        return self._hits(self.memo.retrieve_each(clues, self.ret_hit * len(clues), mode=self.retrieval))

    def _hits(self, evidence: list[Evidence]) -> list[Evidence]:
        """Of a union, what is among the first `ret_hit` of some search."""
        if self.retrieval == "memorag":
            return evidence
        return [piece for piece in evidence if min(found.rank for found in piece.found_by) <= self.ret_hit]

    def _retrieve(self, retrieval_query: list[str]) -> list[str]:
        """Texts of the passages for these clues, in the order of the text: what the original's examples call."""
        return [piece.text for piece in _in_order(self._each(retrieval_query))]

    def _filled(
        self, template: str, writer: Writer, evidence: Sequence[Evidence], query: str = "", draft: str | None = None
    ) -> str:
        """The caller's own prompt, with as much evidence from the best down as fits, in the order of the text."""
        count = counter(writer.llm)
        left = writer.room - count(template) - count(query) - count(draft or "")
        used = _in_order(evidence[: fit([piece.text for piece in evidence], left, count)])
        context = "\n\n".join([*(piece.text for piece in used), *([draft] if draft else [])])
        return template.format(input=query, context=context)

    def _writer(self, max_new_tokens: int) -> Writer:
        llm = self._llm
        return Writer(llm, max_tokens=max_new_tokens, context_window=llm.context_window or WINDOW)

    @property
    def _llm(self) -> LLM:
        return as_llm(self.gen_model)


class MemoRAG(Pipeline):
    """A memory model, a retriever and a generator over one text.

    Args:
        mem_model_name_or_path: The memory's checkpoint, a folder or a repo id: a memory checkpoint, or any instruct model
            that holds the text; its config.json tells which.
        ret_model_name_or_path: The retriever: "BAAI/bge-m3", another model's name or folder, "minilm", or an `Embedder`.
        gen_model_name_or_path: The generator's checkpoint; the memory model writes where there is no generator.
        customized_gen_model: In its place an `Agent`, an `LLM` of the contract, or any object with generate(prompt,
            max_new_tokens=…).
        ret_hit: Hits of one search; see `retrieval`.
        retrieval_chunk_size: Most tokens of a passage.
        cache_dir, access_token: For the hub.
        beacon_ratio: Raw tokens for one memory entry, for a memory checkpoint alone; None for 4.
        load_in_4bit: Quantised weights of memory model and generator, on CUDA (the `quantised` extra).
        enable_flash_attn: Taken for the original's sake: attention always runs on torch's fused kernels.
        retrieval: "memorag", our fusion, with as many pieces of evidence as ret_hit for query and each clue; or
            "per-clue-union", as the original: ret_hit dense hits of each, without repeats.

    Raises:
        InputError: For an unknown argument, and for one that cannot be honoured.
        MemoryModelError: Where a checkpoint cannot be had, is an encoder, or has no chat template.
    """

    def __init__(
        self,
        mem_model_name_or_path: str,
        ret_model_name_or_path: str | Embedder,
        gen_model_name_or_path: str | None = None,
        customized_gen_model: object = None,
        ret_hit: int = 3,
        retrieval_chunk_size: int = 512,
        cache_dir: str | None = None,
        access_token: str | None = None,
        beacon_ratio: int | None = None,
        load_in_4bit: bool = False,
        enable_flash_attn: bool = True,
        *,
        retrieval: Retrieval = "memorag",
        **unknown: Any,
    ) -> None:
        refuse_unknown("MemoRAG", MemoRAG.__init__, unknown)
        check_count(ret_hit=ret_hit, retrieval_chunk_size=retrieval_chunk_size)
        self.ret_hit, self.retrieval = ret_hit, check_retrieval(retrieval)
        self.splitter = TokenSplitter(retrieval_chunk_size)
        how = {"load_in_4bit": load_in_4bit, "enable_flash_attn": enable_flash_attn}
        if gen_model_name_or_path and customized_gen_model is not None:
            raise InputError("gen_model_name_or_path and customized_gen_model both name a generator. Pass one of them.")
        embedder = find_embedder(ret_model_name_or_path, cache_dir, access_token)
        self.mem_model = Memory(mem_model_name_or_path, cache_dir, access_token, beacon_ratio, **how)
        if gen_model_name_or_path:
            customized_gen_model = Model(gen_model_name_or_path, cache_dir, access_token, **how)
        self.gen_model = self.mem_model if customized_gen_model is None else customized_gen_model
        self.mem_model.settings = {"embedder": embedder, "generator": self._llm}
        self.mem_model.reset()

    @property
    def memo(self) -> engine.MemoRAG:
        return self.mem_model.memo

    def memorize(self, context: str, save_dir: str | Path | None = None, print_stats: bool = False) -> None:
        """Form the memory, cut the text and index it.

        Args:
            context: One text.
            save_dir: Folder of the store, which `load` reads.
            print_stats: Whether to print sizes.

        Raises:
            InputError: For anything but a text, a blank one, or one beyond the memory's reach.
            StoreError: Where something else lies in the folder, such as what the original wrote.
        """
        self.memo.memorize(as_document(context), split=self.splitter.split, save_dir=save_dir)
        if print_stats:
            print_sizes(self.memo, save_dir)

    def load(self, save_dir: str | Path, print_stats: bool = False) -> None:
        """Read what `memorize(save_dir=…)` wrote; nothing is encoded again.

        Raises:
            StoreError: As `Memory.load`.
        """
        self.mem_model.load(save_dir)
        if print_stats:
            print_sizes(self.memo, save_dir)

    def reset(self) -> None:
        """Forget the text."""
        self.mem_model.reset()

    def __call__(
        self,
        context: str | None = None,
        query: str | None = None,
        task_type: str = "memorag",
        prompt_template: str | None = None,
        max_new_tokens: int = 256,
        reset_each_call: bool = False,
        use_memory_answer: bool = False,
    ) -> str:
        """An answer or a summary.

        Args:
            context: The text; memorized first where it is not the one that is. None for the one that is.
            query: The question; not for a summary.
            task_type: "memorag" answers from evidence that the memory's clues find, "qa" from memory alone, "summarize"
                writes from the memory's key points and the evidence for them.
            prompt_template: The generator's prompt, with {context} and, but for a summary, {input}.
            max_new_tokens: Most tokens that are written.
            reset_each_call: Whether to forget everything first.
            use_memory_answer: Whether the memory's own answer is searched with, and shown to the generator.

        Raises:
            InputError: For an unknown task, a blank query, a template of other fields, no text.
            LLMError: What the generator's provider said.
        """
        return self._run(context, query, task_type, prompt_template, max_new_tokens, reset_each_call, use_memory_answer)

    def _answer(self, query: str, max_new_tokens: int) -> str:
        return self.mem_model.answer(query, max_new_tokens)

    def _key_points(self) -> str:
        return self.mem_model.summarize()


def print_sizes(memo: engine.MemoRAG, folder: str | Path | None) -> None:
    info = memo.info()
    print(f"Memory: {info['memory_tokens']:,} tokens in {info['memory_bytes'] / 2**20:.1f} MiB")
    print(f"Passages: {info['passages']:,}, of {info['characters']:,} characters")
    if folder is not None:
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        print(f"Store: {size / 2**20:.1f} MiB in {folder}")


def _in_order(evidence: Sequence[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda piece: piece.passage.centre)
