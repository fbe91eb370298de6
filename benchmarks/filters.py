"""What a filter costs: retrieval with and without one, and the look for excluded text in what a memory says.

    python benchmarks/filters.py [--documents 4000]

Corpora are random (`synthetic`), of few different words, so that each word has long lists of passages: the hard case for
the look at runs of words. Prints milliseconds, the median of five calls.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.synthetic import make_text
from memorag_integrations import Document, MemoRAG
from memorag_integrations.index.admitted import ExcludedText

QUERY = "Who sold the lantern at the harbour?"
DATA = {"n": {"$ne": 3}}


def milliseconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(6):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[1:])


@click.command()
@click.option("--documents", default=4000, show_default=True, help="Of 25 passages each.")
def main(documents: int) -> None:
    chance = random.Random(1)
    memo = MemoRAG(passage_size=300)
    memo.memorize(
        [Document(make_text(chance, 25), f"log {n}", {"n": n % 10}) for n in range(documents)], progress=False
    )
    index = memo.corpus.index
    admitted = index.admitted(DATA)
    assert admitted is not None
    quote = next(memo.corpus.documents[id].text for id in sorted(admitted.whole))
    own = make_text(random.Random(2), 60)

    def among(text: str) -> object:
        return ExcludedText(index.terms, index.languages, admitted, QUERY).among([text])

    cases: dict[str, Callable[[], object]] = {
        "retrieve": lambda: memo.retrieve(QUERY),
        "retrieve with a filter": lambda: memo.retrieve(QUERY, filters=DATA),
        "retrieve with a function as a filter": lambda: memo.retrieve(QUERY, filters=lambda m: m["n"] != 3),
        "what the filter admits": lambda: index.admitted(DATA),
        **{f"a text of {size:,} characters": lambda size=size: among(own[:size]) for size in (100, 1000, 10_000)},  # type: ignore[misc]
        f"a quote of {len(quote):,} characters": lambda: among(quote),
    }
    click.echo(f"{len(index):,} passages, {sum(map(len, memo.corpus.texts.values())) / 1e6:.1f} MB; ms")
    for name, call in cases.items():
        click.echo(f"{name:<40}{milliseconds(call):>9.1f}")


if __name__ == "__main__":
    main()
