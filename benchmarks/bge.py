"""What FlagEmbedding's `encode` adds to a single query, on random weights in BGE-M3's layout.

    python benchmarks/bge.py [--shape tiny|small] [--queries 50] [--threads 1]

The same texts go to `BGEM3FlagModel.encode([query])` as it comes and to `BGEM3Embedder.embed_queries([query])`, in turn, and
the medians are compared (theirs loads its weights in half precision by default, even for a CPU, which runs them in
single precision: hence the small distance of the vectors); then 30 passages to `FlagReranker.compute_score` and to `CrossEncoderReranker.rerank`. Imports are
timed apart, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "small": {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 12},
}
WORDS = "the keeper of lamp harbour board sold boat reef winter oil tower apple flood gauge mill river bread oven canal"
CANDIDATES = 30


def make(folder: Path, shape: str, *, scores: bool) -> Path:
    """A checkpoint with a tokenizer of whole words; `scores` for a cross-encoder."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel, XLMRobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, *(f"▁{word}" for word in WORDS.split()), "<mask>"]
    tokenizer = XLMRobertaTokenizer(vocab=[(piece, -1.0) for piece in pieces], model_max_length=8192)
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=8194, type_vocab_size=1, num_labels=1, **SHAPES[shape]
    )
    model = (XLMRobertaForSequenceClassification if scores else XLMRobertaModel)(config)
    model.save_pretrained(folder)
    if not scores:
        torch.save(torch.nn.Linear(config.hidden_size, config.hidden_size).state_dict(), folder / "colbert_linear.pt")
        torch.save(torch.nn.Linear(config.hidden_size, 1).state_dict(), folder / "sparse_linear.pt")
    return folder


def texts(count: int, words: int) -> list[str]:
    """Texts of so many words, each another."""
    every = WORDS.split()
    return [" ".join(every[(i * 7 + j * (i + 1)) % len(every)] for j in range(words)) for i in range(count)]


def in_turn(calls: Sequence[Callable[[str], Any]], given: Sequence[str]) -> list[float]:
    """Median wall seconds of each call, taken in turn text by text, so that what else runs here meets all alike."""
    taken: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call(given[0])
    for text in given:
        for call, seconds in zip(calls, taken, strict=True):
            began = time.perf_counter()
            call(text)
            seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in taken]


def import_seconds(statement: str) -> float:
    """Wall seconds of an import in a fresh process, the interpreter's own start left out."""
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def measure(shape: str, queries: int, threads: int = 1) -> dict[str, float]:
    """All figures, by name."""
    import torch
    from FlagEmbedding import BGEM3FlagModel, FlagReranker

    from memorag_integrations import BGEM3Embedder, CrossEncoderReranker

    torch.set_num_threads(threads)
    asked, passages = texts(queries, 12), texts(CANDIDATES, 200)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        m3 = make(Path(folder) / "m3", shape, scores=False)
        passes = [0]
        theirs, ours = BGEM3FlagModel(str(m3), devices=["cpu"]), BGEM3Embedder(str(m3), device="cpu")
        embed = [lambda text: theirs.encode([text])["dense_vecs"], lambda text: ours.embed_queries([text])]
        figures["apart"] = max(float(abs(embed[0](text) - embed[1](text)).max()) for text in asked[:10])
        theirs.model.model.register_forward_pre_hook(lambda *_: passes.__setitem__(0, passes[0] + 1))
        embed[0](asked[0])
        figures["encode_passes"] = passes[0]
        figures["encode_s"], figures["embed_s"] = in_turn(embed, asked)
        cross = make(Path(folder) / "cross", shape, scores=True)
        scorer, reranker = FlagReranker(str(cross), devices=["cpu"]), CrossEncoderReranker(str(cross), device="cpu")
        rerank = [
            lambda text: scorer.compute_score([(text, passage) for passage in passages]),
            lambda text: reranker.rerank(text, passages),
        ]
        figures["compute_score_s"], figures["rerank_s"] = in_turn(rerank, asked[: max(3, queries // 10)])
    return figures


def show(shape: str, figures: dict[str, float]) -> None:
    f = figures
    print(f"{shape}, load {os.getloadavg()[0]:.1f}")
    print(f"passes through the model for one query by BGEM3FlagModel.encode: {f['encode_passes']:.0f}")
    print(f"one query, ms: encode {1e3 * f['encode_s']:.2f}, embed_queries {1e3 * f['embed_s']:.2f}")
    print(f"encode / embed_queries: {f['encode_s'] / f['embed_s']:.2f}; vectors apart by at most {f['apart']:.1e}")
    print(
        f"{CANDIDATES} passages reread, ms: compute_score {1e3 * f['compute_score_s']:.1f}, rerank {1e3 * f['rerank_s']:.1f}; "
        f"compute_score / rerank: {f['compute_score_s'] / f['rerank_s']:.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for statement in (
        "import memorag_integrations",
        "from memorag_integrations import BGEM3Embedder; BGEM3Embedder('owner/name')",
        "from FlagEmbedding import BGEM3FlagModel",
    ):
        print(f"{import_seconds(statement):6.3f} s: {statement}")
    show(options.shape, measure(options.shape, options.queries, options.threads))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
