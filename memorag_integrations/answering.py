"""The engine's last step: evidence → answer, texts → summary, at once, awaited, or as it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from .answers.writer import Answer, Writer
from .clues import Usage
from .contracts import LLM
from .covering import Covering
from .errors import InputError, LLMError
from .evidence import Evidence
from .llms.scheduling import UsageMeter
from .memories.recall_cache import CachedMemoryModel

if TYPE_CHECKING:
    from .corpus.state import Corpus

Method = Literal["whole", "key-points"]
"""How to summarize: by reading everything, or by the memory's key points."""

GIVEN_K = 8
"""Pieces of evidence an answer is written from, where neither k nor budget is given."""


class Answering(Covering):
    """What `MemoRAG` writes, given what it finds. Arguments after the query are those of `retrieve`."""

    memory_model: CachedMemoryModel
    meter: UsageMeter
    generator: LLM | Writer | None

    if TYPE_CHECKING:
        retrieve: Callable[..., list[Evidence]]
        aretrieve: Callable[..., Awaitable[list[Evidence]]]

        @property
        def corpus(self) -> Corpus: ...

    @property
    def writer(self) -> Writer:
        """What writes: the generator, else the memory's own language model.

        Raises:
            InputError: Where there is neither.
        """
        model = self.memory_model
        if self.generator is None and model.llm is not None:
            return Writer(model.llm, context_window=model.context_window, gate=model.gate)
        generator = self.generator
        if generator is None:
            raise InputError(
                "An answer needs a language model, and the memory has none of its own. Pass one: MemoRAG(generator=llm) "
                "or load(…, generator=llm), or use retrieve(query) for the evidence alone."
            )
        return generator if isinstance(generator, Writer) else Writer(generator)

    def answer(self, query: str, k: int | None = None, **how: Any) -> Answer:
        """An answer to `query`, written from the evidence that `retrieve` finds.

        Raises:
            InputError: Without a language model, or without any evidence.
            LLMError: What the model's provider said.
        """
        writer = self.writer
        return self._counted(writer.answer(query, self.retrieve(query, _k(k, how), **how)))

    async def aanswer(self, query: str, k: int | None = None, **how: Any) -> Answer:
        writer = self.writer
        return self._counted(await writer.aanswer(query, await self.aretrieve(query, _k(k, how), **how)))

    def stream_answer(self, query: str, k: int | None = None, **how: Any) -> Iterator[str]:
        """`answer` in pieces as it is written; what it costs is not reported by most providers, and not counted."""
        writer = self.writer
        prompt, _ = writer.answer_prompt(query, self.retrieve(query, _k(k, how), **how))
        return writer.stream(prompt)

    async def astream_answer(self, query: str, k: int | None = None, **how: Any) -> AsyncIterator[str]:
        writer = self.writer
        prompt, _ = writer.answer_prompt(query, await self.aretrieve(query, _k(k, how), **how))
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
        return self._counted(self.writer.write(*self._summary_prompt(document_id, method)))

    async def asummarize(self, document_id: str | None = None, *, method: Method = "whole") -> Answer:
        prompt = await asyncio.to_thread(self._summary_prompt, document_id, method)
        return self._counted(await self.writer.awrite(*prompt))

    def stream_summary(self, document_id: str | None = None, *, method: Method = "whole") -> Iterator[str]:
        """`summarize` in pieces as it is written, once the parts are read or the key points recalled."""
        prompt, _, usage = self._summary_prompt(document_id, method)
        self.meter.add(usage)
        return self.writer.stream(prompt)

    async def astream_summary(self, document_id: str | None = None, *, method: Method = "whole") -> AsyncIterator[str]:
        prompt, _, usage = await asyncio.to_thread(self._summary_prompt, document_id, method)
        self.meter.add(usage)
        async for piece in self.writer.astream(prompt):
            yield piece

    @property
    def usage(self) -> Usage:
        """What all recalls, answers and summaries of this object cost together."""
        return self.meter.total

    def _counted(self, answer: Answer) -> Answer:
        self.meter.add(answer.usage)
        return answer

    def _summary_prompt(self, document_id: str | None, method: Method) -> tuple[str, Sequence[Evidence], Usage]:
        """The prompt, the evidence in it, and what was spent on it."""
        if method not in get_args(Method):
            raise InputError(f"method must be one of {', '.join(get_args(Method))}; found {method!r}.")
        writer, documents = self.writer, self.corpus.documents
        if document_id is not None and document_id not in documents:
            raise InputError(f"Expected the id of a memorized document, found {document_id[:80]!r}.")
        if method == "whole":
            chosen = documents.values() if document_id is None else [documents[document_id]]
            prompt, usage = writer.summary_prompt("\n\n".join(document.text for document in chosen))
            return prompt, (), usage
        points, usage = self._key_points(document_id)
        if not points:
            raise LLMError(
                f'The memory named no key points. Use method="whole", or another memory than {self.memory_model.fingerprint}.'
            )
        points, evidence = self._covered(points, document_id)
        place = {id: number for number, id in enumerate(documents)}
        order = [(place[piece.document_id], piece.passage.centre) for piece in evidence]
        prompt, used, more = writer.points_prompt(points, evidence, order)
        return prompt, used, usage + more


def _k(k: int | None, how: dict[str, Any]) -> int | None:
    return GIVEN_K if k is None and how.get("budget") is None else k
