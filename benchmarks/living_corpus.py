"""What the benchmarks of living corpora share: texts made from a seed, models without weights, a store held against a list."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import re
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from memorag_integrations import Document, GistMemory, MemoRAG
from memorag_integrations.clues import Completion, Usage
from memorag_integrations.contracts import LLM, Config, Embedder
from memorag_integrations.scores import Floats
from memorag_integrations.store.maintenance import verify

PEOPLE = ("Ansel", "Brida", "Corin", "Dagny", "Edmar", "Fenja", "Gorm", "Hedda", "Ivar", "Jorun", "Kalle", "Liv")
THINGS = ("lantern", "ledger", "anchor", "barrel", "clock", "bridle", "kettle", "mirror", "oar", "saddle", "violin")
PLACES = ("harbour", "mill", "chapel", "orchard", "quarry", "market", "ferry", "customs house", "brewery", "gorge")
DEEDS = ("sold", "mended", "hid", "found", "weighed", "painted", "lost", "carried away", "paid for", "drew")

State = dict[str, str]
"""Ids of documents, in their order, and the hashes of what they hold."""


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


def processes() -> multiprocessing.context.ForkServerContext:
    """Where processes are forked from a server that has loaded what each of them would load by itself."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server does not take sys.path over
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    return context


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


def hash_of(document: Document) -> str:
    return hashlib.sha256(json.dumps([document.text, dict(document.metadata)]).encode()).hexdigest()[:16]


def state_of(documents: Mapping[str, Document]) -> State:
    return {id: hash_of(document) for id, document in documents.items()}


def same(one: State, other: State) -> bool:
    """Whether the documents are the same and stand in the same order."""
    return list(one.items()) == list(other.items())


def unsound(memo: MemoRAG, folder: Path) -> list[str]:
    """What of an open store does not fit together, a sentence each: rows, vectors, memories, passages."""
    problems = verify(folder)
    corpus = memo.corpus
    covered = [document.id for shard in corpus.shards for document in shard.documents]
    if sorted(covered) != sorted(corpus.documents):
        problems.append("The memories are not over the documents.")
    for entry in corpus.entries.values():
        if any(p.text != entry.document.text[p.start : p.end] for p in entry.passages if p.start is not None):
            problems.append(f"Passages of {entry.document.id!r} are of another text.")
    if memo.embedder is not None:
        texts = {key: p.text for e in corpus.entries.values() for key, p in zip(e.keys, e.passages, strict=True)}
        vectors, expected = corpus.index.vectors_of(list(texts)), Words().embed_queries(list(texts.values()))
        if any(not np.allclose(vectors[key], row) for key, row in zip(texts, expected, strict=True)):
            problems.append("Some vectors are of other texts.")
    return problems
