"""Ctrl-C during slow work: does the call end within a second?

    python -m tests.faults.interrupted

A language model that takes half a minute is asked by `recall`, `retrieve` and `memorize` in processes of their own, sync
and async, with one prompt and with several under way; each gets SIGINT. Measured is until KeyboardInterrupt comes out of
the call, and until the process is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.synthetic import Extracts, make_documents
from memorag_integrations import GistMemory, LLMMemory, MemoRAG
from memorag_integrations.clues import Completion
from memorag_integrations.contracts import LLM
from memorag_integrations.errors import MemoRAGError

SLOW = 30.0
WINDOW = 3000
"""Tokens, so few that each document has a memory of its own."""
LIMIT = 1.0
CASES = (
    *(f"{call} {memories} 4" for call in ("recall", "retrieve", "arecall", "aretrieve") for memories in (1, 5)),
    *(f"{call} {memories} 4 plain" for call in ("recall", "arecall", "aretrieve") for memories in (1, 5)),
    "memorize 3 1",
    "memorize 3 4",
)
"""Call, memories, prompts under way at most; "plain" for a language model without async calls of its own."""


class Slow(Extracts):
    """Answers after half a minute, once it is told to be slow."""

    slow = False

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        if self.slow:
            print("asked", flush=True)
            time.sleep(SLOW)
        return super().complete(prompt)

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        if self.slow:
            print("asked", flush=True)
            await asyncio.sleep(SLOW)
        return super().complete(prompt)


class Plain(LLM):
    """Without async calls of its own: the contract's run its sync calls in threads."""

    name, context_window = "plain", WINDOW

    def __init__(self) -> None:
        self.behind = Slow(window=WINDOW)

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        return self.behind.complete(prompt)

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        yield self.complete(prompt).text


def begin(case: str, folder: Path) -> None:
    """In a process of its own: the slow call; prints when it is under way, and when it has ended."""
    import random

    call, memories, together, *plain = case.split()
    slow = Slow(window=WINDOW)
    llm: LLM = slow
    if plain:
        llm = Plain()
        slow = llm.behind
    documents = make_documents(random.Random(1), int(memories), 16)
    model = (
        GistMemory(llm, folder=folder / "gists", stretch=600, words=20, reply_tokens=300, together=int(together))
        if "memorize" in call
        else LLMMemory(llm, reply_tokens=300, together=int(together))
    )
    memo = MemoRAG(model)
    if "memorize" not in call:
        memo.memorize(documents, progress=False)
        assert len(memo.corpus.memories) == int(memories)
    slow.slow = True
    work = getattr(memo, call)
    arguments = (documents,) if "memorize" in call else ("Who hid the lantern?",)
    try:
        how = {"progress": False} if "memorize" in call else {}
        if call.startswith("a"):
            asyncio.run(work(*arguments, **how))
        else:
            work(*arguments, **how)
    except KeyboardInterrupt:
        print(f"interrupted {time.monotonic()}", flush=True)
    except MemoRAGError as error:
        print(f"error {type(error).__name__} {time.monotonic()}", flush=True)


def interrupt(case: str) -> tuple[float, float]:
    """Seconds from SIGINT until the call ended, and until the process did."""
    with tempfile.TemporaryDirectory() as folder:
        code = f"import pathlib; from tests.faults.interrupted import begin; begin({case!r}, pathlib.Path({folder!r}))"
        root = str(Path(__file__).resolve().parents[2])
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": root},
        )
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "asked"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        line = "asked"
        while line == "asked":
            line = process.stdout.readline().strip()
        ended = time.monotonic() - begun
        try:
            process.wait(timeout=SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()
        return (ended if line.startswith("interrupted") else SLOW), time.monotonic() - begun


@click.command()
def main() -> None:
    """Print seconds of each case; exit status 1 where any is over one."""
    slow = 0
    for case in CASES:
        ended, gone = interrupt(case)
        slow += ended > LIMIT or gone > 2 * LIMIT
        print(f"{case:<20} the call ended after {ended:5.2f} s, the process after {gone:5.2f} s", flush=True)
    if slow:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
