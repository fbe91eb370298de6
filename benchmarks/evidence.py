"""Rank passages of a set of documents with gold evidence, through the public API with its defaults.

    python benchmarks/evidence.py --data SPLIT.jsonl.gz --method memorag --embedder minilm --out RUN.jsonl

Reads one JSON object a line (gzip): id, text, queries [{qid, query, gold}]. Writes one a query: qid, and spans, best
passage first: [start, end], or [document, start, end] where all documents stand in one index (--setting corpus).
"""

import gzip
import hashlib
import json
import sys
import time
from pathlib import Path

import click
from tqdm.auto import tqdm

from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import StoreError


@click.command()
@click.option("--data", "data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--method", required=True, type=click.Choice(["plain", "bm25", "hybrid", "memorag"]))
@click.option("--embedder", default="minilm", show_default=True, help='"minilm", "none", or a model\'s path.')
@click.option("--setting", default="within", show_default=True, type=click.Choice(["within", "corpus"]))
@click.option("--k", default=40, show_default=True, help="Passages written a query; never changes the ranking.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for stores, so that a second run need not encode."
)
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(data: Path, method: str, embedder: str, setting: str, k: int, cache: Path | None, out: Path) -> None:
    """Write the ranking of every query in --data."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    groups = [documents] if setting == "corpus" else [[document] for document in documents if document["queries"]]
    begun, engine = time.perf_counter(), MemoRAG(embedder=None if embedder == "none" else embedder)
    with out.open("w", encoding="utf-8") as lines:
        for group in tqdm(groups, desc=method, disable=not sys.stderr.isatty()):
            memo = remember(engine, group, cache, embedder)
            for document in group:
                for query in document["queries"]:
                    evidence = memo.retrieve(query["query"], k, mode=method)
                    places = [[piece.document_id, piece.passage.start, piece.passage.end] for piece in evidence]
                    spans = [place[setting == "within" :] for place in places]
                    lines.write(json.dumps({"qid": query["qid"], "spans": spans}) + "\n")
    print(f"{out}: {method}, {setting}, embedder {embedder}, {time.perf_counter() - begun:.1f} s")


def remember(engine: MemoRAG, group: list[dict], cache: Path | None, embedder: str) -> MemoRAG:
    texts = [Document(document["text"], document["id"]) for document in group]
    if cache is None:
        engine.memorize(texts, progress=False)
        return engine
    name = hashlib.sha256(json.dumps([embedder, *(text.text for text in texts)]).encode()).hexdigest()[:24]
    try:
        return MemoRAG.load(cache / name, embedder=engine.embedder and engine.embedder.embedder)
    except StoreError:  # not there yet, or broken off
        engine.memorize(texts, progress=False, save_dir=cache / name)
        return engine


if __name__ == "__main__":
    main()
