"""The benchmark of the router runs: memories that are eager, and evidence that only the right one leads to."""

import gzip
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.bge_checkpoint import make_stella
from tests.conftest import LIGHTHOUSE, RIVER

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("router", "union", "clues", "evidence"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import router

    return router


@pytest.fixture
def documents():
    boat, flood = LIGHTHOUSE.index("The inquiry"), RIVER.index("The flood")
    return [
        {"id": "a", "text": LIGHTHOUSE, "queries": [{"qid": "a1", "query": "Why did the oil run out?", "answer":
            "The supply boat had been sold by the harbour board", "gold": [[boat, boat + 60]]}]},
        {"id": "b", "text": RIVER, "queries": [{"qid": "b1", "query": "What happened in 1987?", "answer":
            "The gauge had frozen, the alarm stayed silent", "gold": [[flood, len(RIVER)]]}]},
    ]  # fmt: skip


def test_a_memory_answers_for_its_own_document_and_is_wrong_for_others(script, documents):
    llm = script.eager(documents, seed=0)
    for document, text in zip(documents, (LIGHTHOUSE, RIVER), strict=True):
        for asked in documents:
            [query] = asked["queries"]
            reply = json.loads(llm.complete(f"Read this.\n<text>\n{text}\n</text>\nQuestion: {query['query']}").text)
            assert reply["answer"] == document["queries"][0]["answer"]


def test_it_asks_as_many_memories_as_it_says(script, documents, tmp_path):
    data = tmp_path / "data.jsonl.gz"
    data.write_bytes(gzip.compress("\n".join(map(json.dumps, documents)).encode()))
    arguments = ["--data", str(data), "--asked", "1", "--embedder", str(make_stella(tmp_path / "stella"))]
    output = CliRunner().invoke(script.main, arguments, catch_exceptions=False).output
    lines = output.splitlines()
    one, every = (next(line for line in lines if line.startswith(f"{number} asked: ")) for number in ("1", "all"))
    assert "of 2 queries, 1.0 calls" in one
    assert "kept 100.0 % of 2 queries, 2.0 calls" in every
    assert any(line.startswith("1 - all") for line in lines)
