"""The benchmark runs, on a shape too small to say anything, and says so where there is no CUDA."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def test_it_measures_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("beacon_benchmark", ROOT / "benchmarks" / "beacon.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    small = {**benchmark.SHAPES["small"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    monkeypatch.setitem(benchmark.SHAPES, "small", small)
    monkeypatch.setattr(benchmark, "WINDOW", 64)
    monkeypatch.setattr(benchmark, "NEW", 4)
    figures = benchmark.measure("small", 300, 4, "cpu", 1, True)
    assert figures["memorize_cpu_s"] > 0
    assert figures["logits_same_largest_difference"] == 0
    assert figures["file_int4_mib"] < figures["file_int8_mib"] < figures["file_same_mib"]
    benchmark.show([figures])
    assert "300 tokens as int4" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_cuda_nothing_is_claimed() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "beacon.py"), "--device", "cuda", "--shape", "qwen2-7b"]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert run.returncode == 2
    assert "nothing was measured" in run.stderr
