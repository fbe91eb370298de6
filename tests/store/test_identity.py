"""A store knows who it is: restored, deleted, moved and rebuilt stores under an open handle; a live file is never replaced."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memorag_integrations import Document, GistMemory, MemoRAG
from memorag_integrations.errors import InputError, StoreError
from memorag_integrations.store import memory_files
from memorag_integrations.store.maintenance import compact, repair, verify
from memorag_integrations.store.paths import DATABASE
from memorag_integrations.store.store import Store
from tests.conftest import HashEmbedder
from tests.scripted import ScriptedLLM

STORES = Path(__file__).parents[1] / "stores"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def memo(folder):
    opened = MemoRAG.open(folder)
    opened.add([Document("The first text.", "a"), Document("The second text.", "b")], progress=False)
    return opened


def ids(memo):
    return sorted(memo.corpus.documents)


def stored_ids(folder):
    return ids(MemoRAG.load(folder))


def identity(folder):
    return Store(folder).version().identity


def test_an_identity_is_written_once_and_is_the_same_in_copies(memo, folder, tmp_path):
    first = identity(folder)
    assert len(first) == 32
    memo.add(Document("A third text.", "c"), progress=False)
    compact(folder)
    repair(folder, progress=False)
    shutil.copytree(folder, tmp_path / "copy")
    assert identity(folder) == identity(tmp_path / "copy") == first
    MemoRAG.open(tmp_path / "other")
    assert identity(tmp_path / "other") not in (None, first)


@pytest.mark.parametrize("name", ["format1/vectors", "format2/vectors"])
def test_an_old_store_gets_one_at_its_first_change(name, folder):
    shutil.copytree(STORES / name, folder)
    with MemoRAG.open(folder, embedder=HashEmbedder(16)) as memo:
        assert identity(folder) is None
        memo.add("A new text.", progress=False)
        assert len(identity(folder)) == 32
        memo.add("Another new text.", progress=False)
    assert verify(folder) == []


def test_a_backup_put_back_is_taken_over_and_nothing_is_wiped(memo, folder, tmp_path):
    """Two states with as many changes behind them are told apart by their digest."""
    shutil.copytree(folder, tmp_path / "backup")
    memo.delete("b", progress=False)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    with MemoRAG.open(folder) as other:
        other.add(Document("What the other process wrote.", "c"), progress=False)
    assert memo.reload()
    assert ids(memo) == ["a", "b", "c"]
    memo.add(Document("A new text.", "d"), progress=False)
    assert stored_ids(folder) == ["a", "b", "c", "d"]


def test_a_change_is_made_to_the_backup_that_was_put_back(memo, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "backup")
    memo.delete("b", progress=False)
    shutil.copytree(tmp_path / "backup", folder, dirs_exist_ok=True)
    with MemoRAG.open(folder) as other:
        other.add(Document("What the other process wrote.", "c"), progress=False)
    memo.add(Document("A new text.", "d"), progress=False)
    assert ids(memo) == stored_ids(folder) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_store_that_is_gone_is_an_error_and_never_a_new_store(how, memo, folder, tmp_path):
    loaded = MemoRAG.load(folder)
    shutil.move(folder, tmp_path / "away") if how == "moved" else shutil.rmtree(folder)
    loaded.add(Document("In RAM.", "c"), progress=False)
    for call in (
        lambda: memo.add(Document("A new text.", "d"), progress=False),
        lambda: memo.delete("a", progress=False),
        memo.reload,
        lambda: loaded.save(folder),
    ):
        with pytest.raises(StoreError, match="deleted or moved"):
            call()
    assert not folder.exists()
    assert ids(memo) == ["a", "b"]
    memo.save(tmp_path / "kept")
    assert stored_ids(tmp_path / "kept") == ["a", "b"]
    if how == "moved":
        shutil.move(tmp_path / "away", folder)
        memo.add(Document("A new text.", "d"), progress=False)
        assert stored_ids(folder) == ["a", "b", "d"]


def test_an_old_store_that_is_gone_is_no_new_store_either(folder):
    shutil.copytree(STORES / "format2" / "vectors", folder)
    memo = MemoRAG.open(folder, embedder=HashEmbedder(16))
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="found nothing"):
        memo.add("A new text.", progress=False)
    assert not folder.exists()


@pytest.mark.parametrize("alike", [True, False])
def test_another_store_in_the_place_is_refused_by_name(alike, memo, folder):
    texts = [Document("The first text.", "a"), Document("The second text." if alike else "Another.", "b")]
    loaded = MemoRAG.load(folder)
    shutil.rmtree(folder)
    MemoRAG.open(folder).add(texts, progress=False)
    before = stored_ids(folder), Store(folder).version()
    for call in (
        lambda: memo.add(Document("A new text.", "d"), progress=False),
        lambda: memo.refresh(texts, progress=False),
        memo.reload,
        lambda: loaded.save(folder),
    ):
        with pytest.raises(StoreError, match=r"is not the one that was opened.*Open it again"):
            call()
    assert (stored_ids(folder), Store(folder).version()) == before


def test_what_another_process_does_is_no_other_store(memo, folder):
    with MemoRAG.open(folder) as other:
        other.add(Document("A third text.", "c"), progress=False)
    with pytest.raises(InputError, match="Expected the id"):
        memo.delete("nobody", progress=False)
    assert ids(memo) == ["a", "b", "c"]


# ── a live file is never replaced ─────────────────────────────────────────────────────────────────────────────────


def break_terms(folder):
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as database:
        database.execute("UPDATE passages SET terms = zeroblob(length(terms))")


def test_repair_keeps_the_file_its_mode_and_its_readers(memo, folder):
    file = folder / DATABASE
    os.chmod(file, 0o600)
    inode = file.stat().st_ino
    break_terms(folder)
    assert verify(folder) != []
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        assert reader.execute("SELECT count(*) FROM documents").fetchall() == [(2,)]
        assert repair(folder, progress=False).terms == 2
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert verify(folder) == []
    assert (file.stat().st_ino, oct(file.stat().st_mode & 0o777)) == (inode, "0o600")
    assert sorted(path.name for path in folder.iterdir()) == [DATABASE]
    assert memo.reload()
    assert ids(memo) == ["a", "b"]


def test_carrying_over_the_first_format_keeps_the_file_and_its_mode(folder):
    shutil.copytree(STORES / "format1" / "vectors", folder)
    file = folder / DATABASE
    os.chmod(file, 0o640)
    inode = file.stat().st_ino
    MemoRAG.open(folder, embedder=HashEmbedder(16)).add("A new text.", progress=False)
    assert (file.stat().st_ino, oct(file.stat().st_mode & 0o777)) == (inode, "0o640")
    assert verify(folder) == []


def test_nobody_writes_between_a_repair_s_reading_and_its_writing(memo, folder, monkeypatch):
    """SQLite's backup runs outside the transaction: the lock is kept for it."""
    refused = []
    overwrite = sqlite3.Connection.backup

    from memorag_integrations.store import sqlite as ours

    def watched(database, path):
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("COMMIT")
        with closing(sqlite3.connect(folder / DATABASE, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                refused.append(error.sqlite_errorname)
        with closing(sqlite3.connect(path)) as source:
            overwrite(source, database)

    monkeypatch.setattr("memorag_integrations.store.store.overwrite", watched)
    assert ours.overwrite is not watched
    repair(folder, progress=False)
    assert refused == ["SQLITE_BUSY"]
    assert verify(folder) == []


def test_a_repair_that_fails_leaves_the_store_as_it_was(memo, folder, monkeypatch):
    before = (folder / DATABASE).read_bytes()
    monkeypatch.setattr("memorag_integrations.store.tables.write_shards", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        repair(folder, progress=False)
    assert (folder / DATABASE).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [DATABASE]


def gist_models(tmp_path):
    llm = ScriptedLLM("A gist of it.", window=20_000)
    return {"memory": GistMemory(llm, folder=tmp_path / "gists", stretch=300, words=20), "embedder": HashEmbedder(16)}


def test_verify_is_not_deceived_by_what_is_cleared_up_meanwhile(folder, tmp_path, documents, monkeypatch):
    memo = MemoRAG.open(folder, **gist_models(tmp_path))
    memo.add(documents, progress=False)
    check, changed = memory_files.check, []

    def overtaken(store, name):
        if not changed:
            changed.append(memo.replace(Document("Another text of the bakery.", documents[0].id), progress=False))
            compact(folder)
        return check(store, name)

    monkeypatch.setattr(memory_files, "check", overtaken)
    assert verify(folder) == []
    assert changed


def test_a_reader_that_is_overtaken_reads_the_next_state_and_encodes_nothing(
    folder, tmp_path, documents, monkeypatch, caplog
):
    memo = MemoRAG.open(folder, **gist_models(tmp_path))
    memo.add(documents, progress=False)
    vectors, changed = Store.vectors, []

    def overtaken(store, space, keys):
        if not changed:
            changed.append(True)
            memo.replace(Document("Another text of the bakery.", documents[0].id), progress=False)
            compact(folder)
        return vectors(store, space, keys)

    monkeypatch.setattr(Store, "vectors", overtaken)
    models = gist_models(tmp_path)
    loaded = MemoRAG.load(folder, **models)
    assert changed
    assert loaded.corpus.documents[documents[0].id].text == "Another text of the bakery."
    assert "encoded again" not in caplog.text
    assert json.dumps(ids(loaded)) == json.dumps(sorted(document.id for document in documents))
