"""A formed beacon memory: asked for clues, answers and key points, side by side over one cache that is only read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..beacon import storage as stored
from ..beacon.branching import BeaconBranches
from ..beacon.layout import Layout
from ..clue_parsing import Reply, parse_list, parse_text
from ..clues import Recall, Usage
from ..contracts import Completion, Memory, Scores
from ..decoding.branches import Entries
from ..decoding.writing import Sampling, Transcript, write
from ..documents import Shard, clean_text
from ..errors import InputError
from ..grounding import Grounder
from .asked import check_queries
from .placing import placed_clues, say_if_empty

if TYPE_CHECKING:
    from .beacon import BeaconMemory

TOGETHER = 24
"""Most branches asked in one pass; more queries are asked in turns."""


@dataclass(frozen=True)
class FormedBeaconMemory(Memory):
    """A memory over one shard. Its tensors are only ever read, so several threads may ask it.

    Args:
        model: What made it.
        shard: The text.
        layout: Its numbers.
        entries: Keys and values of each layer, [1, kv heads, entries, head size].
    """

    model: BeaconMemory
    shard: Shard
    layout: Layout
    entries: Entries = field(repr=False)

    @property
    def token_count(self) -> int:
        return self.layout.tokens

    @property
    def nbytes(self) -> int:
        held = sum(keys.nbytes + values.nbytes for keys, values in self.entries)
        return held + (self.grounder.nbytes if "grounder" in self.__dict__ else 0)

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
        tasks = ["spans", "questions", *(["answer"] if self.model.draft_answer else [])]
        found: list[Recall] = []
        each = max(1, TOGETHER // len(tasks))
        for start in range(0, len(queries), each):
            asked = [(query, task) for query in queries[start : start + each] for task in tasks]
            began = time.perf_counter()
            transcripts, read = self._ask([self.model.texts.ask(t, self._plain(q)) for q, t in asked], cancel)
            seconds = (time.perf_counter() - began) / (len(asked) // len(tasks))
            for i in range(0, len(asked), len(tasks)):
                group = transcripts[i : i + len(tasks)]
                written = {task: transcript.text for task, transcript in zip(tasks, group, strict=True)}
                usage = self._usage(group, read[i : i + len(tasks)], seconds)
                found.append(self._recall(asked[i][0], written, usage))
        return found

    def answer(
        self, question: str, *, sampling: Sampling | None = None, cancel: threading.Event | None = None
    ) -> Completion:
        """The answer from memory alone, without retrieval."""
        return self._complete("answer", _checked(question), sampling, cancel)

    def summarize(self, *, sampling: Sampling | None = None, cancel: threading.Event | None = None) -> Completion:
        """The text's key points from memory alone, one a line."""
        return self._complete("key_points", "", sampling or Sampling(max_tokens=512), cancel)

    def stream_answer(
        self, question: str, *, sampling: Sampling | None = None, cancel: threading.Event | None = None
    ) -> Iterator[str]:
        """`answer`, in pieces as they are written."""
        prompt = self.model.texts.ask("answer", self._plain(_checked(question)))
        for _, piece in self._writing([prompt], sampling, cancel)[2]:
            yield piece

    def save(self, path: Path) -> None:
        model = self.model
        about = {
            "parts": model.parts,
            "model": model.checkpoint.name,
            "revision": model.checkpoint.revision,
            "prompts": model.texts.to_json(),
            "dtype": str(self.entries[0][0].dtype).removeprefix("torch."),
            "content": self.shard.content_hash,
            "tokens": self.layout.tokens,
        }
        stored.save(path, self.entries, self.layout, model.storage, model.fingerprint, about)

    def _complete(self, task: str, question: str, sampling: Sampling | None, cancel: Any) -> Completion:
        prompt = self.model.texts.ask(task, self._plain(question))
        began = time.perf_counter()
        transcripts, read = self._ask([prompt], cancel, sampling)
        return Completion(transcripts[0].text.strip(), self._usage(transcripts, read, time.perf_counter() - began))

    def _ask(
        self, prompts: list[str], cancel: threading.Event | None, sampling: Sampling | None = None
    ) -> tuple[list[Transcript], list[int]]:
        """Write a reply to every prompt, together. Gives the transcripts and the tokens of each prompt."""
        transcripts, read, pieces = self._writing(prompts, sampling, cancel)
        for _ in pieces:
            pass
        return transcripts, read

    def _writing(
        self, prompts: list[str], sampling: Sampling | None, cancel: threading.Event | None
    ) -> tuple[list[Transcript], list[int], Iterator[tuple[int, str]]]:
        model = self.model
        sampling = sampling or model.settled_sampling
        branches = BeaconBranches(model.decoder, self.layout, self.entries, len(prompts))
        ids = [model.chat.task(prompt) for prompt in prompts]
        branches.check([len(tokens) + sampling.max_tokens for tokens in ids])
        transcripts = [Transcript(model.chat.text, sampling, model.chat.ends) for _ in prompts]
        return transcripts, [len(tokens) for tokens in ids], write(branches, ids, transcripts, cancel)

    def _plain(self, question: str) -> str:
        return self.model.chat.plain(clean_text(question))

    def _usage(self, transcripts: Sequence[Transcript], read: Sequence[int], seconds: float) -> Usage:
        generated = sum(len(transcript.ids) for transcript in transcripts)
        return Usage(sum(read), self.layout.tokens * len(transcripts), generated, seconds, len(transcripts))

    def _recall(self, query: str, written: Mapping[str, str], usage: Usage) -> Recall:
        answer = parse_text(written["answer"]) if "answer" in written else ""
        spans, questions = (tuple(parse_list(written[task])) for task in ("spans", "questions"))
        reply = Reply(spans, questions, answer or None)
        clues, warnings = placed_clues(reply, self.grounder.ground, self.shard, self.text, query)
        return say_if_empty(Recall(query, clues, answer or None, usage, tuple(warnings)))


def _checked(question: str) -> str:
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"Expected a question, found {question!r}.")
    return question
