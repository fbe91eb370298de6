"""Commands for a store that changes: what comes and goes, and its care."""

from __future__ import annotations

from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path

import click

from .. import engine
from ..corpus.revise import Change
from ..corpus.text_files import read_files
from ..errors import InputError, StoreError
from ..store import maintenance as upkeep
from ..store.load import intact
from ..store.store import Store
from ..text.visible import visible_line
from .options import json_option, store_option
from .terminal import say, say_json

_paths = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
_wait = click.option(
    "--wait", default=30.0, show_default=True, metavar="SECONDS", help="How long to wait for another writer."
)


@click.command()
@_paths
@store_option
@_wait
@json_option
def add(paths: tuple[Path, ...], store: Path, wait: float, as_json: bool) -> None:
    """Take files, or folders of them, into a store that is there.

    A file that the store has already is replaced where its text has changed. Nothing is deleted.

    \b
    Examples:
      memorag add letters/ diary.md --store book.memo
      memorag add book.txt --store book.memo --json
    """
    with _opened(store, wait) as memo:
        _say(memo.upsert(read_files(paths)), memo, as_json)


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@store_option
@_wait
@json_option
def delete(ids: tuple[str, ...], store: Path, wait: float, as_json: bool) -> None:
    """Take documents out of a store. A file's id is its path as it was given.

    \b
    Examples:
      memorag delete notes/old.md --store book.memo
      memorag delete notes/old.md notes/older.md --store book.memo
    """
    with _opened(store, wait) as memo:
        known = memo.corpus.documents
        for id in ids:
            if id not in known:
                near = get_close_matches(id, known, 3)
                hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else " `memorag retrieve` shows ids."
                raise InputError(f"The store at {store} has no document {id[:80]!r}. Nothing was deleted.{hint}")
        _say(memo.delete(ids), memo, as_json)


@click.command()
@_paths
@store_option
@_wait
@json_option
def refresh(paths: tuple[Path, ...], store: Path, wait: float, as_json: bool) -> None:
    """Make a store one of these files: new ones are added, changed ones replaced, those not named deleted.

    \b
    Example:
      memorag refresh notes/ book.txt --store book.memo
    """
    with _opened(store, wait) as memo:
        _say(memo.refresh(read_files(paths)), memo, as_json)


@click.command()
@store_option
@click.pass_context
def verify(context: click.Context, store: Path) -> None:
    """Check every byte of a store against what was written. A line for each problem, and exit code 1 if there is any.

    \b
    Example:
      memorag verify --store book.memo
    """
    problems = upkeep.verify(store)
    for problem in problems:
        say(" ".join(problem.split()))
    if problems:
        context.exit(1)
    say(visible_line(f"All of {store} is as it was written."))


@click.command()
@store_option
@_wait
def compact(store: Path, wait: float) -> None:
    """Drop what no document refers to any more: old vectors and memories, and the remains of broken-off work.

    \b
    Example:
      memorag compact --store book.memo
    """
    say(f"Freed {upkeep.compact(store, wait=wait):,} bytes.")


@click.command()
@store_option
@click.option("--drop", is_flag=True, help="Drop documents that are broken themselves; they cannot be made again.")
@_wait
def repair(store: Path, drop: bool, wait: float) -> None:
    """Make again what is broken and can be: terms, vectors, memories. What is whole is kept.

    \b
    Examples:
      memorag repair --store book.memo
      memorag repair --store book.memo --drop
    """
    _check_makers(store)
    done = upkeep.repair(store, drop=drop, wait=wait)
    for id in done.dropped:
        say(visible_line(f"Dropped {id}"))
    say(f"Made again: terms of {done.terms} documents, {done.encoded} vectors, {done.formed} memories.")


COMMANDS = (add, delete, refresh, verify, compact, repair)


def _opened(store: Path, wait: float) -> engine.MemoRAG:
    _check_makers(store)
    return engine.MemoRAG.open(store, wait=wait)


def _check_makers(store: Path) -> None:
    """Raises StoreError where there is no store, or only the caller's own code can make what a change of it needs."""
    meta = Store(store).meta()
    for part in ("embedder", "memory"):
        with intact(store):
            made_by = meta[part]
            if made_by is None or made_by["config"] is not None:
                continue
            name = made_by["fingerprint"]["name"] if part == "embedder" else made_by["fingerprint"]
        raise StoreError(
            f"The {part} of the store at {store} is {name}, which the command line cannot make. Change the store from "
            f"Python: MemoRAG.open({str(store)!r}, {part}=…), or with the host's retriever that made it."
        )


def _say(change: Change, memo: engine.MemoRAG, as_json: bool) -> None:
    if as_json:
        say_json(asdict(change))
        return
    encoded = "" if memo.embedder is None else f", {change.encoded} encoded"
    say(
        f"Added {len(change.added)}, replaced {len(change.replaced)}, deleted {len(change.deleted)} documents; "
        f"{change.unchanged} stayed as they were."
    )
    say(f"Passages: {change.indexed} indexed{encoded}. Memories: {change.formed} formed, {change.reused} reused.")
