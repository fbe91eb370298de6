"""What each memory that asks a language model sends: calls and tokens, counted, for forming and per query.

    python benchmarks/llm_cost.py [--window 32000]

The text is CPython's language reference (`pydoc_data.topics`, one document per topic joined into one); the model is
scripted, with a prefix cache as a provider keeps it, and counts a token as the package estimates it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import AsyncIterator, Iterator

from memorag_integrations.clues import Completion, Usage
from memorag_integrations.contracts import LLM, MemoryModel
from memorag_integrations.documents import Document, Shard
from memorag_integrations.memories.gist import GistMemory
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.memories.recall_cache import CachedMemoryModel
from memorag_integrations.text.tokens import estimate_tokens

QUERIES = [
    "How can an object decide what happens when somebody reads an attribute it does not have?",
    "What must a class offer so that its instances work in a with statement?",
    "Which exceptions end a generator from outside?",
]


class CountingLLM(LLM):
    """Answers from the first lines of its prompt; its prefix cache is that of an unlimited server."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.prompts: list[str] = []

    @property
    def name(self) -> str:
        return "CountingLLM"

    @property
    def context_window(self) -> int | None:
        return self.window

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        shared = max((common(prompt, other) for other in self.prompts), default=0)
        self.prompts.append(prompt)
        lines = [line for line in prompt.splitlines()[1:] if line.strip()]
        quote = " ".join(lines[:12])[:800]
        text = json.dumps({"spans": [lines[0]], "answer": lines[0]}) if '"spans"' in prompt[-3000:] else quote
        cached = estimate_tokens(prompt[:shared])
        return Completion(text, Usage(estimate_tokens(prompt) - cached, cached, estimate_tokens(text), 0.0, 1))

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        yield self.complete(prompt).text

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        yield self.complete(prompt).text


def common(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def main() -> None:
    from pydoc_data.topics import topics  # type: ignore[import-untyped]

    parser = argparse.ArgumentParser()
    parser.add_argument("--window", type=int, default=32_000)
    window = parser.parse_args().window
    shard = Shard((Document("\n\n".join(topics[name] for name in sorted(topics)), "reference"),))
    print(f"{len(shard.text)} characters, about {estimate_tokens(shard.text)} tokens; window {window}")
    print(f"{'memory':12} {'asked':14} {'calls':>6} {'read anew':>10} {'from cache':>11} {'generated':>10}")
    with tempfile.TemporaryDirectory() as folder:
        models: dict[str, MemoryModel] = {
            "llm": LLMMemory(CountingLLM(window)),
            "gist": GistMemory(CountingLLM(window), folder=folder),
        }
        for name, model in models.items():
            cached = CachedMemoryModel(model)
            memory = cached.form(shard)
            row(name, "forming", cached.usage)
            for number, query in enumerate([*QUERIES, QUERIES[0]], 1):
                usage = memory.recall([query], scores=[])[0].usage
                row(name, f"query {number}" if number < 4 else "query 1 again", usage)
        row("gist", "formed again", GistMemory(CountingLLM(window), folder=folder).form(shard).model.usage)


def row(name: str, what: str, usage: Usage) -> None:
    counts = (usage.calls, usage.tokens_read, usage.tokens_cached, usage.tokens_generated)
    print(f"{name:12} {what:14} {counts[0]:6} {counts[1]:10} {counts[2]:11} {counts[3]:10}")


if __name__ == "__main__":
    main()
