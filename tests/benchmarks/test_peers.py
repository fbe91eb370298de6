"""The hosts' remedies on rankings made by hand, and the scripts on a small file with gold evidence."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import Ranked, auto_merge, parents, reciprocal_rank_fusion, with_neighbours

ROOT = Path(__file__).parents[2]
LENGTHS = {"a": 10, "b": 3}


def numbers(units):
    return [[number for _, number in unit] for unit in units]


def ranked(*places):
    return Ranked([(document, number) for document, number in places], LENGTHS)


def test_each_hit_comes_with_the_next_two_once_and_ends_with_its_document():
    units = with_neighbours(0, 2)(ranked(("a", 8), ("a", 7), ("b", 2)))
    assert units == [(("a", 8),), (("a", 9),), (("a", 7),), (("b", 2),)]


def test_each_hit_comes_between_its_neighbours():
    assert numbers(with_neighbours(1, 1)(ranked(("b", 0), ("a", 5)))) == [[0], [1], [4], [5], [6]]


def test_a_parent_stands_where_its_best_child_stood():
    units = parents(4)(ranked(("a", 5), ("a", 9), ("a", 4), ("b", 1)))
    assert numbers(units) == [[4, 5, 6, 7], [8, 9], [0, 1, 2]]


def test_more_than_half_of_a_parents_children_become_the_parent():
    units = auto_merge(ranked(("a", 0), ("a", 5), ("a", 2), ("a", 3)))
    assert numbers(units) == [[5], [0, 1, 2, 3]]
    assert numbers(auto_merge(ranked(("a", 0), ("a", 5), ("a", 2)))) == [[0], [5], [2]], "half is not more than half"


def test_parents_become_theirs_and_no_passage_stands_twice():
    lengths = {"a": 16}
    places = [("a", number) for number in (0, 1, 2, 4, 5, 6, 8, 9, 10, 15)]
    assert numbers(auto_merge(Ranked(places, lengths))) == [list(range(16))]


def test_ranks_are_fused_by_their_reciprocals():
    x, y, z = ("a", 0), ("a", 1), ("a", 2)
    assert reciprocal_rank_fusion([[x, y], [y, z]]) == [y, x, z]


@pytest.fixture
def split(tmp_path):
    lines = ["The keeper lit the lamp at dusk.", "Marta bakes rye bread on Fridays.", "The gauge froze in the flood."]
    text = "\n\n".join(f"{line} {'It was an ordinary day by the river. ' * 20}" for line in lines)
    queries = [
        {"qid": f"q{n}", "query": line, "gold": [[text.index(line), text.index(line) + len(line)]]}
        for n, line in enumerate(lines)
    ]
    file = tmp_path / "small.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.write(json.dumps({"id": "small", "text": text, "queries": queries}) + "\n")
    return file


@pytest.fixture
def paragraphs(tmp_path):
    corpus = [
        {"id": f"p{n}", "text": f"Paragraph {n}. {line}"} for n, line in enumerate(["A lamp.", "Bread.", "A gauge."])
    ]
    queries = [{"qid": "q", "query": "Where is the lamp, and where the gauge?", "gold": ["p0", "p2"]}]
    file = tmp_path / "paragraphs.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.write(json.dumps({"id": "set", "corpus": corpus, "queries": queries}) + "\n")
    return file


def script(name, *arguments):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / name, *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("setting", ["within", "corpus"])
def test_all_methods_write_rankings_that_compare_reads(split, tmp_path, setting):
    script(
        "evidence.py", "--data", split, "--all", "--embedder", "none", "--setting", setting, "--out", tmp_path / "runs"
    )
    runs = sorted((tmp_path / "runs").iterdir())
    assert {run.stem for run in runs} >= {"memorag", "bm25", "hybrid", "rrf", "next-2", "parents-4", "auto-merge"}
    for run in runs:
        rows = [json.loads(line) for line in run.read_text().splitlines()]
        assert [row["qid"] for row in rows] == ["q0", "q1", "q2"]
        assert all(len(span) == (3 if setting == "corpus" else 2) for row in rows for span in row["spans"])
    table = script("compare.py", split, *runs)
    assert "memorag less the best peer of each figure" in table
    assert len([line for line in table.splitlines() if line.startswith("memorag ")]) == 2


def test_paragraphs_are_one_index_judged_by_recall(paragraphs, tmp_path):
    script("evidence.py", "--data", paragraphs, "--all", "--embedder", "none", "--out", tmp_path / "runs")
    table = script("compare.py", paragraphs, *sorted((tmp_path / "runs").iterdir()))
    [line] = [line for line in table.splitlines() if line.startswith("bm25")]
    assert line.split()[1:] == ["100.0", "100.0", "100.0"]
    assert "r2" in table
