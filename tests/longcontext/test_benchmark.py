"""The benchmark runs, on a shape too small to say anything."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "longcontext.py"


def test_it_measures_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("longcontext_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "NEW", 4)
    figures = benchmark.measure("tiny", 300)
    assert figures["second_query_context_tokens"] == 0
    assert figures["logits_after_load_off_by"] == 0
    benchmark.show("tiny", 300, figures)
    assert "a second query reads: 0" in capsys.readouterr().out
