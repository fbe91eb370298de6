"""From evidence to an answer, and from whole texts to a summary, by any language model."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from .clues import Usage
from .contracts import LLM, Completion
from .errors import InputError
from .evidence import Evidence
from .memories.asking import Chain, aask, ask, check_llm, provider_errors
from .prompts import Prompts, fence, prompts_for
from .prompts.languages import detect, reply_sentence
from .stretches import fitting
from .tokens import counter

logger = logging.getLogger(__name__)

_SPARE_TOKENS = 128  # chat template, and what an estimate may miss
_GIST_SHARE = 8  # a part's gist may have an eighth of the part's words


@dataclass(frozen=True)
class Answer:
    """What a language model wrote from evidence or from whole texts.

    Args:
        text: The answer, or the summary.
        evidence: What it was written from, numbered from 1 in the order given; empty for a summary.
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
        together: Most parts of a long text that are summarised at once.
    """

    llm: LLM
    prompts: Prompts | None = None
    language: str = "auto"
    max_tokens: int = 1024
    together: int = 4

    def __post_init__(self) -> None:
        check_llm(self.llm)
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise InputError(f"max_tokens must be a whole number of at least 1, found {self.max_tokens!r}.")

    # ── an answer from evidence ───────────────────────────────────────────────────────────────────────────────────

    def answer_prompt(self, query: str, evidence: Sequence[Evidence]) -> tuple[str, Sequence[Evidence]]:
        """The prompt, and the evidence in it: as much, from the best down, as the model's window holds.

        Raises:
            InputError: Where there is no evidence, or not even the best piece fits.
        """
        if not evidence:
            raise InputError("No evidence was found to answer from: loosen filters or cutoff, or memorize more.")
        language = detect(query) if self.language == "auto" else self.language
        prompts = self.prompts or prompts_for(language)
        for kept in range(len(evidence), 0, -1):
            excerpts = "\n\n".join(
                f"[{number}] {piece.document_id}\n{piece.text}" for number, piece in enumerate(evidence[:kept], 1)
            )
            text, tag = fence(excerpts)
            prompt = text + prompts.answer.format(tag=tag, query=query, language=reply_sentence(prompts, language))
            if self._fits(prompt):
                if kept < len(evidence):
                    logger.warning("The window of %s holds %d of %d pieces.", self.llm.name, kept, len(evidence))
                return prompt, evidence[:kept]
        raise InputError(
            f"The window of {self.llm.name} ({self.llm.context_window} tokens) does not hold the best piece of evidence "
            f"and a reply of {self.max_tokens}. Lower max_tokens, or use a model with a larger window."
        )

    def answer(self, query: str, evidence: Sequence[Evidence]) -> Answer:
        prompt, used = self.answer_prompt(query, evidence)
        [[completion]] = self._ask([[prompt]])
        return Answer(completion.text, used, completion.usage)

    async def aanswer(self, query: str, evidence: Sequence[Evidence]) -> Answer:
        prompt, used = self.answer_prompt(query, evidence)
        [[completion]] = await self._aask([[prompt]])
        return Answer(completion.text, used, completion.usage)

    # ── a summary of whole texts ──────────────────────────────────────────────────────────────────────────────────

    def summarize(self, text: str) -> Answer:
        """A text beyond the window is read in parts, their gists joined, until what is left fits one prompt."""
        text, usage = self.reduce(text)
        [[completion]] = self._ask([[self.summary_prompt(text)]])
        return Answer(completion.text, usage=usage + completion.usage)

    async def asummarize(self, text: str) -> Answer:
        text, usage = await self.areduce(text)
        [[completion]] = await self._aask([[self.summary_prompt(text)]])
        return Answer(completion.text, usage=usage + completion.usage)

    def reduce(self, text: str) -> tuple[str, Usage]:
        """`text`, or the gists of its parts, as one prompt holds it; and what that cost."""
        usage = Usage()
        while not self._fits(self.summary_prompt(text)):
            completions = [part for chain in self._ask(self._gist_prompts(text)) for part in chain]
            text, usage = self._shorter(text, completions), sum((part.usage for part in completions), usage)
        return text, usage

    async def areduce(self, text: str) -> tuple[str, Usage]:
        usage = Usage()
        while not self._fits(self.summary_prompt(text)):
            completions = [part for chain in await self._aask(self._gist_prompts(text)) for part in chain]
            text, usage = self._shorter(text, completions), sum((part.usage for part in completions), usage)
        return text, usage

    def summary_prompt(self, text: str) -> str:
        fenced, tag = fence(text)
        language = detect(text) if self.language == "auto" else self.language
        prompts = self.prompts or prompts_for(language)
        return fenced + prompts.summary.format(tag=tag, language=reply_sentence(prompts, language))

    def _gist_prompts(self, text: str) -> list[Chain]:
        language = detect(text) if self.language == "auto" else self.language
        prompts = self.prompts or prompts_for(language)
        spoken = reply_sentence(prompts, language)
        room = self._room() - self._count(prompts.gist) - self._count(spoken)
        if room < 2 * _SPARE_TOKENS:
            raise InputError(
                f"The window of {self.llm.name} ({self.llm.context_window} tokens) leaves {max(room, 0)} for text beside a "
                f"reply of {self.max_tokens}. Lower max_tokens, or use a model with a larger window."
            )
        chains: list[Chain] = []
        for start, end in fitting(text, self._count, room):
            fenced, tag = fence(text[start:end])
            words = max(60, self._count(text[start:end]) // _GIST_SHARE)
            chains.append([fenced + prompts.gist.format(tag=tag, words=words, language=spoken)])
        return chains

    def _shorter(self, text: str, completions: Sequence[Completion]) -> str:
        joined = "\n\n".join(completion.text.strip() for completion in completions if completion.text.strip())
        if not joined or len(joined) > 0.8 * len(text):
            raise InputError(
                f"{self.llm.name} did not shorten what it was asked to condense ({len(text)} to {len(joined)} characters), "
                f"so a text of this length cannot be summarised with it. Use a model with a larger window."
            )
        return joined

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def stream(self, prompt: str) -> Iterator[str]:
        """The model's text as it comes."""
        with provider_errors(self.llm):
            yield from self.llm.stream(prompt, max_tokens=self.max_tokens)

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        with provider_errors(self.llm):
            async for piece in self.llm.astream(prompt, max_tokens=self.max_tokens):
                yield piece

    def _ask(self, chains: Sequence[Chain]) -> list[list[Completion]]:
        return ask(self.llm, chains, max_tokens=self.max_tokens, together=self.together)

    async def _aask(self, chains: Sequence[Chain]) -> list[list[Completion]]:
        return await aask(self.llm, chains, max_tokens=self.max_tokens, together=self.together)

    @property
    def _count(self) -> Callable[[str], int]:
        return counter(self.llm)

    def _room(self) -> int:
        window = self.llm.context_window
        return 10**9 if window is None else window - self.max_tokens - _SPARE_TOKENS

    def _fits(self, prompt: str) -> bool:
        return self._count(prompt) <= self._room()
