"""Real disks that are full or read-only: small ones, mounted in memory. Needs to be run as root; elsewhere it fails.

Part of `make test-all`.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from memorag_integrations import Document, GistMemory, MemoRAG
from memorag_integrations.errors import StoreError
from memorag_integrations.store import maintenance as upkeep
from memorag_integrations.store.paths import DATABASE

from ..conftest import HashEmbedder
from ..faults import kill
from ..scripted import ScriptedLLM

FORMAT1 = Path(__file__).resolve().parents[1] / "stores" / "format1" / "vectors"


@pytest.fixture
def disk():
    with kill.small_disk(8 << 20) as folder:
        yield folder


def read_only(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


def said(memo):
    return [(piece.passage, piece.score) for piece in memo.retrieve("Which trawler struck the reef?", 20)]


def test_a_full_disk_leaves_the_state_before():
    figures = kill.Figures()
    for seed in range(3):
        kill.full_disk(random.Random(seed), figures)
    assert figures["full disks"] == 3
    assert figures.problems == []


def test_a_store_on_a_read_only_disk_can_be_asked(disk, documents):
    models = {"embedder": HashEmbedder(), "memory": GistMemory(ScriptedLLM('{"spans": ["the reef"]}'))}
    with MemoRAG.open(disk / "store", **models) as memo:
        memo.add(documents, progress=False)
        expected = said(memo)
    read_only(disk)
    loaded, opened = MemoRAG.load(disk / "store", **models), MemoRAG.open(disk / "store", **models)
    assert said(loaded) == said(opened) == expected
    assert upkeep.verify(disk / "store") == []
    assert not opened.reload()
    for refused in (
        lambda: loaded.save(disk / "store"),
        lambda: opened.add("new", progress=False),
        lambda: opened.delete("river", progress=False),
        lambda: upkeep.compact(disk / "store"),
        lambda: upkeep.repair(disk / "store", progress=False, **models),
        lambda: MemoRAG.open(disk / "another"),
        lambda: MemoRAG().memorize("new", save_dir=disk / "another", progress=False),
    ):
        with pytest.raises(StoreError, match=r"cannot be written to|could not be written"):
            refused()
    assert said(opened) == expected


def test_a_store_of_the_first_format_on_a_read_only_disk_can_be_asked(disk):
    shutil.copytree(FORMAT1, disk / "store")
    expected = said(MemoRAG.load(FORMAT1, embedder=HashEmbedder(16)))
    read_only(disk)
    opened = MemoRAG.open(disk / "store", embedder=HashEmbedder(16))
    assert said(opened) == expected != []
    with pytest.raises(StoreError, match="cannot be written to"):
        opened.add(Document("new"), progress=False)


def test_what_was_broken_off_on_a_disk_that_is_now_read_only_is_said(disk, documents):
    MemoRAG.open(disk / "store").add(documents, progress=False)
    (disk / "store" / f"{DATABASE}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    read_only(disk)
    with pytest.raises(StoreError, match=r"was broken off and must be taken back.*Open it once with write permission"):
        MemoRAG.load(disk / "store")
