"""The benchmark runs, on a shape too small to say anything."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "bge.py"


def test_it_measures_everything(capsys):
    spec = importlib.util.spec_from_file_location("bge_benchmark", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    figures = benchmark.measure("tiny", 2)
    assert figures["encode_passes"] == 2
    assert figures["apart"] < 1e-3, "the two do the same, theirs with weights that were half precision once"
    benchmark.show("tiny", figures)
    assert "encode / embed_queries" in capsys.readouterr().out
    assert benchmark.import_seconds("import memorag_integrations") > 0
