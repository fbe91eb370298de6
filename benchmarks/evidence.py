"""Rank passages of a set of documents with gold evidence, through the public API with its defaults.

    python benchmarks/evidence.py --data SPLIT.jsonl.gz --method memorag --embedder minilm --out RUN.jsonl
    python benchmarks/evidence.py --data SPLIT.jsonl.gz --all --setting corpus --out RUNS

Reads one JSON object a line (gzip): id, text, queries [{qid, query, gold}]. Writes one a query: qid, and spans, best
passage first: [start, end], or [document, start, end] where all documents stand in one index (--setting corpus). A single
line with a `corpus` of paragraphs is one index, too. With several methods --out is a folder, one file a method.

The methods are the modes of `retrieve`, and what users of the hosts do without us (`peers.py`), on the same passages.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from peers import REMEDIES, WINDOW, Place, Ranked, reciprocal_rank_fusion
from tqdm.auto import tqdm

from memorag_integrations import Document, MemoRAG, Passage
from memorag_integrations.errors import StoreError
from memorag_integrations.text.sentences import sentences

MODES = ("plain", "bm25", "hybrid", "memorag")
WINDOWS = "sentence-window"
METHODS = (*MODES, "rrf", *REMEDIES, WINDOWS)
DENSE = ("plain", "plain-next-2", "plain-one-each-side", WINDOWS)
"""Methods that need an embedder."""

Span = list[Any]


@click.command()
@click.option("--data", "data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="May be given several times.")
@click.option("--all", "every", is_flag=True, help=f"All methods but {WINDOWS}, which encodes every sentence.")
@click.option("--embedder", default="minilm", show_default=True, help='"minilm", "none", or a model\'s path.')
@click.option("--setting", default="within", show_default=True, type=click.Choice(["within", "corpus"]))
@click.option("--k", default=60, show_default=True, help="Pieces written a query; never changes the ranking.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for stores, so that a second run need not encode."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A file, or a folder for several methods.")
def main(
    data: Path,
    methods: tuple[str, ...],
    every: bool,
    embedder: str,
    setting: str,
    k: int,
    cache: Path | None,
    out: Path,
) -> None:
    """Write the ranking of every query in --data by each method."""
    if every:
        methods = tuple(name for name in METHODS if name != WINDOWS and (embedder != "none" or name not in DENSE))
    if not methods:
        raise click.UsageError("Pass --method, once or several times, or --all.")
    groups, names_document = read_groups(data, setting)
    begun, engine = time.perf_counter(), MemoRAG(embedder=None if embedder == "none" else embedder)
    with ExitStack() as files:
        if len(methods) > 1:
            out.mkdir(parents=True, exist_ok=True)
        outs = {
            method: files.enter_context(
                (out / f"{method}.jsonl" if len(methods) > 1 else out).open("w", encoding="utf-8")
            )
            for method in methods
        }
        for documents, queries in tqdm(groups, desc=data.stem, disable=not sys.stderr.isatty()):
            memo = remember(engine, documents, cache, embedder)
            windows = Windows(engine, documents) if WINDOWS in methods else None
            for query in queries:
                rankings = Rankings(memo, query["query"], k)
                for method, file in outs.items():
                    ranges = (
                        windows.spans(query["query"], k) if method == WINDOWS and windows else rankings.spans(method)
                    )
                    spans = [span[0 if names_document else 1 :] for span in ranges[:k]]
                    file.write(json.dumps({"qid": query["qid"], "spans": spans}) + "\n")
    print(f"{out}: {', '.join(methods)}; {setting}, embedder {embedder}, {time.perf_counter() - begun:.1f} s")


def read_groups(data: Path, setting: str) -> tuple[list[tuple[list[Document], list[dict]]], bool]:
    """What is memorized together and what is asked of it, and whether a span has to name its document."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]
    if "corpus" in texts[0]:
        paragraphs = [Document(paragraph["text"], paragraph["id"]) for paragraph in texts[0]["corpus"]]
        return [(paragraphs, texts[0]["queries"])], True
    groups = [texts] if setting == "corpus" else [[text] for text in texts if text["queries"]]
    return [
        ([Document(text["text"], text["id"]) for text in group], [query for text in group for query in text["queries"]])
        for group in groups
    ], setting == "corpus"


class Rankings:
    """The rankings for one query by each method; each mode is asked once.

    Args:
        memo: The corpus.
        query: The question.
        k: Pieces of each.
    """

    def __init__(self, memo: MemoRAG, query: str, k: int) -> None:
        self._memo, self._query, self._k = memo, query, k
        self._of_mode: dict[str, list[Passage]] = {}
        self._passages = {id: entry.passages for id, entry in memo.corpus.entries.items()}

    def spans(self, method: str) -> list[Span]:
        """[document, start, end] of each piece, best first."""
        if method in MODES:
            return [[passage.document_id, passage.start, passage.end] for passage in self._ranked(method)]
        if method == "rrf":
            modes = ("bm25", "plain") if self._memo.embedder is not None else ("bm25",)
            return [
                self._span((place,)) for place in reciprocal_rank_fusion([list(self._places(mode)) for mode in modes])
            ]
        mode, remedy = REMEDIES[method]
        lengths = {id: len(passages) for id, passages in self._passages.items()}
        return [self._span(unit) for unit in remedy(Ranked(list(self._places(mode)), lengths))]

    def _ranked(self, mode: str) -> Sequence[Passage]:
        if mode not in self._of_mode:
            evidence = self._memo.retrieve(self._query, self._k, mode=mode)  # type: ignore[arg-type]
            self._of_mode[mode] = [piece.passage for piece in evidence]
        return self._of_mode[mode]

    def _places(self, mode: str) -> Iterator[Place]:
        for passage in self._ranked(mode):
            yield passage.document_id, self._number_of(passage)

    def _number_of(self, passage: Passage) -> int:
        return next(n for n, one in enumerate(self._passages[passage.document_id]) if one.id == passage.id)

    def _span(self, unit: Sequence[Place]) -> Span:
        document = unit[0][0]
        first, last = self._passages[document][unit[0][1]], self._passages[document][unit[-1][1]]
        return [document, first.start, last.end]


class Windows:
    """Sentence windows: each sentence is a passage of its own, found by its vector and given with those around it.

    Args:
        engine: Whose embedder encodes the sentences.
        documents: What is memorized together.
    """

    def __init__(self, engine: MemoRAG, documents: Sequence[Document]) -> None:
        self._memo = MemoRAG(embedder=engine.embedder and engine.embedder.embedder)
        self._sentences = {document.id: sentences(document.text) for document in documents}
        self._memo.memorize(documents, split=self._split(documents), progress=False)

    def _split(self, documents: Sequence[Document]) -> Callable[[Document], list[Passage]]:
        def split(document: Document) -> list[Passage]:
            return [
                Passage(
                    f"{document.id}:{n}", document.id, document.text[start:end], start, end, (start + end) / 2,
                    document.metadata,
                )
                for n, (start, end) in enumerate(self._sentences[document.id])
            ]  # fmt: skip

        return split

    def spans(self, query: str, k: int) -> list[Span]:
        """[document, start, end] of the windows of the best sentences, best first."""
        spans = []
        for piece in self._memo.retrieve(query, k, mode="plain"):
            number, found = int(piece.passage.id.rsplit(":", 1)[1]), self._sentences[piece.document_id]
            first, last = max(number - WINDOW, 0), min(number + WINDOW, len(found) - 1)
            spans.append([piece.document_id, found[first][0], found[last][1]])
        return spans


def remember(
    engine: MemoRAG, documents: Sequence[Document | dict[str, Any]], cache: Path | None, embedder: str
) -> MemoRAG:
    """An engine over these documents, of ours or lines of a data file; loaded from the cache where it has them."""
    texts = [one if isinstance(one, Document) else Document(one["text"], one["id"]) for one in documents]
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
