"""The base of the memories that keep keys and values: a model writes clues, answers and key points from them."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from ..clues import Completion, Recall, Usage, merge_recalls
from ..decoding.branches import Entries
from ..decoding.generation import Branching, Sampling, Transcript, write
from ..decoding.quantised import bytes_of
from ..documents import Shard, clean_text
from ..errors import InputError
from ..replies.clue_parsing import Reply, parse_list, parse_text
from ..scores import Scores
from ..text.chunking import Range
from ..text.grounding import Grounder
from .base import BaseMemory
from .clue_placement import placed_clues, say_if_empty
from .kv_model import KVMemoryModel
from .prompt_memory import check_queries

TOGETHER = 24
"""Most branches asked in one pass; more queries are asked in turns."""
MOST_CLUES = 24
"""Most clues of a recall over several parts."""
KEY_POINTS = Sampling(max_tokens=512)


class Branches(Branching, Protocol):
    """Branches over one part of a memory."""

    def check(self, tokens: Sequence[int]) -> None:
        """Raises InputError where a branch could not read so many tokens more."""


@dataclass(frozen=True)
class TextPart:
    """A part of the text, read with one prompt.

    Args:
        place: Its range in the shard's text.
        tokens: Of the part and its reading prompt together.
    """

    place: Range
    tokens: int


class KVMemory(BaseMemory):
    """A memory of keys and values. Replies are written on branches, which only read them: several threads may ask.

    A subclass is a frozen dataclass that says how branches continue a part.

    Args:
        model: What made it.
        shard: The text.
        parts: In the order of the text, at least one.
        entries: Keys and values of each layer, [1, kv heads, entries, head size]; one part's layers after another's.
    """

    model: KVMemoryModel
    shard: Shard
    parts: Sequence[TextPart]
    entries: Entries

    @abstractmethod
    def branches(self, part: int, count: int) -> Branches:
        """Branches that continue a part of the text and only read its keys and values.

        Args:
            part: Its number.
            count: Branches.
        """

    @property
    def token_count(self) -> int:
        return sum(part.tokens for part in self.parts)

    @property
    def nbytes(self) -> int:
        return bytes_of(self.entries) + (self.grounder.nbytes if "grounder" in self.__dict__ else 0)

    @cached_property
    def text(self) -> str:
        return clean_text(self.shard.text)

    @cached_property
    def grounder(self) -> Grounder:
        return Grounder(self.text)

    def recall(
        self, queries: Sequence[str], *, scores: Sequence[Scores] = (), cancel: threading.Event | None = None
    ) -> list[Recall]:
        """Span clues, surrogate questions and a draft answer for each query, written side by side over one memory."""
        check_queries(queries)
        of_parts = [self._recalls(part, queries, cancel) for part in range(len(self.parts))]
        if len(of_parts) == 1:
            return of_parts[0]
        return [_joined(query, found) for query, *found in zip(queries, *of_parts, strict=True)]

    def recall_key(self, query: str, scores: Scores | None) -> Hashable:
        """The settings that shape prompts and replies; they can be changed on a model in use."""
        model = self.model
        return model.texts, model.settled_sampling, model.draft_answer

    def answer(
        self, question: str, *, sampling: Sampling | None = None, cancel: threading.Event | None = None
    ) -> Completion:
        """The answer from memory alone, without retrieval; of several parts' answers, the one best grounded."""
        found = self._complete("answer", _checked(question), sampling, cancel)
        grounded = [self.grounder.ground(text) if text else None for text, _ in found]
        best = max(
            range(len(found)), key=lambda i: (bool(found[i][0]), place[2] if (place := grounded[i]) else 0.0, -i)
        )
        return Completion(found[best][0], sum((usage for _, usage in found), Usage()))

    def summarize(self, *, sampling: Sampling | None = None, cancel: threading.Event | None = None) -> Completion:
        """The text's key points from memory alone, one a line."""
        found = self._complete("key_points", "", sampling or KEY_POINTS, cancel)
        return Completion("\n".join(text for text, _ in found), sum((usage for _, usage in found), Usage()))

    def reply(
        self, messages: Sequence[str], *, sampling: Sampling | None = None, cancel: threading.Event | None = None
    ) -> list[Completion]:
        """The reply to each message of one's own, written side by side over the memory; of several parts, one below
        the other."""
        found: list[list[tuple[str, Usage]]] = [[] for _ in messages]
        for part in range(len(self.parts)):
            began = time.perf_counter()
            transcripts, read = self._ask(part, [self._plain(message) for message in messages], cancel, sampling)
            seconds = (time.perf_counter() - began) / max(1, len(messages))
            for row, transcript, tokens in zip(found, transcripts, read, strict=True):
                row.append((transcript.text.strip(), self._usage(part, [transcript], [tokens], seconds)))
        return [
            Completion("\n".join(text for text, _ in row if text), sum((usage for _, usage in row), Usage()))
            for row in found
        ]

    def stream_answer(
        self, question: str, *, sampling: Sampling | None = None, cancel: threading.Event | None = None
    ) -> Iterator[str]:
        """`answer`, in pieces as they are written; over several parts in one piece, once the best is known."""
        if len(self.parts) > 1:
            yield self.answer(question, sampling=sampling, cancel=cancel).text
            return
        prompt = self.model.texts.ask("answer", self._plain(_checked(question)))
        for _, piece in self._writing(0, [prompt], sampling, cancel)[2]:
            yield piece

    def _recalls(self, part: int, queries: Sequence[str], cancel: threading.Event | None) -> list[Recall]:
        tasks = ["spans", "questions", *(["answer"] if self.model.draft_answer else [])]
        found: list[Recall] = []
        each = max(1, TOGETHER // len(tasks))
        for start in range(0, len(queries), each):
            asked = [(query, task) for query in queries[start : start + each] for task in tasks]
            began = time.perf_counter()
            transcripts, read = self._ask(part, [self.model.texts.ask(t, self._plain(q)) for q, t in asked], cancel)
            seconds = (time.perf_counter() - began) / (len(asked) // len(tasks))
            for i in range(0, len(asked), len(tasks)):
                group = transcripts[i : i + len(tasks)]
                written = {task: transcript.text for task, transcript in zip(tasks, group, strict=True)}
                usage = self._usage(part, group, read[i : i + len(tasks)], seconds)
                found.append(self._recall(part, asked[i][0], written, usage))
        return found

    def _complete(self, task: str, question: str, sampling: Sampling | None, cancel: Any) -> list[tuple[str, Usage]]:
        """Each part's reply and what it cost."""
        prompt = self.model.texts.ask(task, self._plain(question))
        found = []
        for part in range(len(self.parts)):
            began = time.perf_counter()
            transcripts, read = self._ask(part, [prompt], cancel, sampling)
            usage = self._usage(part, transcripts, read, time.perf_counter() - began)
            found.append((transcripts[0].text.strip(), usage))
        return found

    def _ask(
        self, part: int, prompts: list[str], cancel: threading.Event | None, sampling: Sampling | None = None
    ) -> tuple[list[Transcript], list[int]]:
        """Write a reply to every prompt, together. Gives the transcripts and the tokens of each prompt."""
        transcripts, read, pieces = self._writing(part, prompts, sampling, cancel)
        for _ in pieces:
            pass
        return transcripts, read

    def _writing(
        self, part: int, prompts: list[str], sampling: Sampling | None, cancel: threading.Event | None
    ) -> tuple[list[Transcript], list[int], Iterator[tuple[int, str]]]:
        model = self.model
        sampling = sampling or model.settled_sampling
        branches = self.branches(part, len(prompts))
        ids = [model.chat.task(prompt) for prompt in prompts]
        branches.check([len(tokens) + sampling.max_tokens for tokens in ids])
        transcripts = [Transcript(model.chat.text, sampling, model.chat.ends) for _ in prompts]
        return transcripts, [len(tokens) for tokens in ids], write(branches, ids, transcripts, cancel)

    def _plain(self, question: str) -> str:
        return self.model.chat.plain(clean_text(question))

    def _usage(self, part: int, transcripts: Sequence[Transcript], read: Sequence[int], seconds: float) -> Usage:
        generated = sum(len(transcript.ids) for transcript in transcripts)
        return Usage(sum(read), self.parts[part].tokens * len(transcripts), generated, seconds, len(transcripts))

    def _recall(self, part: int, query: str, written: Mapping[str, str], usage: Usage) -> Recall:
        answer = parse_text(written["answer"]) if "answer" in written else ""
        spans, questions = (tuple(parse_list(written[task])) for task in ("spans", "questions"))
        reply = Reply(spans, questions, answer or None)
        place = self.parts[part].place if len(self.parts) > 1 else None
        clues, warnings = placed_clues(
            reply, lambda clue: self.grounder.ground(clue, place), self.shard, self.text, query
        )
        return say_if_empty(Recall(query, clues, answer or None, usage, tuple(warnings)))


def _joined(query: str, recalls: Sequence[Recall]) -> Recall:
    """One recall out of those of several parts; the draft answer is that of the part which grounds it best."""

    def grounded(recall: Recall) -> float:
        scores = [clue.grounding.score for clue in recall.clues if clue.kind == "answer" and clue.grounding]
        return max(scores, default=0.0)

    ranked = sorted(recalls, key=lambda recall: -grounded(recall))
    return say_if_empty(replace(merge_recalls(query, ranked, MOST_CLUES), fuse=True))


def _checked(question: str) -> str:
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"Expected a question, found {question!r}.")
    return question
