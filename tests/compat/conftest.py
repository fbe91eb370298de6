"""Tiny checkpoints in the real layouts, each made once, and what the tests read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.beacon.conftest import checkpoints
from tests.beacon.tiny import make_checkpoint
from tests.bge_checkpoint import make_m3
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER

__all__ = ["checkpoints"]

CONTEXT = "\n\n".join([LIGHTHOUSE, BAKERY, RIVER])
QUERY = "Why did the trawler strike the reef?"


def make_instruct(folder: Path) -> Path:
    make_checkpoint(folder, "llama", trained=False, max_position_embeddings=16384)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    plain = {key: value for key, value in config.items() if not key.startswith("beacon_") and key != "auto_map"}
    (folder / "config.json").write_text(json.dumps(plain), "utf-8")
    return folder


@pytest.fixture(scope="session")
def beacon(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A memory checkpoint: beacon_* keys in its config.json."""
    return str(make_checkpoint(tmp_path_factory.mktemp("beacon") / "checkpoint", max_position_embeddings=8192))


@pytest.fixture(scope="session")
def instruct(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An ordinary instruct checkpoint."""
    return str(make_instruct(tmp_path_factory.mktemp("instruct") / "checkpoint"))


@pytest.fixture(scope="session")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BGE-M3."""
    return str(make_m3(tmp_path_factory.mktemp("retriever") / "m3"))


class Echo:
    """A generator as a user of the original writes one: it remembers its prompts."""

    def __init__(self, reply: Any = "The board had sold the boat.") -> None:
        self.reply = reply
        self.prompts: list[str] = []
        self.limits: list[int | None] = []

    def generate(self, prompt: str, max_new_tokens: int | None = None) -> Any:
        self.prompts.append(prompt)
        self.limits.append(max_new_tokens)
        return [self.reply] if isinstance(self.reply, str) else self.reply


@pytest.fixture
def echo() -> Echo:
    return Echo()


def size(folder: str | Path) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
