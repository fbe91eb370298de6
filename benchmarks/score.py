"""Score rankings of passages against gold evidence.

    python benchmarks/score.py SPLIT.jsonl.gz RUN.jsonl [OTHER.jsonl]

SPLIT is a file of benchmarks/public_data.py. A run is one JSON object a line: `qid`, and `spans`, best passage first, each
[start, end] in the text of the question, or [id, start, end] where all texts stand in one index.

Prints, in percent, each with the 95% interval of a bootstrap over texts:

    ev2k, ev4k, ev8k, ev16k   share of the gold characters inside the first 2,048 / 4,096 / 8,192 / 16,384 retrieved
                              characters. Text retrieved twice counts once as evidence and twice against the budget; so
                              does a passage of another text against the budget.
    mrr                       1 / rank of the first passage that overlaps a gold range

With OTHER, also the paired difference RUN - OTHER. A question that a run lacks scores zero.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

BUDGETS = {"ev2k": 2048, "ev4k": 4096, "ev8k": 8192, "ev16k": 16384}
FIGURES = (*BUDGETS, "mrr")

DRAWS = 2000
"""Samples of the bootstrap."""

Span = tuple[int, int]
Row = tuple[float, ...]
"""The figures of one question, in the order of FIGURES."""

ELSEWHERE = -1
"""Where a passage of another text is put: it has its length, and overlaps nothing."""


def first_characters(spans: Iterable[Span], budget: int) -> list[Span]:
    """The first so many characters of a ranking; the passage that exceeds the budget is cut."""
    taken, left = [], budget
    for start, end in spans:
        if left <= 0:
            break
        taken.append((start, min(end, start + left)))
        left -= end - start
    return taken


def overlap(gold: Sequence[Span], spans: Iterable[Span]) -> int:
    """Characters of the gold ranges, each range by itself, that the union of the spans holds."""
    merged = sorted(spans)
    total = 0
    for start, end in gold:
        position = start
        for a, b in merged:
            a, b = max(a, position), min(b, end)
            if a < b:
                total += b - a
                position = b
    return total


def score(text_id: str, gold: Sequence[Span], ranking: Iterable[Sequence[str | int]]) -> Row:
    """The figures of one question.

    Args:
        text_id: Of the text that the gold ranges stand in.
        ranking: [start, end] or [id, start, end], best first.
    """
    spans = [_span(text_id, piece) for piece in ranking]
    size = overlap(gold, gold)
    shares = [overlap(gold, first_characters(spans, budget)) / size for budget in BUDGETS.values()]
    hits = (rank for rank, (a, b) in enumerate(spans, 1) if any(a < end and start < b for start, end in gold))
    first = next(hits, None)
    return (*shares, 0.0 if first is None else 1 / first)


def _span(text_id: str, piece: Sequence[str | int]) -> Span:
    start, end = int(piece[-2]), int(piece[-1])
    if len(piece) == 3 and piece[0] != text_id:
        return ELSEWHERE - (end - start), ELSEWHERE
    return start, end


def score_run(texts: Iterable[Mapping], run: Mapping[str, Sequence]) -> dict[str, list[Row]]:
    """The figures of all questions, by text."""
    return {
        text["id"]: [score(text["id"], query["gold"], run.get(query["qid"], ())) for query in text["queries"]]
        for text in texts
    }


def difference(one: Mapping[str, list[Row]], other: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """Question by question, what one run has over the other."""
    return {
        id: [tuple(a - b for a, b in zip(*rows, strict=True)) for rows in zip(one[id], other[id], strict=True)]
        for id in one
    }


def intervals(rows: Mapping[str, list[Row]], draws: int = DRAWS, seed: int = 0) -> list[tuple[float, float, float]]:
    """Mean over questions, and between which values lie 95% of the means over texts drawn with replacement; percent."""
    ids, chance = sorted(rows), random.Random(seed)
    samples = [_means(rows, [chance.choice(ids) for _ in ids]) for _ in range(draws)]
    found = []
    for mean, column in zip(_means(rows, ids), zip(*samples, strict=True), strict=True):
        ordered = sorted(column)
        found.append((100 * mean, 100 * ordered[int(0.025 * draws)], 100 * ordered[int(0.975 * draws)]))
    return found


def _means(rows: Mapping[str, list[Row]], ids: Sequence[str]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*(row for id in ids for row in rows[id]), strict=True)]


def read_texts(file: Path) -> list[dict]:
    """The texts of a data set that have questions."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [text for text in map(json.loads, lines) if text["queries"]]


def read_run(file: Path) -> dict[str, list]:
    with file.open(encoding="utf-8") as lines:
        return {row["qid"]: row["spans"] for row in map(json.loads, lines)}


def line_of(title: str, rows: Mapping[str, list[Row]]) -> str:
    cells = zip(FIGURES, intervals(rows), strict=True)
    return f"{title}  " + "  ".join(f"{name} {mean:.1f} [{low:.1f}, {high:.1f}]" for name, (mean, low, high) in cells)


@click.command()
@click.argument("split", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("run", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("other", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(split: Path, run: Path, other: Path | None) -> None:
    """Print the figures of RUN on SPLIT, and those of OTHER and the difference where it is given."""
    texts = read_texts(split)
    found = score_run(texts, read_run(run))
    print(line_of(str(run), found))
    if other is not None:
        compared = score_run(texts, read_run(other))
        print(line_of(str(other), compared))
        print(line_of("difference", difference(found, compared)))


if __name__ == "__main__":
    main()
