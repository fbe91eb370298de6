"""Stores that are made to be broken, and the answers that each gives while it is whole."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.synthetic import Words, gists, make_documents
from memorag_integrations import MemoRAG
from memorag_integrations.contracts import MemoryModel
from memorag_integrations.store.paths import DATABASE
from memorag_integrations.store.store import Store
from tests.faults.states import state_of

QUERIES = (
    "Who hid the lantern at the mill?",
    "What did Ansel carry away for Brida?",
    "the ledger of the customs house",
)
STORES = ("gist", "beacon", "stopped")
JOURNAL = f"{DATABASE}-journal"


@dataclass
class Home:
    """A store as it was made, and what it answers.

    Args:
        folder: Where it is; it is never opened itself.
        sound: Stores in the states that it may be in.
        queries: What is asked.
    """

    folder: Path
    sound: tuple[Path, ...]
    model: MemoryModel
    dense: bool
    queries: tuple[str, ...]
    found: dict[tuple[str, ...], list[Any]] = field(default_factory=dict)

    def models(self) -> dict[str, Any]:
        return {"embedder": Words() if self.dense else None, "memory": self.model}

    def asked(self, folder: Path) -> Any:
        """The answers of a store that may be broken."""
        with MemoRAG.open(folder, **self.models()) as memo:
            return answers(memo, self.queries)

    def right(self, dropped: tuple[str, ...] = ()) -> list[Any]:
        """The right answers, when these documents are gone: one for each state that it may be in."""
        if dropped not in self.found:
            self.found[dropped] = []
            for folder in self.sound:
                memo = MemoRAG.load(folder, **self.models())
                if dropped:
                    memo.delete(dropped, progress=False)
                self.found[dropped].append(answers(memo, self.queries))
        return self.found[dropped]


def answers(memo: MemoRAG, queries: tuple[str, ...]) -> Any:
    """All that a user sees: documents, recalls, evidence."""
    said: list[Any] = [state_of(memo.corpus.documents)]
    for query in queries:
        recall = memo.recall(query)
        said.append([recall.answer, [(clue.text, clue.kind, clue.grounding) for clue in recall.clues]])
        found = (
            memo.retrieve(query, 5, recall=recall),
            memo.retrieve(query, 5, mode="hybrid" if memo.embedder else "bm25"),
        )
        said += [[(piece.passage, round(piece.score, 5)) for piece in pieces] for pieces in found]
    return said


def make_stores(scratch: Path, stores: Sequence[str] = STORES) -> None:
    """These stores, and the checkpoint that one of them needs."""
    chance = random.Random(0)
    if "beacon" in stores:
        from benchmarks.tiny_checkpoint import make_checkpoint

        make_checkpoint(scratch / "checkpoint", positions=640)
        make_store(home_of(scratch, "beacon"), 4, 2, chance)
    if "gist" in stores:
        make_store(home_of(scratch, "gist"), 8, 6, chance)
    if "stopped" in stores:
        make_stopped(scratch, chance)


def make_store(home: Home, count: int, lines: int, chance: random.Random) -> None:
    memo = MemoRAG.open(home.folder, passage_size=400, **home.models())
    memo.add(make_documents(chance, count, lines), progress=False)
    memo.replace(make_documents(chance, 1, lines, first=3), progress=False)
    assert len(memo.corpus.memories) > 1


def homes_in(scratch: Path) -> dict[str, Home]:
    return {name: home_of(scratch, name) for name in STORES if (scratch / name).is_dir()}


class Watched(Store):
    """A store that keeps the journal of its last transaction under another name: what SQLite deletes at the commit."""

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with super().transaction() as database:
            yield database
            kept = self.folder.with_suffix(".journal")
            kept.unlink(missing_ok=True)
            if (self.folder / JOURNAL).is_file():
                kept.hardlink_to(self.folder / JOURNAL)


def make_stopped(scratch: Path, chance: random.Random) -> None:
    """A copy of the gist store with a change in it, and the journal by which it is taken back at the next opening."""
    home = home_of(scratch, "stopped")
    before, after = home.sound
    shutil.copytree(before, after)
    memo = MemoRAG.open(after, **home.models())
    memo.live.home = Watched(after)
    memo.replace(make_documents(chance, 1, 6, first=5), progress=False)
    shutil.copytree(after, home.folder)
    shutil.copy(after.with_suffix(".journal"), home.folder / JOURNAL)
    shutil.copytree(home.folder, scratch / "trial")
    assert home.asked(scratch / "trial") == home.right()[0] != home.right()[1], "the journal is not taken back"


def home_of(scratch: Path, name: str) -> Home:
    folder = scratch / name
    if name == "beacon":
        from memorag_integrations.decoding.generation import Sampling
        from memorag_integrations.memories.beacon import BeaconMemory

        model = BeaconMemory(str(scratch / "checkpoint"), device="cpu", sampling=Sampling(max_tokens=6))
        return Home(folder, (folder,), model, dense=False, queries=QUERIES[:1])
    sound = (scratch / "gist", scratch / "changed") if name == "stopped" else (folder,)
    return Home(folder, sound, gists(scratch / "gists"), dense=True, queries=QUERIES)
