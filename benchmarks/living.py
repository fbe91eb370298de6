"""What a change costs: counted, and timed against doing it all again.

    python benchmarks/living.py [--documents 1000] [--sizes 1 --sizes 100 --sizes 5000] [--embedder words|none|minilm]

1. --documents documents in a store, one changed, --repeats times: passages encoded, milliseconds, against memorizing all
   into a new store; the ratio of the medians.
2. For each of --sizes: a change of one, retrieval (median and 95th percentile of 40 queries), shards asked a query, and the
   resident memory of a process that opened the store.

Texts are made from a seed. Exit code 1 where something was encoded that had not changed.
`python -m tests.faults.resume` stops and resumes the work.
"""

import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from synthetic import Words, make_documents, make_text

from memorag_integrations import Document, MemoRAG
from memorag_integrations.contracts import Embedder

QUERIES = 40


def embedder_of(name: str) -> Embedder | str | None:
    return {"none": None, "words": Words()}.get(name, name)


def timed(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def one_changed(folder: Path, documents: list[Document], name: str, repeats: int) -> bool:
    chance, encoded, changes, anew = random.Random(1), [], [], []
    with MemoRAG.open(folder / "store", embedder=embedder_of(name)) as memo:
        memo.add(documents, progress=False)
        for turn in range(repeats):
            changed = Document(make_text(chance, 6), documents[turn * 7 % len(documents)].id)
            begun = time.perf_counter()
            done = memo.replace(changed, progress=False)
            changes.append(time.perf_counter() - begun)
            encoded.append((done.encoded, done.indexed, done.formed))
            expected = len(memo.corpus.entries[changed.id].passages)
            if done.indexed != expected or done.encoded not in (0, expected) or done.formed != 1:
                print(f"FAILED: {done} for {expected} passages")
                return False
        for turn in range(min(3, repeats)):
            fresh = MemoRAG(embedder=embedder_of(name))
            target = folder / f"anew {turn}"
            anew.append(
                timed(lambda fresh=fresh, target=target: fresh.memorize(documents, save_dir=target, progress=False))
            )
    change, whole = statistics.median(changes), statistics.median(anew)
    print(
        f"{len(documents):,} documents, embedder {name}: one changed: {encoded[0][0]} passages encoded, {encoded[0][1]} indexed, "
        f"{encoded[0][2]} memory formed, {1000 * change:.1f} ms; all anew {whole:.2f} s: ratio {whole / change:.0f}"
    )
    return True


def measure(folder: Path, size: int, name: str, out: "multiprocessing.Queue[dict]") -> None:
    """In a process of its own, so that the memory is its own."""
    chance = random.Random(size)
    with MemoRAG.open(folder, embedder=embedder_of(name)) as memo:
        asked = []
        route = type(memo.corpus).route

        def counted(corpus, scores, most, model):
            parts = route(corpus, scores, most, model)
            asked.append(len(parts))
            return parts

        type(memo.corpus).route = counted  # type: ignore[method-assign]
        queries = [make_text(chance, 1).split(". ")[0] + "?" for _ in range(QUERIES)]
        memo.retrieve(queries[0])
        seconds = [timed(lambda query=query: memo.retrieve(query)) for query in queries]
        changes = [
            timed(lambda n=n: memo.replace(Document(make_text(chance, 6), f"log {n * 7 % size}"), progress=False))
            for n in range(5)
        ]
        after = timed(lambda: memo.retrieve(queries[1]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        out.put(
            {
                "passages": len(memo.corpus.index),
                "shards": statistics.mean(asked),
                "median": 1000 * statistics.median(seconds),
                "p95": 1000 * float(np.quantile(seconds, 0.95)),
                "rss": peak,
                "change": 1000 * statistics.median(changes),
                "after": 1000 * after,
            }
        )


def sizes_table(folder: Path, sizes: tuple[int, ...], name: str) -> None:
    print(
        f"{'documents':>10} {'passages':>9} {'shards asked':>13} {'query ms':>9} {'p95':>7} {'RSS MiB':>8} "
        f"{'change ms':>10} {'query after':>12} {'open s':>7}"
    )
    for size in sizes:
        store = folder / f"of {size}"
        with MemoRAG.open(store, embedder=embedder_of(name)) as memo:
            memo.add(make_documents(random.Random(9), size), progress=False)
        opened = timed(lambda store=store: MemoRAG.open(store, embedder=embedder_of(name)).close())
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=measure, args=(store, size, name, queue))
        process.start()
        row = queue.get(timeout=600)
        process.join()
        print(
            f"{size:>10,} {row['passages']:>9,} {row['shards']:>13.1f} {row['median']:>9.2f} {row['p95']:>7.2f} {row['rss']:>8.0f} "
            f"{row['change']:>10.1f} {row['after']:>12.1f} {opened:>7.2f}",
            flush=True,
        )


@click.command()
@click.option("--documents", default=1000, show_default=True)
@click.option("--sizes", multiple=True, type=int, default=(1, 100, 5000), show_default=True)
@click.option("--embedder", default="words", show_default=True, help='"words" (no weights), "none", or "minilm".')
@click.option("--repeats", default=9, show_default=True)
def main(documents: int, sizes: tuple[int, ...], embedder: str, repeats: int) -> None:
    """Print all of it."""
    given = make_documents(random.Random(2), documents)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ok = one_changed(folder / "changed", given, embedder, repeats)
        sizes_table(folder, sizes, embedder)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
