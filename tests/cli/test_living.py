"""The command line over a store that changes: add, delete, refresh, verify, compact, repair."""

import json
import sqlite3

import pytest
from click.testing import CliRunner

from memorag_integrations import GistMemory, HuggingFaceLLM, MemoRAG
from memorag_integrations.cli import main
from memorag_integrations.memories.random import RandomMemoryModel
from memorag_integrations.store.store import DATABASE
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER, HashEmbedder
from tests.tiny_model import make_tiny_model


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def ids(store):
    return sorted(MemoRAG.load(store).corpus.documents)


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """A folder of two notes, in the working directory; a store of them stands beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.md").write_text(LIGHTHOUSE, "utf-8")
    (tmp_path / "notes/b.md").write_text(BAKERY, "utf-8")
    assert run("memorize", "notes", "--store", "s").exit_code == 0
    return tmp_path / "notes"


def damage(table, change):
    """Change rows behind the store's back."""
    with sqlite3.connect(f"s/{DATABASE}") as database:
        assert database.execute(f"UPDATE {table} SET {change}").rowcount > 0


# ── what comes and goes ───────────────────────────────────────────────────────────────────────────────────────────


def test_add_takes_in_what_is_new_and_what_has_changed(notes):
    (notes / "a.md").write_text(LIGHTHOUSE + "\n\nThe tower is a museum now.", "utf-8")
    (notes / "c.md").write_text(RIVER, "utf-8")
    result = run("add", "notes", "--store", "s")
    assert result.exit_code == 0, result.output
    assert "Added 1, replaced 1, deleted 0 documents; 1 stayed as they were." in result.stdout
    assert "Memories: 2 formed, 1 reused." in result.stdout
    assert "encoded" not in result.stdout, "BM25 alone"
    assert ids("s") == ["notes/a.md", "notes/b.md", "notes/c.md"]
    again = json.loads(run("add", "notes", "--store", "s", "--json").stdout)
    assert again == {
        "added": [],
        "replaced": [],
        "deleted": [],
        "unchanged": 3,
        "indexed": 0,
        "encoded": 0,
        "formed": 0,
        "reused": 3,
    }


def test_delete_takes_out_and_names_what_is_near_an_id_that_is_not_there(notes):
    result = run("delete", "notes/b.md", "notes/A.md", "--store", "s")
    assert result.exit_code == 1
    assert "no document 'notes/A.md'. Nothing was deleted. Did you mean 'notes/" in result.stderr
    assert "'notes/a.md'" in result.stderr
    assert "`memorag retrieve` shows ids" in run("delete", "zzzz", "--store", "s").stderr
    assert len(ids("s")) == 2
    assert "deleted 1 documents; 1 stayed" in run("delete", "notes/b.md", "--store", "s").stdout
    assert run("delete", "notes/a.md", "--store", "s").exit_code == 0
    assert ids("s") == []
    assert run("retrieve", "the keeper", "--store", "s").stdout == "Nothing found.\n"
    assert "Added 2" in run("add", "notes", "--store", "s").stdout


def test_refresh_makes_the_store_these_files(notes):
    (notes / "b.md").unlink()
    (notes / "c.md").write_text(RIVER, "utf-8")
    result = run("refresh", "notes", "--store", "s")
    assert "Added 1, replaced 0, deleted 1 documents; 1 stayed as they were." in result.stdout
    assert ids("s") == ["notes/a.md", "notes/c.md"]


def test_what_was_encoded_is_said(notes, minilm):
    assert run("memorize", "notes/a.md", "--store", "dense", "--embedder", "minilm").exit_code == 0
    result = run("add", "notes", "--store", "dense")
    assert result.exit_code == 0, result.output
    assert "1 indexed, 1 encoded." in result.stdout


def test_a_memory_with_a_model_of_its_own_is_loaded_from_its_settings(notes):
    make_tiny_model(notes.parent / "model", chat=True, window=8192, brief=True)
    memo = MemoRAG(GistMemory(HuggingFaceLLM("model", device="cpu")))
    memo.memorize([LIGHTHOUSE], save_dir="gist", progress=False)
    result = run("add", "notes/b.md", "--store", "gist")
    assert result.exit_code == 0, result.output
    assert "Memories: 1 formed, 1 reused." in result.stdout
    assert MemoRAG.load("gist").info()["memory"] == memo.memory_model.fingerprint
    assert run("verify", "--store", "gist").exit_code == 0


@pytest.mark.parametrize(
    ("part", "how", "name"),
    [
        ("embedder", {"embedder": HashEmbedder()}, "HashEmbedder seed 0"),
        ("memory", {"memory": type("Own", (RandomMemoryModel,), {"config": None})()}, "random"),
    ],
)
def test_what_only_its_owner_can_make_is_said(notes, part, how, name):
    MemoRAG(**how).memorize([LIGHTHOUSE], save_dir="own", progress=False)
    for command in (["add", "notes"], ["refresh", "notes"], ["delete", "x"], ["repair"]):
        result = run(*command, "--store", "own")
        assert result.exit_code == 1
        assert f"The {part} of the store at own is {name}" in result.stderr
        assert f"MemoRAG.open('own', {part}=…)" in result.stderr
    assert run("verify", "--store", "own").exit_code == 0
    assert run("compact", "--store", "own").exit_code == 0


# ── care ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_verify_is_content_with_a_whole_store(notes):
    result = run("verify", "--store", "s")
    assert (result.exit_code, result.stdout) == (0, "All of s is as it was written.\n")


def test_broken_terms_are_told_and_made_again(notes):
    damage("documents", "vocabulary = vocabulary || char(10) || 'x' WHERE id = 'notes/a.md'")
    result = run("verify", "--store", "s")
    assert result.exit_code == 1
    assert result.stdout == "The terms of document 'notes/a.md' are broken. They can be made again.\n"
    result = run("repair", "--store", "s")
    assert (result.exit_code, result.stdout) == (0, "Made again: terms of 1 documents, 0 vectors, 0 memories.\n")
    assert run("verify", "--store", "s").exit_code == 0


def test_a_broken_document_is_dropped_only_where_that_is_said(notes):
    damage("documents", "text = 'forged' WHERE id = 'notes/a.md'")
    assert "'notes/a.md' is not as it was written" in run("verify", "--store", "s").stdout
    result = run("repair", "--store", "s")
    assert result.exit_code == 1
    assert "`memorag repair --drop`" in result.stderr
    result = run("repair", "--store", "s", "--drop")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Dropped notes/a.md\n")
    assert (run("verify", "--store", "s").exit_code, ids("s")) == (0, ["notes/b.md"])
    assert "Added 1" in run("add", "notes", "--store", "s").stdout


def test_compact_frees_what_nothing_refers_to(notes, minilm):
    assert run("memorize", "notes", "--store", "dense", "--embedder", "minilm").exit_code == 0
    (notes / "b.md").unlink()
    assert run("refresh", "notes", "--store", "dense").exit_code == 0

    def vectors():
        with sqlite3.connect(f"dense/{DATABASE}") as database:
            return database.execute("SELECT COUNT(*) FROM vectors").fetchone()[0]

    before = vectors()
    result = run("compact", "--store", "dense")
    assert result.exit_code == 0
    assert result.stdout.startswith("Freed ")
    assert result.stdout.endswith(" bytes.\n")
    assert vectors() == before - 1
    assert run("verify", "--store", "dense").exit_code == 0


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command", [["add", "notes"], ["refresh", "notes"], ["delete", "x"], ["verify"], ["compact"], ["repair"]]
)
def test_where_there_is_no_store_none_is_made(notes, command):
    result = run(*command, "--store", "nowhere")
    assert result.exit_code == 1
    assert "Expected a store" in result.stderr
    assert result.stdout == ""
    assert not (notes.parent / "nowhere").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["add", "nothing.txt"], "found nothing. Check the path"),
        (["add", "notes/b.md"], "The new version of document 'notes/b.md' holds no text"),
        (["refresh", "notes/b.md"], "no document holds any text"),
        (["add", "notes/a.md", "--wait", "-1"], "wait must be a number of seconds"),
    ],
)
def test_what_cannot_be_done_changes_nothing(notes, command, message):
    (notes / "b.md").write_text(" \n", "utf-8")
    result = run(*command, "--store", "s")
    assert result.exit_code == 1
    assert message in result.stderr
    assert MemoRAG.load("s").corpus.texts == {"notes/a.md": LIGHTHOUSE, "notes/b.md": BAKERY}


def test_another_writer_is_said(notes):
    other = sqlite3.connect(f"s/{DATABASE}", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for command in (["delete", "notes/a.md"], ["compact"], ["repair"]):
        result = run(*command, "--store", "s", "--wait", 0)
        assert result.exit_code == 1
        assert "Another process is writing to the store at s" in result.stderr
    other.close()
    assert run("delete", "notes/a.md", "--store", "s", "--wait", 0).exit_code == 0


def test_settings_that_are_no_longer_settings_are_damage(notes):
    damage("meta", """value = '5' WHERE key = 'memory'""")
    for command in (["add", "notes"], ["repair"]):
        result = run(*command, "--store", "s")
        assert result.exit_code == 1
        assert "damaged" in result.stderr
