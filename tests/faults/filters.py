"""Random corpora under random filters: does text of an excluded passage come back by any way?

    python -m tests.faults.filters [--corpora 1000] [--first 0] [--memory NAME ...]

Every paragraph of a corpus holds a word that stands nowhere else, unless a copy of the paragraph does. A filter makes those
words secret that stand in excluded passages alone. Each corpus is asked without a filter first, so that caches hold
everything; then with filters, sync and async, in every mode, by the engine or by one of the hosts. Searched for secret words
are evidence, clues, draft answers, prompts, provenance, warnings, errors, logs, traces and answers. Filters admit documents,
or some chunks of a document.

The language models quote what they are sent; one of them quotes what it was sent before, too, as a provider with a cache of
its own might. Memories of a user's own name whatever they like. A memory of keys and values counts as asked about the whole
text of its shard.

Prints the leaks of each kind and memory, and how many calls under a filter were answered with clues of admitted text ("heard");
exit status 1 where there is any leak.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.synthetic import DEEDS, PEOPLE, PLACES, THINGS, Words
from memorag_integrations import Document, GistMemory, LLMMemory, MemoRAG
from memorag_integrations.clues import Clue, Completion, Grounding, Recall, Usage
from memorag_integrations.documents import Passage, Shard
from memorag_integrations.errors import MemoRAGError
from memorag_integrations.memories.base import BaseMemory, BaseMemoryModel
from memorag_integrations.memories.random import RandomMemoryModel
from memorag_integrations.retrieval.trace import watching
from tests.scripted import ScriptedLLM, llama_index_llm

MODES = ("memorag", "plain", "bm25", "hybrid", "per-clue-union")
SECRET = re.compile(r"\b(?:zq[a-z]{8}|ZX-\d{5})\b")
"""The word of one paragraph, such as "zqmkwopqnd" or "ZX-40417"."""


# ── corpora ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Piece:
    """One passage: its text and its metadata."""

    text: str
    metadata: Mapping[str, Any]

    @property
    def secrets(self) -> set[str]:
        return set(SECRET.findall(f"{self.text} {self.metadata}"))


@dataclass(frozen=True)
class Source:
    """One document. Under a filter of documents all pieces have one metadata."""

    id: str
    pieces: Sequence[Piece]

    @property
    def text(self) -> str:
        return "\n\n".join(piece.text for piece in self.pieces)


def secret_word(chance: random.Random) -> str:
    if chance.random() < 0.3:
        return f"ZX-{chance.randrange(10**5):05}"
    return "zq" + "".join(chance.choices(string.ascii_lowercase, k=8))


def paragraph(chance: random.Random) -> str:
    """Three sentences of common words; the second one holds the paragraph's own word."""

    def sentence(thing: str) -> str:
        who, whom = chance.sample(PEOPLE, 2)
        return f"{who} {chance.choice(DEEDS)} the {thing} at the {chance.choice(PLACES)} for {whom}."

    things = [chance.choice(THINGS), secret_word(chance), chance.choice(THINGS)]
    return " ".join(map(sentence, things))


def make_sources(chance: random.Random, chunks: bool) -> list[Source]:
    copied: list[str] = []

    def piece(metadata: Mapping[str, Any]) -> Piece:
        text = chance.choice(copied) if copied and chance.random() < 0.1 else paragraph(chance)
        copied.append(text)
        return Piece(text, metadata)

    def metadata() -> dict[str, Any]:
        return {"kind": chance.choice("abc"), "year": chance.randrange(1990, 2000), "note": secret_word(chance)}

    sources = []
    for n in range(chance.randrange(2, 7)):
        shared = metadata()
        count = chance.randrange(1, 6)
        sources.append(Source(f"log {n}", [piece(metadata() if chunks else shared) for _ in range(count)]))
    return sources


def make_filters(chance: random.Random) -> tuple[Any, Callable[[Mapping[str, Any]], bool]]:
    """A filter in data form or as a function, and what it means."""
    kinds, year = chance.sample("abc", chance.randrange(1, 3)), chance.randrange(1988, 2002)
    data, accept = chance.choice(
        [
            ({"kind": kinds}, lambda m: m["kind"] in kinds),
            ({"kind": {"$nin": kinds}}, lambda m: m["kind"] not in kinds),
            ({"year": {"$gte": year}}, lambda m: m["year"] >= year),
            ({"$or": [{"kind": kinds[0]}, {"year": year}]}, lambda m: m["kind"] == kinds[0] or m["year"] == year),
            ({"$not": {"kind": kinds[0]}}, lambda m: m["kind"] != kinds[0]),
        ]
    )
    return (accept if chance.random() < 0.4 else data), accept


# ── language models and memories ──────────────────────────────────────────────────────────────────────────────────


class Quoting(ScriptedLLM):
    """Quotes what it is sent.

    Args:
        prompts: Where its prompts are noted; several models may share the list.
        remembers: Whether it quotes what it was sent before, too.
    """

    def __init__(
        self, chance: random.Random, prompts: list[str], window: int = 100_000, remembers: bool = False
    ) -> None:
        super().__init__(self.reply, window)
        self.chance, self.prompts, self.remembers = chance, prompts, remembers
        self.seen: list[str] = []

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        self.prompts.append(prompt)
        text = self.reply(prompt)
        return Completion(text, Usage(len(prompt) // 4, 0, len(text) // 4, 0.0, 1))

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        return self.complete(prompt)

    def reply(self, prompt: str) -> str:
        text, _, orders = prompt.rpartition("</text-")
        sentences = [s for s in re.findall(r"[^.\n]+\.", text) if SECRET.search(s)] or re.findall(r"\w[^.\n]+\.", text)
        if self.remembers:
            self.seen += sentences
            sentences = self.seen
        picked = self.chance.sample(sentences, min(4, len(sentences))) or ["Nothing."]
        if '"spans"' not in orders:
            return " ".join(sentence.strip() for sentence in picked)[:300]
        words = [match[0] for match in map(SECRET.search, picked) if match]
        return json.dumps(
            {
                "spans": [sentence.strip() for sentence in picked[:3]],
                "questions": [f"What became of {word}?" for word in words[:2]],
                "answer": f"It was {' and '.join(words[-2:])}." if self.chance.random() < 0.5 else picked[-1].strip(),
            }
        )


class Knowing(BaseMemoryModel):
    """A memory of a user's own that names sentences of its shard, or of the whole corpus."""

    fingerprint = "knowing-1"

    def __init__(self, chance: random.Random, everything: Sequence[Source], packs: bool) -> None:
        self.chance, self.everything, self.packs = chance, everything, packs

    @property
    def capacity(self) -> int | None:
        return 1500 if self.packs else None

    def count_tokens(self, text: str) -> int:
        return len(text)

    def read(self, shard: Shard, text: str, progress: Any, cancel: Any) -> KnowingMemory:
        return KnowingMemory(self, shard)

    def load(self, path: Path, shard: Shard) -> KnowingMemory:
        return KnowingMemory(self, shard)


class KnowingMemory(BaseMemory):
    token_count = nbytes = 1

    def __init__(self, model: Knowing, shard: Shard) -> None:
        self.model, self.shard = model, shard

    def recall(self, queries: Sequence[str], *, scores: Any, cancel: Any = None) -> list[Recall]:
        return [self._recall(query) for query in queries]

    def recall_key(self, query: str, scores: Any) -> int:
        return 0

    def _recall(self, query: str) -> Recall:
        chance = self.model.chance
        texts = {document.id: document.text for document in self.shard.documents}
        if chance.random() < 0.5:
            texts = {source.id: source.text for source in self.model.everything}
        places = [(id, m.start(), m.end()) for id, text in texts.items() for m in re.finditer(r"\w[^.\n]+\.", text)]
        clues = []
        for id, start, end in chance.sample(places, min(5, len(places))):
            text = texts[id][start:end]
            word = SECRET.search(text)
            shown = chance.choice([text, text, f"Tell me of {word[0]}." if word else text])
            grounding = Grounding(id, start, end, 1.0) if chance.random() < 0.6 else None
            clues.append(Clue(shown, chance.choice(("span", "question", "answer")), grounding, chance.random()))
        answer = clues[-1].text if clues else None
        return Recall(query, tuple(clues), answer, warnings=(f"Unsure of: {clues[0].text}",) if clues else ())

    def save(self, path: Path) -> None:
        path.mkdir()


def make_memory(name: str, world: World) -> Any:
    chance, prompts = world.chance, world.prompts
    window = chance.choice((1700, 2000, 100_000))
    if name == "activation":
        return "activation"
    if name == "random":
        return RandomMemoryModel(seed=chance.randrange(9))
    if name == "llm":
        return LLMMemory(Quoting(chance, prompts, window), reply_tokens=200)
    if name == "llm that remembers":
        return LLMMemory(Quoting(chance, prompts, window, remembers=True), reply_tokens=200)
    if name == "gist":
        folder = world.scratch / f"gists {chance.random()}"
        return GistMemory(Quoting(chance, prompts, 2500), reply_tokens=200, folder=folder, stretch=300, words=30)
    if name in ("longcontext", "beacon"):
        return kv_memory(name, world.scratch)
    return Knowing(chance, world.sources, name == "own, packed")


def kv_memory(name: str, scratch: Path) -> Any:
    from memorag_integrations import BeaconMemory, LongContextMemory
    from memorag_integrations.decoding.generation import Sampling
    from tests.beacon.tiny import make_checkpoint
    from tests.memories.test_memories import BRIEF

    folder = scratch / "checkpoint"
    if not folder.exists():
        make_checkpoint(folder, max_position_embeddings=4096, sliding_window=None)
    sampling = Sampling(max_tokens=8)
    if name == "beacon":
        return BeaconMemory(str(folder), device="cpu", sampling=sampling)
    return LongContextMemory(str(folder), device="cpu", prompts=BRIEF, sampling=sampling)


MEMORIES = ("activation", "random", "llm", "llm that remembers", "gist", "own", "own, packed")
KV_MEMORIES = ("longcontext", "beacon")
KV_EVERY = 40
"""One corpus in so many is asked through a memory of keys and values, which takes a second."""


# ── one corpus ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class World:
    """A corpus, what was said about it, and what leaked.

    Args:
        chance: Draws everything.
        scratch: A folder.
    """

    chance: random.Random
    scratch: Path
    sources: list[Source] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    calls: int = 0
    heard: int = 0
    """Calls under a filter whose clues or reasons held a word of an admitted paragraph."""
    leaks: list[tuple[str, str]] = field(default_factory=list)

    def secrets(self, accept: Callable[[Mapping[str, Any]], bool] | None) -> set[str]:
        """The words that stand in excluded passages alone."""
        pieces = [piece for source in self.sources for piece in source.pieces]
        admitted = {word for p in pieces if accept is None or accept(p.metadata) for word in p.secrets}
        return {word for piece in pieces for word in piece.secrets} - admitted

    def ask(self, what: str, secrets: set[str], call: Callable[[], Mapping[str, Any]]) -> None:
        """Make a call, and look for secrets in what came of it, by kind."""
        for noted in (self.prompts, self.logged, self.traces):
            noted.clear()
        self.calls += 1
        try:
            with watching(lambda step: self.traces.append(json.dumps(step.to_json()))):
                said = dict(call())
        except MemoRAGError as error:
            said = {"errors": str(error)}
        heard = set(SECRET.findall(str([said.get(kind) for kind in ("clues", "provenance")])))
        self.heard += bool(secrets and heard - secrets)
        said |= {"prompts": self.prompts, "logs": self.logged, "traces": self.traces}
        for kind, texts in said.items():
            leaked = set(SECRET.findall(str(texts))) & secrets
            if leaked:
                self.leaks.append((kind, f"{what}: {sorted(leaked)[:3]}"))


def evidence_of(pieces: Sequence[Any]) -> dict[str, Any]:
    told = [piece.to_json() for piece in pieces]
    provenance = [(piece.pop("found_by"), piece.pop("repeats")) for piece in told]
    repeats = [[passage.text for passage in piece.repeats] for piece in pieces]
    return {"evidence": json.dumps(told), "provenance": json.dumps([provenance, repeats])}


def recall_of(recall: Recall) -> dict[str, Any]:
    return {"clues": [c.text for c in recall.clues], "draft answers": recall.answer, "warnings": recall.warnings}


Call = tuple[str, Callable[[Any], Mapping[str, Any]]]
"""A name, and what is called with a filter (None for none) and gives texts by kind."""


def engine_calls(memo: MemoRAG, chance: random.Random, query: str) -> list[Call]:
    def awaited(make: Callable[[], Any]) -> Any:
        return asyncio.run(make())

    async def pieces_of(stream: Any) -> str:
        return " ".join([piece async for piece in stream])

    def answered(answer: Any) -> dict[str, Any]:
        return {"answers": answer.text, **evidence_of(answer.evidence)}

    def retrieve(mode: str, filters: Any) -> Mapping[str, Any]:
        how = {"mode": mode, "filters": filters, "merge": chance.random() < 0.4}
        k = chance.choice((1, 4, 50))
        if chance.random() < 0.5:
            return evidence_of(memo.retrieve(query, k, **how))
        return evidence_of(awaited(lambda: memo.aretrieve(query, k, **how)))

    def each(filters: Any) -> Mapping[str, Any]:
        mode = chance.choice(("memorag", "per-clue-union"))
        texts = [query, f"the {chance.choice(THINGS)} of {chance.choice(PEOPLE)}"]
        if chance.random() < 0.5:
            return evidence_of(memo.retrieve_each(texts, 20, mode=mode, filters=filters))
        return evidence_of(awaited(lambda: memo.aretrieve_each(texts, 20, mode=mode, filters=filters)))

    calls: list[Call] = [(f"retrieve {mode}", partial(retrieve, mode)) for mode in MODES]
    calls += [
        ("recall", lambda filters: recall_of(memo.recall(query, filters=filters))),
        ("arecall", lambda filters: recall_of(awaited(lambda: memo.arecall(query, filters=filters)))),
        ("retrieve_each", each),
        ("rank", lambda filters: {"provenance": str(memo.rank(query, filters=filters).provenance.weights)}),
    ]
    if memo.generator is not None:
        calls += [
            ("answer", lambda filters: answered(memo.answer(query, filters=filters))),
            ("aanswer", lambda filters: answered(awaited(lambda: memo.aanswer(query, filters=filters)))),
            ("stream_answer", lambda filters: {"answers": "".join(memo.stream_answer(query, filters=filters))}),
            (
                "astream_answer",
                lambda filters: {"answers": awaited(lambda: pieces_of(memo.astream_answer(query, filters=filters)))},
            ),
        ]
    return calls


def make_engine(world: World, name: str, chunks: bool) -> MemoRAG:
    chance = world.chance
    generator = Quoting(chance, world.prompts) if chance.random() < 0.6 else None
    how: dict[str, Any] = {"generator": generator, "shards": chance.choice((1, 3, 8)), "passage_size": 240}
    memo = MemoRAG(make_memory(name, world), Words(), **how)
    if not chunks:
        documents = [Document(s.text, s.id, dict(s.pieces[0].metadata)) for s in world.sources]
        memo.memorize(documents, progress=False)
        return memo
    known = chance.random() < 0.7

    def split(document: Document) -> Iterator[Passage]:
        source = next(source for source in world.sources if source.id == document.id)
        at = 0
        for n, piece in enumerate(source.pieces):
            start, end = (at, at + len(piece.text)) if known else (None, None)
            yield Passage(
                f"{document.id}/{n}", document.id, piece.text, start, end, at + len(piece.text) / 2, piece.metadata
            )
            at += len(piece.text) + 2

    memo.memorize([Document(s.text, s.id) for s in world.sources], split=lambda d: list(split(d)), progress=False)
    return memo


def llama_index(world: World, name: str, chunks: bool) -> tuple[MemoRAG, Callable[[str], list[Call]]]:
    from llama_index.core import Document as HostDocument
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
    from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

    from llamaindex_memorag import MemoRAGRetriever

    chance = world.chance
    make = {"embed_model": Words(), "memory": make_memory(name, world), "engine": {"passage_size": 240}}
    if chunks:
        nodes, known = [], chance.random() < 0.5
        for source in world.sources:
            at = 0
            for n, piece in enumerate(source.pieces):
                node = TextNode(text=piece.text, id_=f"{source.id}/{n}", metadata=dict(piece.metadata))
                node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=source.id)
                if known:
                    node.start_char_idx, node.end_char_idx = at, at + len(piece.text)
                at += len(piece.text) + 2
                nodes.append(node)
        retriever = MemoRAGRetriever.from_nodes(nodes, **make)
    else:
        documents = [HostDocument(text=s.text, id_=s.id, metadata=dict(s.pieces[0].metadata)) for s in world.sources]
        retriever = MemoRAGRetriever.from_documents(documents, **make)

    def host_filters(filters: Any) -> Any:
        if isinstance(filters, dict) and set(filters) == {"kind"} and isinstance(filters["kind"], list):
            return MetadataFilters(filters=[MetadataFilter(key="kind", value=filters["kind"], operator="in")])
        return filters

    def found(nodes: Sequence[Any]) -> dict[str, Any]:
        metadata = [{k: v for k, v in node.metadata.items() if k != "memorag"} for node in nodes]
        told = [node.metadata.get("memorag") for node in nodes]
        return {"evidence": [[node.text for node in nodes], metadata], "provenance": told}

    def calls(query: str) -> list[Call]:
        def settings(filters: Any) -> dict[str, Any]:
            return {"filters": host_filters(filters), "provenance": chance.random() < 0.7}

        def retrieve(mode: str, filters: Any) -> Mapping[str, Any]:
            one = retriever.as_retriever(chance.choice((2, 20)), mode=mode, **settings(filters))
            if chance.random() < 0.5:
                return found(one.retrieve(query))
            return found(asyncio.run(one.aretrieve(query)))

        def query_engine(filters: Any) -> Mapping[str, Any]:
            def script(prompt: str) -> str:
                world.prompts.append(prompt)
                return " ".join(SECRET.findall(prompt))

            response = retriever.as_query_engine(llama_index_llm(script), **settings(filters)).query(query)
            return {"answers": str(response), **found(response.source_nodes)}

        made: list[Call] = [(f"LlamaIndex {mode}", partial(retrieve, mode)) for mode in MODES]
        explained = lambda filters: evidence_of(retriever.as_retriever(**settings(filters)).explain(query))  # noqa: E731
        return [*made, ("LlamaIndex query engine", query_engine), ("LlamaIndex explain", explained)]

    return retriever.memo, calls


def langchain(world: World, name: str, chunks: bool) -> tuple[MemoRAG, Callable[[str], list[Call]]]:
    from langchain_core.documents import Document as HostDocument

    from langchain_memorag import MemoRAGRetriever

    chance = world.chance
    make = {"memory": make_memory(name, world), "engine": {"passage_size": 240}}
    if chunks:
        parts, known = [], chance.random() < 0.5
        for source in world.sources:
            at = 0
            for piece in source.pieces:
                where = {"start_index": at} if known else {}
                parts.append(HostDocument(piece.text, metadata={**piece.metadata, "source": source.id, **where}))
                at += len(piece.text) + 2
        retriever = MemoRAGRetriever.from_chunks(parts, Words(), **make)
    else:
        documents = [HostDocument(s.text, metadata=dict(s.pieces[0].metadata), id=s.id) for s in world.sources]
        retriever = MemoRAGRetriever.from_documents(documents, Words(), **make)

    def found(documents: Sequence[Any]) -> dict[str, Any]:
        metadata = [{k: v for k, v in document.metadata.items() if k != "memorag"} for document in documents]
        told = [document.metadata.get("memorag") for document in documents]
        return {"evidence": [[document.page_content for document in documents], metadata], "provenance": told}

    def calls(query: str) -> list[Call]:
        def retrieve(mode: str, filters: Any) -> Mapping[str, Any]:
            how = {"k": chance.choice((2, 20)), "mode": mode, "provenance": chance.random() < 0.7}
            how["filter" if chance.random() < 0.3 else "filters"] = filters
            if chance.random() < 0.5:
                return found(retriever.invoke(query, **how))
            return found(asyncio.run(retriever.ainvoke(query, **how)))

        made: list[Call] = [(f"LangChain {mode}", partial(retrieve, mode)) for mode in MODES]
        return [*made, ("LangChain explain", lambda filters: evidence_of(retriever.explain(query, filters=filters)))]

    return retriever.memo, calls


@contextmanager
def watched(world: World) -> Iterator[None]:
    """Logs of every level, and the texts of memories of keys and values that are asked, noted in the world."""
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: world.logged.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    level, ours = (
        root.level,
        [logging.getLogger(n) for n in ("memorag_integrations", "llamaindex_memorag", "langchain_memorag")],
    )
    root.addHandler(handler)
    for logger in ours:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    undo = None
    if "torch" in sys.modules or world.scratch.joinpath("checkpoint").exists():
        from memorag_integrations.memories.kv_memory import KVMemory

        original = KVMemory.recall

        def recall(memory: Any, queries: Sequence[str], **how: Any) -> list[Recall]:
            world.prompts.append(memory.shard.text)
            return original(memory, queries, **how)

        KVMemory.recall = recall  # type: ignore[method-assign]
        undo = partial(setattr, KVMemory, "recall", original)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        if undo is not None:
            undo()


def examine(seed: str, name: str, scratch: Path) -> World:
    """One corpus with a memory: asked without a filter, then with two."""
    world = World(random.Random(f"{seed} {name}"), scratch)
    chance = world.chance
    chunks = chance.random() < 0.5
    world.sources = make_sources(chance, chunks)
    side = chance.choice(("engine", "LlamaIndex", "LangChain"))
    if name in KV_MEMORIES:
        kv_memory(name, scratch)
    with watched(world):
        if side == "engine":
            memo = make_engine(world, name, chunks)
            calls = partial(engine_calls, memo, chance)
        else:
            memo, calls = (llama_index if side == "LlamaIndex" else langchain)(world, name, chunks)
        queries = [
            f"Who {deed} the {chance.choice(THINGS)} at the {chance.choice(PLACES)}?"
            for deed in chance.sample(DEEDS, 2)
        ]
        where = f"{seed}, {side}, {'chunks' if chunks else 'documents'}"
        for what, call in chance.sample(calls(queries[0]), 3):  # the second query is asked with filters alone
            world.ask(f"{where}: {what}", set(), partial(call, None))
        few = 2 if name in KV_MEMORIES else 5
        for _ in range(2):
            filters, accept = make_filters(chance)
            secrets = world.secrets(accept)
            for query in queries:
                made = calls(query) + [call for call in engine_calls(memo, chance, query) if side != "engine"]
                for what, call in chance.sample(made, few):
                    world.ask(f"{where}: {what}", secrets, partial(call, filters))
    return world


def names_of(corpora: int) -> Iterator[str]:
    for n in range(corpora):
        yield KV_MEMORIES[n // KV_EVERY % 2] if n % KV_EVERY == KV_EVERY - 1 else MEMORIES[n % len(MEMORIES)]


@click.command()
@click.option("--corpora", default=1000, show_default=True)
@click.option("--first", default=0, help="Number of the first corpus.", show_default=True)
@click.option("--memory", "memories", multiple=True, help="Only these memories.")
def main(corpora: int, first: int, memories: Sequence[str]) -> None:
    began, counts, leaks = time.perf_counter(), Counter[str](), Counter[tuple[str, str]]()
    leaky, heard, examples, calls = Counter[str](), Counter[str](), [], 0
    with tempfile.TemporaryDirectory() as scratch:
        for n, drawn in enumerate(names_of(corpora), first):
            name = memories[n % len(memories)] if memories else drawn
            world = examine(str(n), name, Path(scratch))
            counts[name] += 1
            calls += world.calls
            heard[name] += world.heard
            leaky[name] += bool(world.leaks)
            leaks.update({(name, kind) for kind, _ in world.leaks})
            examples += [f"{name}: {kind}: {told}" for kind, told in world.leaks[:1]]
    kinds = sorted({kind for _, kind in leaks})
    click.echo(
        f"{corpora} corpora, {calls:,} calls, {time.perf_counter() - began:.0f} s; corpora with a leak, by kind:"
    )
    click.echo(f"{'memory':<20}{'corpora':>9}{'leaky':>8}{'heard':>8}" + "".join(f"{kind:>15}" for kind in kinds))
    for name, count in counts.items():
        row = "".join(f"{leaks[name, kind]:>15}" for kind in kinds)
        click.echo(f"{name:<20}{count:>9}{leaky[name]:>8}{heard[name]:>8}{row}")
    click.echo(f"{'all':<20}{corpora:>9}{leaky.total():>8}")
    for example in examples[:20]:
        click.echo(f"  {example}")
    sys.exit(bool(leaks))


if __name__ == "__main__":
    main()
