"""A store that is cared for while others write to it and read it, and all of them are killed at random.

    python -m tests.faults.care [--seconds 120] [--writers 2] [--readers 4] [--seed 0]

Writers change batches of documents of their own; one process calls `repair`, `compact` and `verify` in turn; readers load
and reload. Every so often one of them gets SIGKILL, and another takes its place. Memories are gists, so that files come
and go, too.

Counted: torn or malformed states that anybody met; documents that a writer was told are there and are not, or that came
back; problems that `verify` found in a store that is sound. Exit status 1 where there is any.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import click

from benchmarks.synthetic import Words, gists
from memorag_integrations import MemoRAG
from memorag_integrations.errors import MemoRAGError
from memorag_integrations.store.maintenance import compact, repair, verify
from tests.faults.crowd import BATCH, batch, torn
from tests.faults.processes import processes
from tests.faults.states import unsound

MOST_BATCHES = 6
PAUSE = (0.2, 1.2)
"""Seconds between two kills."""

Batches = dict[str, int]
"""Versions of batches, by name."""


def models(folder: Path) -> dict[str, Any]:
    return {"embedder": Words(), "memory": gists(folder.parent / "gists")}


def batches_of(memo: MemoRAG, writer: int | None = None) -> Batches:
    """The batches in a corpus, of one writer or of all."""
    told = [document.metadata for document in memo.corpus.documents.values()]
    mine = None if writer is None else f"{writer}."
    return {one["batch"]: one["version"] for one in told if mine is None or one["batch"].startswith(mine)}


def told(pipe: Connection, work: Callable[[], None]) -> None:
    """Work until killed; what goes wrong is told, and so is every warning: the store is sound all the time."""
    alarm = logging.Handler(logging.WARNING)
    alarm.emit = lambda record: pipe.send(("problem", f"warned: {record.getMessage()}"))  # type: ignore[method-assign]
    logging.getLogger("memorag_integrations").addHandler(alarm)
    try:
        work()
    except MemoRAGError as error:
        pipe.send(("problem", f"{type(error).__name__}: {error}"))
    except Exception as error:
        pipe.send(("problem", f"another exception, {type(error).__name__}: {error}"))


def write(folder: Path, number: int, seed: int, pipe: Connection) -> None:
    chance = random.Random(seed)

    def work() -> None:
        memo = MemoRAG.open(folder, wait=120.0, **models(folder))
        held = batches_of(memo, number)
        pipe.send(("begun", dict(held)))
        made = seed * 1000
        while True:
            kind = chance.choice(["add", "replace", "delete"]) if held else "add"
            name = chance.choice(sorted(held)) if held else ""
            if kind == "add" and len(held) < MOST_BATCHES:
                name, version, made = f"{number}.{made}", 0, made + 1
                pipe.send(("will", (name, version)))
                memo.add(batch(number, int(name.partition(".")[2]), 0, chance), progress=False)
            elif kind == "delete" and len(held) > 2:
                version = None
                pipe.send(("will", (name, version)))
                memo.delete([f"{name}.{part}" for part in range(BATCH)], progress=False)
            else:
                version = held[name] + 1
                pipe.send(("will", (name, version)))
                memo.replace(batch(number, int(name.partition(".")[2]), version, chance), progress=False)
            held = {**held, name: version} if version is not None else {k: v for k, v in held.items() if k != name}
            pipe.send(("did", None))
            time.sleep(chance.uniform(0, 0.05))

    told(pipe, work)


def care(folder: Path, number: int, seed: int, pipe: Connection) -> None:
    chance = random.Random(seed)

    def work() -> None:
        while True:
            kind = chance.choice(["repair", "compact", "verify", "verify"])
            if kind == "repair":
                repair(folder, progress=False, wait=120.0, **models(folder))
            elif kind == "compact":
                compact(folder, wait=120.0)
            elif problems := verify(folder):
                pipe.send(("problem", f"verify: {problems}"))
            pipe.send(("count", kind))
            time.sleep(chance.uniform(0, 0.05))

    told(pipe, work)


def read(folder: Path, number: int, seed: int, pipe: Connection) -> None:
    chance = random.Random(seed)

    def work() -> None:
        memo = MemoRAG.load(folder, **models(folder))
        while True:
            if chance.random() < 0.3:
                memo = MemoRAG.load(folder, **models(folder))
            else:
                memo.reload()
            if problem := torn(memo):
                pipe.send(("problem", problem))
            memo.retrieve("Who sold the lantern at the harbour?", 3)
            pipe.send(("count", "reads"))
            time.sleep(chance.uniform(0, 0.1))

    told(pipe, work)


@dataclass
class Player:
    """One process of the crowd, and what is known of its work.

    Args:
        held: A writer's batches, as it was told.
        will: The change it began and has not ended.
    """

    work: Callable[..., None]
    number: int
    process: BaseProcess | None = None
    pipe: Connection | None = None
    held: Batches = field(default_factory=dict)
    will: tuple[str, int | None] | None = None

    def start(self, context: Any, folder: Path, seed: int) -> None:
        self.pipe, its = context.Pipe()
        self.process = context.Process(target=self.work, args=(folder, self.number, seed, its), daemon=True)
        self.process.start()
        its.close()

    def hear(self, counts: Counter[str], problems: list[str]) -> None:
        """Take in all that it has said."""
        assert self.pipe is not None
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                kind, what = self.pipe.recv()
                name = f"{self.work.__name__} {self.number}"
                if kind == "problem":
                    problems.append(f"{name}: {what}")
                elif kind == "count":
                    counts[what] += 1
                elif kind == "will":
                    self.will = what
                elif kind == "did":
                    counts["changes"] += 1
                    self.held, self.will = self.after(), None
                elif kind == "begun":
                    if what not in (self.held, self.after()):
                        problems.append(f"{name} found {what}, was told {self.held} and about {self.will}")
                    self.held, self.will = what, None

    def after(self) -> Batches:
        """Its batches, if the change under way has come through."""
        if self.will is None:
            return self.held
        name, version = self.will
        rest = {one: number for one, number in self.held.items() if one != name}
        return rest if version is None else {**rest, name: version}

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.join()


def run(folder: Path, seconds: float, writers: int, readers: int, seed: int) -> tuple[Counter[str], list[str]]:
    """What was done, and what went wrong."""
    chance, context = random.Random(seed), processes()
    counts: Counter[str] = Counter()
    problems: list[str] = []
    with MemoRAG.open(folder, **models(folder)) as memo:
        memo.add(batch(99, 0, 0, random.Random(99)), progress=False)
    players = [Player(write, n) for n in range(writers)] + [Player(read, n) for n in range(readers)] + [Player(care, 0)]
    seeds = iter(range(1, 10**6))
    for player in players:
        player.start(context, folder, next(seeds))
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(problems) < 20:
        pause = time.monotonic() + chance.uniform(*PAUSE)
        while (left := pause - time.monotonic()) > 0:
            ready = wait([player.pipe for player in players if player.pipe is not None], left)
            for player in players:
                if player.pipe in ready:
                    player.hear(counts, problems)
            time.sleep(0.01)
        player = chance.choice(players)
        player.kill()
        player.hear(counts, problems)
        counts[f"killed while it would {player.work.__name__}"] += 1
        player.start(context, folder, next(seeds))
    for player in players:
        player.kill()
        player.hear(counts, problems)
    problems += finally_wrong(folder, players)
    return counts, problems


def finally_wrong(folder: Path, players: list[Player]) -> list[str]:
    """What the store lacks, has too much, or has broken at the end."""
    problems = []
    with MemoRAG.open(folder, **models(folder)) as memo:
        problems += unsound(memo, folder)
        problems += [found for found in [torn(memo)] if found]
        for player in players:
            found = batches_of(memo, player.number)
            if player.work is write and found not in (player.held, player.after()):
                problems.append(f"at the end {found}, was told {player.held} and about {player.will}")
        if batches_of(memo, 99) != {"99.0": 0}:
            problems.append("a batch that nobody changed is gone")
    return problems


@click.command()
@click.option("--seconds", default=120.0, show_default=True)
@click.option("--writers", default=2, show_default=True)
@click.option("--readers", default=4, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(seconds: float, writers: int, readers: int, seed: int) -> None:
    """Print what they did and what went wrong; exit status 1 where anything did."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as scratch:
        counts, problems = run(Path(scratch) / "store", seconds, writers, readers, seed)
    for name, count in sorted(counts.items()):
        print(f"{name:<40} {count:>7,}")
    print(f"{'problems':<40} {len(problems):>7,}")
    for problem in problems[:20]:
        print(problem[:600])
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
