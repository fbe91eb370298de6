"""How long the event loop stands still while many recalls run: the largest gap between two ticks of a task.

    python benchmarks/event_loop.py [--queries 200] [--documents 40] [--characters 5000] [--reply 12000] [--recall]

The documents are parts of CPython's language reference (`pydoc_data.topics`). The language model is scripted and awaits
50 ms; its replies, of 12,000 characters, hold long spans of the text in which words are dropped and others swapped, so
that each has to be aligned. All queries are put at once. The idle baseline is taken before and after in the same run,
with the same ticking task. On a machine that is busy with other programs an idle loop is served at once and a working
one is not: the last line but one says what a single thread of plain Python costs there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import threading
import time
from collections.abc import AsyncIterator, Iterator

from memorag_integrations import Document, LLMMemory, MemoRAG
from memorag_integrations.clues import Completion, Usage
from memorag_integrations.contracts import LLM

TICK = 0.002


class VerboseLLM(LLM):
    """Gives replies that were written before, after a wait that leaves the event loop free."""

    def __init__(self, replies: list[str]) -> None:
        self.calls = 0
        self.replies = replies

    @property
    def name(self) -> str:
        return "VerboseLLM"

    @property
    def context_window(self) -> int | None:
        return 32_000

    def _write(self, prompt: str) -> Completion:
        self.calls += 1
        text = self.replies[self.calls % len(self.replies)]
        return Completion(text, Usage(len(prompt) // 4, 0, len(text) // 4, 0.05, 1))

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        time.sleep(0.05)
        return self._write(prompt)

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        await asyncio.sleep(0.05)
        return self._write(prompt)

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        yield self.complete(prompt).text

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        yield (await self.acomplete(prompt)).text


def reply(text: str, characters: int, rng: random.Random) -> str:
    """A reply of about so many characters: spans of `text` in which words are dropped and others swapped."""
    each = characters // 8
    spans = []
    for _ in range(6):
        start = rng.randrange(max(1, len(text) - 2 * each))
        words = text[start : start + each * 4 // 3].split()
        spans.append(" ".join(rng.choice(words) if rng.random() < 0.1 else w for w in words if rng.random() > 0.2))
    questions = [f"What is said of {' '.join(rng.sample(text.split(), 30))}?" for _ in range(3)]
    return json.dumps({"spans": spans, "questions": questions, "answer": spans[0][:each]})


class Ticks:
    """Counts how late a task is that wants to run every `TICK` seconds."""

    def __init__(self) -> None:
        self.gaps: list[float] = []

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.gaps.append(now - last - TICK)
            last = now

    def line(self, name: str) -> str:
        gaps = sorted(self.gaps)
        cuts = [1000 * gaps[min(len(gaps) - 1, int(share * len(gaps)))] for share in (0.5, 0.99, 0.999)]
        return (
            f"{name:24} {len(gaps):7} ticks; late by ms: median {cuts[0]:.1f}, 99% {cuts[1]:.1f}, "
            f"99.9% {cuts[2]:.1f}, largest {1000 * gaps[-1]:.1f}"
        )


async def idle(seconds: float) -> Ticks:
    ticks = Ticks()
    task = asyncio.create_task(ticks.run())
    await asyncio.sleep(seconds)
    task.cancel()
    return ticks


async def beside_a_thread(seconds: float) -> Ticks:
    """What one thread of plain Python costs a loop that has nothing to do: no library can be better while it works."""
    ends = time.perf_counter() + seconds

    def spin() -> None:
        while time.perf_counter() < ends:
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    ticks = await idle(seconds)
    thread.join()
    return ticks


async def measure(memo: MemoRAG, queries: list[str], recall: bool) -> tuple[Ticks, float]:
    ticks = Ticks()
    task = asyncio.create_task(ticks.run())
    began = time.perf_counter()
    await asyncio.gather(*(memo.arecall(query) if recall else memo.aretrieve(query) for query in queries))
    seconds = time.perf_counter() - began
    task.cancel()
    return ticks, seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--characters", type=int, default=5_000, help="of a document")
    parser.add_argument("--reply", type=int, default=12_000, help="characters of a reply")
    parser.add_argument("--recall", action="store_true", help="arecall in the place of aretrieve")
    args = parser.parse_args()
    from pydoc_data.topics import topics  # type: ignore[import-untyped]

    text = "\n\n".join(topics[name] for name in sorted(topics))
    step = max(1, (len(text) - args.characters) // args.documents)
    documents = [Document(text[i * step :][: args.characters], f"part-{i}") for i in range(args.documents)]
    rng = random.Random(0)
    replies = [reply(documents[i % len(documents)].text, args.reply, rng) for i in range(5 * len(documents))]
    llm = VerboseLLM(replies)
    memo = MemoRAG(LLMMemory(llm), embedder=None)
    memo.memorize(documents, progress=False)
    words = text.split()
    queries = [f"What about {' '.join(rng.sample(words, 5))}?" for _ in range(args.queries)]
    before = asyncio.run(idle(3))
    processor = time.process_time()
    ticks, seconds = asyncio.run(measure(memo, queries, args.recall))
    processor = time.process_time() - processor
    after = asyncio.run(idle(3))
    thread = asyncio.run(beside_a_thread(20))
    name = "arecall" if args.recall else "aretrieve"
    print(before.line("idle, before"))
    print(ticks.line(f"{args.queries} x {name}"))
    print(after.line("idle, after"))
    print(thread.line("idle, a thread spins"))
    baseline = max(*before.gaps, *after.gaps)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{llm.calls} replies in {seconds:.1f} s, {processor:.1f} s of processor time, {memory} MB at most; "
        f"largest gap above idle: {1000 * (max(ticks.gaps) - baseline):.0f} ms"
    )


if __name__ == "__main__":
    main()
