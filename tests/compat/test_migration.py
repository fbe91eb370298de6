"""docs/migration.md: its code runs, from one folder of checkpoints, and it names every argument and call there is."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import memorag_integrations
from memorag_integrations.compat import Agent, MemoRAG, MemoRAGLite, Memory, Model
from memorag_integrations.compat.agent import SOURCES
from memorag_integrations.compat.pipeline import TASKS
from tests.beacon.tiny import make_checkpoint
from tests.bge_checkpoint import make_m3
from tests.compat.api_server import serving
from tests.compat.conftest import CONTEXT, make_instruct
from tests.test_readme import ROOT, blocks

PAGE = (ROOT / "docs" / "migration.md").read_text("utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What every block of the page left behind, run in order; and `server`, which was asked meanwhile."""
    folder = tmp_path_factory.mktemp("migration")
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        Path("novel.txt").write_text(CONTEXT, "utf-8")
        make_checkpoint(Path("path/to/memory"), max_position_embeddings=8192)
        make_instruct(Path("path/to/generator"))
        make_m3(Path("path/to/bge-m3"))
        names: dict[str, Any] = {"server": server}
        for block in blocks("python", PAGE):
            exec(compile(block, "migration.md", "exec"), names)
        yield names


def test_every_block_runs_and_the_calls_agree(ran: dict[str, Any]):
    assert len(blocks("python", PAGE)) >= 6
    assert all(0 < len(ran[name]) <= 64 for name in ("answer", "gist", "summary", "lite_answer"))
    assert ran["pipe"](query="Who kept the mill?", task_type="qa", max_new_tokens=64) == ran["gist"]
    assert ran["written"].startswith("You said ")
    assert "Who kept the mill?" in ran["server"].requests[-1].body["messages"][0]["content"]
    assert len(ran["replies"]) == 2
    texts = [piece.text for piece in ran["evidence"]]
    assert [node.node.text for node in ran["response"].source_nodes] == texts
    assert [document.page_content for document in ran["found"]] == texts
    native = ran["memo"].recall("Who kept the mill?")
    spans = [clue.text for clue in native.clues if clue.kind == "span"]
    assert spans
    assert set(spans) <= set(ran["memory"].recall("Who kept the mill?").split("\n")), "one text, one checkpoint"


def test_compat_and_the_engine_open_each_others_stores(ran: dict[str, Any]):
    engine = memorag_integrations.MemoRAG
    theirs = engine.load("novel.store")
    assert [passage.text for passage in theirs.corpus.index.passages] == ran["pipe"].retrieval_corpus
    ours = engine(ran["memo"].memory_model, embedder="path/to/bge-m3")
    ours.memorize(memorag_integrations.Document(CONTEXT, id="context"), save_dir="native.store", progress=False)
    pipe = MemoRAG("path/to/memory", "path/to/bge-m3", beacon_ratio=4)
    pipe.load("native.store")
    assert pipe.retrieval_corpus == [passage.text for passage in ours.corpus.index.passages]


@pytest.mark.parametrize("call", [
    MemoRAG.__init__, MemoRAG.__call__, MemoRAG.memorize, MemoRAG.load,
    MemoRAGLite.__init__, MemoRAGLite.memorize, Model.__init__, Model.generate, Memory.generate, Agent.__init__,
], ids=lambda call: call.__qualname__)  # fmt: skip
def test_every_argument_is_on_the_page(call: Any):
    ours = {"self", "unknown", "context_window", "with_cache", "model_name_or_path"}
    for name in set(inspect.signature(call).parameters) - ours:
        assert re.search(rf"\b{name}\b", PAGE), name


def test_every_call_task_and_source_is_on_the_page():
    for kind, name in ((Memory, "memory"), (MemoRAG, "pipe")):
        for method in (m for m in vars(kind) if callable(vars(kind)[m]) and not m.startswith("_")):
            assert f"{name}.{method}(" in PAGE, method
    assert all(f'"{task}"' in PAGE for task in TASKS)
    assert all(f'"{source}"' in PAGE for source in SOURCES)


def test_the_text_of_the_originals_chunks_is_nearly_what_it_was(tmp_path: Path):
    from semantic_text_splitter import TextSplitter

    chunks = TextSplitter.from_tiktoken_model("gpt-3.5-turbo", 40).chunks(CONTEXT)
    (tmp_path / "chunks.json").write_text(json.dumps(chunks), "utf-8")
    text = "\n\n".join(json.loads((tmp_path / "chunks.json").read_text("utf-8")))
    assert text.split() == CONTEXT.split()
