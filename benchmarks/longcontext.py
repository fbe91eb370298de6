"""What a kept cache saves, on random weights: the text read once, three branches over it, loading it again.

    python benchmarks/longcontext.py [--shape tiny|small] [--tokens 4096] [--device cpu|cuda] [--threads 1]

CPU seconds are the process's, all threads together; on CUDA they stand for little, and wall seconds are printed beside.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 1024}
    | {"num_attention_heads": 4, "num_key_value_heads": 2},
    "small": {"hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 1408, "vocab_size": 8192}
    | {"num_attention_heads": 8, "num_key_value_heads": 2},
}
PROMPT, NEW, BRANCHES = 200, 64, 3


def seconds(work: Callable[[], Any], device: str) -> tuple[Any, float, float]:
    """What `work` gives, its CPU seconds and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = work()
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
    return found, time.process_time() - cpu, time.perf_counter() - wall


@contextmanager
def fed(model: Any) -> Iterator[list[int]]:
    """Tokens of every pass through the model."""
    seen: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda m, given, made: seen.append(given[0].numel()))
    yield seen
    hook.remove()


def measure(shape: str, tokens: int, device: str = "cpu", threads: int = 1) -> dict[str, float]:
    """All figures, by name."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from memorag_integrations.decoding import storage
    from memorag_integrations.decoding.attention import register
    from memorag_integrations.decoding.cache import GrowingCache
    from memorag_integrations.decoding.causal import CausalDecoder, PrefixBranches

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    window = tokens + PROMPT + NEW
    config = Qwen2Config(**SHAPES[shape], max_position_embeddings=window, tie_word_embeddings=False)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_config(config, attn_implementation=register(), dtype=dtype).to(device)
    decoder = CausalDecoder(model, window)
    ids = torch.randint(0, config.vocab_size, (tokens,)).tolist()
    prompts = [torch.randint(0, config.vocab_size, (PROMPT,)).tolist() for _ in range(BRANCHES)]

    def read() -> Any:
        cache = GrowingCache(decoder.layers, room=tokens)
        for _ in decoder.read(cache, ids):
            pass
        return cache.entries()

    def write(entries: Any, asked: list[list[int]]) -> PrefixBranches:
        branches = PrefixBranches(decoder, entries, len(asked))
        logits = branches.feed(asked)
        for _ in range(NEW):
            logits = branches.feed([[int(row.argmax())] for row in logits if row is not None])
        return branches

    write(read(), prompts[:1])  # The first of a shape costs more: kernels are compiled.
    figures: dict[str, float] = {}
    entries, figures["read_cpu_s"], figures["read_wall_s"] = seconds(read, device)
    with fed(model) as seen:
        write(entries, prompts[:1])
        seen.clear()
        write(entries, prompts[1:2])
    figures["second_query_context_tokens"] = sum(seen) - PROMPT - NEW
    branches, figures["together_cpu_s"], figures["together_wall_s"] = seconds(lambda: write(entries, prompts), device)
    figures["own_mib"], figures["copied_mib"] = branches.nbytes / 2**20, branches.copied / 2**20
    _, figures["in_turn_cpu_s"], figures["in_turn_wall_s"] = seconds(
        lambda: [write(entries, [prompt]) for prompt in prompts], device
    )
    _, figures["anew_cpu_s"], figures["anew_wall_s"] = seconds(
        lambda: [write(read(), [prompt]) for prompt in prompts], device
    )
    figures["memory_mib"] = sum(tensor.nbytes for pair in entries for tensor in pair) / 2**20
    exact = PrefixBranches(decoder, entries, 1).feed(prompts[:1])[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory"
        _, figures["save_cpu_s"], figures["save_wall_s"] = seconds(
            lambda: storage.save(path, entries, "same", "benchmark", {}, layout={}), device
        )

        def load() -> Any:
            manifest = storage.read_manifest(path)
            storage.check_size(path, manifest)
            return storage.load(path, manifest, dtype, torch.device(device))

        loaded, figures["load_cpu_s"], figures["load_wall_s"] = seconds(load, device)
        again, figures["first_prompt_cpu_s"], figures["first_prompt_wall_s"] = seconds(
            lambda: PrefixBranches(decoder, loaded, 1).feed(prompts[:1])[0], device
        )
        assert exact is not None
        figures["logits_after_load_off_by"] = float((again - exact).abs().max())
    return figures


def show(shape: str, tokens: int, figures: dict[str, float]) -> None:
    f = figures

    def ratio(one: str, other: str) -> str:
        cpu, wall = f[f"{one}_cpu_s"] / f[f"{other}_cpu_s"], f[f"{one}_wall_s"] / f[f"{other}_wall_s"]
        return f"{cpu:.3g} in CPU seconds, {wall:.3g} in wall seconds"

    print(f"{shape}, {tokens:,} tokens, {f['memory_mib']:.1f} MiB of keys and values, load {os.getloadavg()[0]:.1f}")
    print(f"context tokens that a second query reads: {f['second_query_context_tokens']:.0f}")
    print(f"three branches / three prompts in turn over the cache: {ratio('together', 'in_turn')}")
    print(f"three branches / three prompts that read the text anew: {ratio('together', 'anew')}")
    print(f"the branches' own entries: {f['own_mib']:.2f} MiB; moved as they grew: {f['copied_mib']:.2f} MiB")
    print(f"reading / loading (the file is mapped, page cache warm): {ratio('read', 'load')}")
    loaded = {kind: f[f"load_{kind}"] + f[f"first_prompt_{kind}"] for kind in ("cpu_s", "wall_s")}
    anew = {kind: f[f"read_{kind}"] + f[f"first_prompt_{kind}"] for kind in ("cpu_s", "wall_s")}
    print(
        f"reading and a first prompt / loading and a first prompt: {anew['cpu_s'] / loaded['cpu_s']:.3g} in CPU seconds, "
        f"{anew['wall_s'] / loaded['wall_s']:.3g} in wall seconds"
    )
    print(f"logits after loading off by at most {f['logits_after_load_off_by']:.1e}")
    print("CPU s:", ", ".join(f"{k.removesuffix('_cpu_s')} {v:.3f}" for k, v in f.items() if k.endswith("_cpu_s")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            print("No CUDA device at hand: nothing was measured.", file=sys.stderr)
            return 2
    show(options.shape, options.tokens, measure(options.shape, options.tokens, options.device, options.threads))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
