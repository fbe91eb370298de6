"""A language model that writes: answers from evidence, summaries of whole texts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from ..clues import Completion, Usage, UsageMeter
from ..contracts import LLM
from ..errors import InputError
from ..evidence import Evidence
from ..llms.gate import PromptGate
from ..llms.scheduling import aask, ask, check_llm, provider_errors
from ..memories.recall_cache import CachedMemoryModel
from ..prompts import Prompts
from ..replies.wrapping import strip_thoughts
from ..text.tokens import counter
from .prompts import answer_prompt, condense, fit, points_prompt, summary_prompt

logger = logging.getLogger(__name__)

_SPARE_TOKENS = 128  # a chat template, and what an estimate may miss
_INSTRUCTION_TOKENS = 512


@dataclass(frozen=True)
class Answer:
    """What a language model wrote from evidence or from whole texts.

    Args:
        text: The answer, or the summary.
        evidence: What it was written from, numbered from 1 in the order given; empty for the summary of a whole text.
        usage: What the writing cost; the recall before it is counted in `memo.usage` beside it.
    """

    text: str
    evidence: Sequence[Evidence] = ()
    usage: Usage = field(default_factory=Usage)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Writer:
    """A language model with the instructions it is given.

    Args:
        llm: Of the `LLM` contract.
        prompts: Templates in the place of ours.
        language: Code or name of the language to write in, or "auto": the query's, for summaries the text's.
        max_tokens: Most tokens of what is written.
        context_window: Tokens of prompt and reply together, where the model does not say.
        together: Most parts of a long text that are condensed at once.
        gate: Admits all prompts but those whose reply is streamed: that of a memory, where both ask one language model.
            None: `together` alone holds.
    """

    llm: LLM
    prompts: Prompts | None = None
    language: str = "auto"
    max_tokens: int = 1024
    context_window: int | None = None
    together: int = 4
    gate: PromptGate | None = field(default=None, repr=False, compare=False)
    _parts_gate: PromptGate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_llm(self.llm)
        for name in ("max_tokens", "together"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, found {value!r}.")
        object.__setattr__(self, "_parts_gate", self.gate or PromptGate(self.together))

    def answer_prompt(self, query: str, evidence: Sequence[Evidence]) -> tuple[str, Sequence[Evidence]]:
        """The prompt for an answer, and the evidence in it: as much, from the best down, as the window holds.

        Raises:
            InputError: Where there is no evidence, or not even the best piece fits.
        """
        if not evidence:
            raise InputError("No evidence was found to answer from: loosen filters or cutoff, or memorize more.")
        pieces = [f"({piece.document_id})\n{piece.text}" for piece in evidence]
        prompt, used = answer_prompt(
            query, pieces, room=self.room, count=counter(self.llm), language=self.language, prompts=self.prompts
        )
        if used < len(evidence):
            logger.warning("The window of %s holds %d of %d pieces of evidence.", self.llm.name, used, len(evidence))
        return prompt, evidence[:used]

    def answer(self, query: str, evidence: Sequence[Evidence]) -> Answer:
        return self.write(*self.answer_prompt(query, evidence))

    async def aanswer(self, query: str, evidence: Sequence[Evidence]) -> Answer:
        return await self.awrite(*self.answer_prompt(query, evidence))

    def summary_prompt(self, text: str) -> tuple[str, Usage]:
        """The prompt for a summary, and what it cost to make it fit: a text beyond the window is condensed in parts."""
        short, usage = self._condensed(text, self.room - _INSTRUCTION_TOKENS)
        return summary_prompt(short, language=self.language, prompts=self.prompts), usage

    def points_prompt(
        self, points: Sequence[str], evidence: Sequence[Evidence], order: Sequence[tuple[int, float]]
    ) -> tuple[str, Sequence[Evidence], Usage]:
        """The prompt for a summary from key points and evidence, the evidence in it, and what it cost to make it fit.

        Args:
            points: In the order of the text; beyond half of the window they are condensed.
            evidence: Best first; as much from the best down as the window holds beside the points.
            order: Of each piece, its document's number and its place there.
        """
        room = self.room - _INSTRUCTION_TOKENS
        outline, usage = self._condensed("\n".join(f"- {point}" for point in points), room // 2)
        pieces = [f"({piece.document_id})\n{piece.text}" for piece in evidence]
        count = counter(self.llm)
        used = sorted(range(fit(pieces, room - count(outline), count)), key=order.__getitem__)
        prompt = points_prompt(outline, [pieces[i] for i in used], language=self.language, prompts=self.prompts)
        return prompt, [evidence[i] for i in used], usage

    def write(self, prompt: str, evidence: Sequence[Evidence] = (), usage: Usage | None = None) -> Answer:
        """The reply to a prompt of those above, from this evidence; `usage` is what was spent before."""
        gate = self.gate or PromptGate(1)
        [[completion]] = ask(self.llm, [[prompt]], max_tokens=self.max_tokens, gate=gate)
        return _written(completion, evidence, usage)

    async def awrite(self, prompt: str, evidence: Sequence[Evidence] = (), usage: Usage | None = None) -> Answer:
        gate = self.gate or PromptGate(1)
        [[completion]] = await aask(self.llm, [[prompt]], max_tokens=self.max_tokens, gate=gate)
        return _written(completion, evidence, usage)

    def stream(self, prompt: str) -> Iterator[str]:
        """The model's text as it comes, a reasoning model's thoughts included."""
        with provider_errors(self.llm):
            yield from self.llm.stream(prompt, max_tokens=self.max_tokens)

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        with provider_errors(self.llm):
            async for piece in self.llm.astream(prompt, max_tokens=self.max_tokens):
                yield piece

    def _condensed(self, text: str, room: int) -> tuple[str, Usage]:
        """`text`, made to fit so many tokens where it does not, and what that cost."""
        meter = UsageMeter()
        short = condense(
            self.llm,
            text,
            room=room,
            reply_tokens=self.max_tokens,
            language=self.language,
            prompts=self.prompts,
            gate=self._parts_gate,
            meter=meter,
        )
        return short, meter.total

    @property
    def room(self) -> int:
        """Tokens that a prompt may have.

        Raises:
            InputError: Where the window is not known, or leaves too little.
        """
        window = self.context_window or self.llm.context_window
        if window is None:
            raise InputError(
                f"The context window of {self.llm.name} is not known. Pass it in tokens: Writer(llm, context_window=…)."
            )
        room = window - self.max_tokens - _SPARE_TOKENS
        if room < 2 * _INSTRUCTION_TOKENS:
            raise InputError(
                f"A window of {window} tokens leaves {max(room, 0)} for the text beside a reply of {self.max_tokens}. "
                f"Lower max_tokens (Writer(llm, max_tokens=…)), or use a model with a larger window."
            )
        return room


def _written(completion: Completion, evidence: Sequence[Evidence] = (), usage: Usage | None = None) -> Answer:
    return Answer(strip_thoughts(completion.text)[0].strip(), evidence, completion.usage + (usage or Usage()))


def writer_for(generator: LLM | Writer | None, model: CachedMemoryModel) -> Writer:
    """What writes: the generator, else the language model of the memory model.

    Raises:
        InputError: Where there is neither.
    """
    if generator is None and model.llm is not None:
        return Writer(model.llm, context_window=model.context_window, gate=model.gate)
    if generator is None:
        raise InputError(
            "An answer needs a language model, and the memory has none of its own. Pass one: MemoRAG(generator=llm) "
            "or load(…, generator=llm), or use retrieve(query) for the evidence alone."
        )
    return generator if isinstance(generator, Writer) else Writer(generator)
