"""The base of the memories that ask a language model by prompts: settings, prompts, recall."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import ClassVar

from .. import registry
from ..clues import Completion, Recall, Usage, UsageMeter, merge_recalls
from ..contracts import LLM, Config
from ..documents import Shard, clean_text
from ..drivers import in_builder, in_worker
from ..errors import InputError
from ..llms.gate import PromptGate
from ..llms.scheduling import aask, ask, check_llm, no_llm
from ..prompts import Prompts, fence, prompts_for
from ..prompts.languages import detect, reply_sentence
from ..replies.clue_parsing import parse_list, parse_reply, parse_text
from ..scores import Scores
from ..text.chunking import Range
from ..text.grounding import Grounder
from ..text.tokens import Count, counter, estimate_tokens
from .base import BaseMemory, BaseMemoryModel
from .clue_placement import cut_prompt, placed_clues, say_if_empty

QUERY_TOKENS = 512
"""Tokens of the window kept free for the query."""
POINTS = 24
"""Most key points of one memory, about; several parts share them."""
_CHAT_TOKENS = 64  # what a chat template puts around a prompt


@dataclass(frozen=True, kw_only=True)
class PromptMemoryModel(BaseMemoryModel):
    """Settings of a memory model that asks a language model by prompts.

    Args:
        llm: The language model, of the `LLM` contract; a host's goes through its package (`as_llm`).
        context_window: Tokens of prompt and reply together; needed where the model does not say.
        reply_tokens: Most tokens of a reply, thoughts included.
        spans, questions: Most clues of either kind, for each prompt.
        language: Code or name of the language of questions and answer, or "auto" for the query's.
        prompts: Templates in the place of ours.
        together: Most prompts under way at once, whoever asks: every recall of every memory of this object, sync or
            async, the forming of gists, and the answers and summaries that `llm` writes.
    """

    kind: ClassVar[str]
    """Its name in the registry."""

    llm: LLM = field(kw_only=False, default_factory=no_llm)
    context_window: int | None = None
    reply_tokens: int = 1024
    spans: int = 6
    questions: int = 3
    language: str = "auto"
    prompts: Prompts | None = None
    together: int = 4
    meter: UsageMeter = field(default_factory=UsageMeter, init=False, repr=False, compare=False)
    _gate: PromptGate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.llm, Mapping):  # out of a store
            object.__setattr__(self, "llm", registry.build(registry.LANGUAGE_MODELS, self.llm))
        check_llm(self.llm)
        check_counts(self, "reply_tokens", "spans", "questions", "together")
        object.__setattr__(self, "_gate", PromptGate(self.together))

    @property
    def config(self) -> Config | None:
        """None where only the caller can make the language model or the templates again."""
        llm = getattr(self.llm, "config", None)
        if not isinstance(llm, Mapping) or self.prompts is not None:
            return None
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name not in ("llm", "prompts")}
        return {"kind": self.kind, "llm": dict(llm), **settings}

    @property
    def usage(self) -> Usage:
        """Of everything asked through this object."""
        return self.meter.total

    @property
    def gate(self) -> PromptGate:
        return self._gate

    @property
    def count(self) -> Count:
        return counter(self.llm)

    def count_tokens(self, text: str) -> int:
        return self.count(text)

    @cached_property
    def room(self) -> int:
        """Tokens of text that one prompt holds beside the instructions, a query and the reply.

        Raises:
            InputError: Where the window is unknown or too small.
        """
        window = window_of(self.llm, self.context_window)
        spoken = max(self.count(self._instructions("", "text-" + "0" * 12, code)) for code in ("en", "zh"))
        room = window - self.reply_tokens - spoken - QUERY_TOKENS - _CHAT_TOKENS
        if room < 64:
            raise InputError(
                f"A window of {window} tokens leaves {max(room, 0)} for the text, beside {self.reply_tokens} for the "
                f"reply, {spoken} for the instructions and {QUERY_TOKENS} for the query. Lower reply_tokens, or use a "
                f"model with a larger window."
            )
        return room

    def prompt(self, fenced: str, tag: str, query: str) -> str:
        """What is sent: the fenced text, then the instructions in the query's language.

        Raises:
            InputError: For a query beyond `QUERY_TOKENS`.
        """
        query = clean_text(query).strip()
        if (found := self.count(query)) > QUERY_TOKENS:
            raise InputError(
                f"A query may have {QUERY_TOKENS} tokens, this one has about {found}. Memorize long texts, and ask "
                f"about them briefly."
            )
        return fenced + self._instructions(query, tag, detect(query) if self.language == "auto" else self.language)

    def _instructions(self, query: str, tag: str, language: str) -> str:
        prompts = self.prompts or prompts_for(language)
        spoken = reply_sentence(prompts, language)
        return prompts.recall.format(tag=tag, query=query, spans=self.spans, questions=self.questions, language=spoken)


@dataclass(frozen=True, kw_only=True)
class PromptMemory(BaseMemory):
    """One shard's memory: a text that the language model reads at every recall, in parts that fit its window.

    Args:
        model: The settings.
        shard: What it was formed over, and where clues are placed.
        token_count: Of the shard's text.
        parts: Ranges of `read_text`.
    """

    model: PromptMemoryModel
    shard: Shard
    token_count: int = 0
    parts: tuple[Range, ...]

    @cached_property
    def text(self) -> str:
        return clean_text(self.shard.text)

    @property
    def read_text(self) -> str:
        """What the language model reads."""
        return self.text

    @cached_property
    def grounder(self) -> Grounder:
        return Grounder(self.text)

    @property
    def nbytes(self) -> int:
        """Bytes of the index that places clues, once it was needed; the text is the document's own."""
        return 64 * len(self.parts) + (self.grounder.nbytes if "grounder" in self.__dict__ else 0)

    @property
    def warnings(self) -> Sequence[str]:
        """What every recall has to say of how this memory was formed."""
        return ()

    def place(self, clue: str, part: Range) -> tuple[int, int, float] | None:
        """Where a clue from one part stands in the shard's text, and how well."""
        return self.grounder.ground(clue, part)

    def chains(self, queries: Sequence[str]) -> list[list[str]]:
        """The prompts of each part, one a query; those of one part are the same bytes up to the instructions."""
        fenced = [fence(self.read_text[start:end]) for start, end in self.parts]
        return [[self.model.prompt(text, tag, query) for query in queries] for text, tag in fenced]

    def recall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        """See `Memory.recall`; the scores are not read.

        Raises:
            InputError: For a blank or endless query.
            LLMError: What the provider said.
        """
        model = self.model
        chains = self.chains(check_queries(queries))
        answers = ask(model.llm, chains, max_tokens=model.reply_tokens, gate=model.gate, cancel=cancel)
        return self._recalls(queries, chains, answers)

    async def arecall(
        self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: threading.Event | None = None
    ) -> list[Recall]:
        """`recall`, awaiting the model's own async calls; what reads the text itself stays off the event loop."""
        model = self.model
        chains = await in_worker(self.chains, check_queries(queries))
        answers = await aask(model.llm, chains, max_tokens=model.reply_tokens, gate=model.gate, cancel=cancel)
        if not self.grounder.built:
            await in_builder(self.prepare)
        return await in_worker(self._recalls, queries, chains, answers)

    def prepare(self) -> None:
        """Build the index that clues are placed by, once: for a text of megabytes it takes seconds."""
        _ = self.grounder.index

    def recall_key(self, query: str, scores: Scores | None) -> Hashable:
        """The settings that shape prompts and clues: a host may replace the prompts of a model in use."""
        model = self.model
        return model.prompts, model.language, model.spans, model.questions, model.reply_tokens

    def answer(
        self, question: str, *, max_tokens: int | None = None, cancel: threading.Event | None = None
    ) -> Completion:
        """The answer from memory alone, without retrieval; of several parts' answers, the one best grounded."""
        [question] = check_queries([question])
        found = self._ask_parts("brief_answer", question, max_tokens, cancel)
        texts = [parse_text(completion.text) for completion in found]
        places = [self.place(text, part) if text else None for text, part in zip(texts, self.parts, strict=True)]
        best = max(range(len(texts)), key=lambda i: (bool(texts[i]), place[2] if (place := places[i]) else 0.0, -i))
        return Completion(texts[best], sum((completion.usage for completion in found), Usage()))

    def summarize(self, *, max_tokens: int | None = None, cancel: threading.Event | None = None) -> Completion:
        """The text's key points from memory alone, one a line."""
        found = self._ask_parts("key_points", self.read_text, max_tokens, cancel)
        points = dict.fromkeys(point for completion in found for point in parse_list(completion.text))
        return Completion("\n".join(points), sum((completion.usage for completion in found), Usage()))

    def _ask_parts(
        self, template: str, speaks: str, max_tokens: int | None, cancel: threading.Event | None
    ) -> list[Completion]:
        """Each part's reply to a template, in the language of the text `speaks`, which is its query where it has one."""
        model = self.model
        language = detect(speaks) if model.language == "auto" else model.language
        prompts = model.prompts or prompts_for(language)
        points = max(4, POINTS // len(self.parts))
        words = {"query": clean_text(speaks).strip(), "points": points, "language": reply_sentence(prompts, language)}
        chains = []
        for start, end in self.parts:
            fenced, tag = fence(self.read_text[start:end])
            chains.append([fenced + str(getattr(prompts, template)).format(tag=tag, **words)])
        limit = max_tokens or model.reply_tokens
        answers = ask(model.llm, chains, max_tokens=limit, gate=model.gate, cancel=cancel)
        for [completion] in answers:
            model.meter.add(completion.usage)
        return [completion for [completion] in answers]

    def _recalls(
        self, queries: Sequence[str], chains: list[list[str]], answers: list[list[Completion]]
    ) -> list[Recall]:
        model, recalls = self.model, []
        most = model.spans + model.questions + 1
        for i, query in enumerate(queries):
            of_parts = [
                self._recall(query, part, chain[i], completions[i])
                for part, chain, completions in zip(self.parts, chains, answers, strict=True)
            ]
            recall = say_if_empty(merge_recalls(query, of_parts, most))
            recalls.append(replace(recall, warnings=(*self.warnings, *recall.warnings)))
        for recall in recalls:
            model.meter.add(recall.usage)
        return recalls

    def _recall(self, query: str, part: Range, prompt: str, completion: Completion) -> Recall:
        reply = parse_reply(completion.text, most=max(self.model.spans, self.model.questions))
        clues, dropped = placed_clues(reply, lambda clue: self.place(clue, part), self.shard, self.text, query)
        warnings = [*reply.warnings, *dropped, *cut_prompt(completion.usage, estimate_tokens(prompt))]
        answer = next((clue.text for clue in clues if clue.kind == "answer"), None)
        return Recall(query, clues, answer, completion.usage, warnings)


def window_of(llm: LLM, given: int | None) -> int:
    """The context window in tokens.

    Raises:
        InputError: Where neither the caller nor the model says it.
    """
    window = llm.context_window if given is None else given
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise InputError(
            f"The context window of {llm.name} is not known (found {window!r}). Pass it in tokens: context_window=…"
        )
    return window


def check_counts(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, found {value!r}.")


def check_queries(queries: Sequence[str]) -> Sequence[str]:
    if not queries or any(not isinstance(query, str) or not query.strip() for query in queries):
        raise InputError("A recall needs at least one query, and none may be blank.")
    return queries
