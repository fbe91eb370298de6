"""Parity with the original implementation's numbers (Qwen2 and Mistral)."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "goldens"
CASES = sorted(path.stem for path in GOLDENS.glob("*.safetensors"))

spec = importlib.util.spec_from_file_location("goldens", ROOT / "benchmarks" / "goldens.py")
assert spec is not None
assert spec.loader is not None
goldens = importlib.util.module_from_spec(spec)
spec.loader.exec_module(goldens)


def test_all_cases_are_here() -> None:
    assert len(CASES) == 16


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    with torch.inference_mode():
        errors = goldens.check_case(GOLDENS, case)
    assert len(errors) >= 6
    assert max(errors.values()) <= 1e-4, errors


def test_a_wrong_decoder_exits_non_zero(tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    for name in ("q05_short_w64_r16.json", "q05_short_w64_r16.safetensors"):
        shutil.copy(GOLDENS / name, tmp_path)
    shutil.copytree(GOLDENS / "model_qwen2", tmp_path / "model_qwen2")
    weights = tmp_path / "model_qwen2" / "model.safetensors"
    tensors = load_file(weights)
    for name in tensors:
        if "beacon_" in name and "_proj" in name:
            tensors[name] = tensors[name.replace("beacon_", "")].clone()
    save_file(tensors, weights, metadata={"format": "pt"})
    command = [sys.executable, str(ROOT / "benchmarks" / "goldens.py"), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert run.returncode == 1
    assert "OFF" in run.stdout
