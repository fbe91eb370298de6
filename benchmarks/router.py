"""The router against asking every memory: what evidence is lost, and how many memories are asked.

    python benchmarks/router.py --data SPLIT.jsonl.gz [--asked 1 --asked 8 --asked all] [--seed 0] [--cache DIR]

All documents stand in one index, each with a memory of its own. The memories are `LLMMemory` over the scripted language
model of `benchmarks/clues.py`: the one over the query's document says the gold answer, every other the answer of a random
query about its own document, which is what an eager model does with a question that its text does not answer. Prints for
each number of memories asked: the share of queries that kept a clue of their document, calls and milliseconds a query;
then ev4k, ev8k, ev16k, mrr and the share of gold in all k passages (set), and their paired differences from asking all
with 95 % intervals (bootstrap over documents).
"""

import gzip
import json
import logging
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from clues import Scripted
from evidence import remember
from llama_index.core.llms import CompletionResponse
from tqdm.auto import tqdm
from union import score, show

from llamaindex_memorag.llm import as_llm
from memorag_integrations import MemoRAG
from memorag_integrations.contracts import Embedder
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.scores import Floats

OPENING = 400
"""Characters by which a prompt's document is known."""


class Eager(Scripted):
    """Answers for every document: with the query's own answer where it belongs there, else with another one's."""

    openings: dict[str, str]
    others: dict[str, list[str]]
    seed: int = 0

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        query = prompt.rsplit("Question: ", 1)[-1].strip()
        home = next(id for opening, id in self.openings.items() if opening in prompt[: 4 * OPENING])
        clue = self.clues.get(f"{home}\n{query}")
        if clue is None:
            clue = random.Random(f"{self.seed} {home} {query}").choice(self.others[home])
        return CompletionResponse(text=json.dumps({"spans": [clue], "questions": [], "answer": clue}))


@dataclass(frozen=True, kw_only=True)
class OnePerDocument(LLMMemory):
    """A memory for each document, however small."""

    @property
    def capacity(self) -> None:  # type: ignore[override]
        return None


class Remembering(Embedder):
    """Embeds each query and clue once; the same clues come again at every number of memories asked."""

    config = None

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.known = embedder, dict[str, Floats]()

    @property
    def name(self) -> str:
        return self.embedder.name

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        return self.embedder.embed_passages(texts)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.embedder.embed_queries(new), strict=True))
        return np.stack([self.known[text] for text in texts])


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--asked", multiple=True, default=["1", "4", "8", "16", "all"], show_default=True)
@click.option("--embedder", default="minilm", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the wrong clues.")
@click.option("--k", default=40, show_default=True, help="Passages ranked a query.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for the store, so that a second run need not encode."
)
def main(data: Path, asked: tuple[str, ...], embedder: str, seed: int, k: int, cache: Path | None) -> None:
    """Rank every query in --data over the whole corpus, asking so many memories."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    known = remember(MemoRAG(embedder=embedder), documents, cache, embedder)
    assert known.embedder is not None
    remembering = Remembering(known.embedder.embedder)
    told = OnePerDocument(as_llm(eager(documents, seed)))
    found: dict[str, list[np.ndarray]] = {}
    for number in dict.fromkeys((*asked, "all")):
        most = len(documents) if number == "all" else int(number)
        memo = MemoRAG(told, remembering, shards=most)
        assert memo.embedder is not None
        memo.embedder.keep(known.corpus.vectors)
        memo.memorize(known.corpus.documents.values(), progress=False)
        found[number], hits, seconds = [], [], []
        for document in tqdm(documents, desc=f"asking {number}", disable=not sys.stderr.isatty()):
            rows = []
            for query in document["queries"]:
                begun = time.perf_counter()
                recall = memo.recall(query["query"])
                evidence = memo.retrieve(query["query"], k, recall=recall)
                seconds.append(time.perf_counter() - begun)
                asked_ids = {clue.document_id for clue in recall.clues}
                hits.append(document["id"] in asked_ids)
                spans = [
                    (piece.passage.start or 0, piece.passage.end or 0)
                    if piece.document_id == document["id"]
                    # elsewhere: as many characters, none of them gold
                    else (-(piece.passage.end or 0), -(piece.passage.start or 0))
                    for piece in evidence
                ]
                rows.append(score(query["gold"], spans, spans))
            if rows:
                found[number].append(np.array(rows))
        print(
            f"{number} asked: clues of the query's document kept {100 * np.mean(hits):.1f} % of {len(hits)} queries, "
            f"{memo.usage.calls / len(hits):.1f} calls and {1000 * np.median(seconds):.0f} ms a query",
            flush=True,
        )
    for number, scores in found.items():
        show(f"{number} asked", scores)
    for number, scores in found.items():
        if number != "all":
            pairs = zip(scores, found["all"], strict=True)
            show(f"{number} - all", [ours - every for ours, every in pairs])


def eager(documents: Sequence[dict], seed: int) -> Eager:
    answers = {
        f"{document['id']}\n{query['query'].strip()}": query["answer"]
        for document in documents
        for query in document["queries"]
    }
    return Eager(
        clues=answers,
        openings={document["text"][:OPENING].strip()[: OPENING // 2]: document["id"] for document in documents},
        others={document["id"]: [query["answer"] for query in document["queries"]] or [""] for document in documents},
        seed=seed,
    )


if __name__ == "__main__":
    logging.getLogger("memorag_integrations").setLevel(logging.ERROR)  # no word of every recall without clues
    main()
