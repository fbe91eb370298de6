"""Fit how much a clue counts, by its similarity to the query and its grounding: the constants of `fusion.ClueWeighting`.

    python benchmarks/fit_clues.py --data TRAIN.jsonl.gz --data OTHER.jsonl.gz --embedder minilm

For every query: the gold answer, the answer of a query about another document, the answer of another query about the
same one. The fit maximises the mean share of gold characters among the first 4,096, 8,192 and 16,384 retrieved, over
the kinds of clue and the sets, each weighted alike; rankings are computed on a grid of weights and interpolated. Prints
ev8k of each kind with no clue, with the fit, fitted to the other four fifths of the documents, and with the constants
in use.
"""

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import click
import numpy as np
from evidence import remember
from scipy.optimize import minimize

from memorag_integrations import MemoRAG
from memorag_integrations.clues import Grounding
from memorag_integrations.retrieval import fusion
from memorag_integrations.retrieval.clue_search import ClueQueries
from memorag_integrations.scores import Scores
from memorag_integrations.text.grounding import Grounder
from memorag_integrations.text.sentences import pieces

GRID = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0])
KINDS = ("gold", "wrong document", "wrong question")
BUDGETS = (4096, 8192, 16384)


@click.command()
@click.option("--data", required=True, multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--embedder", default="minilm", show_default=True)
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for stores, so that a second run need not encode."
)
@click.option("--seed", default=0, show_default=True)
def main(data: tuple[Path, ...], embedder: str, cache: Path | None, seed: int) -> None:
    """Fit slope and bias, and print what they do."""
    engine = MemoRAG(embedder=None if embedder == "none" else embedder)
    samples = [
        sample for number, path in enumerate(data) for sample in measure(engine, path, number, embedder, cache, seed)
    ]
    group, document, kind = (np.array([sample[i] for sample in samples]) for i in range(3))
    signals, values = np.array([sample[3] for sample in samples]), np.array([sample[4] for sample in samples])
    cell = group * len(KINDS) + kind
    importance = 1 / np.bincount(cell)[cell]
    print(f"ev8k, {', '.join(KINDS)}, of each set; {'terms' if embedder == 'none' else 'cosine'}, grounding, bias")
    show("no clue", np.zeros(len(signals)), cell, values)
    found = fit(signals, values.mean(axis=2), importance)
    show(f"fitted {found.round(2)}", weight(found, signals), cell, values)
    held = np.zeros(len(signals))
    for fold in range(5):
        out = document % 5 == fold
        held[out] = weight(fit(signals[~out], values[~out].mean(axis=2), importance[~out]), signals[out])
    show("fitted to the other documents", held, cell, values)
    in_use = np.array(astuple(fusion.TERM_WEIGHTING if embedder == "none" else fusion.COSINE_WEIGHTING))
    show(f"in use {in_use}", weight(in_use, signals), cell, values)


def measure(
    engine: MemoRAG, path: Path, group: int, embedder: str, cache: Path | None, seed: int
) -> Iterator[tuple[int, int, int, tuple[float, float], list[list[float]]]]:
    """(set, document, kind, signals, [weight of the grid][budget] → share of gold found) for every query and clue."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        documents = [document for document in map(json.loads, lines) if document["queries"]]
    chance = random.Random(seed)
    for number, document in enumerate(documents):
        memo, grounder = remember(engine, [document], cache, embedder), Grounder(document["text"])
        for query in document["queries"]:
            elsewhere = chance.choice([other for other in documents if other is not document])
            same = [other["answer"] for other in document["queries"] if other is not query]
            clues = [
                query["answer"],
                chance.choice(elsewhere["queries"])["answer"],
                chance.choice(same) if same else "",
            ]
            kinds = [kind for kind, clue in enumerate(clues) if clue.strip()]
            queries = ClueQueries({clues[kind]: pieces(clues[kind]) for kind in kinds})
            texts = [query["query"].strip(), *queries.texts]
            query_scores, *clue_scores = memo.scores(texts)
            found = {scores.text: scores for scores in clue_scores}
            for kind in kinds:
                scores = found[clues[kind]]
                parts = [found[text] for text in queries.clues[clues[kind]] if text != clues[kind]]
                [near] = fusion.similarities(query_scores, [scores])
                place = grounder.ground(scores.text)
                grounding = place.score if place else 0.0
                if place:
                    scores = fusion.lift_grounded(
                        scores, Grounding(document["id"], place.start, place.end, place.score)
                    )
                weighted = [fusion.WeightedClue(scores, parts, weight) for weight in GRID]
                yield (
                    group,
                    number,
                    kind,
                    (near, grounding),
                    [shares(query_scores, clue, query["gold"], memo.fusion) for clue in weighted],
                )


def shares(query: Scores, clue: fusion.WeightedClue, gold: list[list[int]], settings: fusion.Fusion) -> list[float]:
    """Of the gold characters, the share among the first retrieved ones, for each budget."""
    ranking = np.argsort(-fusion.rank(query, [clue], settings), kind="stable")[:40]
    places = [(p.start or 0, p.end or 0) for p in (query.candidates.passages[row] for row in ranking)]
    wanted = set().union(*(range(start, end) for start, end in gold))
    found = []
    for budget in BUDGETS:
        kept: set[int] = set()
        for start, end in places:
            kept.update(range(start, min(end, start + max(budget, 0))))
            budget -= end - start
        found.append(len(wanted & kept) / len(wanted))
    return found


def weight(constants: np.ndarray, signals: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(signals @ constants[:2] + constants[2])))


def interpolated(weights: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of values [n, grid] those at weights [n], and the slopes there."""
    left = np.clip(np.searchsorted(GRID, weights, side="right") - 1, 0, len(GRID) - 2)
    rows = np.arange(len(weights))
    slope = (values[rows, left + 1] - values[rows, left]) / (GRID[left + 1] - GRID[left])
    return values[rows, left] + slope * (weights - GRID[left]), slope


def fit(signals: np.ndarray, values: np.ndarray, importance: np.ndarray) -> np.ndarray:
    def loss(constants: np.ndarray) -> tuple[float, np.ndarray]:
        w = weight(constants, signals)
        value, slope = interpolated(w, values)
        pull = importance * slope * w * (1 - w)
        return -float((importance * value).sum()), -np.append(pull @ signals, pull.sum())

    starts = ([2.0, 0.0, -2.0], [5.0, 1.0, -3.5], [8.0, 2.0, -5.0])
    return min((minimize(loss, start, jac=True, method="L-BFGS-B") for start in starts), key=lambda best: best.fun).x


def show(title: str, weights: np.ndarray, cell: np.ndarray, values: np.ndarray) -> None:
    found = interpolated(weights, values[:, :, 1])[0]
    cells = [f"{100 * found[cell == number].mean():5.1f}" for number in range(cell.max() + 1)]
    print(f"{title:32}" + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
