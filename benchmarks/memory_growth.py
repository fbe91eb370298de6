"""Resident memory of a process that changes and asks a corpus for long: does it follow the living corpus?

    python -m benchmarks.memory_growth [--documents 50] [--changes 2000] [--words 400] [--queries 5000] [--embedder words|none] [--store]

1. --changes replacements of one document of --documents, each by a text of --words words that no other text has.
2. --queries different queries, asked with `retrieve`.

Printed at ten points of each: resident MiB, words in the vocabulary, words that occur in some passage.
"""

from __future__ import annotations

import gc
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.synthetic import Words, make_documents
from memorag_integrations import Document, MemoRAG

POINTS = 10


def resident() -> float:
    """MiB of this process in RAM."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def line(what: str, memo: MemoRAG) -> str:
    terms = memo.corpus.index.terms
    living = {number for row in terms.rows for number in row.tolist()}
    return f"{what:<16} {resident():8.1f} MiB  {len(terms.vocabulary):>9,} words kept  {len(living):>8,} occur"


def points(total: int) -> Iterator[tuple[int, bool]]:
    """Numbers from 1 to `total`, and whether something is printed after each."""
    for number in range(1, total + 1):
        yield number, number % max(1, total // POINTS) == 0


@click.command()
@click.option("--documents", default=50, show_default=True)
@click.option("--changes", default=2000, show_default=True)
@click.option("--words", default=400, show_default=True)
@click.option("--queries", default=5000, show_default=True)
@click.option("--embedder", default="words", show_default=True, type=click.Choice(["words", "none"]))
@click.option("--store", is_flag=True, help="The corpus lives in a store.")
def main(documents: int, changes: int, words: int, queries: int, embedder: str, store: bool) -> None:
    """Print how the resident memory goes."""
    chance = random.Random(0)
    model = Words() if embedder == "words" else None
    with tempfile.TemporaryDirectory() as folder:
        memo = MemoRAG.open(Path(folder) / "store", embedder=model) if store else MemoRAG(embedder=model)
        memo.add(make_documents(chance, documents, 6), progress=False)
        begun = resident()
        print(line("memorized", memo))
        for number, shown in points(changes):
            text = ". ".join(f"w{number}x{at} y{number}x{at}" for at in range(words // 2))
            memo.upsert(Document(text, "changing"), progress=False)
            if model is not None:
                model.passages.clear()  # what it notes of its own
            if shown:
                print(line(f"change {number}", memo), flush=True)
        changed = resident()
        vocabulary = " ".join(document.text for document in memo.corpus.documents.values()).split()
        for number, shown in points(queries):
            memo.retrieve(f"{' '.join(chance.sample(vocabulary, 6))} {number}?", 5)
            if shown:
                print(line(f"query {number}", memo), flush=True)
        print(f"{changes} changes: {changed - begun:+.1f} MiB; {queries} queries: {resident() - changed:+.1f} MiB")
        memo.close()


if __name__ == "__main__":
    main()
