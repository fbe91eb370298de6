"""What it costs, and how the cost grows: memorizing, retrieving, the store, loading, importing.

    python benchmarks/scale.py --data SPLIT.jsonl.gz [--tokens 1000000] [--embedder none]

Documents of the set are taken in turn, and again with changed words, until the wished number of tokens (characters / 4)
is reached; every size is a corpus of its own, memorized in a process of its own. Loading includes the first answer, for
which BM25's weights are worked out again.
"""

import gzip
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

CHARACTERS_PER_TOKEN = 4


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--tokens", default=1_000_000, show_default=True, help="The largest corpus; an eighth of it is the smallest."
)
@click.option("--embedder", default="none", show_default=True)
@click.option("--queries", default=200, show_default=True)
@click.option("--one", is_flag=True, hidden=True, help="Measure this one size and print it as JSON.")
def main(data: Path, tokens: int, embedder: str, queries: int, one: bool) -> None:
    """Print a table of costs, from an eighth of --tokens to all of them, and the growth of each."""
    if one:
        print(json.dumps(measure(data, tokens, None if embedder == "none" else embedder, queries)))
        return
    rows = []
    for size in (tokens // 8, tokens // 4, tokens // 2, tokens):
        command = [sys.executable, __file__, "--one", "--data", data, "--tokens", size, "--embedder", embedder]
        output = subprocess.run(
            [str(part) for part in [*command, "--queries", queries]], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        rows.append(json.loads(output.splitlines()[-1]))
        if len(rows) == 1:
            print("  ".join(f"{name:>16}" for name in rows[0]))
        print(
            "  ".join(
                f"{value:>16,.3f}" if isinstance(value, float) else f"{value:>16,}" for value in rows[-1].values()
            )
        )
    first, last = rows[0], rows[-1]
    size = last["tokens"] / first["tokens"]
    print(f"\nGrowth from {first['tokens']:,} to {last['tokens']:,} tokens (x {size:.2f}):")
    for name in ("memorize s", "memorize cpu s", "query ms", "load s", "store bytes"):
        print(
            f"  {name:<16} x {last[name] / first[name]:.2f}  ({'linear or better' if last[name] <= 1.1 * size * first[name] else 'WORSE than linear'})"
        )
    print("\nImport, seconds over an empty interpreter (median of 5):")
    empty = import_seconds("pass")
    for package in ("memorag_integrations", "llamaindex_memorag", "langchain_memorag"):
        print(f"  {package:<22} {import_seconds(f'import {package}') - empty:.3f}")
    for name in (
        "from memorag_integrations import MemoRAG",
        "from llamaindex_memorag import MemoRAGRetriever",
        "from langchain_memorag import MemoRAGRetriever",
    ):
        print(f"  {name:<48} {import_seconds(name) - empty:.3f}")


def measure(data: Path, tokens: int, embedder: str | None, count: int) -> dict[str, float]:
    from memorag_integrations import Document, MemoRAG

    texts, queries = corpus(data, tokens)
    random.Random(0).shuffle(queries)
    documents = [Document(text, str(place)) for place, text in enumerate(texts)]
    memo = MemoRAG(embedder=embedder)
    if memo.embedder is not None:
        memo.embedder.embed_queries(["load the model before the clock starts"])
    wall, cpu = time.perf_counter(), time.process_time()
    memo.memorize(documents, progress=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        memo.save(store)
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        begun = time.perf_counter()
        memo = MemoRAG.load(store)
        load = time.perf_counter() - begun
        load += ask(memo, queries[0])  # what is derived from the store is made by then
    seconds = [ask(memo, query) for query in queries[1 : count + 1]]
    characters = sum(map(len, texts))
    return {
        "tokens": characters // CHARACTERS_PER_TOKEN,
        "documents": len(texts),
        "passages": len(memo.corpus.index),
        "memorize s": wall,
        "memorize cpu s": cpu,
        "query ms": 1000 * statistics.median(seconds),
        "query p95 ms": 1000 * sorted(seconds)[int(0.95 * len(seconds))],
        "store bytes": size,
        "store B/input B": size / sum(len(text.encode()) for text in texts),
        "load s": load,
        "memorize / load": wall / load,
    }


def ask(memo, query: str) -> float:
    """Seconds of one retrieval, less those of the query's encoding."""
    begun = time.perf_counter()
    if memo.embedder is not None:
        memo.embedder.embed_queries([query])
    encoded = time.perf_counter()
    memo.retrieve(query)
    return time.perf_counter() - encoded - (encoded - begun)


def corpus(data: Path, tokens: int) -> tuple[list[str], list[str]]:
    """Texts of about `tokens` tokens together, and their queries; from the second round on every tenth word is another."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    words = sorted({word for document in documents for word in re.findall(r"[a-z]{5,}", document["text"][:5000])})
    chance, texts, queries, size, at = random.Random(0), [], [], 0, 0
    while size < CHARACTERS_PER_TOKEN * tokens:
        document = documents[at % len(documents)]
        text = document["text"]
        if at >= len(documents):
            text = re.sub(r"\w{4,}", lambda word: word.group() if chance.random() > 0.1 else chance.choice(words), text)
        else:
            queries += [query["query"] for query in document["queries"]]
        text = text[: CHARACTERS_PER_TOKEN * tokens - size]
        texts.append(text)
        size, at = size + len(text), at + 1
    return texts, queries


def import_seconds(statement: str) -> float:
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
