"""How far clues help, and what a wrong one costs: a scripted language model says what it is told to.

    python benchmarks/clues.py --data SPLIT.jsonl.gz --llm gold --embedder minilm --out RUN.jsonl

The model is a LlamaIndex LLM under `LLMMemory`; as its draft and its only span it returns the query's gold answer, the
answer of a random query about another document, or about the same one ("none": nothing). Within documents, through the
public API with its defaults. Where a document has one query only, "wrong-question" has no clue for it.
"""

import gzip
import json
import logging
import random
import sys
import time
from pathlib import Path
from typing import Any

import click
from evidence import remember
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from tqdm.auto import tqdm

from llamaindex_memorag import LLMMemory
from memorag_integrations import MemoRAG


class Scripted(CustomLLM):
    """Answers a recall prompt with the clue it holds for that prompt's question."""

    clues: dict[str, str]

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=10_000_000, model_name="scripted")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        clue = self.clues.get(prompt.rsplit("Question: ", 1)[-1].strip(), "")
        return CompletionResponse(
            text=json.dumps({"spans": [clue] if clue else [], "questions": [], "answer": clue}, ensure_ascii=False)
        )

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        yield self.complete(prompt)


def script(documents: list[dict], kind: str, chance: random.Random) -> list[dict[str, str]]:
    """For each document, the clue for each of its queries."""
    scripts = []
    for document in documents:
        clues = {}
        for query in document["queries"]:
            if kind == "gold":
                clues[query["query"].strip()] = query["answer"]
            elif kind == "wrong-document":
                other = chance.choice([each for each in documents if each is not document])
                clues[query["query"].strip()] = chance.choice(other["queries"])["answer"]
            elif kind == "wrong-question":
                others = [each["answer"] for each in document["queries"] if each is not query]
                clues[query["query"].strip()] = chance.choice(others) if others else ""
        scripts.append(clues)
    return scripts


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--llm", required=True, type=click.Choice(["none", "gold", "wrong-document", "wrong-question"]))
@click.option("--embedder", default="minilm", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--k", default=40, show_default=True)
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for stores, so that a second run need not encode."
)
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(data: Path, llm: str, embedder: str, seed: int, k: int, cache: Path | None, out: Path) -> None:
    """Write the ranking of every query in --data."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        documents = [document for document in map(json.loads, lines) if document["queries"]]
    begun, plain = time.perf_counter(), MemoRAG(embedder=None if embedder == "none" else embedder)
    weights, prompts = [], 0
    with out.open("w", encoding="utf-8") as lines:
        scripts = script(documents, llm, random.Random(seed))
        for document, clues in tqdm(list(zip(documents, scripts, strict=True)), disable=not sys.stderr.isatty()):
            known = remember(plain, [document], cache, embedder)
            memo = MemoRAG(LLMMemory(Scripted(clues=clues)), plain.embedder and plain.embedder.embedder)
            if memo.embedder is not None and known.embedder is not None:
                memo.embedder.keep(known.corpus.vectors)
            memo.memorize(known.corpus.documents.values(), progress=False)
            for query in document["queries"]:
                found = memo.retrieve(query["query"], k)
                spans = [[piece.passage.start, piece.passage.end] for piece in found]
                lines.write(json.dumps({"qid": query["qid"], "spans": spans}) + "\n")
                weights += {r.by: r.weight for piece in found for r in piece.found_by if r.by != "query"}.values()
            prompts += memo.usage.calls
    mean = sum(weights) / len(weights) if weights else 0.0
    print(f"{out}: {llm}, {prompts} prompts, mean weight {mean:.2f}, {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    logging.getLogger("memorag_integrations").setLevel(logging.ERROR)  # no word of every recall without clues
    main()
