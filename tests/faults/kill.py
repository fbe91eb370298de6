"""A writer is killed at random moments, and meets full disks: is the store in the state before or after, and whole?

    python -m tests.faults.kill [--kills 200] [--full-disks 20] [--seed 0]

The writer, a process of its own, adds, replaces, upserts, deletes, refreshes, memorizes, saves and compacts, with an
embedder and gists, and tells before each what the state is and will be. It gets SIGKILL: mostly within the few
milliseconds after SQLite's journal appeared, or began to count, so inside a commit; sometimes while a memory is being
written; else at a random moment of a random change. Then the store must open in one of the two states, `verify` must
find nothing, nothing may have to be encoded or asked again, and the next change must work. The full disks are small
tmpfs, filled to a random rest (needs root).

Prints the figures; exit status 1 where anything was lost or broken.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import click

from benchmarks.synthetic import Words, gists, make_documents, make_text
from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import MemoryModelError, StoreError
from memorag_integrations.store.maintenance import compact
from memorag_integrations.store.paths import DATABASE, MEMORIES
from tests.faults.processes import processes
from tests.faults.states import State, hash_of, same, state_of, unsound

DOCUMENTS = 12
JOURNAL = f"{DATABASE}-journal"
AIMS = ("journal",) * 4 + ("hot journal",) * 4 + ("memory",) + ("any moment",) * 2
WITHIN = 0.003
"""Seconds after the sign of what is aimed at by which the kill comes."""
WATCHED = 20.0
"""Seconds for which a sign is waited for."""
KINDS = ("add", "replace", "upsert", "delete", "refresh", "memorize", "save", "compact")


@dataclass(frozen=True)
class Step:
    """One change: what it is called, what it does, and the state it leads to."""

    kind: str
    do: Callable[[], object]
    after: State


def opened(folder: Path) -> MemoRAG:
    return MemoRAG.open(folder, embedder=Words(), memory=gists(folder.parent / "gists"))


def saved(folder: Path, document: Document, memo: MemoRAG) -> None:
    """A change made in RAM to what was loaded, then saved; the one that has the store open follows."""
    copy = MemoRAG.load(folder, embedder=Words(), memory=gists(folder.parent / "gists"))
    copy.upsert(document, progress=False)
    copy.save(folder)
    memo.reload()


def next_step(memo: MemoRAG, folder: Path, chance: random.Random) -> Step:
    """A random change, and the state it will lead to, worked out from lists alone."""
    documents = dict(memo.corpus.documents)
    kind = chance.choice(KINDS) if documents else "add"
    if kind == "add" and len(documents) > 2 * DOCUMENTS:
        kind = "delete"
    fresh = make_documents(chance, chance.randint(1, 4), chance.randint(1, 8), first=chance.randrange(10**9))
    some = chance.sample(list(documents), min(len(documents), chance.randint(1, 3)))
    changed = [Document(make_text(chance), id, {"version": chance.randrange(10**9)}) for id in some]
    rest = [document for id, document in documents.items() if id not in some]
    new = {document.id: document for document in fresh}
    quiet = {"progress": False}
    if kind == "add":
        return Step(kind, lambda: memo.add(fresh, **quiet), state_of(documents | new))
    if kind == "replace":
        return Step(kind, lambda: memo.replace(changed, **quiet), state_of(documents | {d.id: d for d in changed}))
    if kind == "upsert":
        both = [*changed, *fresh]
        return Step(kind, lambda: memo.upsert(both, **quiet), state_of(documents | {d.id: d for d in both}))
    if kind == "delete":
        return Step(kind, lambda: memo.delete(some, **quiet), state_of({d.id: d for d in rest}))
    if kind == "refresh":
        wanted = [*rest, *changed[:1], *fresh]
        return Step(kind, lambda: memo.refresh(wanted, **quiet), state_of({d.id: d for d in wanted}))
    if kind == "memorize":
        wanted = [*fresh, *rest]
        return Step(kind, lambda: memo.memorize(wanted, save_dir=folder, **quiet), {d.id: hash_of(d) for d in wanted})
    if kind == "save":
        return Step(kind, lambda: saved(folder, changed[0], memo), state_of(documents | {changed[0].id: changed[0]}))
    return Step(kind, lambda: compact(folder), state_of(documents))


def write(folder: Path, seed: int, pipe: Connection) -> None:
    """The writer: changes without end, each told before and after."""
    chance = random.Random(seed)
    memo = opened(folder)
    while True:
        step = next_step(memo, folder, chance)
        told = {"kind": step.kind, "before": state_of(memo.corpus.documents), "after": step.after}
        pipe.send_bytes(json.dumps(told).encode())
        begun = time.perf_counter()
        step.do()
        pipe.send_bytes(json.dumps({"seconds": time.perf_counter() - begun}).encode())


class Figures(Counter[str]):
    """Counts, and what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []

    def wrong(self, what: str, where: str) -> None:
        self[what] += 1
        self.problems.append(f"{where}: {what}")


def checked(folder: Path, states: dict[str, State], figures: Figures, where: str) -> tuple[MemoRAG, str | None]:
    """Open the store and hold it against the states it may have; which of them it has."""
    memo = opened(folder)
    found = state_of(memo.corpus.documents)
    name = next((name for name, state in states.items() if same(found, state)), None)
    figures[f"state {name}"] += 1
    if name is None:
        kept = {id for state in states.values() for id in state} - {
            id for id in states["before"] if id not in states["after"]
        }
        figures["lost documents"] += len(kept - found.keys())
        figures.wrong("neither state", where)
    encoded = memo.embedder.embedder.passages[1:]  # the first is the probe
    if encoded:
        figures.wrong("vectors encoded again at opening", where)
    for problem in unsound(memo, folder):
        figures.wrong(f"verify: {problem}", where)
    return memo, name


def await_moment(folder: Path, aim: str, chance: random.Random, typical: float) -> None:
    """Wait until the writer is where it is aimed at, and a random while longer.

    Args:
        typical: Seconds that the change takes which has begun.
    """
    if aim == "any moment":
        time.sleep(chance.random() * 1.1 * typical)
        return
    journal, memories, old = folder / JOURNAL, folder / MEMORIES, set((folder / MEMORIES).glob(".*"))
    signs: dict[str, Callable[[], object]] = {
        "journal": journal.exists,
        "hot journal": lambda: is_hot(journal),
        "memory": lambda: set(memories.glob(".*")) - old,
    }
    give_up = time.monotonic() + WATCHED

    def until(sign: Callable[[], object]) -> None:
        while time.monotonic() < give_up and not sign():
            pass  # sleeping is not that exact

    for _ in range(chance.randrange(3) if "journal" in aim else 0):  # vectors are committed before what needs them
        until(signs[aim])
        until(lambda: not journal.exists())
    until(signs[aim])
    moment = time.monotonic() + WITHIN * chance.random() ** 2  # a commit takes a few of them
    until(lambda: time.monotonic() > moment)


def kill(folder: Path, chance: random.Random, context, seconds: dict[str, float], figures: Figures) -> None:
    """Start a writer, let it make some changes, kill it in a later one, look."""
    mine, its = context.Pipe()
    aim, last, told, finished = chance.choice(AIMS), chance.randrange(4), None, False
    unfinished = set((folder / MEMORIES).glob(".*"))
    writer = context.Process(target=write, args=(folder, chance.randrange(2**32), its))
    writer.start()
    its.close()
    try:
        for _ in range(last):
            told = json.loads(mine.recv_bytes())
            took = json.loads(mine.recv_bytes())["seconds"]
            seconds[told["kind"]] = 0.7 * seconds.get(told["kind"], took) + 0.3 * took
        told = json.loads(mine.recv_bytes())
        await_moment(folder, aim, chance, seconds.get(told["kind"], 0.05))
    except EOFError:
        figures.wrong("the writer failed by itself", f"after {told}")
    writer.kill()
    writer.join()
    with suppress(EOFError):  # it may have gone on to further changes
        while True:
            message = json.loads(mine.recv_bytes())
            finished, told = "seconds" in message, {**told, **message}
    assert told is not None
    figures["kills"] += 1
    figures[f"  in {told['kind']}"] += 1
    figures["inside a commit (a journal was left)"] += (folder / JOURNAL).is_file()
    figures["inside a commit that had to be taken back"] += is_hot(folder / JOURNAL)
    figures["inside the writing of a memory"] += bool(set((folder / MEMORIES).glob(".*")) - unfinished)
    where = f"kill {figures['kills']}, in {told['kind']}"
    memo, name = checked(folder, {"before": told["before"], "after": told["after"]}, figures, where)
    if finished and name == "before" and not same(told["before"], told["after"]):
        figures.wrong("a change that had returned was lost", where)
    step = next_step(memo, folder, chance)
    step.do()
    further = {"further": step.after, "before": step.after, "after": step.after}
    checked(folder, further, figures, f"{where}, after the next change")
    memo.close()


def is_hot(journal: Path) -> bool:
    """Whether SQLite takes something back by this journal: its header is written once the rest of it is on the disk."""
    try:
        with journal.open("rb", buffering=0) as file:
            return file.read(8) == b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    except FileNotFoundError:
        return False


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A tmpfs of this many bytes.

    Raises:
        click.ClickException: Where mounting is not permitted.
    """
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
        )
        if mounted.returncode:
            raise click.ClickException(
                f"A tmpfs cannot be mounted here ({mounted.stderr.strip()}). Run as root, or pass --full-disks 0."
            )
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes of the disk free."""
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while free > left:
            free -= file.write(bytes(min(free - left, 1 << 16)))
    return ballast


def full_disk(chance: random.Random, figures: Figures) -> None:
    """Changes on a disk that is nearly full, until one fails; then look, make room, and do it again."""
    with small_disk(8 << 20) as disk:
        folder = disk / "home" / "store"
        memo = opened(folder)
        memo.add(make_documents(chance, DOCUMENTS), progress=False)
        ballast = fill(disk, chance.choice((0, 4, 16, 40, 100, 200)) << 10)
        for _ in range(200):
            before, step = state_of(memo.corpus.documents), next_step(memo, folder, chance)
            try:
                step.do()
            except (StoreError, MemoryModelError):
                break
            if not same(state_of(memo.corpus.documents), step.after):
                figures.wrong("a change on a nearly full disk that did not take", step.kind)
        else:
            figures.wrong("the disk never was full", "full disk")
            return
        where = f"full disk {figures['full disks'] + 1}, in {step.kind}"
        figures["full disks"] += 1
        figures[f"  full in {step.kind}"] += 1
        if not same(state_of(memo.corpus.documents), before):
            figures.wrong("the corpus in RAM is not the one before", where)
        checked(folder, {"before": before, "after": before}, figures, where)
        ballast.unlink()
        step.do()
        checked(
            folder, {"further": step.after, "before": step.after, "after": step.after}, figures, f"{where}, room made"
        )
        memo.close()


def kill_often(scratch: Path, kills: int, chance: random.Random, figures: Figures, seconds: dict[str, float]) -> None:
    """One store in an empty folder, and so many writers killed at it."""
    context = processes()
    folder = scratch / "store"
    opened(folder).add(make_documents(chance, DOCUMENTS), progress=False)
    for _ in range(kills):
        kill(folder, chance, context, seconds, figures)


@click.command()
@click.option("--kills", default=200, show_default=True)
@click.option("--full-disks", default=20, show_default=True, help="0 where no tmpfs can be mounted.")
@click.option("--seed", default=0, show_default=True)
def main(kills: int, full_disks: int, seed: int) -> None:
    """Print how the store came through kills and full disks; exit status 1 where it did not."""
    chance, figures, seconds = random.Random(seed), Figures(), {}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        kill_often(Path(scratch), kills, chance, figures, seconds)
    for _ in range(full_disks):
        full_disk(chance, figures)
    for name, count in sorted(figures.items(), key=lambda item: item[0].startswith(" ")):
        print(f"{name:<60} {count:>6,}")
    print(f"{'lost documents':<60} {figures['lost documents']:>6,}")
    print(f"{'problems':<60} {len(figures.problems):>6,}")
    if seconds:
        print(
            f"A change takes {1000 * statistics.median(seconds.values()):.0f} ms; {time.perf_counter() - begun:.0f} s in all."
        )
    for problem in figures.problems[:50]:
        print(problem)
    if figures.problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
