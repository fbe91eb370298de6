"""The benchmarks of living corpora, run briefly: a store survives kills, broken bytes and a crowd, and they can tell."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorag_integrations import MemoRAG

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Imports one of the benchmarks."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("PYTHONPATH", "")
    for name in ("corrupt", "crowd", "kill", "living_corpus", "tiny_checkpoint"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return __import__


def run(main, *arguments):
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_killed_writer_leaves_the_state_before_or_after(script):
    printed = run(script("kill").main, "--kills", "6", "--full-disks", "0", "--seed", "3")
    found = dict(re.findall(r"^(\S.*?) {2,}(\d+)$", printed, re.MULTILINE))
    assert found["kills"] == "6"
    assert int(found["inside a commit (a journal was left)"]) > 0
    assert found["problems"] == found["lost documents"] == "0"


def test_a_lost_document_is_told(script, tmp_path):
    kill = script("kill")
    memo, figures = kill.opened(tmp_path / "s"), kill.Figures()
    memo.add(["One.", "Two."], progress=False)
    told = kill.state_of(memo.corpus.documents)
    memo.delete(next(iter(told)), progress=False)
    kill.checked(tmp_path / "s", {"before": told, "after": told}, figures, "here")
    assert figures["lost documents"] == 1
    assert figures.problems == ["here: neither state"]


def test_a_broken_store_says_so_or_answers_right(script, tmp_path):
    corrupt = script("corrupt")
    results = list(corrupt.run(tmp_path, [f"test-{n}" for n in range(60)], ("gist", "stopped")))
    assert [result for result in results if result.outcome == corrupt.FAILED] == []
    assert {result.outcome for result in results} >= {corrupt.REPAIRED, corrupt.CANNOT}
    home = corrupt.home_of(tmp_path, "gist")
    home.found[()] = ["another answer"]
    assert corrupt.examine(home, home.folder) == (corrupt.FAILED, "wrong answers")


def test_a_broken_beacon_says_so_or_answers_right(script, tmp_path):
    corrupt = script("corrupt")
    corrupt.make_stores(tmp_path, ("beacon",))
    home = corrupt.home_of(tmp_path, "beacon")
    results = [
        corrupt.one(tmp_path, f"test-{n}", lambda name, folder: corrupt.examine(home, folder)) for n in range(10)
    ]
    assert [result for result in results if result.outcome == corrupt.FAILED] == []
    assert {result.file.split()[0] for result in results} == {"beacon"}
    assert {result.outcome for result in results} >= {corrupt.REPAIRED, corrupt.CANNOT}


def test_nobody_in_a_crowd_sees_half_a_change(script):
    printed = run(script("crowd").main, "--seconds", "3", "--writers", "2", "--readers", "3")
    changes = [int(count) for count in re.findall(r"writer \d: (\d+) changes", printed)]
    assert len(changes) == 2
    assert all(changes), printed
    assert int(re.search(r"readers: ([\d,]+) states read", printed)[1].replace(",", "")) > 0


def test_half_a_change_is_told(script):
    crowd = script("crowd")
    documents = crowd.batch(0, 0, 0, crowd.random.Random(0))
    memo = MemoRAG()
    memo.memorize(documents, progress=False)
    assert crowd.torn(memo) is None
    memo.delete(documents[0].id, progress=False)
    assert crowd.torn(memo) == "batch 0.0 has versions [0, 0, 0]"
    memo.replace(replace(documents[1], text="Another text."), progress=False)
    assert crowd.torn(memo) == "0.0.1 is not the text that it says"
