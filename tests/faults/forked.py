"""A process forks while another thread of it changes a store: does the child work or refuse, and the parent go on?

    python -m tests.faults.forked [--forks 50]

In the child: the handle it inherited is asked, changed and reloaded, and the folder is opened anew and changed. Each
must end, well or with an error of ours, within ten seconds; then the child ends as any process does. At the end the
store must be sound and hold every change that a call returned from.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import random
import select
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import click

from benchmarks.synthetic import Words, gists, make_documents
from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import MemoRAGError
from memorag_integrations.store.maintenance import verify

LIMIT = 10.0
DOORS = ("retrieve", "recall", "add", "delete", "reload", "save", "open")


def in_child(door: str, memo: MemoRAG, folder: Path, number: int) -> str:
    """What comes of a call in a forked process."""
    new = Document(f"Liv sold the oar number {number} at the ferry.", f"child {number}")
    try:
        if door == "retrieve":
            memo.retrieve("Who sold the oar?", 3)
        elif door == "recall":
            memo.recall("Who sold the oar?")
        elif door == "add":
            memo.add(new, progress=False)
        elif door == "delete":
            memo.delete("log 0", progress=False)
        elif door == "reload":
            memo.reload()
        elif door == "save":
            memo.save(folder.with_name(f"copy {number}"))
        else:
            models = {"embedder": Words(), "memory": gists(folder.parent / "gists")}
            with MemoRAG.open(folder, **models) as fresh:
                fresh.add(new, progress=False)
            return "worked anew"
    except MemoRAGError as error:
        return f"refused: {type(error).__name__}"
    except BaseException:
        return f"another exception: {traceback.format_exc()}"
    return "worked"


def fork_often(folder: Path, forks: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """What came of each door, and what went wrong."""
    models = {"embedder": Words(), "memory": gists(folder.parent / "gists")}
    memo = MemoRAG.open(folder, passage_size=400, **models)
    memo.add(make_documents(random.Random(seed), 6, 4), progress=False)
    done, added, failed, counts, problems = threading.Event(), [], [], Counter(), []

    def work() -> None:
        try:
            for number in range(10**6):
                if done.is_set():
                    return
                memo.upsert(make_documents(random.Random(number), 1, 6, first=100 + number % 8), progress=False)
                added.append(100 + number % 8)
        except BaseException:
            failed.append(traceback.format_exc())

    thread = threading.Thread(target=work)
    thread.start()
    chance = random.Random(seed)
    expected = set()
    for number in range(forks):
        time.sleep(chance.uniform(0, 0.03))
        door = DOORS[number % len(DOORS)]
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(LIMIT - 1, exit=False)
            os.write(send, in_child(door, memo, folder, number).encode()[:60_000])
            os.close(send)
            sys.stdout.flush()
            sys.exit(0)  # not os._exit: what the interpreter clears up must do no harm either
        os.close(send)
        ready, _, _ = select.select([receive], [], [], LIMIT)
        outcome = os.read(receive, 60_000).decode() if ready else "hangs"
        os.close(receive)
        if not ready:
            os.kill(child, 9)
        os.waitpid(child, 0)
        counts[f"{door}: {outcome.splitlines()[0] if outcome else 'died'}"] += 1
        if outcome == "worked anew":
            expected.add(f"child {number}")
        if not outcome or outcome.startswith(("hangs", "another")):
            problems.append(f"{door}: {outcome or 'died'}")
    done.set()
    thread.join(60)
    problems += failed
    problems += [f"verify: {problem}" for problem in verify(folder)]
    found = MemoRAG.load(folder, **models).corpus.documents
    expected |= {f"log {number}" for number in added}
    if missing := expected - set(found):
        problems.append(f"lost: {sorted(missing)}")
    return counts, problems


def fork_in_process(folder: Path, forks: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """`fork_often` in a process of its own, whose children end as the children of a script do."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_fork_and_tell, args=(folder, forks, seed, queue))
    process.start()
    found = queue.get(timeout=forks * LIMIT + 120)
    process.join()
    return found


def _fork_and_tell(folder: Path, forks: int, seed: int, queue: Any) -> None:
    queue.put(fork_often(folder, forks, seed))


@click.command()
@click.option("--forks", default=50, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(forks: int, seed: int) -> None:
    """Print what came of each door; exit status 1 where anything hung or was lost."""
    parent = os.getpid()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            counts, problems = fork_often(Path(scratch) / "store", forks, seed)
        finally:
            if os.getpid() != parent:
                os._exit(0)  # a child: the folder is the parent's
    for name, count in sorted(counts.items()):
        print(f"{name:<60} {count:>4}")
    for problem in problems:
        print(problem)
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
