"""`memorag`: memorize texts, then recall clues and retrieve evidence, from the shell."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from .. import engine, registry
from ..clues import Recall
from ..contracts import LLM, MemoryModel
from ..corpus.text_files import read_files
from ..evidence import Evidence
from ..pipeline import Method
from ..retrieval.query import Mode
from ..text.visible import visible_line
from . import living
from .options import json_option, model_option, store_option
from .terminal import log_to_terminal, say, say_json, visible_errors

_EXAMPLES = """
\b
Examples:
  memorag memorize notes/ book.txt --store book.memo
  memorag memorize handbook.md --store handbook.memo --embedder minilm
  memorag recall "How do the two brothers' views drift apart?" --store book.memo
  memorag retrieve "Who could have known?" --store book.memo -k 3
  memorag retrieve "Who could have known?" --store book.memo --budget 4000 --json
  memorag answer "Who could have known?" --store book.memo --model models/qwen2.5-1.5b-instruct
  memorag summarize --store book.memo --model models/qwen2.5-1.5b-instruct
  memorag plan --model TommyChien/memorag-qwen2-7b-inst --tokens 200000
  memorag add letters/ --store book.memo
  memorag refresh notes/ book.txt --store book.memo
  memorag verify --store book.memo
  memorag info --store book.memo
"""


class _Group(click.Group):
    """Commands whose errors are shown by `visible_errors`."""

    def make_context(self, *arguments: Any, **how: Any) -> click.Context:
        with visible_errors():
            return super().make_context(*arguments, **how)

    def invoke(self, ctx: click.Context) -> Any:
        with visible_errors():
            return super().invoke(ctx)


@click.group(cls=_Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="memorag-integrations")
@click.option("-v", "--verbose", is_flag=True, help="Say more of what is done.")
def main(verbose: bool) -> None:
    """Memory-guided retrieval: texts in, clues and evidence out."""
    log_to_terminal(logging.INFO if verbose else logging.WARNING)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@store_option
@click.option(
    "--embedder",
    default="none",
    show_default=True,
    help='"minilm" (the embedded extra), the name or path of a sentence-transformers model, or "none": BM25 alone.',
)
@click.option(
    "--memory",
    default="activation",
    show_default=True,
    type=click.Choice(["activation", "llm", "gist", "beacon", "longcontext"]),
    help="What the clues come from; all but `activation` need --model.",
)
@click.option("--model", metavar="NAME", help="Folder or hub name of the model, for every memory but `activation`.")
@click.option("--ratio", default=4, show_default=True, help="Raw tokens for one entry of a beacon memory.")
@click.option("--language", default="auto", show_default=True, help="ISO 639-1 code of the texts.")
@click.option("--passage-size", default=1000, show_default=True, help="Most characters of a passage.")
def memorize(
    paths: tuple[Path, ...],
    store: Path,
    embedder: str,
    memory: str,
    model: str | None,
    ratio: int,
    language: str,
    passage_size: int,
) -> None:
    """Read text and Markdown files, or folders of them, once, and save what was memorized.

    A store that is there already becomes one of these texts; a text that it held before is not encoded again.

    \b
    Examples:
      memorag memorize notes/ book.txt --store book.memo
      memorag memorize handbook.md --store handbook.memo --embedder minilm
      memorag memorize book.txt --store book.memo --memory gist --model models/qwen2.5-1.5b-instruct
      memorag memorize book.txt --store book.memo --memory beacon --model TommyChien/memorag-qwen2-7b-inst --ratio 4
    """
    memo = engine.MemoRAG(
        _memory(memory, model, ratio),
        None if embedder == "none" else embedder,
        language=language,
        passage_size=passage_size,
    )
    memo.reuse(store)
    memo.memorize(read_files(paths), save_dir=store)
    info = memo.info()
    say(
        f"Memorized {info['documents']} documents, {info['passages']} passages, {info['characters']:,} characters in "
        f"{visible_line(str(store))}."
    )
    if embedder == "none":
        say("Embedder: none, BM25 alone. For dense scores beside it: --embedder minilm.")


@main.command()
@click.argument("query")
@store_option
@json_option
def recall(query: str, store: Path, as_json: bool) -> None:
    """Ask the memory for clues.

    \b
    Example:
      memorag recall "How do the two brothers' views drift apart?" --store book.memo
    """
    found = engine.MemoRAG.load(store).recall(query)
    if as_json:
        say_json(asdict(found))
    else:
        say(_recall_text(found))


@main.command()
@click.argument("query")
@store_option
@click.option("-k", type=int, help="Most pieces of evidence.  [default: 5, or as the budget allows]")
@click.option("--budget", type=int, help="Most characters of evidence together.")
@click.option("--mode", default="memorag", show_default=True, type=click.Choice(get_args(Mode)))
@click.option("--cutoff", default=0.0, show_default=True, help="Least score, 0 to 1.")
@click.option("--merge", is_flag=True, help="Make one piece of evidence that touches in its text.")
@json_option
def retrieve(
    query: str,
    store: Path,
    k: int | None,
    budget: int | None,
    mode: Mode,
    cutoff: float,
    merge: bool,
    as_json: bool,
) -> None:
    """Find the passages that bear on a question, with place, score and what found them.

    \b
    Examples:
      memorag retrieve "Who could have known?" --store book.memo -k 3
      memorag retrieve "Who could have known?" --store book.memo --budget 4000 --json
    """
    memo = engine.MemoRAG.load(store)
    evidence = memo.retrieve(query, k, budget=budget, mode=mode, cutoff=cutoff, merge=merge)
    if as_json:
        say_json([piece.to_json() for piece in evidence])
    else:
        say("\n\n".join(_evidence_text(place, piece) for place, piece in enumerate(evidence, 1)) or "Nothing found.")


@main.command()
@click.argument("query")
@store_option
@model_option
@click.option("-k", type=int, help="Most pieces of evidence to write from.  [default: 8]")
@click.option("--sources", is_flag=True, help="Print the evidence below the answer.")
def answer(query: str, store: Path, model: str | None, k: int | None, sources: bool) -> None:
    """Write an answer from the evidence.

    \b
    Example:
      memorag answer "Who could have known?" --store book.memo --model models/qwen2.5-1.5b-instruct
    """
    written = _with_writer(store, model).answer(query, k)
    say(written.text)
    if sources:
        say("\n" + "\n\n".join(_evidence_text(place, piece) for place, piece in enumerate(written.evidence, 1)))


@main.command()
@store_option
@model_option
@click.option("--document", metavar="ID", help="Summarize this document alone.")
@click.option(
    "--method",
    default="whole",
    show_default=True,
    type=click.Choice(get_args(Method)),
    help="Read everything, or write from the memory's key points and what is retrieved for them.",
)
def summarize(store: Path, model: str | None, document: str | None, method: Method) -> None:
    """Summarize what a store holds.

    \b
    Examples:
      memorag summarize --store book.memo --model models/qwen2.5-1.5b-instruct
      memorag summarize --store read.memo --method key-points
    """
    for piece in _with_writer(store, model).stream_summary(document, method=method):
        say(piece, nl=False)
    say()


@main.command()
@store_option
@json_option
def info(store: Path, as_json: bool) -> None:
    """Say what a store holds and how it was made.

    \b
    Example:
      memorag info --store book.memo
    """
    facts = engine.MemoRAG.load(store).info()
    if as_json:
        say_json(facts)
        return
    for name, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else ", ".join(value) if isinstance(value, list) else value
        say(visible_line(f"{name.replace('_', ' ')}: {shown}"))


@main.command()
@click.option("--model", required=True, metavar="NAME", help="Folder or hub name of a beacon checkpoint.")
@click.option("--tokens", required=True, type=int, help="Tokens of the text.")
@click.option("--device", help="cpu, cuda, mps.  [default: the best at hand]")
def plan(model: str, tokens: int, device: str | None) -> None:
    """Say what a beacon memory will cost, and which ratio fits, before anything loads.

    \b
    Example:
      memorag plan --model TommyChien/memorag-qwen2-7b-inst --tokens 200000
    """
    from ..planner import plan as planned

    say(str(planned(model, tokens, device=device)))


for _command in living.COMMANDS:
    main.add_command(_command)


def _memory(kind: str, model: str | None, ratio: int) -> str | MemoryModel:
    if kind == "activation":
        if model is not None:
            raise click.UsageError("--model is for the other memories; --memory activation needs none.")
        return kind
    if model is None:
        raise click.UsageError(f"--memory {kind} needs --model, the folder or hub name of its model.")
    build = registry.resolve(registry.MEMORY_MODELS, kind)
    made: MemoryModel
    if kind == "beacon":
        made = build(model, ratio=ratio)
    elif kind == "longcontext":
        made = build(model)
    else:
        made = build(_language_model(model))
    return made


def _language_model(model: str | None) -> LLM | None:
    made: LLM | None = None if model is None else registry.resolve(registry.LANGUAGE_MODELS, "huggingface")(model)
    return made


def _with_writer(store: Path, model: str | None) -> engine.MemoRAG:
    memo = engine.MemoRAG.load(store, generator=_language_model(model))
    if model is None and memo.generator is None and memo.memory_model.llm is None:
        raise click.UsageError("The store's memory has no language model of its own: say which writes, with --model.")
    return memo


def _evidence_text(place: int, evidence: Evidence) -> str:
    passage = evidence.passage
    by = ", ".join(f"{found.signal} of {_short(found.by)} (rank {found.rank})" for found in evidence.found_by[:3])
    lines = [
        f"{place}. {visible_line(passage.document_id)}[{passage.start}:{passage.end}]  score {evidence.score:.3f}  found by {by}"
    ]
    lines += [f"   also at {visible_line(twin.document_id)}[{twin.start}:{twin.end}]" for twin in evidence.repeats]
    return "\n".join([*lines, passage.text])


def _recall_text(recall: Recall) -> str:
    lines = []
    for place, clue in enumerate(recall.clues, 1):
        at = clue.grounding
        where = f"  ({visible_line(at.document_id)}[{at.start}:{at.end}])" if at else ""
        lines.append(f"{place}. {clue.kind}: {' '.join(clue.text.split())}{where}")
    if recall.answer:
        lines.append(f"draft answer: {recall.answer}")
    return "\n".join([*lines, *(f"warning: {visible_line(warning)}" for warning in recall.warnings)]) or "No clues."


def _short(text: str, most: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if flat == "query" else f"“{flat if len(flat) <= most else flat[: most - 1] + '…'}”"
