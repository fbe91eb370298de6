"""The scorer's figures are those counted by hand."""

import gzip
import json

import pytest
from click.testing import CliRunner

from benchmarks import score


def test_shares_and_rank():
    gold = [[0, 100], [5000, 5100]]
    assert score.score("d", gold, [(200, 300), (0, 50), (5000, 9000), (50, 100)]) == (0.75, 0.75, 1.0, 1.0, 0.5)
    assert score.score("d", gold, []) == (0, 0, 0, 0, 0)


def test_the_passage_beyond_the_budget_is_cut():
    assert score.first_characters([(10, 20), (30, 50), (60, 70)], 15) == [(10, 20), (30, 35)]
    assert score.score("d", [[2000, 2100]], [(0, 3000)])[0] == pytest.approx(0.48)


def test_text_retrieved_twice_is_one_evidence_and_costs_twice():
    gold = [[0, 1000], [3000, 4000]]
    assert score.score("d", gold, [(0, 1000), (0, 1000), (3000, 4000)])[:2] == (0.524, 1.0)


def test_another_texts_passage_costs_and_covers_nothing():
    assert score.score("d", [[0, 100]], [("e", 0, 2000), ("d", 0, 100)]) == (0.48, 1.0, 1.0, 1.0, 0.5)
    assert score.score("d", [[0, 100]], [("e", 0, 5000), ("d", 0, 100)])[:3] == (0, 0, 1.0)


def test_gold_ranges_that_overlap_are_counted_each():
    assert score.overlap([[0, 10], [5, 10]], [(0, 6)]) == 7


def test_intervals_and_paired_difference():
    rows = {"a": [(0.0,), (0.0,)], "b": [(1.0,)]}
    [(mean, low, high)] = score.intervals(rows)
    assert mean == pytest.approx(100 / 3)
    assert (low, high) == (0, 100)
    assert score.difference(rows, rows) == {"a": [(0.0,), (0.0,)], "b": [(0.0,)]}


def test_the_command_prints_both_runs_and_the_difference(tmp_path):
    split, one, other = tmp_path / "split.jsonl.gz", tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    texts = [
        {"id": "d", "text": "x" * 9000, "queries": [{"qid": "q", "query": "?", "gold": [[0, 100]]}]},
        {"id": "empty", "text": "x", "queries": []},
    ]
    with gzip.open(split, "wt") as lines:
        lines.writelines(json.dumps(text) + "\n" for text in texts)
    one.write_text(json.dumps({"qid": "q", "spans": [[0, 100]]}))
    other.write_text(json.dumps({"qid": "another", "spans": [[0, 100]]}))
    done = CliRunner().invoke(score.main, [str(split), str(one), str(other)], catch_exceptions=False)
    lines = done.output.splitlines()
    assert "ev2k 100.0 [100.0, 100.0]" in lines[0]
    assert "mrr 0.0 [0.0, 0.0]" in lines[1]
    assert lines[2].startswith("difference  ev2k 100.0")
