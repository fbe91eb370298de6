"""Maintenance of a store: `verify` finds damage, `repair` makes again what can be made, `compact` removes what is unused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..contracts import Embedder, MemoryModel, Progress
from ..corpus.revise import Reviser
from ..corpus.splitter import Splitter
from ..corpus.state import Corpus
from ..encoders.fingerprint import EmbedderFingerprint
from ..errors import MemoryModelError, StoreError
from ..progress import reporting
from ..text.tokenizer import Split, Tokenizer
from . import memory_files
from .load import StoreModels, intact, open_models, restore
from .memory_files import abandoned
from .paths import FRESH, as_folder, is_fresh_name, size_of
from .records import State, Version
from .save import StoreArtifacts, corpus_vectors, fingerprint_of, of_weights, row_of
from .sqlite import FORMAT, damage, reading, refused, writing
from .store import Store
from .tables import Examination, count_broken_vectors, examine, find_space, read_vectors

_RETRIES = 5
"""Times that a store is verified anew where another process changed it meanwhile."""


@dataclass(frozen=True)
class Repair:
    """What `repair` did.

    Args:
        dropped: Ids of documents that were not as they were written and are gone.
        terms: Documents whose terms were made again.
        encoded: Passages whose vectors or lexical weights were made again.
        formed: Memories that were formed again.
    """

    dropped: Sequence[str] = ()
    terms: int = 0
    encoded: int = 0
    formed: int = 0


def verify(folder: str | Path) -> list[str]:
    """What of a store is damaged, a sentence for each; an empty list where nothing is. Reads every byte.

    Raises:
        StoreError: Where there is no store that this version can read.
    """
    store = Store(as_folder(folder))
    for _ in range(_RETRIES):
        found = _verify_rows(store.folder)
        # The files of memories are no part of the transaction in which the rows were read. Where one is missing, another
        # process may have made the next state and removed it.
        broken = _broken_memories(store.folder, found.memories)
        if not broken or found.version is None or store.version() == found.version:
            break
    return [*found.problems, *broken]


@dataclass(frozen=True)
class _Rows:
    """What is damaged in the rows of one state; which state that is; the names of its memories."""

    problems: list[str]
    version: Version | None = None
    memories: Sequence[str] = ()


def _verify_rows(folder: Path) -> _Rows:
    with reading(folder) as (database, format):
        problems = [f"SQLite: {line}." for (line,) in database.execute("PRAGMA integrity_check(20)") if line != "ok"]
        if format < FORMAT:
            return _Rows(problems)
        try:
            with damage(folder):
                examination = examine(database, format)
        except StoreError as error:
            return _Rows([*problems, str(error)])
        state, lost = examination.state, examination.lost
        problems += [f"Document {id[:80]!r} is not as it was written. It cannot be made again." for id in lost]
        problems += [
            f"The terms of document {id[:80]!r} are broken. They can be made again." for id in state.broken_terms
        ]
        if not examination.intact:
            problems.append("The list of documents, memories and settings is not the one that was written.")
        try:
            with damage(folder), intact(folder):
                problems += _broken_vectors(database, examination)
        except StoreError as error:
            problems.append(str(error))
        return _Rows(problems, state.version, [row.folder for row in state.shards if row.folder is not None])


def _broken_memories(folder: Path, names: Sequence[str]) -> list[str]:
    problems = []
    for name in dict.fromkeys(names):
        try:
            memory_files.check(folder, name)
        except (MemoryModelError, StoreError) as error:
            problems.append(str(error))
    return problems


def compact(folder: str | Path, *, wait: float = 30.0) -> int:
    """Remove vectors and memories that no document refers to, and what interrupted work left. The bytes that were freed.

    Only what has the form of a store's own is removed.

    Raises:
        StoreError: Where there is no store, another process writes to it for longer than `wait`, or the disk refuses.
    """
    folder = as_folder(folder)
    before = size_of(folder)
    with Store(folder, wait).transaction() as database:
        database.execute("DELETE FROM vectors WHERE key NOT IN (SELECT vector FROM passages WHERE vector IS NOT NULL)")
        named = [name for (name,) in database.execute("SELECT folder FROM shards WHERE folder IS NOT NULL")]
        memory_files.drop_all_but(folder, named)
    with writing(folder, Store(folder, wait).wait) as (database, _), refused(folder):
        database.execute("COMMIT")
        database.execute("VACUUM")
    for remains in folder.glob(f"{FRESH}*"):
        if is_fresh_name(remains.name) and not remains.is_symlink() and remains.is_file() and abandoned(remains):
            remains.unlink(missing_ok=True)
    return max(0, before - size_of(folder))


def repair(
    folder: str | Path,
    *,
    embedder: str | Embedder | None = None,
    memory: str | MemoryModel | None = None,
    tokenizer: Tokenizer | Split | None = None,
    drop: bool = False,
    progress: bool | Progress = True,
    wait: float = 30.0,
) -> Repair:
    """Make damaged terms, vectors and memories again. What is intact is kept as it is.

    Args:
        folder: The store.
        embedder, memory, tokenizer: As in `MemoRAG.load`.
        drop: Whether documents that are not as they were written may be dropped; they cannot be made again.
        progress: As in `MemoRAG.memorize`.
        wait: Seconds to wait for another process that writes.

    Raises:
        StoreError: Where there is none, its rows cannot be read, documents would have to be dropped and may not be (or
            all would), or the embedder or memory model is missing.
    """
    store = Store(as_folder(folder), wait)
    with reporting(progress) as report, store.transaction() as database:
        with damage(store.folder):
            examination = examine(database, FORMAT)
        if examination.lost:
            _check_loss(store, examination, drop)
        models = open_models(store, examination.state, embedder, memory, Tokenizer.of(tokenizer))
        corpus, done = _rebuilt(models, examination, report)
        _rewrite(models.artifacts, database, examination.state, corpus)
    return done


def _check_loss(store: Store, examination: Examination, drop: bool) -> None:
    """Raises StoreError where broken documents may not be dropped, or nothing would be left."""
    of, names = len(examination.state.order), ", ".join(repr(id[:80]) for id in examination.lost[:5])
    if len(examination.lost) == of:
        raise StoreError(
            f"None of the {of} documents of the store at {store.folder} is as it was written, so nothing would be left: "
            f"{names}. Restore it from a copy, or memorize the documents again into another folder."
        )
    if not drop:
        raise StoreError(
            f"{len(examination.lost)} documents of the store at {store.folder} are not as they were written, and cannot be made "
            f"again: {names}. Restore it from a copy, or drop them (drop=True, `memorag repair --drop`) and add them anew."
        )


def _rebuilt(models: StoreModels, examination: Examination, progress: Progress) -> tuple[Corpus, Repair]:
    """The corpus of what is intact, with terms, vectors and memories made again, and what that took."""
    artifacts, settings = models.artifacts, models.settings
    lost = set(examination.lost)
    order = [id for id in examination.state.order if id not in lost]
    state = replace(examination.state, order=order)
    intact_corpus = restore(
        artifacts, state, Corpus.empty(artifacts.embedder is not None, models.tokenizer), strict=False
    )
    reviser = Reviser(
        Splitter(settings.passage_size),
        artifacts.model,
        artifacts.embedder,
        settings.language,
        artifacts,
        progress,
        None,
    )
    corpus, change = reviser.revise(intact_corpus, list(intact_corpus.entries.values()), None)
    _weigh(artifacts, corpus, progress)
    encoded = 0 if artifacts.embedder is None else artifacts.embedder.encoded
    return corpus, Repair(tuple(examination.lost), len(state.broken_terms), encoded, change.formed)


def _weigh(artifacts: StoreArtifacts, corpus: Corpus, progress: Progress) -> None:
    """Make again the lexical weights that are lost or broken."""
    embedder = artifacts.embedder
    if embedder is None or embedder.lexical is None:
        return
    passages = [pair for entry in corpus.entries.values() for pair in zip(entry.keys, entry.passages, strict=True)]
    if missing := {key: passage.text for key, passage in passages if key not in embedder.weights}:
        embedder.embed_passages(missing, progress)
        embedder.forget()


def _rewrite(artifacts: StoreArtifacts, database: sqlite3.Connection, state: State, corpus: Corpus) -> None:
    """End the transaction by writing every row of this corpus anew."""
    vocabulary, embedder = corpus.index.terms.vocabulary, artifacts.embedder
    rows = {id: row_of(entry, vocabulary) for id, entry in corpus.entries.items()}
    keys = [bytes.fromhex(key) for entry in corpus.entries.values() for key in entry.keys]
    vectors: dict[int, dict[bytes, bytes]] = {}
    spaces: dict[int, str] = {}
    if embedder is not None:
        vectors[1], spaces[1] = corpus_vectors(corpus)(keys), json.dumps(asdict(embedder.fingerprint))
    if embedder is not None and embedder.lexical is not None:
        vectors[2], spaces[2] = artifacts.packed_weights(keys), json.dumps(asdict(of_weights(embedder.fingerprint)))
    version = replace(state.version, generation=state.version.generation + 1)
    written = State(version, state.meta, list(rows), rows, artifacts.shards(corpus))
    artifacts.store.rewrite(database, written, vectors, spaces)


def _broken_vectors(database: sqlite3.Connection, examination: Examination) -> list[str]:
    """What of vectors and lexical weights is damaged, a sentence each."""
    stored_embedder, documents = examination.state.meta["embedder"], examination.state.rows.values()
    if stored_embedder is None:
        return []
    fingerprint = fingerprint_of(stored_embedder["fingerprint"])
    keys = {row.vector for document in documents for row in document.passages if row.vector is not None}
    space = _space_of(database, fingerprint)
    lost = len(keys) - (0 if space is None else len(read_vectors(database, space, sorted(keys))))
    weights = _space_of(database, of_weights(fingerprint))
    broken = 0 if weights is None else count_broken_vectors(database, weights)
    problems = [f"{lost} vectors are lost or broken. The embedder can make them again."] if lost else []
    said = f"The lexical weights of {broken} passages are broken. The embedder can make them again."
    return [*problems, said] if broken else problems


def _space_of(database: sqlite3.Connection, fingerprint: EmbedderFingerprint) -> int | None:
    return find_space(database, lambda stored: fingerprint_of(stored).same_space(fingerprint))
