"""The benchmark of per-clue union runs, and its figures are those counted by hand."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.bge_checkpoint import make_stella
from tests.conftest import LIGHTHOUSE, RIVER

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("union", "clues", "evidence"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import union

    return union


def test_figures(script):
    gold = [[0, 100], [5000, 5100]]
    found = [(200, 300), (0, 50), (5000, 9000), (50, 100)]
    assert script.score(gold, found, [(50, 100)]) == (0.75, 1.0, 1.0, 0.5, 0.25)
    assert script.within([(10, 20), (30, 50)], 15) == [(10, 20), (30, 35)]
    rows = [np.array([[0.0], [1.0]]), np.array([[1.0]])]
    [(mean, low, high)] = script.interval(rows)
    assert mean == pytest.approx(2 / 3)
    assert (low, high) == (0.5, 1.0)


@pytest.mark.parametrize("kind", ["embedded", "gold", "wrong-document", "none"])
def test_it_ranks_both_ways_with_the_same_clues(script, tmp_path, kind):
    at = LIGHTHOUSE.index("The inquiry")
    documents = [
        {"id": "a", "text": LIGHTHOUSE, "queries": [{"qid": "a1", "query": "Why did the oil run out?", "answer":
            "The supply boat had been sold by the harbour board", "gold": [[at, at + 60]]}]},
        {"id": "b", "text": RIVER, "queries": [{"qid": "b1", "query": "What happened in 1987?", "answer":
            "The gauge had frozen, the alarm stayed silent", "gold": [[RIVER.index("The flood"), len(RIVER)]]}]},
    ]  # fmt: skip
    data = tmp_path / "data.jsonl.gz"
    data.write_bytes(gzip.compress("\n".join(map(json.dumps, documents)).encode()))
    model = make_stella(tmp_path / "stella")
    arguments = ["--data", str(data), "--clues", kind, "--embedder", str(model), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
    assert "memorag - union" in result.output
    assert "2 queries" in result.output
    for name in ("union", "memorag"):
        rows = [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
        assert [row["qid"] for row in rows] == ["a1", "b1"]
        assert all(row["spans"] for row in rows)
