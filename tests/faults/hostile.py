"""Stores from an attacker, at every door: is anything outside the store touched, read, run or contacted?

    python -m tests.faults.hostile [--only TEXT ...]

Each forgery (`forgeries`) is made of a copy of a sound store, beside a folder outside; then a worker process calls one
door: `info`, `load`, `open` and `add`, `verify`, `repair`, `compact`, `reload`, `delete`, `save`. Watched are: contents,
names, modes and times of access and change outside; the audit events of files, connections, processes and imports; and
the time, at most five seconds. A call may work, or fail with an error of ours. What is not of a store's form stays.

Prints each failure; exit status 1 where there is any.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click

from benchmarks.synthetic import Extracts, Words, gists, make_documents
from memorag_integrations import Document, GistMemory, MemoRAG
from memorag_integrations.errors import MemoRAGError
from memorag_integrations.store.maintenance import compact, repair, verify
from memorag_integrations.store.paths import DATABASE, MEMORIES
from tests.faults.forgeries import FOREIGN, FORGERIES, Forgery
from tests.scripted import ScriptedLLM

LIMIT = 5.0
"""Seconds after which a call hangs."""
ROOM = 12 << 30
"""Bytes of address space of a worker: what a broken length asks for must be refused, not given."""
FORMAT1 = Path(__file__).resolve().parents[1] / "stores" / "format1" / "gists"

QUICK_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where nothing waits for a disk; this is not about stops."""

OPENED = {"open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
          "os.truncate", "os.chmod", "os.chown", "os.utime", "shutil.rmtree", "shutil.copyfile", "sqlite3.connect"}  # fmt: skip
"""Audit events whose arguments are paths."""
RUN = {
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "subprocess.Popen",
    "sqlite3.load_extension",
    "pickle.find_class",
}
CONTACTED = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}


# ── doors ─────────────────────────────────────────────────────────────────────────────────────────────────────────

Models = dict[str, Any]


def models_of(base: str, scratch: Path) -> Models:
    """What a caller passes for each of the sound stores."""
    gist = gists(scratch / "gists", Extracts())
    return {
        "gist": {"embedder": Words(), "memory": gist},
        "dense": {"embedder": Words()},
        "stored": {},
        "plain": {},
        "format1": {
            "memory": GistMemory(
                ScriptedLLM('{"spans": ["the reef"]}', window=20_000), folder=scratch / "gists", stretch=300, words=20
            )
        },
    }[base]


def use(memo: MemoRAG) -> None:
    memo.retrieve("Who hid the lantern at the mill?", 3)


def door_load(store: Path, models: Models) -> None:
    use(MemoRAG.load(store, **models))


def door_info(store: Path, models: Models) -> None:
    MemoRAG.load(store, **models).info()


def door_add(store: Path, models: Models) -> None:
    with MemoRAG.open(store, **models) as memo:
        memo.add(Document("Brida sold the new oar at the ferry.", "new"), progress=False)


def door_delete(store: Path, models: Models) -> None:
    with MemoRAG.open(store, **models) as memo:
        memo.delete(next(iter(memo.corpus.documents)), progress=False)


def door_verify(store: Path, models: Models) -> None:
    if problems := verify(store):
        raise MemoRAGError("; ".join(problems))


def door_repair(store: Path, models: Models) -> None:
    repair(store, drop=True, progress=False, **models)


def door_compact(store: Path, models: Models) -> None:
    compact(store)


def door_save(store: Path, models: Models) -> None:
    memo = MemoRAG(models.get("memory", "activation"), models.get("embedder"))
    memo.memorize(make_documents(_chance(5), 1, 2), progress=False)
    memo.save(store)


def door_reload(store: Path, models: Models) -> None:
    """Never called by itself: a handle that was open before the store was forged reloads."""


DOORS: dict[str, Callable[[Path, Models], None]] = {
    name.removeprefix("door_"): door for name, door in list(globals().items()) if name.startswith("door_")
}
NEW_IN_A_WRONG_STORE = "save"


# ── the canary ────────────────────────────────────────────────────────────────────────────────────────────────────


def _chance(seed: int) -> Any:
    import random

    return random.Random(seed)


def make_sound(scratch: Path) -> None:
    """The sound stores, in `scratch/sound`."""
    sound = scratch / "sound"
    documents = make_documents(_chance(1), 4, 3)
    for base in ("gist", "dense", "plain"):
        with MemoRAG.open(sound / base, passage_size=400, **models_of(base, scratch)) as memo:
            memo.add(documents, progress=False)
    shutil.copytree(sound / "dense", sound / "stored")
    shutil.copytree(FORMAT1, sound / "format1")


def make_outside(scratch: Path, outside: Path) -> None:
    """What nothing may touch: a secret, pictures, and what looks like a store's own."""
    (outside / "photos").mkdir(parents=True)
    (outside / "photos" / "one.jpg").write_bytes(b"picture")
    (outside / "secret.txt").write_text("a secret")
    sound = scratch / "sound" / "gist"
    shutil.copy(sound / DATABASE, outside / DATABASE)
    (outside / MEMORIES).mkdir()
    memories = sorted((sound / MEMORIES).iterdir())
    for memory in memories:
        shutil.copytree(memory, outside / MEMORIES / memory.name)
    shutil.copytree(memories[0], outside / MEMORIES / "copied")


Facts = dict[str, tuple[Any, ...]]


def facts_of(outside: Path) -> Facts:
    """Of everything below: kind and mode, times, contents."""
    found: Facts = {}
    for path in sorted([outside, *outside.rglob("*")]):
        status = path.lstat()
        read = None if path.is_dir() else status.st_atime_ns  # a folder is read by looking, as here
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_size, read)
    for path in found:
        if Path(path).is_file():
            found[path] += (hashlib.sha256(Path(path).read_bytes()).hexdigest(),)
    return found


def age(outside: Path) -> None:
    """Times of access in the past, so that a reading is seen although the disk notes few of them."""
    for path in [outside, *list(outside.rglob("*"))]:
        changed = path.lstat().st_mtime_ns
        os.utime(path, ns=(changed - 86_400 * 10**9, changed), follow_symlinks=False)


class Watch:
    """Audit events of the worker, while it is armed."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.outside = self.store = ""
        self.armed = False
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event in CONTACTED:
            self.events.append(f"contacted: {event} {arguments[1:]!r:.100}")
            raise ConnectionRefusedError("the worker contacts nobody")
        if event in RUN:
            self.events.append(f"ran: {event} {arguments!r:.100}")
        elif event == "exec":
            name = getattr(arguments[0], "co_filename", "")
            if name.startswith((self.store, self.outside)):
                self.events.append(f"ran: code of {name}")
        elif event in OPENED:
            self.armed = False  # what follows opens files, too
            try:
                for argument in arguments[:2]:
                    if isinstance(argument, str | bytes | os.PathLike) and self.is_outside(os.fsdecode(argument)):
                        self.events.append(f"touched: {event} {argument!r:.200}")
            finally:
                self.armed = True

    def is_outside(self, path: str) -> bool:
        path = path.removeprefix("file://").partition("?")[0]
        for one in (os.path.abspath(path), os.path.realpath(path)):
            if one == self.outside or one.startswith(f"{self.outside}/"):
                # taking away a link to there is no touch of what is there
                return one == os.path.abspath(path) or not os.path.islink(path)
        return False


# ── the worker ────────────────────────────────────────────────────────────────────────────────────────────────────


def work(scratch: Path, pipe: Connection) -> None:
    """Take (number of a forgery, door) and send what is wrong, or that nothing is."""
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ["HF_HOME"] = str(scratch / "hub")
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    logging.disable()
    import sentence_transformers  # noqa: F401  what is imported late is imported now

    for base in ("gist", "plain", "dense", "format1"):
        store = Path(tempfile.mkdtemp(dir=scratch)) / "store"
        shutil.copytree(scratch / "sound" / base, store)
        for name, door in DOORS.items():
            if (base, name) != ("format1", "repair"):  # it says: change it once
                door(store, models_of(base, scratch))
    watch = Watch()
    pipe.send("ready")
    while True:
        number, door = pipe.recv()
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            pipe.send(examine(FORGERIES[number], door, Path(place), scratch, watch, lambda: pipe.send("begun")))


def examine(
    forgery: Forgery, door: str, place: Path, scratch: Path, watch: Watch, begun: Callable[[], object]
) -> str | None:
    """What is wrong with what a door does to a forged store; None where nothing is."""
    store, outside = place / "store", place / "outside"
    shutil.copytree(scratch / "sound" / forgery.base, store)
    make_outside(scratch, outside)
    models = models_of(forgery.base, scratch)
    call: Callable[[], object] = lambda: DOORS[door](store, models)  # noqa: E731
    if door == "reload":
        memo = MemoRAG.open(store, **models) if forgery.base != "stored" else MemoRAG.open(store, embedder=Words())
        if forgery.base != "format1":
            other = MemoRAG.open(store, **(models or {"embedder": memo.embedder and Words()}))
            other.add(Document("Ansel hid the clock.", "another"), progress=False)
        call = lambda: (memo.reload(), use(memo))  # noqa: E731
    forgery.forge(store, outside)
    foreign = {name for name in FOREIGN if (store / name).exists()}
    age(outside)
    before = facts_of(outside)
    age(outside)
    watch.events.clear()
    watch.store, watch.outside = str(store), str(outside)
    said = ""
    begun()
    watch.armed = True
    try:
        call()
        outcome = "worked"
    except MemoRAGError as error:
        outcome, said = "refused", str(error)
    except BaseException:
        outcome, said = "another exception", traceback.format_exc()
    watch.armed = False
    after = facts_of(outside)
    wrong = list(dict.fromkeys(watch.events))
    wrong += [
        f"changed outside: {path}" for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    ]
    wrong += [f"removed: {name}" for name in sorted(foreign) if not (store / name).exists()]
    if outcome == "another exception":
        wrong.append(said)
    if outcome == "refused" and not said.strip():
        wrong.append("an error without a message")
    if outcome == "worked" and forgery.refused and must_refuse(forgery, door):
        wrong.append("not refused")
    return "\n".join(wrong) or None


def must_refuse(forgery: Forgery, door: str) -> bool:
    """Whether this door has to look at what is forged at all."""
    of_models = forgery.base == "stored"
    of_memories = forgery.name.startswith(("a memory's", "manifest", "memory "))
    if door in ("compact", "save", "reload", "repair"):  # no models are made, memories are not read, or made anew
        return not of_models and not of_memories
    return door != "verify" or not (of_models or (of_memories and forgery.base == "format1"))


class Worker:
    """A process that examines, started anew where it hangs or dies."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, its = context.Pipe()
        self.process = context.Process(target=work, args=(self.scratch, its), daemon=True)
        self.process.start()
        its.close()
        assert self.pipe.recv() == "ready"

    def stop(self) -> None:
        self.process.kill()
        self.process.join()

    def examine(self, number: int, door: str) -> str | None:
        try:
            self.pipe.send((number, door))
            assert self.pipe.recv() == "begun"
            if self.pipe.poll(LIMIT):
                return self.pipe.recv()
            found = f"no answer within {LIMIT:g} s"
        except (EOFError, OSError):
            found = f"the process died: exit code {self.process.exitcode}"
        self.stop()
        self.start()
        return found


@dataclass(frozen=True)
class Failure:
    """What a door did to a forged store."""

    forgery: str
    door: str
    wrong: str


@contextmanager
def examining(scratch: Path) -> Iterator[Worker]:
    """A worker, over sound stores made in an empty folder."""
    (scratch / "gists").mkdir()
    make_sound(scratch)
    worker = Worker(scratch)
    try:
        yield worker
    finally:
        worker.stop()


def run(scratch: Path, only: Sequence[str] = (), doors: Sequence[str] = tuple(DOORS)) -> Iterator[Failure | None]:
    """Examine each forgery at each door, in an empty folder."""
    with examining(scratch) as worker:
        for number, forgery in enumerate(FORGERIES):
            if only and not any(text in forgery.name for text in only):
                continue
            for door in doors:
                wrong = worker.examine(number, door)
                yield None if wrong is None else Failure(forgery.name, door, wrong)


@click.command()
@click.option("--only", multiple=True, help="Forgeries whose names hold this text.")
@click.option("--door", multiple=True, type=click.Choice(list(DOORS)), help="These doors alone.")
def main(only: tuple[str, ...], door: tuple[str, ...]) -> None:
    """Print what went wrong; exit status 1 where anything did."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=QUICK_DISK) as scratch:
        results = []
        for result in run(Path(scratch), only, door or tuple(DOORS)):
            results.append(result)
            if result is not None:
                print(f"{result.forgery} / {result.door}: {result.wrong}", flush=True)
    failures = [result for result in results if result is not None]
    print(
        f"{len(FORGERIES)} forgeries, {len(results)} calls, {len(failures)} failures, {time.perf_counter() - begun:.0f} s"
    )
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
