"""One table of several runs on one data set: the figures of each, and what one has over the best of the others.

    python benchmarks/compare.py SPLIT.jsonl.gz RUNS/*.jsonl --method memorag

Runs are what benchmarks/evidence.py writes, named by their method. Figures are those of benchmarks/score.py; for a data
set of paragraphs, the recall of all supporting paragraphs among the first 2, 5 and 10 (`r2`, `r5`, `r10`). The last lines
give, for each figure, the paired difference to the peer that is best in it, with its 95% interval; for mrr to hybrid, since
a rank among pieces of several passages is another thing.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import click
from score import FIGURES, Row, difference, intervals, read_run, score_run

CUTS = (2, 5, 10)
OWN = "memorag"


def recall_rows(queries: list[dict], run: Mapping[str, list]) -> dict[str, list[Row]]:
    """Share of the supporting paragraphs among the first of a ranking, by query; a paragraph counts once."""
    rows = {}
    for query in queries:
        gold, ids = set(query["gold"]), list(dict.fromkeys(span[0] for span in run.get(query["qid"], ())))
        rows[query["qid"]] = [tuple(len(gold & set(ids[:cut])) / len(gold) for cut in CUTS)]
    return rows


@click.command()
@click.argument("split", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--method", default=OWN, show_default=True, help="The run that is compared with the others.")
def main(split: Path, runs: tuple[Path, ...], method: str) -> None:
    """Print the figures of RUNS on SPLIT, and those of --method against the best of the others."""
    with gzip.open(split, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]
    paragraphs = "corpus" in texts[0]
    names = tuple(f"r{cut}" for cut in CUTS) if paragraphs else FIGURES
    asked = [text for text in texts if text["queries"]]
    rows = {
        path.stem: recall_rows(texts[0]["queries"], read_run(path)) if paragraphs else score_run(asked, read_run(path))
        for path in runs
    }
    means = {name: [100 * sum(column) / len(column) for column in columns(found)] for name, found in rows.items()}
    print(f"{'':22}" + "".join(f"{name:>8}" for name in names))
    for name, values in means.items():
        print(f"{name:22}" + "".join(f"{value:8.1f}" for value in values))
    if method not in rows or len(rows) < 2:
        return
    print(f"{method} less the best peer of each figure")
    for at, figure in enumerate(names):
        peers = [name for name in means if name != method and (figure != "mrr" or name == "hybrid")]
        if not peers:
            continue
        best = max(peers, key=lambda name: means[name][at])
        mean, low, high = intervals(difference(rows[method], rows[best]))[at]
        print(f"  {figure:6} {mean:+5.1f} [{low:+5.1f}, {high:+5.1f}]  {best}")


def columns(rows: Mapping[str, list[Row]]) -> list[tuple[float, ...]]:
    return list(zip(*(row for found in rows.values() for row in found), strict=True))


if __name__ == "__main__":
    main()
