"""How well clues are placed: sentences of a real text, changed as models change them, and sentences from elsewhere.

    python benchmarks/grounding.py [--n 300] [--seed 0] [--data FILE.jsonl.gz] [--times [--most 10000000]]

The text is the Python language reference that CPython carries (`pydoc_data.topics`); the foreign sentences are from the
licence texts and docstrings of the standard library. A place counts as found when it overlaps at least half of the
sentence's own range (or of an equal sentence's). `--times` prints milliseconds of processor time for one clue, by its
length and the text's, for that text and for hostile ones. Times are of the process, so that other load counts less.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import statistics
import time
from collections.abc import Callable

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
    parser.add_argument("--times", action="store_true", help="milliseconds for one clue by its length and the text's")
    parser.add_argument("--most", type=int, default=10**7, help="characters of the longest text, with --times")
    parser.add_argument("--longest", type=int, default=10_000, help="characters of the longest clue, with --times")
    args = parser.parse_args()
    if args.times:
        times(args.most, args.longest, args.seed)
        return
    if args.data:
        answers(args.data, random.Random(args.seed))
        return
    rng = random.Random(args.seed)
    text = topics()
    began = time.process_time()
    grounder = Grounder(text)
    grounder.ground("the")  # the index is built at the first question
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


def times(most: int, longest: int, seed: int) -> None:
    """For each text and length: seconds for the index, and the mean and the slowest of 12 clues, each the best of 3."""
    lengths = [length for length in (100, 1_000, 10_000) if length <= longest]
    print(f"{'text':22} {'characters':>10} {'index s':>8} {'bytes/char':>10}  ms by clue length: mean / slowest")
    for name, make in TEXTS.items():
        for size in (10**4, 10**5, 10**6, 10**7):
            if size > most or (size != 10**6 and name != "language reference"):
                continue
            text = make(size)
            began = time.process_time()
            grounder = Grounder(text)
            grounder.ground("zebra quantum")
            seconds = time.process_time() - began
            cells = []
            for length in lengths:
                rng = random.Random(seed)
                taken = []
                for i in range(12):
                    start = rng.randrange(max(1, len(text) - length))
                    clue = changed(text[start : start + length], i % 4, rng)
                    taken.append(min(milliseconds(grounder, clue) for _ in range(3)))
                cells.append(f"{length}: {statistics.mean(taken):.1f} / {max(taken):.1f}")
            per = grounder.nbytes / len(text)
            print(f"{name:22} {len(text):10} {seconds:8.2f} {per:10.1f}  {'   '.join(cells)}", flush=True)


def milliseconds(grounder: Grounder, clue: str) -> float:
    began = time.process_time()
    grounder.ground(clue)
    return 1000 * (time.process_time() - began)


def changed(clue: str, how: int, rng: random.Random) -> str:
    """Word for word, with a quarter of the words dropped, a fifth of the characters dropped, or the words shuffled."""
    if how == 1:
        return dropped(clue, rng)
    if how == 2:
        return "".join(character for character in clue if rng.random() > 0.2)
    if how == 3:
        return " ".join(rng.sample(clue.split(), len(clue.split())))
    return clue


def reference(size: int) -> str:
    """The language reference up to `size` characters; beyond its own length, its lines again with their words shuffled."""
    rng = random.Random(0)
    lines = topics().splitlines()
    parts, length = [], 0
    while length < size:
        for line in lines:
            if length > 10**5 and rng.random() < 0.5:
                words = line.split(" ")
                rng.shuffle(words)
                line = " ".join(words)
            parts.append(line)
            length += len(line) + 1
    return "\n".join(parts)[:size]


def chosen(alphabet: str, between: str = "") -> Callable[[int], str]:
    return lambda size: between.join(random.Random(0).choices(alphabet, k=size // (1 + len(between))))


TEXTS: dict[str, Callable[[int], str]] = {
    "language reference": reference,
    "Chinese characters": chosen("".join(map(chr, range(0x4E00, 0x5600)))),
    "one word repeated": lambda size: "word " * (size // 5),
    "one Chinese character": lambda size: "的" * size,
    "a period of three": lambda size: "one two three " * (size // 14),
    "ten words": chosen("0123456789", " "),
    "one long line": chosen("abcdef"),
    "lines of a log": lambda size: "INFO 2024 request ok\n" * (size // 21),
    "every word another": lambda size: " ".join(map(str, range(size // 7))),
    "blanks": lambda size: " " * size + "end",
}  # fmt: skip


def similar(one: str, other: str) -> bool:
    return sorted(re.findall(r"\w+", one.lower()))[1:-1] == sorted(re.findall(r"\w+", other.lower()))[1:-1]


def row(name: str, share: float, scores: list[float], seconds: float) -> None:
    cuts = statistics.quantiles(scores, n=20)
    middle = statistics.median(scores)
    print(f"{name:22} {share:7.1%} {cuts[0]:10.2f} {middle:7.2f} {cuts[-1]:6.2f} {1000 * seconds / len(scores):6.1f}")


if __name__ == "__main__":
    main()
