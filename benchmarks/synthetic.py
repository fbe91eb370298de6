"""Texts made from a seed, an embedder and a language model without weights: for benchmarks and fault tests of stores."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import numpy as np

from memorag_integrations import Document, GistMemory
from memorag_integrations.clues import Completion, Usage
from memorag_integrations.contracts import LLM, Config, Embedder
from memorag_integrations.scores import Floats

PEOPLE = ("Ansel", "Brida", "Corin", "Dagny", "Edmar", "Fenja", "Gorm", "Hedda", "Ivar", "Jorun", "Kalle", "Liv")
THINGS = ("lantern", "ledger", "anchor", "barrel", "clock", "bridle", "kettle", "mirror", "oar", "saddle", "violin")
PLACES = ("harbour", "mill", "chapel", "orchard", "quarry", "market", "ferry", "customs house", "brewery", "gorge")
DEEDS = ("sold", "mended", "hid", "found", "weighed", "painted", "lost", "carried away", "paid for", "drew")


class Words(Embedder):
    """Words hashed into 64 dimensions: texts that share words are close. Notes every passage it is given.

    Args:
        before: Called with every list of passages before it is embedded.
    """

    def __init__(self, before=lambda texts: None) -> None:
        self.before = before
        self.passages: list[str] = []

    @property
    def name(self) -> str:
        return "Words"

    @property
    def config(self) -> Config | None:
        return None

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        self.before(texts)
        self.passages += texts
        return self.embed_queries(texts)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        vectors[:, 0] = 0.01
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.casefold()):
                vectors[row, zlib.crc32(word.encode()) % 64] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Extracts(LLM):
    """A language model by rule: a gist is each line's first sentence, a recall the line that shares most words.

    Args:
        window: Tokens of prompt and reply.
        before: Called with every prompt before it is answered.
    """

    def __init__(self, window: int = 2000, before=lambda prompt: None) -> None:
        self.window, self.before = window, before
        self.gists: list[str] = []
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return "Extracts"

    @property
    def context_window(self) -> int | None:
        return self.window

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        self.before(prompt)
        fenced = re.match(r"<(text-\w+)>\n(.*)\n</\1>\n\n(.*)", prompt, re.DOTALL)
        assert fenced is not None, prompt[:200]
        lines, orders = [line for line in fenced[2].splitlines() if line.strip()], fenced[3]
        if '"spans"' in orders:
            query = set(re.findall(r"\w{4,}", orders.rpartition("Question:")[2].casefold()))
            best = max(lines, key=lambda line: len(query & set(re.findall(r"\w+", line.casefold()))))
            text = json.dumps({"spans": [best.split(". ")[0][:160]], "questions": [], "answer": best[:80]})
        else:
            with self._lock:
                self.gists.append(fenced[2])
            text = "\n".join(line.split(". ")[0] + "." for line in lines)
        return Completion(text, Usage(len(prompt) // 4, 0, len(text) // 4, 0.0, 1))

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        return await asyncio.to_thread(self.complete, prompt)

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        yield self.complete(prompt).text

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        yield (await self.acomplete(prompt)).text


def gists(folder: Path, llm: Extracts | None = None) -> GistMemory:
    """A gist memory of small stretches, so that small texts need several gists and a store several memories."""
    return GistMemory(llm or Extracts(), folder=folder, stretch=600, words=20, reply_tokens=300, together=1)


def make_text(chance: random.Random, lines: int = 6) -> str:
    """Lines of a few sentences; two texts share words, not lines."""

    def sentence() -> str:
        who, whom = chance.sample(PEOPLE, 2)
        return (
            f"{who} {chance.choice(DEEDS)} the {chance.choice(THINGS)} number {chance.randrange(10**6)} at the "
            f"{chance.choice(PLACES)} for {whom}."
        )

    return "\n\n".join(" ".join(sentence() for _ in range(3)) for _ in range(lines))


def make_documents(chance: random.Random, count: int, lines: int = 6, first: int = 0) -> list[Document]:
    return [
        Document(make_text(chance, lines), f"log {n}", {"keeper": chance.choice(PEOPLE)})
        for n in range(first, first + count)
    ]
