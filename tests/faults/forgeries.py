"""Stores as an attacker would hand them over: each forgery changes one thing of a sound store, and seals it again.

A forgery is a function of the store's folder and of a folder outside, which nothing may touch. Forgeries of rows write
the digest anew: it guards against accidents, and whoever can write the file can compute it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from memorag_integrations.store import memory_files, tables
from memorag_integrations.store.paths import DATABASE, MEMORIES
from memorag_integrations.store.records import DocumentRow

JOURNAL, WAL, SHARED = (f"{DATABASE}-{suffix}" for suffix in ("journal", "wal", "shm"))
JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

Forge = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Forgery:
    """One way to forge a store.

    Args:
        name: Unique.
        base: The sound store it starts from: "gist", "plain", "dense" or "format1".
        forge: Changes a copy of it.
        refused: Whether every call has to fail with an error; else a call may also work, as if nothing were there.
    """

    name: str
    base: str
    forge: Forge
    refused: bool = False


FORGERIES: list[Forgery] = []


def forgery(name: str, *bases: str, refused: bool = False) -> Callable[[Forge], Forge]:
    """Registers a function as a forgery of each of these stores."""

    def add(forge: Forge) -> Forge:
        FORGERIES.extend(Forgery(f"{name} ({base})", base, forge, refused) for base in bases)
        return forge

    return add


@contextmanager
def edited(store: Path, *, sealed: bool = True) -> Iterator[sqlite3.Connection]:
    """The store's rows, to be changed; with a new digest afterwards."""
    with closing(sqlite3.connect(store / DATABASE, isolation_level=None)) as database:
        yield database
        if sealed and database.execute("PRAGMA user_version").fetchone()[0] == 2:
            with suppress(sqlite3.Error):  # some forgeries leave nothing to work a digest out of
                state = json.loads(database.execute("SELECT value FROM meta WHERE key = 'state'").fetchone()[0])
                tables.write_version(database, state.get("identity"), state["generation"])


def put_meta(store: Path, key: str, change: Callable[[Any], Any]) -> None:
    with edited(store) as database:
        value = json.loads(database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])
        database.execute("UPDATE meta SET value = ? WHERE key = ?", (json.dumps(change(value)), key))


def memory_of(store: Path) -> Path:
    """The folder of one memory of a store."""
    return next(path for path in sorted((store / MEMORIES).iterdir()) if not path.name.startswith("."))


def replace(path: Path, make: Callable[[Path], object]) -> None:
    """Something else in the place of a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make(path)


def link_to(target: Path) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def hardlink_to(target: Path) -> Callable[[Path], object]:
    return lambda path: path.hardlink_to(target)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    """/dev/zero by its numbers; where that is not permitted, a link to it."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def folder(path: Path) -> None:
    path.mkdir()
    (path / "inside.txt").write_text("something")


def a_file(path: Path) -> None:
    path.write_text("something")


def huge(path: Path) -> None:
    """A file of a terabyte that takes no room."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def old(path: Path) -> None:
    """So old that unfinished work of that age is cleared up."""
    os.utime(path, (1, 1), follow_symlinks=False)


# ── what is not a file or folder of the store's own ───────────────────────────────────────────────────────────────

TARGETS: dict[str, Callable[[Path], Path]] = {
    "database": lambda store: store / DATABASE,
    "journal": lambda store: store / JOURNAL,
    "wal": lambda store: store / WAL,
    "shm": lambda store: store / SHARED,
    "memories": lambda store: store / MEMORIES,
    "memory": memory_of,
    "manifest": lambda store: memory_of(store) / memory_files.MANIFEST,
    "memory file": lambda store: memory_of(store) / "memory.json",
}
"""Names in a store, each of which is replaced by what it must not be."""

OUTSIDE = {
    "database": DATABASE,
    "journal": "secret.txt",
    "wal": "secret.txt",
    "shm": "secret.txt",
    "memories": MEMORIES,
    "memory": f"{MEMORIES}/copied",
    "manifest": f"{MEMORIES}/copied/files.json",
    "memory file": f"{MEMORIES}/copied/memory.json",
}
"""What is outside under which a link would look sound."""

KINDS: dict[str, Callable[[Path], object]] = {"FIFO": fifo, "device": device, "socket": a_socket}


def _replaced(what: str, make: Callable[[Path], object], store: Path, outside: Path) -> None:
    replace(TARGETS[what](store), make)


def _linked(what: str, link: Callable[[Path], Callable[[Path], object]], name: str, store: Path, outside: Path) -> None:
    replace(TARGETS[what](store), link(outside / name))


for _what in TARGETS:
    _base = ("gist",)
    forgery(f"{_what} is a link", *_base, refused=True)(partial(_linked, _what, link_to, OUTSIDE[_what]))
    forgery(f"{_what} is a link to nothing", *_base, refused=True)(partial(_linked, _what, link_to, "nothing"))
    for _kind, _make in KINDS.items():
        forgery(f"{_what} is a {_kind}", *_base, refused=_what != "shm")(partial(_replaced, _what, _make))
for _what in ("database", "journal", "manifest", "memory file"):
    forgery(f"{_what} is a hard link", "gist", refused=True)(partial(_linked, _what, hardlink_to, OUTSIDE[_what]))
for _what in ("database", "journal", "manifest", "memory file"):
    forgery(f"{_what} is a folder", "gist", refused=True)(partial(_replaced, _what, folder))
for _what in ("memories", "memory"):
    forgery(f"{_what} is a file", "gist", refused=True)(partial(_replaced, _what, a_file))
for _what in ("manifest", "memory file"):
    forgery(f"{_what} is huge", "gist", refused=True)(partial(_replaced, _what, huge))
forgery("wal is huge", "gist")(partial(_replaced, "wal", huge))
forgery("journal is huge", "gist")(partial(_replaced, "journal", huge))
for _what in ("database", "journal", "memories"):
    forgery(f"{_what} is a link", "format1", refused=True)(partial(_linked, _what, link_to, OUTSIDE[_what]))
    forgery(f"{_what} is a FIFO", "format1", refused=True)(partial(_replaced, _what, fifo))


@forgery("database is huge", "gist")
def _huge_database(store: Path, outside: Path) -> None:
    os.truncate(store / DATABASE, 1 << 40)


@forgery("an old unfinished memory is a link", "gist")
def _unfinished_link(store: Path, outside: Path) -> None:
    path = store / MEMORIES / f".{memory_of(store).name}.{'0' * 32}"
    path.symlink_to(outside / MEMORIES)
    old(path)


@forgery("remains of a new database are a link", "gist")
def _remains_link(store: Path, outside: Path) -> None:
    path = store / f".{DATABASE}.{'0' * 32}"
    path.symlink_to(outside / DATABASE)
    old(path)


@forgery("remains of a new database are a FIFO", "gist")
def _remains_fifo(store: Path, outside: Path) -> None:
    path = store / f".{DATABASE}.{'0' * 32}"
    fifo(path)
    old(path)


@forgery("a link beside the memory's files", "gist")
def _link_beside(store: Path, outside: Path) -> None:
    (memory_of(store) / "more").symlink_to(outside)


@forgery("a link inside a memory that nothing refers to", "gist")
def _orphan_with_link(store: Path, outside: Path) -> None:
    orphan = store / MEMORIES / ("a" * 40)
    orphan.mkdir()
    (orphan / "photos").symlink_to(outside / "photos")


@forgery("a memory that nothing refers to is a link", "gist")
def _orphan_link(store: Path, outside: Path) -> None:
    (store / MEMORIES / ("b" * 40)).symlink_to(outside / "photos")


# ── what is not ours stays ────────────────────────────────────────────────────────────────────────────────────────

FOREIGN = (
    "notes.txt",
    "photos/one.jpg",
    f"{MEMORIES}/readme.txt",
    f"{MEMORIES}/holidays/two.jpg",
    f"{MEMORIES}/.hidden/three.jpg",
    f".{DATABASE}.backup",
    f"{DATABASE}.old",
)
"""Entries that are no store's; whatever is done, they are there afterwards."""


@forgery("foreign entries", "gist", "format1")
def _foreign(store: Path, outside: Path) -> None:
    for name in FOREIGN:
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not a store's")
        old(path)
        if path.parent.name in (".hidden", "holidays"):
            old(path.parent)


# ── names in rows and files ───────────────────────────────────────────────────────────────────────────────────────

NAMES = {
    "..": "..",
    "a parent": "../../outside/memories/copied",
    "an absolute path": None,
    "nothing": "",
    "a dot": ".",
    "a path": "a/b",
    "a backslash": "..\\..\\outside",
    "a NUL": "a\0b",
    "a hidden name": ".hidden",
    "a long name": "n" * 300,
    "a longer path": "n/" * 3000,
    "a newline": "a\nb",
    "a link's name": "linked",
    "an escape": "\x1b[2Jname",
}


def _shard_folder(name: str | None, store: Path, outside: Path) -> None:
    folder = str(outside / MEMORIES / "copied") if name is None else name
    if name == "linked":
        (store / MEMORIES / name).symlink_to(outside / MEMORIES / "copied")
    with edited(store) as database:
        database.execute("UPDATE shards SET folder = ? WHERE place = (SELECT min(place) FROM shards)", (folder,))


def _manifest_name(name: str | None, store: Path, outside: Path) -> None:
    memory = memory_of(store)
    names = {"files": {name or str(outside / "secret.txt"): memory_files._hash(outside / "secret.txt")}}
    if name == "linked":
        (memory / name).symlink_to(outside / "secret.txt")
    manifest = {"name": memory.name, **names}
    sealed = {**manifest, "seal": memory_files._checksum(manifest)}
    (memory / memory_files.MANIFEST).write_text(json.dumps(sealed), "utf-8")


for _name, _value in NAMES.items():
    forgery(f"a memory's folder is {_name}", "gist", "format1", refused=True)(partial(_shard_folder, _value))
    forgery(f"a memory's file is {_name}", "gist", refused=True)(partial(_manifest_name, _value))


@forgery("a journal that names another journal to delete", "gist", refused=True)
def _super_journal(store: Path, outside: Path) -> None:
    """SQLite deletes a super-journal, by the name at the end of a journal, once it has rolled back."""
    database = (store / DATABASE).read_bytes()
    size = int.from_bytes(database[16:18], "big")
    pages = len(database) // size
    name = str(outside / "secret.txt").encode()
    page = database[:size]
    nonce = 7
    checksum = nonce
    at = size - 200
    while at > 0:
        checksum += page[at]
        at -= 200
    header = JOURNAL_MAGIC + b"".join(n.to_bytes(4, "big") for n in (1, nonce, pages, 512, size))
    record = (1).to_bytes(4, "big") + page + (checksum & 0xFFFFFFFF).to_bytes(4, "big")
    locking = (0x40000000 // size + 1).to_bytes(4, "big")
    tail = locking + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + JOURNAL_MAGIC
    (store / JOURNAL).write_bytes(header.ljust(512, b"\0") + record + tail)


# ── files of a memory ─────────────────────────────────────────────────────────────────────────────────────────────


def _memory_json(change: Callable[[dict[str, Any]], object], store: Path, outside: Path) -> None:
    memory = memory_of(store)
    stored = json.loads((memory / "memory.json").read_text("utf-8"))
    changed = change(stored)
    text = changed if isinstance(changed, str) else json.dumps(stored)
    (memory / "memory.json").write_text(text, "utf-8")
    memory_files.write_manifest(memory, memory.name)


def _levels(value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda stored: stored.update(levels=[[[0, value, "x"]]])


for _name, _change in {
    "Infinity": _levels(float("inf")),
    "NaN": _levels(float("nan")),
    "a number of 400 digits": _levels(10**400),
    "a gist that is a list": lambda stored: stored.update(levels=[[[0, 5, ["x"] * 10]]]),
    "levels that are text": lambda stored: stored.update(levels="levels"),
    "a nesting of 100,000": lambda stored: "[" * 100_000,
    "lost is Infinity": lambda stored: stored.update(lost=float("inf")),
    "no object": lambda stored: "17",
    "a lone surrogate": _levels("\ud800"),
}.items():
    forgery(f"memory.json holds {_name}", "gist")(partial(_memory_json, _change))


def _manifest_text(text: str, store: Path, outside: Path) -> None:
    (memory_of(store) / memory_files.MANIFEST).write_text(text, "utf-8")


for _name, _text in {
    "a list": "[1, 2]",
    "a nesting of 100,000": "[" * 100_000,
    "sizes of Infinity": '{"name": "x", "files": {"memory.json": [Infinity, "x"]}, "seal": "y"}',
    "files that are a list": '{"name": "x", "files": ["memory.json"], "seal": "y"}',
}.items():
    forgery(f"files.json holds {_name}", "gist")(partial(_manifest_text, _text))


# ── the database ──────────────────────────────────────────────────────────────────────────────────────────────────


def _sql(statements: str, store: Path, outside: Path) -> None:
    with edited(store) as database:
        database.executescript(statements)


BASES = ("gist", "format1")
for _name, _statements in {
    "user version 0": "PRAGMA user_version = 0",
    "user version -1": "PRAGMA user_version = -1",
    "user version 99": "PRAGMA user_version = 99",
    "another application": "PRAGMA application_id = 1",
    "a view": "CREATE VIEW extra AS SELECT * FROM documents",
    "a view in the place of a table": (
        "ALTER TABLE passages RENAME TO passages2; "
        "CREATE VIEW passages AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        "SELECT passages2.* FROM passages2, n"
    ),
    "a trigger": "CREATE TRIGGER wipe AFTER UPDATE ON meta BEGIN DELETE FROM documents; END",
    "a trigger on shards": "CREATE TRIGGER wipe AFTER INSERT ON shards BEGIN DELETE FROM meta; END",
    "a virtual table": "CREATE VIRTUAL TABLE extra USING fts5(words)",
    "a virtual table in the place of a table": (
        "ALTER TABLE shards RENAME TO shards2; CREATE VIRTUAL TABLE shards USING rtree(place, documents, content)"
    ),
    "one more table": "CREATE TABLE extra(x)",
    "one more index": "CREATE INDEX extra ON documents(language)",
    "a generated column": "ALTER TABLE documents ADD COLUMN more AS (zeroblob(1000000000))",
    "a dropped table": "DROP TABLE shards",
}.items():
    forgery(_name, *BASES, refused=True)(partial(_sql, _statements))


for _name, _statements in {
    "a seal that is text": "UPDATE documents SET seal = 'text'",
    "a text that is a blob": "UPDATE documents SET text = x'ff00ff'",
    "an id that is a number": "UPDATE documents SET id = 17 WHERE place = 0",
    "metadata that is a list": "UPDATE documents SET metadata = '[1]'",
    "metadata of 100,000 nestings": f"UPDATE documents SET metadata = '{'[' * 100_000}'",
    "a place that is text": "UPDATE documents SET place = 'first'",
    "terms that are odd": "UPDATE passages SET terms = x'00'",
    "a vocabulary that is a blob": "UPDATE documents SET vocabulary = x'ff'",
    "a passage that begins at text": "UPDATE passages SET start = 'x'",
    "a passage from minus infinity": "UPDATE passages SET start = -9223372036854775808, stop = 9223372036854775807",
    "a centre of Infinity": "UPDATE passages SET centre = 9e999",
    "a vector of another length": "UPDATE vectors SET vector = x'00'",
    "a space that is no JSON": "UPDATE spaces SET fingerprint = 'x'",
    "a space that is a list": "UPDATE spaces SET fingerprint = '[]'",
    "shards of no document": "UPDATE shards SET documents = '[\"nobody\"]'",
    "shards that are a number": "UPDATE shards SET documents = '17'",
    "a shard's content that is a blob": "UPDATE shards SET content = x'00'",
    "a host that is a list": "UPDATE documents SET host = '[]'",
    "a passage of a hundred megabytes": (
        "UPDATE passages SET text = zeroblob(100000000) WHERE rowid = (SELECT min(rowid) FROM passages)"
    ),
}.items():
    forgery(_name, "dense")(partial(_sql, _statements))


def _sealed_row(column: str, value: Any, store: Path, outside: Path) -> None:
    """A value of another type in every document, with the checksums that fit it."""
    with edited(store) as database:
        database.execute(f"UPDATE documents SET {column} = ?", (value,))
        for number, *row in database.execute(
            "SELECT number, id, text, metadata, host, language, cut, vocabulary FROM documents"
        ).fetchall():
            passages = tables._read_passages(database, [number])[number]
            document = DocumentRow(*row, passages)
            database.execute(
                "UPDATE documents SET seal = ?, terms_seal = ? WHERE number = ?",
                (document.checksum, document.terms_checksum, number),
            )


for _column in ("text", "metadata", "host", "language", "cut", "vocabulary"):
    forgery(f"{_column} is a blob, sealed", "dense", "plain")(partial(_sealed_row, _column, b"\xff\x00"))
forgery("metadata is a list, sealed", "dense")(partial(_sealed_row, "metadata", "[1]"))
forgery("host is a number, sealed", "dense")(partial(_sealed_row, "host", "17"))
forgery("language is unknown, sealed", "dense")(partial(_sealed_row, "language", "\x1b[2J"))


def _state(value: Any, store: Path, outside: Path) -> None:
    with edited(store, sealed=False) as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'state'", (json.dumps(value),))


for _name, _value in {
    "text": {"generation": "x", "digest": ""},
    "Infinity": {"generation": float("inf"), "digest": ""},
    "400 digits": {"generation": 10**400, "digest": ""},
    "a list": [],
    "negative": {"generation": -5, "digest": None},
}.items():
    forgery(f"a generation that is {_name}", "dense")(partial(_state, _value))


@forgery("a database in WAL mode", "gist")
def _wal_mode(store: Path, outside: Path) -> None:
    with edited(store) as database:
        database.execute("PRAGMA journal_mode = wal")


# ── settings and models ───────────────────────────────────────────────────────────────────────────────────────────


def _settings(change: dict[str, Any], store: Path, outside: Path) -> None:
    put_meta(store, "settings", lambda stored: {**stored, **change})


for _name, _change in {
    "a passage size of 10^30": {"passage_size": 10**30},
    "a passage size of Infinity": {"passage_size": float("inf")},
    "a passage size that is text": {"passage_size": "x"},
    "shards below 1": {"shards": -1},
    "clues that are a list": {"clues": []},
    "a language that is none": {"language": "xx-klingon"},
    "a fusion of text": {"fusion": {"dense_weight": "x"}},
    "a fusion of Infinity": {"fusion": {"dense_weight": float("inf")}},
    "unknown settings": {"trust": True},
    "a fusion that is a list": {"fusion": []},
}.items():
    forgery(f"settings: {_name}", "plain", "format1")(partial(_settings, _change))

CUSTOM_MODULE = """import pathlib
from torch import nn
pathlib.Path({marker!r}).write_text("code was run")
class Evil(nn.Module):
    pass
"""


def model_folder(path: Path, outside: Path) -> None:
    """A sentence-transformers model with a module of its own, which writes into the folder outside when imported."""
    path.mkdir(parents=True)
    code = CUSTOM_MODULE.format(marker=str(outside / "ran"))
    (path / "evil.py").write_text(code)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "config_sentence_transformers.json").write_text("{}")
    (path / "config.json").write_text(json.dumps({"model_type": "bert", "auto_map": {"AutoModel": "evil.Evil"}}))


def _embedder(config: dict[str, Any], store: Path, outside: Path) -> None:
    if config.get("model") == "inside":
        config = {**config, "model": str(store / "model")}
        model_folder(store / "model", outside)
    if config.get("model") == "linked":
        config = {**config, "model": str(store / "model")}
        model_folder(outside / "model", outside)
        (store / "model").symlink_to(outside / "model")
    if config.get("model") == "around":
        config = {**config, "model": str(store.parent / "outside" / ".." / store.name / "model")}
        model_folder(store / "model", outside)
    put_meta(store, "embedder", lambda stored: {**stored, "config": config})


ST = {"kind": "sentence-transformers"}
for _name, _config in {
    "a model inside the store": {**ST, "model": "inside"},
    "a model behind a link in the store": {**ST, "model": "linked"},
    "a model inside the store by a detour": {**ST, "model": "around"},
    "a repo id": {**ST, "model": "evil/model"},
    "a repo id of one word": {**ST, "model": "evil-model"},
    "a URL": {**ST, "model": "https://example.invalid/model"},
    "code to be trusted": {**ST, "model": "inside", "trust_remote_code": True},
    "a cache folder": {**ST, "model": "evil/model", "cache_dir": "/tmp/evil"},
    "BGE-M3 inside the store": {"kind": "bge-m3", "model": "inside"},
    "BGE-M3 by its repo id": {"kind": "bge-m3", "model": "BAAI/bge-m3"},
    "a model that is a list": {**ST, "model": ["x"]},
    "a model that is a number": {**ST, "model": 17},
    "no model": {**ST},
    "an unknown kind": {"kind": "os:system", "model": "true"},
    "a kind that is a list": {"kind": []},
}.items():
    _local = _config.get("model") in ("evil/model", "evil-model", "BAAI/bge-m3") and "trust_remote_code" not in _config
    forgery(f"embedder: {_name}", "stored", refused=not _local)(partial(_embedder, _config))


def _memory_config(config: dict[str, Any], store: Path, outside: Path) -> None:
    def own(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: own(one) for key, one in value.items()}
        return (
            {"inside": str(store / "model"), "outside": str(outside / "new")}.get(value, value)
            if isinstance(value, str)
            else value
        )

    if "inside" in json.dumps(config):
        model_folder(store / "model", outside)
    put_meta(store, "memory", lambda stored: {**stored, "config": own(config)})


for _name, _config in {
    "a beacon's repo id": {"kind": "beacon", "model_name_or_path": "evil/beacon"},
    "a beacon inside the store": {"kind": "beacon", "model_name_or_path": "inside"},
    "a beacon with a cache folder": {"kind": "beacon", "model_name_or_path": "evil/beacon", "cache_dir": "outside"},
    "a long-context repo id": {"kind": "longcontext", "model_name_or_path": "evil/long"},
    "a long-context model inside the store": {"kind": "longcontext", "model_name_or_path": "inside"},
    "gists of a repo id": {"kind": "gist", "llm": {"kind": "huggingface", "model": "evil/llm"}},
    "gists of a model inside the store": {"kind": "gist", "llm": {"kind": "huggingface", "model": "inside"}},
    "an LLM's repo id": {"kind": "llm", "llm": {"kind": "huggingface", "model": "evil/llm"}},
    "an LLM of an unknown kind": {"kind": "llm", "llm": {"kind": "subprocess"}},
    "an LLM that is a list": {"kind": "llm", "llm": []},
    "a config that is a list": [],
    "an unknown kind": {"kind": "posix:system"},
}.items():
    forgery(f"memory: {_name}", "plain", "format1")(partial(_memory_config, _config))
