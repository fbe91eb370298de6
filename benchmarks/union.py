"""Per-clue union, as the original MemoRAG retrieves, against our fusion: the same passages, vectors and clues.

    python benchmarks/union.py --data SPLIT.jsonl.gz --clues gold [--seed 0] [--cache DIR] [--out DIR]

Clues: "embedded" are the embedded memory's spans; "gold", "wrong-document", "wrong-question" and "none" come from the
scripted language model of `benchmarks/clues.py`. Each query's clues are recalled once, and both ways search with these.
Within documents, through the public API with its defaults. Prints percent with 95 % intervals (bootstrap over documents):

    ev4k, ev8k, ev16k  share of the gold characters among the first 4,096 / 8,192 / 16,384 retrieved
    mrr                1 / rank of the first passage that touches gold
    set                share of the gold characters in the union of every search's first 3 hits, the original's default;
                       of ours in the first passages of as many characters. It asks for no order of the union.

The original does not rank a union. For the budgets and mrr its hits are taken in turn: the query's first, each clue's
first, the second ones, and so on. --out writes union.jsonl and memorag.jsonl: qid and spans, best passage first.
"""

import gzip
import json
import logging
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from clues import Scripted, script
from evidence import remember
from tqdm.auto import tqdm

from llamaindex_memorag import LLMMemory
from memorag_integrations import Evidence, MemoRAG

BUDGETS = (4096, 8192, 16384)
NAMES = ("ev4k", "ev8k", "ev16k", "mrr", "set")
HITS = 3
"""Hits of one search that the original's set takes."""

Span = tuple[int, int]


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--clues",
    "kind",
    required=True,
    type=click.Choice(["embedded", "gold", "wrong-document", "wrong-question", "none"]),
)
@click.option("--embedder", default="minilm", show_default=True, help='"minilm", or a model\'s path.')
@click.option("--seed", default=0, show_default=True, help="Of the wrong clues.")
@click.option("--k", default=40, show_default=True, help="Passages ranked a query.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for stores, so that a second run need not encode."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the two rankings.")
def main(data: Path, kind: str, embedder: str, seed: int, k: int, cache: Path | None, out: Path | None) -> None:
    """Rank every query in --data both ways, and print both and their paired difference."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        documents = [document for document in map(json.loads, lines) if document["queries"]]
    begun, plain = time.perf_counter(), MemoRAG(embedder=embedder)
    scores: dict[str, list[np.ndarray]] = {"union": [], "memorag": []}
    runs: dict[str, list[str]] = {"union": [], "memorag": []}
    searches, characters = [], []
    scripts = script(documents, kind, random.Random(seed))
    for document, clues in tqdm(list(zip(documents, scripts, strict=True)), disable=not sys.stderr.isatty()):
        memo = remember(plain, [document], cache, embedder)
        if kind != "embedded":
            memo = told(memo, clues)
        rows: dict[str, list[tuple[float, ...]]] = {"union": [], "memorag": []}
        for query in document["queries"]:
            recall = memo.recall(query["query"])
            union = memo.retrieve(query["query"], k, mode="per-clue-union", recall=recall)
            ours = memo.retrieve(query["query"], k, recall=recall)
            taken = [span for span, piece in zip(spans(union), union, strict=True) if best_rank(piece) <= HITS]
            size = sum(end - start for start, end in taken)
            searches.append(1 + len({clue.text for clue in recall.clues}))
            characters.append(size)
            for name, found, chosen in (("union", spans(union), taken), ("memorag", spans(ours), None)):
                rows[name].append(score(query["gold"], found, within(found, size) if chosen is None else chosen))
                runs[name].append(json.dumps({"qid": query["qid"], "spans": found}))
        for name, found in rows.items():
            scores[name].append(np.array(found))
    for name, per_document in scores.items():
        show(name, per_document)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{name}.jsonl").write_text("\n".join(runs[name]) + "\n", "utf-8")
    show("memorag - union", [ours - union for ours, union in zip(scores["memorag"], scores["union"], strict=True)])
    print(
        f"{data.name}, {kind}: {len(searches)} queries, {np.mean(searches):.1f} searches each, {np.mean(characters):.0f} "
        f"characters in the set; {time.perf_counter() - begun:.0f} s"
    )


def told(known: MemoRAG, clues: dict[str, str]) -> MemoRAG:
    """The same document, with a memory that says what it is told to."""
    assert known.embedder is not None
    memo = MemoRAG(LLMMemory(Scripted(clues=clues)), known.embedder.embedder)
    assert memo.embedder is not None
    memo.embedder.keep(known.corpus.vectors)
    memo.memorize(known.corpus.documents.values(), progress=False)
    return memo


def spans(evidence: Sequence[Evidence]) -> list[Span]:
    return [(piece.passage.start or 0, piece.passage.end or 0) for piece in evidence]


def best_rank(piece: Evidence) -> int:
    """The best place that any search gave it."""
    return min(found.rank for found in piece.found_by)


def score(gold: Sequence[Sequence[int]], ranking: Sequence[Span], chosen: Sequence[Span]) -> tuple[float, ...]:
    """The figures of one query, in the order of NAMES."""
    wanted = set().union(*(range(start, end) for start, end in gold))
    shares = [share(wanted, within(ranking, budget)) for budget in BUDGETS]
    hits = (any(start < b and a < end for a, b in gold) for start, end in ranking)
    reciprocal = next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)
    return (*shares, reciprocal, share(wanted, chosen))


def within(ranking: Sequence[Span], budget: int) -> list[Span]:
    """The first characters of a ranking, the last passage cut."""
    kept = []
    for start, end in ranking:
        if budget <= 0:
            break
        kept.append((start, min(end, start + budget)))
        budget -= end - start
    return kept


def share(wanted: set[int], found: Sequence[Span]) -> float:
    kept = set().union(*(range(start, end) for start, end in found))
    return len(wanted & kept) / len(wanted)


def interval(per_document: Sequence[np.ndarray], draws: int = 2000) -> list[tuple[float, float, float]]:
    """Mean over queries, and where 95 % of the means over documents drawn with replacement lie."""
    chance = np.random.default_rng(0)
    totals = np.array([rows.sum(axis=0) for rows in per_document])
    counts = np.array([len(rows) for rows in per_document])
    drawn = chance.integers(len(counts), size=(draws, len(counts)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return list(zip(totals.sum(axis=0) / counts.sum(), low, high, strict=True))


def show(title: str, per_document: Sequence[np.ndarray]) -> None:
    cells = [
        f"{name} {100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        for name, (mean, low, high) in zip(NAMES, interval(per_document), strict=True)
    ]
    print(f"{title:16}" + "  ".join(cells), flush=True)


if __name__ == "__main__":
    logging.getLogger("memorag_integrations").setLevel(logging.ERROR)
    main()
