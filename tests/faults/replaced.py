"""A store that is replaced, restored, deleted or moved while several handles have it open: is any update lost unsaid?

    python -m tests.faults.replaced [--sequences 2160] [--seed 0]

Every order of six steps, for two, three and four handles, against a model of lists. After each step the store must hold
what the model says; a change must be there when its call returns; and where the store is gone, or is another one, the
call must fail with `StoreError` and leave things as they are. A backup of the same store that is put back is taken over:
`reload` says so, and a change is made to what is there.

Prints the figures; exit status 1 where an update was lost, or something came back, without an error.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import InputError, StoreError
from memorag_integrations.store.maintenance import compact, repair, verify

QUICK_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

Texts = dict[str, str]


@dataclass
class World:
    """The store's folder, the handles on it, and what must be in it.

    Args:
        folder: Of the store.
        texts: Of the documents that the store must hold, by id; None where there is no store.
        identity: Which store it is; a copy has the same.
        backup: What was copied away: identity and texts.
        seen: For each handle, the identity of the store that it opened, and the texts it last took over.
    """

    folder: Path
    texts: Texts | None = None
    identity: int = 0
    backup: tuple[int, Texts] | None = None
    moved: tuple[int, Texts] | None = None
    handles: list[MemoRAG] = field(default_factory=list)
    seen: list[tuple[int, Texts]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    made: int = 0

    def begin(self, count: int, loaded: bool) -> None:
        """A store of two documents, a copy of it, one more change by the first handle; then all handles."""
        first = MemoRAG.open(self.folder)
        self.texts, self.identity, self.made = {"a": "The first text.", "b": "The second text."}, 1, 1
        first.add([Document(text, id) for id, text in self.texts.items()], progress=False)
        self.copy_away()
        self.handles = [MemoRAG.open(self.folder) for _ in range(count - loaded)]
        self.handles += [MemoRAG.load(self.folder) for _ in range(loaded)]
        self.seen = [(1, dict(self.texts)) for _ in self.handles]

    # ── steps ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, handle: int) -> None:
        self.made += 1
        id, text = f"new {self.made}", f"The text number {self.made} of handle {handle}."
        self._change(handle, lambda memo: memo.add(Document(text, id), progress=False), {id: text}, ())

    def delete(self, handle: int) -> None:
        memo = self.handles[handle]
        ids = [id for id in memo.corpus.documents if self.texts is None or id in self.texts]
        if not ids:
            return self.add(handle)
        gone = ids[-1]
        return self._change(handle, lambda memo: memo.delete(gone, progress=False), {}, (gone,))

    def update(self, handle: int) -> None:
        self.made += 1
        ids = [id for id in self.handles[handle].corpus.documents if self.texts is None or id in self.texts]
        id, text = (ids[0] if ids else "a"), f"The version number {self.made} of handle {handle}."
        self._change(handle, lambda memo: memo.upsert(Document(text, id), progress=False), {id: text}, ())

    def _change(self, handle: int, change: Callable[[MemoRAG], object], new: Texts, gone: Sequence[str]) -> None:
        memo, ours = self.handles[handle], self.seen[handle][0]
        if memo.live.home is None:
            return self._save(handle, change, new, gone)
        try:
            change(memo)
        except StoreError as error:
            if self.texts is not None and self.identity == ours:
                self.problems.append(f"refused without a reason: {error}")
            return None
        except InputError as error:
            self.problems.append(f"an error that names another reason: {error}")
            return None
        if self.texts is None:
            self.problems.append("a change was made where there is no store")
            self.texts = dict(memo.corpus.documents) and {}
        elif self.identity != ours:
            self.problems.append("a change was made to another store")
        self.texts = {id: text for id, text in self.texts.items() if id not in gone} | new
        self._same(memo, "a handle after its change")
        self.seen[handle] = (ours, dict(self.texts))
        return None

    def _save(self, handle: int, change: Callable[[MemoRAG], object], new: Texts, gone: Sequence[str]) -> None:
        """A corpus in RAM: it is changed and saved, or refused where the store is not as it was loaded."""
        memo, (ours, seen) = self.handles[handle], self.seen[handle]
        change(memo)
        texts = {id: text for id, text in seen.items() if id not in gone} | new
        current = self.texts is not None and self.identity == ours and self.texts == seen
        try:
            memo.save(self.folder)
        except StoreError as error:
            if current:
                self.problems.append(f"saving was refused without a reason: {error}")
            self.handles[handle], self.seen[handle] = self._fresh(loaded=True) or (memo, (ours, texts))
            return
        if self.texts is None:
            self.problems.append("a corpus was saved where its store is gone")
        elif not current:
            self.problems.append("a corpus was saved over changes that it had not seen")
        self.texts, self.seen[handle] = texts, (ours, dict(texts))

    def _fresh(self, loaded: bool) -> tuple[MemoRAG, tuple[int, Texts]] | None:
        if self.texts is None:
            return None
        memo = MemoRAG.load(self.folder) if loaded else MemoRAG.open(self.folder)
        return memo, (self.identity, dict(self.texts))

    def reload(self, handle: int) -> None:
        memo, (ours, seen) = self.handles[handle], self.seen[handle]
        if memo.live._unsaved:
            return
        try:
            changed = memo.reload()
        except StoreError as error:
            if self.texts is not None and self.identity == ours:
                self.problems.append(f"reload was refused without a reason: {error}")
            return
        if self.texts is None or self.identity != ours:
            self.problems.append("reload said nothing of a store that is gone or another one")
            return
        if not changed and seen != self.texts:
            self.problems.append("reload said that nothing had changed")
        self._same(memo, "a handle after reload")
        self.seen[handle] = (ours, dict(self.texts))

    def reopen(self, handle: int) -> None:
        if fresh := self._fresh(loaded=self.handles[handle].live.home is None):
            self.handles[handle], self.seen[handle] = fresh

    def copy_away(self, handle: int = 0) -> None:
        if self.texts is not None:
            copy = self.folder.with_name("backup")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.folder, copy)
            self.backup = (self.identity, dict(self.texts))

    def restore(self, handle: int = 0) -> None:
        """The folder is taken away, and the backup put in its place."""
        assert self.backup is not None
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.folder.with_name("backup"), self.folder)
        self.identity, self.texts = self.backup[0], dict(self.backup[1])

    def restore_in_place(self, handle: int = 0) -> None:
        """The backup's files are written over those that are there: the database stays the same file."""
        assert self.backup is not None
        shutil.copytree(self.folder.with_name("backup"), self.folder, dirs_exist_ok=True)
        self.identity, self.texts = self.backup[0], dict(self.backup[1])

    def remove(self, handle: int = 0) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.texts = None

    def move(self, handle: int = 0) -> None:
        """Away, or back again."""
        away = self.folder.with_name("away")
        if self.moved is None and self.texts is not None:
            os.replace(self.folder, away)
            self.moved, self.texts = (self.identity, self.texts), None
        elif self.moved is not None and self.texts is None:
            os.replace(away, self.folder)
            (self.identity, self.texts), self.moved = self.moved, None

    def rebuild(self, handle: int = 0) -> None:
        """Another store in the place, with as many changes and documents of the same ids."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.made += 1
        self.identity, self.texts = self.made + 100, {"a": "The first text.", "b": f"Another text, {self.made}."}
        with MemoRAG.open(self.folder) as memo:
            memo.add([Document(text, id) for id, text in self.texts.items()], progress=False)

    def rebuild_alike(self, handle: int = 0) -> None:
        """Another store in the place, of the very same documents."""
        texts = dict(self.texts or {"a": "The first text."})
        shutil.rmtree(self.folder, ignore_errors=True)
        self.made += 1
        self.identity, self.texts = self.made + 100, texts
        with MemoRAG.open(self.folder) as memo:
            memo.add([Document(text, id) for id, text in texts.items()], progress=False)

    def care(self, handle: int = 0) -> None:
        if self.texts is not None:
            compact(self.folder)
            repair(self.folder, progress=False)

    # ── what must be ──────────────────────────────────────────────────────────────────────────────────────────────

    def _same(self, memo: MemoRAG, where: str) -> None:
        found = {document.id: document.text for document in memo.corpus.documents.values()}
        if found != self.texts:
            self.problems.append(f"{where} holds {found}, not {self.texts}")

    def check(self) -> None:
        """Whether the store holds what it must, whole."""
        if self.texts is None:
            if self.folder.exists():
                self.problems.append(f"a store came to be where there was none: {sorted(self.folder.iterdir())}")
                shutil.rmtree(self.folder)
            return
        if found := verify(self.folder):
            self.problems.append(f"verify: {found}")
        self._same(MemoRAG.load(self.folder), "the store")


# Handles are given with the steps: which one does it.
ORDERS: dict[str, tuple[int, int, tuple[tuple[str, int], ...]]] = {
    "two handles, a backup put back": (
        2, 0, (("add", 0), ("delete", 1), ("reload", 0), ("restore", 0), ("add", 1), ("copy_away", 0)),
    ),
    "three handles, a store rebuilt, moved": (
        3, 0, (("update", 0), ("add", 1), ("reload", 2), ("rebuild", 0), ("move", 0), ("delete", 2)),
    ),
    "four handles, one in RAM, a store restored in place and deleted": (
        4, 1, (("add", 0), ("update", 1), ("reload", 2), ("restore_in_place", 0), ("remove", 0), ("add", 3)),
    ),
    "two handles, a store rebuilt alike, cared for": (
        2, 0, (("add", 0), ("rebuild_alike", 0), ("care", 0), ("reload", 1), ("restore", 0), ("delete", 1)),
    ),
    "three handles, one in RAM, restored twice": (
        3, 1, (("update", 0), ("add", 2), ("restore", 0), ("add", 1), ("restore_in_place", 0), ("reload", 0)),
    ),
}  # fmt: skip
"""Handles, those of them that are in RAM alone, and six steps, tried in every order."""


def sequences() -> list[tuple[str, tuple[tuple[str, int], ...]]]:
    """Every order of the steps of each of ORDERS."""
    return [(name, order) for name, (_, _, steps) in ORDERS.items() for order in itertools.permutations(steps)]


def try_sequence(name: str, order: Sequence[tuple[str, int]]) -> World:
    """Take the steps, in a folder of its own."""
    count, loaded, _ = ORDERS[name]
    with tempfile.TemporaryDirectory(dir=QUICK_DISK) as scratch:
        world = World(Path(scratch) / "store")
        world.begin(count, loaded)
        for step, handle in order:
            world.steps.append(f"{step} {handle}")
            getattr(world, step)(handle)
            world.check()
            if world.problems:
                break
        for handle in range(count) if not world.problems else ():
            world.reload(handle)
        return world


@click.command()
@click.option("--sequences", "count", default=0, help="So many of them, drawn.  [default: all]")
@click.option("--seed", default=0, show_default=True)
def main(count: int, seed: int) -> None:
    """Print what was lost or came back without an error; exit status 1 where anything was."""
    begun, every = time.perf_counter(), sequences()
    drawn = random.Random(seed).sample(every, count) if count else every
    wrong: Counter[str] = Counter()
    shown = {}
    for name, order in drawn:
        world = try_sequence(name, order)
        for problem in world.problems[:1]:
            kind = problem.partition(":")[0].partition(" holds ")[0]
            wrong[kind] += 1
            known = shown.get(kind)
            if known is None or len(world.steps) < len(known[1]):
                shown[kind] = (name, list(world.steps), problem)
    for kind, (name, steps, problem) in shown.items():
        print(f"{wrong[kind]:>6,} {problem}\n       first with {name}: {', '.join(steps)}")
    print(
        f"{len(drawn):,} sequences, {sum(wrong.values()):,} with something wrong, {time.perf_counter() - begun:.0f} s"
    )
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
