"""Many at one store: writers who change it, readers who must only ever see whole states.

    python -m tests.faults.crowd [--seconds 120] [--writers 2] [--readers 8]

Each writer, a process, adds batches of documents of its own, gives whole batches new versions, and deletes others, through
`MemoRAG.open`; every document of a batch carries the batch's version. Readers, processes too, load the store or follow it
by `reload`, and check that each batch is there in full and in one version, that every text is the one its metadata names,
and that memories and passages fit. At the end nothing may be missing that a writer was told is there. Exit code 1 where
a state was torn or a document lost.
"""

import hashlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import click

from benchmarks.synthetic import Words, make_text
from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import StoreError
from memorag_integrations.store.maintenance import verify
from tests.faults.processes import processes

BATCH = 4
MOST_BATCHES = 12


def batch(writer: int, number: int, version: int, chance: random.Random) -> list[Document]:
    documents = []
    for part in range(BATCH):
        text = make_text(chance, 2)
        told = {"batch": f"{writer}.{number}", "version": version, "sha": hashlib.sha256(text.encode()).hexdigest()}
        documents.append(Document(text, f"{writer}.{number}.{part}", told))
    return documents


def write(folder: Path, number: int, seconds: float, all_there: Barrier, out: "multiprocessing.Queue[Any]") -> None:
    chance, held, counts, waited = random.Random(number), {}, Counter(), []
    memo = MemoRAG.open(folder, embedder=Words(), wait=60.0)
    made = 0
    all_there.wait()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        kind = chance.choice(["add", "replace", "delete"]) if held else "add"
        if kind == "add" and len(held) < MOST_BATCHES:
            memo.add(batch(number, made, 0, chance), progress=False)
            held[made], made = 0, made + 1
        elif kind == "delete" and len(held) > 2:
            gone = chance.choice(sorted(held))
            memo.delete([f"{number}.{gone}.{part}" for part in range(BATCH)], progress=False)
            del held[gone]
        else:
            kind, chosen = "replace", chance.choice(sorted(held))
            memo.replace(batch(number, chosen, held[chosen] + 1, chance), progress=False)
            held[chosen] += 1
        counts[kind] += 1
        waited.append(time.perf_counter() - begun)
        time.sleep(chance.uniform(0, 0.05))
    out.put(("writer", (number, held, counts, waited)))


def torn(memo: MemoRAG) -> str | None:
    """What is not whole about a state."""
    corpus, batches = memo.corpus, {}
    for document in corpus.documents.values():
        told = document.metadata
        if hashlib.sha256(document.text.encode()).hexdigest() != told["sha"]:
            return f"{document.id} is not the text that it says"
        batches.setdefault(told["batch"], []).append(told["version"])
    for name, versions in batches.items():
        if len(versions) != BATCH or len(set(versions)) != 1:
            return f"batch {name} has versions {versions}"
    if len(corpus.shards) != len(corpus.memories) or len(corpus.index) != sum(
        len(entry.passages) for entry in corpus.entries.values()
    ):
        return "memories or passages do not fit its documents"
    return None


def read(folder: Path, number: int, seconds: float, all_there: Barrier, out: "multiprocessing.Queue[Any]") -> None:
    chance, states, found, problems = random.Random(number), 0, 0, []
    memo = MemoRAG.load(folder, embedder=Words())
    all_there.wait()
    until = time.monotonic() + seconds
    while time.monotonic() < until and not problems:
        try:
            if chance.random() < 0.3:
                memo = MemoRAG.load(folder, embedder=Words())
                states += 1
            else:
                states += memo.reload()
        except StoreError as error:
            problems.append(f"reader {number}: {error}")
            break
        if problem := torn(memo):
            problems.append(f"reader {number}: {problem}")
        found += len(memo.retrieve("Who sold the lantern at the harbour?", 3))
        time.sleep(chance.uniform(0, 0.1))
    out.put(("reader", (states, found, problems)))


@click.command()
@click.option("--seconds", default=120.0, show_default=True)
@click.option("--writers", default=2, show_default=True)
@click.option("--readers", default=8, show_default=True)
def main(seconds: float, writers: int, readers: int) -> None:
    """Run them all, and print what they did and saw."""
    context = processes()
    out: multiprocessing.Queue[Any] = context.Queue()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "store"
        with MemoRAG.open(folder, embedder=Words()) as memo:
            memo.add(batch(99, 0, 0, random.Random(99)), progress=False)
        all_there = context.Barrier(writers + readers)
        crowd = [context.Process(target=write, args=(folder, n, seconds, all_there, out)) for n in range(writers)]
        crowd += [context.Process(target=read, args=(folder, n, seconds, all_there, out)) for n in range(readers)]
        for process in crowd:
            process.start()
        told = [out.get(timeout=seconds + 120) for _ in crowd]
        for process in crowd:
            process.join()
        final = MemoRAG.load(folder, embedder=Words()).corpus.documents
        wrong = verify(folder)
    lost, problems, states, answers = 0, list(wrong), 0, 0
    expected = {f"99.0.{part}": 0 for part in range(BATCH)}
    for role, what in told:
        if role == "writer":
            number, held, counts, took = what
            expected |= {f"{number}.{n}.{part}": version for n, version in held.items() for part in range(BATCH)}
            each = f"{sum(took) / len(took):.2f} s each, the longest {max(took):.2f} s" if took else ""
            print(f"writer {number}: {sum(counts.values())} changes ({dict(counts)}), {each}")
        else:
            states, answers, problems = states + what[0], answers + what[1], problems + what[2]
    for id, version in expected.items():
        lost += id not in final or final[id].metadata["version"] != version
    more = len(set(final) - set(expected))
    print(f"readers: {states:,} states read, {answers:,} passages found, {len(problems)} torn or broken")
    print(f"documents at the end: {len(final)}, lost or old {lost}, deleted ones back {more}")
    for problem in problems:
        print(f"  {problem}")
    sys.exit(1 if lost or more or problems else 0)


if __name__ == "__main__":
    main()
