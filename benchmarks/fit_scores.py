"""Fit what a score means: the constants of `retrieval.calibration`, and how far its scores can be trusted.

    python benchmarks/fit_scores.py --data qmsum-train.jsonl.gz --data fairytale-val.jsonl.gz --data chunking.jsonl.gz \
        --data covidqa.jsonl.gz --left-out needle-val.jsonl.gz

Each data set's questions are asked of its own texts, within each and in one index, and so are questions of the other sets,
which have no answer there. The best passages of each ranking, and whether they overlap a gold range, are what the logistic
function is fitted on; every set, and answerable and unanswerable questions, weigh the same. Printed are the constants; for
each set the area under the ROC curve of the first score, answerable against unanswerable; what a cutoff keeps of the ones
and refuses of the others; and the reliability curve: of passages by their probability, how many are evidence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from score import overlap, read_texts

from memorag_integrations import Document, MemoRAG
from memorag_integrations.contracts import Embedder
from memorag_integrations.drivers import run
from memorag_integrations.encoders.background import UNRELATED, Background
from memorag_integrations.encoders.embedders import resolve_embedder
from memorag_integrations.retrieval import calibration
from memorag_integrations.retrieval.calibration import Calibration
from memorag_integrations.retrieval.query import Query

LOOKED_AT = 10
"""Passages of each ranking."""

MOST_TEXTS = 20
MOST_QUESTIONS = 120
"""Of each set and setting, drawn by chance."""

PENALTY = 1e-3
CUTOFFS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


@dataclass
class Asked:
    """Rankings of one set's questions, and of others', in one setting.

    Args:
        features: Of each question the absolute signals of its best passages, [passages, 3].
        evidence: Whether each of these overlaps a gold range.
        answerable: Whether the question is one of this set's.
    """

    name: str
    features: list[NDArray[np.float64]] = field(default_factory=list)
    evidence: list[NDArray[np.bool_]] = field(default_factory=list)
    answerable: list[bool] = field(default_factory=list)

    def ask(self, memo: MemoRAG, background: Background | None, query: str, gold: tuple[str, list] | None) -> None:
        ranking = run(memo.pipeline.rank(memo.corpus, Query(query)))
        rows = np.argsort(-ranking.fused, kind="stable")[:LOOKED_AT]
        signals = run(memo.pipeline.query_scores(memo.corpus, query))
        self.features.append(calibration.absolute_signals(signals, background)[rows])
        passages = [signals.candidates.passages[row] for row in rows]
        self.evidence.append(
            np.array(
                [
                    gold is not None and p.document_id == gold[0] and overlap(gold[1], [(p.start, p.end)]) > 0
                    for p in passages
                ]
            )
        )
        self.answerable.append(gold is not None)

    def first_scores(self, fitted: Calibration) -> NDArray[np.float64]:
        return np.array([calibration.pool(probabilities(fitted, found))[0] for found in self.features])


def probabilities(fitted: Calibration, features: NDArray[np.float64]) -> NDArray[np.float64]:
    logits = fitted.bias + features @ np.array([fitted.cosine, fitted.terms, fitted.agreement])
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))


def ask_all(
    sets: dict[str, list[dict]], embedder: Callable[[str], Embedder | None], background: Background | None
) -> list[Asked]:
    """Every set in both settings, with questions of its own and of the other sets.

    Args:
        sets: Texts with questions, by name.
        embedder: By a set's name.
        background: Of the embedder.
    """
    asked = []
    for name, texts in sets.items():
        draw = random.Random(name)
        others = [query["query"] for other, rest in sets.items() if kind(other) != kind(name) for text in rest
                  for query in text["queries"]]  # fmt: skip
        for setting in ("within", "corpus"):
            found = Asked(f"{name}, {setting}")
            chosen = texts if setting == "corpus" else draw.sample(texts, min(MOST_TEXTS, len(texts)))
            groups = [chosen] if setting == "corpus" else [[text] for text in chosen]
            most = max(1, MOST_QUESTIONS // len(groups))
            for group in groups:
                memo = MemoRAG(embedder=embedder(name))
                memo.memorize([Document(text["text"], text["id"]) for text in group], progress=False)
                own = [(query, text["id"]) for text in group for query in text["queries"]]
                for query, id in draw.sample(own, min(most, len(own))):
                    found.ask(memo, background, query["query"], (id, query["gold"]))
                for query in draw.sample(others, min(most, len(own))):
                    found.ask(memo, background, query, None)
            asked.append(found)
    return asked


def kind(name: str) -> str:
    """The data set without its split: questions of another split may have an answer."""
    return name.split("-")[0]


def fit(asked: Sequence[Asked], dense: bool) -> Calibration:
    """The logistic function by Newton's method; each set weighs the same, and so do both kinds of questions."""
    rows, labels, weights = [], [], []
    for one in asked:
        for answerable in (True, False):
            chosen = [i for i, known in enumerate(one.answerable) if known is answerable]
            for i in chosen:
                rows.append(one.features[i])
                labels.append(one.evidence[i])
                weights.append(np.full(len(one.features[i]), 1 / (len(chosen) * len(one.features[i]))))
    x, y, w = np.concatenate(rows), np.concatenate(labels).astype(float), np.concatenate(weights)
    used = [0, 1, 2] if dense else [1]
    x = np.concatenate([np.ones((len(x), 1)), x[:, used]], axis=1)
    w = w / w.sum()
    beta = np.zeros(x.shape[1])
    penalty = PENALTY * np.diag([0.0, *np.ones(len(used))])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (w * (y - p)) - penalty @ beta
        beta = beta + np.linalg.solve((x.T * (w * p * (1 - p))) @ x + penalty, gradient)
    slopes = np.zeros(3)
    slopes[used] = beta[1:]
    return Calibration(float(beta[0]), *map(float, slopes))


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """How likely a positive one has the higher score of two, ties counting half."""
    better = scores[positive][:, None] - scores[~positive][None]
    return float(((better > 0) + 0.5 * (better == 0)).mean())


def report(asked: Sequence[Asked], fitted: Calibration, title: str) -> None:
    print(f"{title}: AUC of the first score; kept of answerable / refused of unanswerable questions, by cutoff")
    for one in asked:
        scores, positive = one.first_scores(fitted), np.array(one.answerable)
        cuts = "  ".join(f"{c}: {100 * (scores[positive] >= c).mean():.0f}/{100 * (scores[~positive] < c).mean():.0f}" for c in CUTOFFS)  # fmt: skip
        print(f"  {one.name:26} AUC {auc(scores, positive):.3f}   {cuts}")
    p = np.concatenate([probabilities(fitted, found) for one in asked for found in one.features])
    y = np.concatenate([evidence for one in asked for evidence in one.evidence])
    print(f"{title}: reliability, passages by their probability: mean of it, share that is evidence, number")
    for low, high in zip((0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8), (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.01), strict=True):  # fmt: skip
        inside = (p >= low) & (p < high)
        if inside.any():
            print(f"  {low:.2f}-{high:.2f}   {p[inside].mean():.3f}   {y[inside].mean():.3f}   {inside.sum()}")


@click.command()
@click.option("--data", multiple=True, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--left-out", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--embedder", default="minilm", show_default=True, help='"minilm", "none", or a model\'s path.')
def main(data: tuple[Path, ...], left_out: tuple[Path, ...], embedder: str) -> None:
    """Fit on --data, and report on it and on --left-out."""
    model = resolve_embedder(None if embedder == "none" else embedder)
    sets = {path.name.split(".")[0]: read_texts(path) for path in (*data, *left_out)}
    background = None if model is None else background_of(model)
    asked = ask_all(sets, lambda name: model, background)
    held = {path.name.split(".")[0] for path in data}
    summarize(asked, held, background)


def background_of(model: Embedder) -> Background:
    return Background.of(model.embed_passages(list(UNRELATED)))


def summarize(asked: Sequence[Asked], fitted_on: set[str], background: Background | None) -> None:
    inside = [one for one in asked if one.name.split(",")[0] in fitted_on]
    outside = [one for one in asked if one not in inside]
    fitted = fit(inside, background is not None)
    print(f"{background}\n{fitted}")
    report(inside, fitted, "fitted on")
    if outside:
        report(outside, fitted, "left out")


if __name__ == "__main__":
    main()
