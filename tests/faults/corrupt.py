"""One thing in a store is broken: does it answer right, or say so and be repaired?

    python -m tests.faults.corrupt [--mutations 2000] [--seed 0] [--only SEED ...]

Three stores are made: one with an embedder and gists, one with beacon memories of a checkpoint with random weights, and
one like the first that was stopped in the middle of a commit, so that a journal waits to be taken back. Each mutation
takes a copy of one, and flips a bit or a byte, cuts the tail, swaps two stretches, deletes or zeroes a stretch, deletes
a file, or swaps two files. A worker process then opens the copy and asks it, verifies it, and repairs it.

What may come of it: the answers recorded before; or an error of ours, after which `repair(drop=True)` gives the answers
of a store without the documents that it names as dropped, or says by an error of ours that it cannot. Anything else is a
failure: another answer, another exception, damage that `verify` does not see, a worker that dies or hangs, or that
starts a process, looks up a pickle's class, loads a library or opens a connection.

Prints the outcomes by kind of file and of mutation, and each failure with the seed that brings it back (`--only`); exit
status 1 where there is any.
"""

from __future__ import annotations

import logging
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import click

from memorag_integrations.errors import MemoRAGError
from memorag_integrations.store.maintenance import repair, verify
from memorag_integrations.store.paths import DATABASE
from tests.faults.answering_stores import JOURNAL, STORES, Home, homes_in, make_stores
from tests.faults.mutations import DELETE_FILE, MUTATIONS, SWAP_FILES, files_of, mutate

LIMIT = 60.0
"""Seconds after which a worker that has not answered hangs."""
ROOM = 8 << 30
"""Bytes of address space of a worker: what a broken length asks for must be refused, not given."""

RUNS = (
    "ctypes.dlopen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class", "socket.connect",
    "sqlite3.load_extension", "subprocess.Popen",
)  # fmt: skip
"""Audit events of code that is run, or of a way to it."""

UNHARMED, REMADE, REPAIRED, DROPPED, CANNOT = "unharmed", "remade", "repaired", "dropped", "cannot"
FINE = {
    UNHARMED: "right answers, nothing found: the bytes are of no use to anybody",
    REMADE: "right answers: what was broken is made again at loading, and for good by repair",
    REPAIRED: "an error of ours, then repair: all answers are right",
    DROPPED: "an error of ours, then repair names documents that are lost: the answers of all others are right",
    CANNOT: "an error of ours, and repair says that it cannot",
}
FAILED = "FAILED"


# ── the worker ────────────────────────────────────────────────────────────────────────────────────────────────────


def work(scratch: Path, pipe: Connection) -> None:
    """Look at one broken store after another; for each the outcome and what was said."""
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    logging.disable()
    homes = homes_in(scratch)
    for home in homes.values():
        with tempfile.TemporaryDirectory(dir=scratch) as folder:  # whatever is imported late is imported now
            shutil.copytree(home.folder, Path(folder) / "store")
            assert examine(home, Path(folder) / "store") == (UNHARMED, "")
    ran: list[str] = []
    sys.addaudithook(lambda event, _: ran.append(event) if event in RUNS else None)
    while True:
        name, folder = pipe.recv()
        ran.clear()
        try:
            found = examine(homes[name], Path(folder))
        except Exception:
            found = FAILED, f"another exception\n{traceback.format_exc()}"
        pipe.send((FAILED, f"code was run: {ran}\n{found}") if ran else found)


def examine(home: Home, folder: Path) -> tuple[str, str]:
    """What comes of a broken store at each of its doors: the outcome, and the errors that were met."""
    shutil.copytree(folder, folder.with_name("opened"))
    refusal, dropped = None, ()
    try:
        if home.asked(folder.with_name("opened")) not in home.right():
            return FAILED, "wrong answers"
    except MemoRAGError as error:
        refusal = f"{type(error).__name__}: {error}"
    try:
        problems = verify(folder)
    except MemoRAGError as error:
        problems = [str(error)]
    if refusal and not problems:
        return FAILED, f"verify finds nothing, but: {refusal}"
    said = "\n".join(filter(None, (refusal, *problems)))
    try:
        dropped = tuple(repair(folder, drop=True, progress=False, **home.models()).dropped)
    except MemoRAGError as error:
        return (CANNOT, f"{said}\n{error}") if refusal else (FAILED, f"it answers, but repair cannot: {error}\n{said}")
    if problems_left := verify(folder):
        return FAILED, f"repaired, but verify finds: {problems_left}\n{said}"
    found = home.asked(folder)
    missing = tuple(id for id in home.right()[0][0] if id not in found[0])
    if len(missing) > len(dropped) or not {id for id in dropped if id in home.right()[0][0]} <= set(missing):
        return (
            FAILED,
            f"repair says that it dropped {dropped}, but {missing} are missing\n{said}",
        )  # an id may be broken
    if found not in home.right(missing):
        return FAILED, f"wrong answers after repair, which dropped {dropped}\n{said}"
    if refusal is None:
        return (
            (FAILED, f"it answered, but repair dropped {dropped}") if dropped else (REMADE if said else UNHARMED, said)
        )
    return (DROPPED if dropped else REPAIRED), said


class Worker:
    """A process that examines, started anew where it died or hangs."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.context = multiprocessing.get_context("spawn")
        self.start()

    def start(self) -> None:
        self.pipe, its = self.context.Pipe()
        self.process = self.context.Process(target=work, args=(self.scratch, its), daemon=True)
        self.process.start()
        its.close()

    def examine(self, name: str, folder: Path) -> tuple[str, str]:
        try:
            self.pipe.send((name, str(folder)))
            if self.pipe.poll(LIMIT):
                return self.pipe.recv()
            found = f"no answer within {LIMIT:g} s"
        except (EOFError, OSError):
            self.process.join(LIMIT)
            found = f"the process died: exit code {self.process.exitcode}"
        self.stop()
        self.start()
        return FAILED, found

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


@contextmanager
def working(scratch: Path) -> Iterator[Worker]:
    worker = Worker(scratch)
    try:
        yield worker
    finally:
        worker.stop()


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────────────


Examine = Callable[[str, Path], tuple[str, str]]


@dataclass(frozen=True)
class Result:
    """What came of one mutation."""

    seed: str
    file: str
    mutation: str
    outcome: str
    said: str


def one(scratch: Path, seed: str, examine: Examine) -> Result:
    """Break a copy of a store as the seed says, and have it examined."""
    chance = random.Random(seed)
    kinds: dict[str, list[tuple[str, Path]]] = {}
    for name in homes_in(scratch):
        for file in files_of(scratch / name):
            if name != "stopped" or file.name in (DATABASE, JOURNAL):
                kinds.setdefault(f"{name} {file.name}", []).append((name, file.relative_to(scratch / name)))
    kind = chance.choice(sorted(kinds))
    name, file = chance.choice(kinds[kind])
    mutation = chance.choice([*MUTATIONS, DELETE_FILE, SWAP_FILES])
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        broken = Path(folder) / "store"
        shutil.copytree(scratch / name, broken)
        mutate(broken, broken / file, mutation, chance)
        return Result(seed, kind, mutation, *examine(name, broken))


def table(results: list[Result], of: Callable[[Result], str], head: str) -> None:
    counts = Counter((of(result), result.outcome) for result in results)
    columns = [*FINE, FAILED]
    print(f"\n{head:<32}" + "".join(f"{column:>11}" for column in columns))
    for row in sorted({of(result) for result in results}):
        print(f"{row:<32}" + "".join(f"{counts[row, column]:>11,}" for column in columns))
    print(f"{'all':<32}" + "".join(f"{sum(r.outcome == column for r in results):>11,}" for column in columns))


def run(scratch: Path, seeds: Iterable[str], stores: Sequence[str] = STORES) -> Iterator[Result]:
    """Make the stores in an empty folder, and break them once for each seed."""
    make_stores(scratch, stores)
    with working(scratch) as worker:
        for seed in seeds:
            yield one(scratch, seed, worker.examine)


@click.command()
@click.option("--mutations", default=2000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--only", multiple=True, help="Bring back these mutations alone, and print what was said.")
def main(mutations: int, seed: int, only: tuple[str, ...]) -> None:
    """Print what came of broken stores; exit status 1 where any did what it must not."""
    begun = time.perf_counter()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for result in run(Path(folder), only or [f"{seed}-{n}" for n in range(mutations)]):
            results.append(result)
            if only:
                print(result.said)
    table(results, lambda result: result.file, "file")
    table(results, lambda result: result.mutation, "mutation")
    print()
    for outcome, meaning in FINE.items():
        print(f"{outcome:<11} {meaning}")
    failures = [result for result in results if result.outcome == FAILED]
    print(f"\n{len(results):,} mutations, {len(failures)} failures, {time.perf_counter() - begun:.0f} s")
    for failure in failures[:50]:
        print(f"--only {failure.seed}  {failure.file}, {failure.mutation}: {failure.said}")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
