"""How well clues are placed: sentences of a real text, changed as models change them, and sentences from elsewhere.

    python benchmarks/grounding.py [--n 300] [--seed 0] [--data FILE.jsonl.gz]

The text is the Python language reference that CPython carries (`pydoc_data.topics`); the foreign sentences are from the
licence texts and docstrings of the standard library. A place counts as found when it overlaps at least half of the
sentence's own range (or of an equal sentence's).
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import statistics
import time

from memorag_integrations.documents import Document, Shard
from memorag_integrations.memories.clue_placement import placed_clues
from memorag_integrations.replies.clue_parsing import Reply
from memorag_integrations.text.grounding import Grounder

SENTENCE = re.compile(r"[A-Z][^.!?\n]*(?:\n[^.!?\n]+){0,3}[.!?](?=\s)")


def topics() -> str:
    from pydoc_data.topics import topics as all_topics  # type: ignore[import-untyped]

    return "\n\n".join(all_topics[name] for name in sorted(all_topics))


def foreign() -> list[str]:
    import argparse as a
    import asyncio as b
    import collections as c
    import decimal as d
    import email.message as e
    import logging as f
    import tkinter as g

    texts = (getattr(value, "__doc__", "") for module in (a, b, c, d, e, f, g) for value in vars(module).values())
    text = "\n".join(text for text in texts if isinstance(text, str))
    return [match.group() for match in SENTENCE.finditer(text) if 40 < len(match.group()) < 300]


def no_marks(sentence: str, rng: random.Random) -> str:
    return re.sub(r"[^\w\s]", "", sentence).upper()


def dropped(sentence: str, rng: random.Random) -> str:
    return " ".join(word for word in sentence.split() if rng.random() > 0.25)


def swapped(sentence: str, rng: random.Random) -> str:
    parts = sentence.split()
    half = len(parts) // 2
    return " ".join(parts[half:] + parts[:half])


def reworded(sentence: str, rng: random.Random) -> str:
    """Every third word replaced, the rest with other endings: a heavy paraphrase."""
    other = ["thing", "some", "people", "would", "often", "each", "way", "matter"]
    out = []
    for i, word in enumerate(sentence.split()):
        out.append(
            rng.choice(other) if i % 3 == 2 else re.sub(r"(s|ed|ing)$", "", word) + rng.choice(["", "", "s", "ed"])
        )
    return " ".join(out)


CHANGES = {"word for word": lambda s, r: s, "no marks, capitals": no_marks, "a quarter dropped": dropped,
           "halves swapped": swapped, "reworded": reworded}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="FILE.jsonl.gz: gold answers, placed in their own document and in another one")
    args = parser.parse_args()
    if args.data:
        answers(args.data, random.Random(args.seed))
        return
    rng = random.Random(args.seed)
    text = topics()
    began = time.process_time()
    grounder = Grounder(text)
    print(
        f"{len(text)} characters indexed in {time.process_time() - began:.2f} s, {grounder.nbytes / len(text):.1f} bytes each"
    )
    sentences = [m for m in SENTENCE.finditer(text) if 40 < len(m.group()) < 300]
    chosen = rng.sample(sentences, args.n)
    print(f"{'clue':22} {'placed':>7} {'score: 5%':>10} {'median':>7} {'95%':>6} {'ms':>6}")
    for name, change in CHANGES.items():
        hits, scores = 0, []
        began = time.process_time()
        for match in chosen:
            place = grounder.ground(change(match.group(), rng))
            scores.append(place.score if place else 0.0)
            if place:
                overlap = min(place.end, match.end()) - max(place.start, match.start())
                hits += 2 * overlap >= len(match.group()) or similar(text[place.start : place.end], match.group())
        row(name, hits / len(chosen), scores, time.process_time() - began)
    others = [sentence for sentence in foreign() if sentence not in text]
    scores = []
    began = time.process_time()
    for sentence in rng.sample(others, min(args.n, len(others))):
        place = grounder.ground(sentence)
        scores.append(place.score if place else 0.0)
    row("from another text", sum(score > 0 for score in scores) / len(scores), scores, time.process_time() - began)


def answers(path: str, rng: random.Random) -> None:
    """Scores of gold answers in their own document and in another, without the floor, and hits of the gold range."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    right: list[float] = []
    wrong: list[float] = []
    hits = planted = 0
    chance = 0.0
    for row_number, document in enumerate(rows):
        grounder = Grounder(document["text"], least=0.0)
        other = rows[(row_number + rng.randrange(1, len(rows))) % len(rows)]
        for query in document["queries"]:
            place = grounder.ground(query["answer"])
            right.append(place.score if place else 0.0)
            chance += sum(end - start for start, end in query["gold"]) / len(document["text"])
            shard = Shard((Document(document["text"]),))
            reply = Reply(spans=(query["answer"],))
            planted += not placed_clues(reply, grounder.ground, shard, document["text"], query["query"])[0]
            hits += bool(place) and any(place.start < end and start < place.end for start, end in query["gold"])
        wrong += [place.score if (place := grounder.ground(q["answer"])) else 0.0 for q in other["queries"]]
    print(f"{path}: {len(right)} answers; placed on the gold range: {hits / len(right):.1%} ", end="")
    print(
        f"(its share of the text: {chance / len(right):.1%}); taken for orders to a model, and so left out: {planted}"
    )
    for name, scores in (("own document", right), ("another document", wrong)):
        cuts = " ".join(f"{cut:.2f}" for cut in statistics.quantiles(scores, n=10))
        print(f"{name:18} score deciles {cuts}; at least 0.15: {sum(s >= 0.15 for s in scores) / len(scores):.1%}")


def similar(one: str, other: str) -> bool:
    return sorted(re.findall(r"\w+", one.lower()))[1:-1] == sorted(re.findall(r"\w+", other.lower()))[1:-1]


def row(name: str, share: float, scores: list[float], seconds: float) -> None:
    cuts = statistics.quantiles(scores, n=20)
    middle = statistics.median(scores)
    print(f"{name:22} {share:7.1%} {cuts[0]:10.2f} {middle:7.2f} {cuts[-1]:6.2f} {1000 * seconds / len(scores):6.1f}")


if __name__ == "__main__":
    main()
