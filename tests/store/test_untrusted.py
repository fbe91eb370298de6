"""A store from anybody: nothing outside it is followed, opened, removed or contacted. `tests/faults` has many more."""

import json
import os
import sqlite3
from contextlib import closing

import pytest

from memorag_integrations import Document, GistMemory, MemoRAG
from memorag_integrations.encoders import embedders
from memorag_integrations.encoders.pretrained import StoredName
from memorag_integrations.errors import EmbedderError, InputError, MemoRAGError, MemoryModelError, StoreError
from memorag_integrations.registry import EMBEDDERS, MEMORY_MODELS
from memorag_integrations.store import memory_files
from memorag_integrations.store.maintenance import compact, verify
from memorag_integrations.store.paths import DATABASE, JOURNAL, MEMORIES
from memorag_integrations.store.stored_models import build_stored
from tests.scripted import ScriptedLLM


@pytest.fixture
def models(tmp_path):
    return {"memory": GistMemory(ScriptedLLM("A gist.", window=20_000), folder=tmp_path / "gists", stretch=300)}


@pytest.fixture
def folder(tmp_path, models, documents):
    with MemoRAG.open(tmp_path / "store", **models) as memo:
        memo.add(documents, progress=False)
    return tmp_path / "store"


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "outside" / "photos").mkdir(parents=True)
    (tmp_path / "outside" / "photos" / "one.jpg").write_text("a picture")
    return tmp_path / "outside"


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_memories_that_are_a_link_are_neither_cleared_up_nor_written_through(folder, outside, models):
    os.rename(folder / MEMORIES, outside / "memories")
    (folder / MEMORIES).symlink_to(outside / "memories")
    before = everything(outside)
    with pytest.raises(StoreError, match=r"Expected a folder at .*memories, found a link"):
        compact(folder)
    with pytest.raises(StoreError, match="found a link"), MemoRAG.open(folder, **models) as memo:
        memo.add(Document("A new text.", "new"), progress=False)
    assert everything(outside) == before


def test_compact_removes_what_has_the_form_of_a_store_s_own_alone(folder, outside):
    ours = [folder / MEMORIES / ("a" * 40), folder / MEMORIES / f".{'b' * 40}.{'c' * 32}"]
    theirs = [folder / MEMORIES / "photos", folder / MEMORIES / ".cache", folder / MEMORIES / ("A" * 40)]
    for path in (*ours, *theirs):
        path.mkdir()
        (path / "file").write_text("x")
        os.utime(path, (1, 1))
    files = [folder / f".{DATABASE}.{'d' * 32}", folder / f".{DATABASE}.backup"]
    for file in files:
        file.write_text("x")
        os.utime(file, (1, 1))
    link = folder / MEMORIES / ("e" * 40)
    link.symlink_to(outside / "photos")
    before = everything(outside)
    compact(folder)
    assert [path.exists() for path in (*ours, *theirs)] == [False, False, True, True, True]
    assert [file.exists() for file in files] == [False, True]
    assert link.is_symlink()
    assert everything(outside) == before


@pytest.mark.parametrize("name", ["../../outside", "/etc", "..", "", "a" * 39, "A" * 40, "a" * 40 + "\n", 17, None])
def test_a_name_that_no_memory_has_is_refused(name, folder):
    with pytest.raises(MemoryModelError, match="name of a memory's folder"):
        memory_files.folder_of(folder, name)


@pytest.mark.parametrize("name", ["../memory.json", "/etc/passwd", "a/../b", "a//b", "./a", "", "a\0b"])
def test_a_manifest_s_names_stay_in_the_memory_s_folder(name, folder):
    memory = next((folder / MEMORIES).iterdir())
    manifest = {"name": memory.name, "files": {name: [1, "x"]}}
    sealed = {**manifest, "seal": memory_files._checksum(manifest)}
    (memory / memory_files.MANIFEST).write_text(json.dumps(sealed))
    with pytest.raises(MemoryModelError, match="is no name of a file in it"):
        memory_files.check(folder, memory.name)


def test_a_journal_that_would_have_another_file_deleted_is_refused(folder, outside):
    name = str(outside / "photos" / "one.jpg").encode()
    magic = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    (folder / JOURNAL).write_bytes(magic + bytes(504) + name + len(name).to_bytes(4, "big") + bytes(4) + magic)
    with pytest.raises(StoreError, match="SQLite would delete what it names"):
        verify(folder)
    assert (outside / "photos" / "one.jpg").exists()


def test_a_second_name_of_the_database_is_refused_and_one_of_our_own_is_not(folder, tmp_path):
    """A stop while a store is made may leave it under two names of ours."""
    (folder / f".{DATABASE}.{'0' * 32}").hardlink_to(folder / DATABASE)
    assert verify(folder) == []
    (tmp_path / "elsewhere").hardlink_to(folder / DATABASE)
    with pytest.raises(StoreError, match=r"has 3 names \(hard links\)"):
        verify(folder)


@pytest.mark.parametrize("version", [0, -1, 3, 99])
def test_a_format_that_is_unknown_is_refused(version, folder):
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute(f"PRAGMA user_version={version}")
    with pytest.raises(StoreError, match=f"has format {version}"):
        MemoRAG.load(folder)


def test_a_memory_of_infinity_is_an_error_of_ours(folder, models):
    memory = next((folder / MEMORIES).iterdir())
    stored = json.loads((memory / "memory.json").read_text())
    stored["levels"] = [[[0, float("inf"), "x"]]]
    (memory / "memory.json").write_text(json.dumps(stored))
    memory_files.write_manifest(memory, memory.name)
    with pytest.raises(MemoryModelError, match="OverflowError"):
        MemoRAG.load(folder, **models)


# ── models that a store names ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("detour", ["", "/../model", "/../../store/model"])
def test_a_model_inside_the_store_is_refused(detour, folder):
    (folder / "model").mkdir()
    config = {"kind": "sentence-transformers", "model": f"{folder}/model{detour}"}
    with pytest.raises(StoreError, match="names a model inside itself"):
        build_stored(EMBEDDERS, config, folder)


def test_a_link_in_the_store_to_a_model_outside_is_refused(folder, outside):
    (folder / "model").symlink_to(outside)
    with pytest.raises(StoreError, match="names a model inside itself"):
        build_stored(EMBEDDERS, {"kind": "sentence-transformers", "model": f"{folder}/model"}, folder)


def test_a_model_elsewhere_is_used_as_before(folder, outside):
    built = build_stored(EMBEDDERS, {"kind": "sentence-transformers", "model": str(outside)}, folder)
    assert built.model == str(outside)
    assert json.loads(json.dumps(built.config))["model"] == str(outside)


def test_a_repository_is_never_downloaded(folder, monkeypatch):
    asked = []

    def snapshot_download(name, **how):
        asked.append((name, how["local_files_only"]))
        raise FileNotFoundError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    embedder = build_stored(EMBEDDERS, {"kind": "sentence-transformers", "model": "owner/model"}, folder)
    assert isinstance(embedder.model, StoredName)
    with pytest.raises(EmbedderError, match=r"'owner/model', which is not on this machine.*hf download owner/model"):
        embedder.embed_queries(["x"])
    beacon = build_stored(MEMORY_MODELS, {"kind": "beacon", "model_name_or_path": "owner/beacon"}, folder)
    with pytest.raises(MemoRAGError, match="'owner/beacon', which is not on this machine"):
        _ = beacon.fingerprint
    assert asked == [("owner/model", True), ("owner/beacon", True)]


@pytest.mark.parametrize(
    "name", ["https://example.invalid/model", "a/b/c", "../elsewhere", "a b", "", "a\0b", 17, None, ["x"]]
)
def test_what_is_no_model_s_name_is_refused(name, folder):
    with pytest.raises(StoreError, match=r"Pass the model|Pass\s+the model"):
        build_stored(EMBEDDERS, {"kind": "sentence-transformers", "model": name}, folder)


def test_folders_and_caches_of_a_store_are_ignored(folder, outside):
    config = {"kind": "beacon", "model_name_or_path": "owner/beacon", "cache_dir": str(outside), "token": "t"}
    built = build_stored(MEMORY_MODELS, config, folder)
    assert (built.cache_dir, built.token) == (None, None)


@pytest.mark.parametrize("config", [[], "text", {"kind": []}, {"kind": "os:system"}, {"kind": "minilm", "trust": True}])
def test_settings_that_no_version_wrote_are_an_error_of_ours(config, folder):
    with pytest.raises(StoreError):
        build_stored(EMBEDDERS, config, folder)


@pytest.mark.parametrize("size", [10**30, float("inf"), "x", -1])
def test_a_stored_passage_size_out_of_range_is_refused(size, folder, models):
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as database:
        [(stored,)] = database.execute("SELECT value FROM meta WHERE key = 'settings'")
        settings = json.dumps({**json.loads(stored), "passage_size": size})
        database.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (settings,))
        from memorag_integrations.store import tables

        version = tables.read_version(database, 2)
        tables.write_version(database, version.identity, version.generation)
    with pytest.raises((StoreError, InputError), match="passage_size must be"):
        MemoRAG.load(folder, **models)


def test_a_version_of_sentence_transformers_that_runs_models_code_is_refused(monkeypatch):
    monkeypatch.setattr(embedders, "version", lambda name: "5.1.2")
    with pytest.raises(EmbedderError, match=r"6 or newer, found 5\.1\.2"):
        embedders.check_version()
