"""What the original's two pipelines do with a text and a query: qa, memorag, summarize."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import engine
from ..answers.key_points import key_points_of
from ..answers.prompts import answer_prompt, fit
from ..answers.writer import Writer
from ..clues import Recall
from ..contracts import LLM
from ..corpus.splitter import Splitter
from ..documents import clean_text
from ..errors import InputError, LLMError
from ..evidence import Evidence
from ..retrieval import per_clue_union
from ..retrieval.query import check_query
from ..text.tokens import counter
from .arguments import Retrieval, as_document, check_count, check_prompt, check_switch
from .generators import as_llm

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
        asked = "" if task_type == "summarize" else check_query(query or "")
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
        most = self.ret_hit * (1 + len(per_clue_union.searched(recall)))
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


def print_sizes(memo: engine.MemoRAG, folder: str | Path | None) -> None:
    info = memo.info()
    print(f"Memory: {info['memory_tokens']:,} tokens in {info['memory_bytes'] / 2**20:.1f} MiB")
    print(f"Passages: {info['passages']:,}, of {info['characters']:,} characters")
    if folder is not None:
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        print(f"Store: {size / 2**20:.1f} MiB in {folder}")


def _in_order(evidence: Sequence[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda piece: piece.passage.centre)
