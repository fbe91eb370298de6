"""Parity with the original implementation's numbers (Qwen2 and Mistral)."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from memorag_integrations.beacon.branching import BeaconBranches
from memorag_integrations.beacon.checkpoint import load_decoder
from memorag_integrations.decoding import attention
from memorag_integrations.decoding import onednn as matmul

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


@pytest.mark.parametrize("kernel", ["torch", "plain"])
@pytest.mark.parametrize(
    "case", ["q07_two_call_cross_w32_r8", "m02_three_windows_w64_r4", "q09_step_random_w32_r2_4_8"]
)
def test_golden_with_the_other_kernels(case: str, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "available", lambda: False)
    if kernel == "plain":
        monkeypatch.setattr(attention, "_kernel", attention._plain_kernel)
    with torch.inference_mode():
        assert max(goldens.check_case(GOLDENS, case).values()) <= 1e-4


@pytest.mark.parametrize("case", [c for c in CASES if ("two_call" in c and "batch" not in c) or "fills" in c])
def test_golden_on_branches(case: str) -> None:
    """The prompt and the generated tokens on branches, one of them the golden's, the others in its way."""
    data = json.loads((GOLDENS / f"{case}.json").read_text())
    golden = load_file(GOLDENS / f"{case}.safetensors")
    decoder = load_decoder(GOLDENS / data["checkpoint"], dtype=torch.float32)
    overrides = data["overrides"]
    decoder.settings = replace(decoder.settings, window=overrides["beacon_window"])
    state = decoder.start(tuple(overrides["beacon_ratio"]))
    decoder.feed(state, golden["context_ids"])
    branches = BeaconBranches(decoder, state.layout, state.cache.entries(), 3)
    prompt = golden["prompt_ids"][0].tolist()
    logits = branches.feed([[7] * 30, prompt, [9]])[1]
    assert logits is not None
    torch.testing.assert_close(logits, golden["next_token_logits"][0], atol=1e-4, rtol=0)
    for expected, token in zip(golden["decode_logits"][0], golden["continuation_ids"][0].tolist(), strict=True):
        assert int(logits.argmax()) == token
        found = branches.feed([[3], [token], [token, 5]])[1]
        assert found is not None
        logits = found
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
