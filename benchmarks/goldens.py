"""Check a folder of golden cases (its FORMAT.md): prints the largest error of each, exits 1 if one is off.

python benchmarks/goldens.py DIR
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from memorag_integrations.beacon.checkpoint import load_decoder
from memorag_integrations.beacon.decoder import BeaconDecoder, BeaconState
from memorag_integrations.beacon.rope import rotate, turns

TOLERANCE = 1e-4
STEPS = 24


def check_case(folder: Path, name: str) -> dict[str, float]:
    """Largest absolute error of each golden tensor; the ids' is 0 where all agree, else infinite."""
    case = json.loads((folder / f"{name}.json").read_text())
    golden = load_file(folder / f"{name}.safetensors")
    decoder = load_decoder(folder / case["checkpoint"], dtype=torch.float32)
    overrides = case["overrides"]
    decoder.settings = replace(
        decoder.settings,
        window=overrides["beacon_window"],
        ratios=tuple(overrides["beacon_ratio"]),
        mix=overrides["beacon_ratio_mix"],
    )
    state = decoder.start(batch=case["batch"])
    errors: dict[str, float] = {}
    hidden = decoder.feed(state, golden["context_ids"])
    errors["memorize_logits"] = _error(decoder.logits(hidden), golden["memorize_logits"])
    _compare_memory(decoder, state, golden, "mem", errors)
    if "prompt_ids" in golden:
        hidden = decoder.feed(state, golden["prompt_ids"])
        errors["prompt_logits"] = _error(decoder.logits(hidden), golden["prompt_logits"])
        _compare_memory(decoder, state, golden, "after_prompt", errors)
    last = decoder.logits(hidden[:, -1])
    errors["next_token_logits"] = _error(last, golden["next_token_logits"])
    ids, steps = [], []
    for _ in range(STEPS):
        ids.append(last.argmax(-1, keepdim=True))
        last = decoder.logits(decoder.feed(state, ids[-1])[:, -1])
        steps.append(last)
    errors["decode_logits"] = _error(torch.stack(steps, 1), golden["decode_logits"])
    _compare_memory(decoder, state, golden, "after_decode", errors)
    errors["continuation_ids"] = 0.0 if torch.equal(torch.cat(ids, 1), golden["continuation_ids"]) else float("inf")
    return errors


def _compare_memory(
    decoder: BeaconDecoder, state: BeaconState, golden: dict[str, Tensor], stage: str, errors: dict[str, float]
) -> None:
    memory, held = state.layout.memory, state.cache.length
    for part, low, high in (("beacon", 0, memory), ("raw", memory, held)):
        name = f"{stage}_{part}"
        if f"{name}_keys" in golden:
            turn = turns(torch.arange(low, high), decoder.frequencies)
            expected = {"keys": rotate(golden[f"{name}_keys"], turn), "values": golden[f"{name}_values"]}
            for which, tensors in zip(expected, zip(*state.cache.entries(), strict=True), strict=True):
                found = torch.stack([tensor[:, :, low:high] for tensor in tensors])
                errors[f"{name}_{which}"] = _error(found, expected[which])
    flags = golden.get(f"{stage}_raw_is_beacon")
    if flags is not None:
        same = torch.nonzero(flags).flatten().tolist() == list(state.layout.open.positions())
        errors[f"{stage}_raw_is_beacon"] = 0.0 if same and len(flags) == held - memory else float("inf")


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max()) if found.shape == expected.shape else float("inf")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    names = sorted(path.stem for path in folder.glob("*.json") if path.with_suffix(".safetensors").exists())
    if not names:
        print(f"No golden cases (NAME.json with NAME.safetensors) in {folder}.", file=sys.stderr)
        return 2
    off = 0
    for name in names:
        errors: dict[str, Any] = check_case(folder, name)
        worst = max(errors, key=lambda key: errors[key])
        good = errors[worst] <= TOLERANCE
        off += not good
        print(
            f"{'ok ' if good else 'OFF'} {name:36} largest error {errors[worst]:.2e} ({worst}; {len(errors)} compared)"
        )
    print(f"{len(names) - off} of {len(names)} cases within {TOLERANCE:g}")
    return 1 if off else 0


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    raise SystemExit(main(sys.argv[1:]))
