"""Memorizing is stopped at half, and resumed by another object: is any text given to a model twice?

    python -m tests.faults.resume [--documents 200]

Stopped once by a cancel event and once by SIGKILL. Every text given to an embedder or a language model is noted. A
prompt under way when the process was killed may have to be sent again; anything else is a failure (exit status 1).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import click

from benchmarks.synthetic import Extracts, Words, gists, make_documents
from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import Cancelled


def resumed_after_cancel(folder: Path, documents: list[Document]) -> bool:
    cancel, words, llm = threading.Event(), Words(), Extracts()
    llm.before = lambda prompt: cancel.set() if len(llm.gists) == len(documents) // 2 else None
    memo = MemoRAG(gists(folder / "gists", llm), words)
    try:
        memo.memorize(documents, save_dir=folder / "store", progress=False, cancel=cancel)
    except Cancelled:
        pass
    else:
        print("FAILED: it was not cancelled")
        return False
    before = len(llm.gists)
    other = MemoRAG(gists(folder / "gists", llm), words)
    done = other.memorize(documents, save_dir=folder / "store", progress=False)
    return told_twice("cancelled at half", words.passages, llm.gists, before, done.reused)


def write_until_killed(folder: Path, log: Path, count: int) -> None:
    """In a process of its own: memorize, and note each text given to a model, until the parent kills it."""
    with log.open("a", encoding="utf-8") as notes:

        def note(kind: str, texts: list[str]) -> None:
            for text in texts:
                notes.write(json.dumps([kind, text]) + "\n")
            notes.flush()

        words = Words(lambda texts: note("passage", list(texts)))
        llm = Extracts(before=lambda prompt: note("gist", [prompt]))
        memo = MemoRAG(gists(folder / "gists", llm), words)
        memo.memorize(make_documents(random.Random(5), count), save_dir=folder / "store", progress=False)


def resumed_after_kill(folder: Path, count: int) -> bool:
    log = folder / "log"
    folder.mkdir(parents=True)
    writer = multiprocessing.get_context("spawn").Process(target=write_until_killed, args=(folder, log, count))
    writer.start()
    half = count  # each document has two gists or more
    while writer.is_alive() and (not log.exists() or log.read_text("utf-8").count('["gist"') < half):
        time.sleep(0.005)
    if not writer.is_alive():
        print("FAILED: it ended before it was killed")
        return False
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    noted = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("]")]
    words, llm = Words(), Extracts()
    prompts: list[str] = []
    llm.before = prompts.append
    memo = MemoRAG(gists(folder / "gists", llm), words)
    done = memo.memorize(make_documents(random.Random(5), count), save_dir=folder / "store", progress=False)
    passages = [text for kind, text in noted if kind == "passage"] + words.passages
    asked = [text for kind, text in noted if kind == "gist"] + prompts
    return told_twice("killed at half", passages, asked, len(asked) - len(prompts), done.reused, under_way=1)


def told_twice(title: str, passages: list[str], asked: list[str], before: int, reused: int, under_way: int = 0) -> bool:
    """Print and judge; a prompt under way when the process was killed may have to be sent again."""
    twice = sum(n - 1 for text, n in Counter(passages).items() if n > 1 and not text.startswith("A memory formed over"))
    again = sum(n - 1 for n in Counter(asked).values() if n > 1)
    print(
        f"{title}: {len(passages):,} passages encoded, {twice} of them twice; {len(asked):,} gists asked for, {before:,} of "
        f"them before the stop, {again} twice; {reused} memories taken over"
    )
    return twice == 0 and again <= under_way


@click.command()
@click.option("--documents", default=200, show_default=True)
def main(documents: int) -> None:
    """Print what was given to the models, and end with 1 where anything was given twice."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fine = resumed_after_cancel(folder / "cancelled", make_documents(random.Random(2), documents))
        fine &= resumed_after_kill(folder / "killed", max(4, documents))
    if not fine:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
