"""Speed and memory of the beacon memory, on random weights.

    python benchmarks/beacon.py [--device cpu|cuda] [--shape small|qwen2-7b] [--tokens 8192 16384 32768] [--ratio 4]

Every length runs in a process of its own, so that its peak memory is its own. Prints a table, and JSON with --json.
CPU seconds are the process's, all threads together. Threads that wait for one another sleep (OMP_WAIT_POLICY=passive),
since on a busy machine the time they spin would count as work; --spin leaves OpenMP's own way.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 512,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "num_hidden_layers": 8,
        "intermediate_size": 1408,
        "vocab_size": 8192,
        "max_position_embeddings": 16384,
        "dtype": "float32",
    },
    "qwen2-7b": {
        "hidden_size": 3584,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "num_hidden_layers": 28,
        "intermediate_size": 18944,
        "vocab_size": 152064,
        "max_position_embeddings": 131072,
        "dtype": "bfloat16",
    },
}
FLOOR = {"cpu": 64e9, "cuda": 790e12}
"""Operations per CPU second (the issue's plain float32 product) and per second (the H200's bf16)."""
PROMPT, NEW = 200, 64
BRANCHES = 3
WINDOW = 2048


class Clock:
    """Wall and CPU seconds of what runs inside `timed`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.figures: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        self._wait()
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._wait()
        self.figures[f"{name}_wall_s"] = time.perf_counter() - wall
        self.figures[f"{name}_cpu_s"] = time.process_time() - cpu

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()


def measure(shape: str, tokens: int, ratio: int, device: str, threads: int, effects: bool) -> dict[str, Any]:
    """All figures of one length."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    decoder = random_decoder(shape, device)
    clock = Clock(device)
    ids = torch.randint(0, SHAPES[shape]["vocab_size"], (1, tokens))
    warm_up(decoder, ids)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    state = decoder.start((ratio,))
    with clock.timed("memorize"):
        state.cache.reserve(state.layout.peak_positions(tokens))
        decoder.feed(state, ids)
    figures = clock.figures
    figures["memorize_peak_mib"] = peak_mib(device)
    figures["memory_mib"] = sum(k.nbytes + v.nbytes for k, v in state.cache.entries()) / 2**20
    figures["moved_by_growing_mib"] = state.cache.copied / 2**20
    figures |= asked(decoder, state, clock)
    figures |= kept(decoder, state, clock, effects)
    operations = sum(size_of(shape).operations(tokens, ratio))
    figures["tflop"] = operations / 1e12
    kind = "cuda" if device.startswith("cuda") else "cpu"
    spent = figures["memorize_wall_s" if kind == "cuda" else "memorize_cpu_s"]
    figures["floor_s"] = operations / FLOOR[kind]
    figures["share_of_floor"] = figures["floor_s"] / spent
    figures["memorize_tokens_per_s"] = tokens / figures["memorize_wall_s"]
    figures["peak_mib"] = peak_mib(device)
    return {"shape": shape, "tokens": tokens, "ratio": ratio, "device": device, "threads": threads, **figures}


def size_of(shape: str) -> Any:
    from memorag_integrations.beacon.size import Shape

    return Shape.from_config(SHAPES[shape])


def random_decoder(shape: str, device: str) -> Any:
    """A Qwen2 of this shape with random weights; its beacons start as copies."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from memorag_integrations.beacon.decoder import BeaconDecoder
    from memorag_integrations.beacon.settings import BeaconSettings
    from memorag_integrations.decoding.attention import register

    numbers = {key: value for key, value in SHAPES[shape].items() if key != "dtype"}
    config = Qwen2Config(**numbers, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, SHAPES[shape]["dtype"]), attn_implementation=register()
        )
    return BeaconDecoder(model, BeaconSettings(window=WINDOW))


def warm_up(decoder: Any, ids: Any) -> None:
    """First calls compile kernels and take memory."""
    decoder.feed(decoder.start(), ids[:, : WINDOW + 64])


def asked(decoder: Any, state: Any, clock: Clock) -> dict[str, float]:
    """Decoding, and branches together against prompts one after another; same tokens fed to both."""
    import torch

    from memorag_integrations.beacon.branching import BeaconBranches

    prompts = torch.randint(0, decoder.beacon_token, (BRANCHES, PROMPT)).tolist()

    def write(prompts: list[list[int]], name: str) -> BeaconBranches:
        branches = BeaconBranches(decoder, state.layout, state.cache.entries(), len(prompts))
        with clock.timed(f"{name}_prompt"):
            logits = branches.feed(prompts)
        with clock.timed(f"{name}_decode"):
            for _ in range(NEW):
                logits = branches.feed([[int(row.argmax())] for row in logits])
        return branches

    with clock.timed("together"):
        branches = write(prompts, "together")
    with clock.timed("one_by_one"):
        for prompt in prompts:
            write([prompt], "alone")
    figures = clock.figures
    return {
        "branches_own_mib": branches.nbytes / 2**20,
        "decode_tokens_per_s": NEW / figures["alone_decode_wall_s"],
        "together_over_one_by_one_wall": figures["together_wall_s"] / figures["one_by_one_wall_s"],
        "together_over_one_by_one_cpu": figures["together_cpu_s"] / figures["one_by_one_cpu_s"],
    }


def kept(decoder: Any, state: Any, clock: Clock, effects: bool) -> dict[str, float]:
    """Saving and loading (page cache warm), and what smaller storage does to the next token's logits."""
    import torch

    from memorag_integrations.beacon.branching import BeaconBranches
    from memorag_integrations.beacon.layout import Layout
    from memorag_integrations.decoding import storage

    entries, figures = state.cache.entries(), clock.figures
    dtype, device = entries[0][0].dtype, entries[0][0].device
    probe = torch.randint(0, decoder.beacon_token, (PROMPT,)).tolist()

    def next_logits(layout: Any, entries: Any) -> torch.Tensor:
        logits = BeaconBranches(decoder, layout, entries, 1).feed([probe])[0]
        assert logits is not None
        return logits.cpu()

    exact = next_logits(state.layout, entries)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("same", "bfloat16", "int8", "int4") if effects else ("same",):
            path = Path(folder) / kind
            with clock.timed(f"save_{kind}"):
                numbers, left = state.layout.to_json(), state.layout.entries - state.layout.memory
                storage.save(path, entries, kind, "benchmark", {}, layout=numbers, open_entries=left)
            with clock.timed(f"load_{kind}"):
                manifest = storage.read_manifest(path)
                storage.check_size(path, manifest)
                layout = Layout.from_json(manifest["layout"])
                loaded = storage.load(path, manifest, dtype, device)
            figures[f"file_{kind}_mib"] = sum(file.stat().st_size for file in path.iterdir()) / 2**20
            with clock.timed(f"first_{kind}"):
                found = next_logits(layout, loaded)
            difference = (found - exact).abs()
            logs, exact_logs = found.double().log_softmax(-1), exact.double().log_softmax(-1)
            figures[f"logits_{kind}_largest_difference"] = float(difference.max())
            figures[f"logits_{kind}_kl_nats"] = float((exact_logs.exp() * (exact_logs - logs)).sum())
            figures[f"logits_{kind}_same_first"] = float(found.argmax() == exact.argmax())
            del loaded
    figures["memorize_over_load"] = figures["memorize_wall_s"] / figures["load_same_wall_s"]
    figures["logits_spread"] = float(exact.std())
    return {}


def peak_mib(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


TABLE: list[tuple[str, str, Callable[[dict[str, Any]], str]]] = [
    ("tokens", "", lambda f: f"{f['tokens']:,}"),
    ("ratio", "", lambda f: str(f["ratio"])),
    ("memorize", "CPU s", lambda f: f"{f['memorize_cpu_s']:.1f}"),
    ("memorize", "wall s", lambda f: f"{f['memorize_wall_s']:.1f}"),
    ("memorize", "tokens/s", lambda f: f"{f['memorize_tokens_per_s']:,.0f}"),
    ("floor", "s", lambda f: f"{f['floor_s']:.1f}"),
    ("share", "of floor", lambda f: f"{f['share_of_floor']:.2f}"),
    ("peak", "MiB", lambda f: f"{f['memorize_peak_mib']:,.0f}"),
    ("memory", "MiB", lambda f: f"{f['memory_mib']:,.1f}"),
    ("decode 64", "CPU s", lambda f: f"{f['alone_decode_cpu_s']:.2f}"),
    ("decode", "tokens/s", lambda f: f"{f['decode_tokens_per_s']:.1f}"),
    ("3 clues", "wall s", lambda f: f"{f['together_wall_s']:.2f}"),
    ("together", "/ in turn", lambda f: f"{f['together_over_one_by_one_cpu']:.2f}"),
    ("own", "MiB", lambda f: f"{f['branches_own_mib']:.1f}"),
    ("save", "s", lambda f: f"{f['save_same_wall_s']:.2f}"),
    ("load", "s", lambda f: f"{f['load_same_wall_s']:.3f}"),
    ("memorize", "/ load", lambda f: f"{f['memorize_over_load']:,.0f}"),
]


def show(results: list[dict[str, Any]]) -> None:
    rows = [[head for head, _, _ in TABLE], [unit for _, unit, _ in TABLE]]
    rows += [[cell(figures) for _, _, cell in TABLE] for figures in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(TABLE))]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for figures in results:
        for kind in ("bfloat16", "int8", "int4"):
            if f"file_{kind}_mib" in figures:
                print(
                    f"{figures['tokens']:,} tokens as {kind}: {figures[f'file_{kind}_mib']:.1f} MiB, next-token logits "
                    f"off by at most {figures[f'logits_{kind}_largest_difference']:.2e} (their deviation is "
                    f"{figures['logits_spread']:.2f}), KL {figures[f'logits_{kind}_kl_nats']:.1e} nats, "
                    f"{'same' if figures[f'logits_{kind}_same_first'] else 'another'} first token"
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, nargs="+")
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--spin", action="store_true", help="let waiting threads spin, as OpenMP does by itself")
    parser.add_argument(
        "--effects", action="store_true", help="also store in bfloat16, int8 and int4, and compare logits"
    )
    parser.add_argument("--without-onednn", action="store_true", help="products by what torch takes itself (MKL)")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    lengths = options.tokens or ([8192, 16384, 32768] if options.shape == "small" else [200_000, 400_000])
    if options.child:
        if options.without_onednn:
            from memorag_integrations.decoding import onednn as matmul

            matmul.available = lambda: False  # type: ignore[assignment]
        figures = measure(options.shape, lengths[0], options.ratio, options.device, options.threads, options.effects)
        print(json.dumps(figures))
        return 0
    if options.device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            print("No CUDA device at hand: nothing was measured.", file=sys.stderr)
            return 2
    environment = {**os.environ, **({} if options.spin else {"OMP_WAIT_POLICY": "passive"})}
    results = []
    for tokens in lengths:
        command = [sys.executable, __file__, "--child", "--device", options.device, "--shape", options.shape]
        command += ["--tokens", str(tokens), "--ratio", str(options.ratio), "--threads", str(options.threads)]
        command += ["--effects"] * options.effects + ["--without-onednn"] * options.without_onednn
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        if run.returncode:
            return run.returncode
        results.append(json.loads(run.stdout.splitlines()[-1]))
        results[-1]["load_average"] = os.getloadavg()[0]
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
