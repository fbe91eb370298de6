"""The store on disk: what comes back is what was put in, and a folder that is not ours or not whole is left as it is."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memorag_integrations import Document, Fusion, GistMemory, MemoRAG, Passage
from memorag_integrations.encoders.embedders import MiniLMEmbedder
from memorag_integrations.encoders.fingerprint import EmbedderFingerprint
from memorag_integrations.errors import EmbedderError, InputError, StoreError
from memorag_integrations.store import maintenance, store
from memorag_integrations.store import sqlite as database
from tests.conftest import BAKERY, HashEmbedder
from tests.scripted import ScriptedLLM

QUERIES = ("Which trawler struck the reef?", "sourdough", "Who opens the gates?", "unheard of")


def snapshot(folder):
    """Every file below a folder, with its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def answers(memo, **options):
    return [memo.retrieve(query, 20, **options) for query in QUERIES], [memo.recall(query) for query in QUERIES]


def made(documents, embedder=None, **settings):
    memo = MemoRAG(embedder=embedder, passage_size=130, **settings)
    memo.memorize(documents, progress=False)
    return memo


@pytest.fixture
def folder(tmp_path, documents):
    """A store without an embedder."""
    made(documents).save(tmp_path / "store")
    return tmp_path / "store"


def change(folder, *statements):
    with closing(sqlite3.connect(folder / store.DATABASE)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


# ── round trip ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_round_trip_without_an_embedder(tmp_path, documents):
    memo = made(documents)
    memo.save(tmp_path / "s")
    loaded = MemoRAG.load(tmp_path / "s")
    assert answers(loaded) == answers(memo)
    assert answers(loaded, merge=True, mode="hybrid") == answers(memo, merge=True, mode="hybrid")
    assert loaded.info() == memo.info()
    assert dict(loaded.corpus.documents) == dict(memo.corpus.documents)


def test_round_trip_with_an_embedder_passed_at_load(tmp_path, documents):
    memo = made(documents, HashEmbedder())
    memo.save(tmp_path / "s")
    assert MemoRAG.needs_embedder(tmp_path / "s")
    embedder = HashEmbedder()
    loaded = MemoRAG.load(tmp_path / "s", embedder=embedder)
    assert answers(loaded) == answers(memo)
    assert len(embedder.passages) == 1, "the probe: nothing is encoded again"
    loaded.memorize([*documents, "new"], progress=False)
    assert embedder.passages[1:] == ["new"]


def test_round_trip_with_minilm_made_again_from_the_store(tmp_path, documents, minilm):
    memo = made(documents, minilm)
    memo.save(tmp_path / "s")
    assert not MemoRAG.needs_embedder(tmp_path / "s")
    loaded = MemoRAG.load(tmp_path / "s")
    assert isinstance(loaded.embedder.embedder, MiniLMEmbedder)
    assert loaded.info() == memo.info()
    for mine, theirs in zip(answers(loaded)[0], answers(memo)[0], strict=True):
        assert [piece.passage for piece in mine] == [piece.passage for piece in theirs]
        assert [piece.score for piece in mine] == pytest.approx([piece.score for piece in theirs], abs=1e-5)


def test_settings_come_back(tmp_path, documents):
    memo = made(documents, language="en", fusion=Fusion(sharpness=0.5), shards=2, clues=3)
    memo.save(tmp_path / "s")
    loaded = MemoRAG.load(tmp_path / "s")
    assert (loaded.language, loaded.fusion, loaded.shards, loaded.clues) == ("en", Fusion(sharpness=0.5), 2, 3)
    assert loaded.splitter.size == 130
    assert answers(loaded) == answers(memo)


def test_odd_texts_ids_and_metadata_come_back(tmp_path):
    documents = [
        Document("a\x00b \ud800 lone", "id with / and ? and #", {"nested": {"list": [1, None, 2.5, "ü\ud800"]}}),
        Document("漢字 " * 500, "漢字", {"": ""}, host={"any": "thing"}),
        Document("😀\u202e" * 300, "‮"),
        Document("same text", "one"),
        Document("same text", "two", {"other": True}),
    ]
    memo = made(documents, HashEmbedder())
    memo.save(tmp_path / "s")
    loaded = MemoRAG.load(tmp_path / "s", embedder=HashEmbedder())
    assert dict(loaded.corpus.documents) == dict(memo.corpus.documents)
    assert loaded.corpus.index.passages == memo.corpus.index.passages
    assert loaded.retrieve("漢字", 9) == memo.retrieve("漢字", 9)


def test_given_passages_come_back(tmp_path):
    def split(document):
        return [
            Passage("a", document.id, "not as it stands", 0, 4, 2.0, {"own": 1}, {"host": ["x"]}),
            Passage("b", document.id, "without a place", None, None, 9.0, document.metadata),
        ]

    memo = MemoRAG()
    memo.memorize(Document("some text", "d", {"m": 1}), split=split, save_dir=tmp_path / "s", progress=False)
    assert MemoRAG.load(tmp_path / "s").corpus.index.passages == split(memo.corpus.documents["d"])


@pytest.mark.parametrize("name", ["with blanks", "hash#mark", "question?mark", "100%25", "ünï", "a'b\"c", "-rf"])
def test_any_folder_name_will_do(tmp_path, documents, name):
    made(documents).save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    assert MemoRAG.load(str(tmp_path / name)).retrieve("sourdough", 1)[0].document_id == "bakery"


def test_a_store_is_moved_by_moving_its_folder(tmp_path, folder):
    expected = answers(MemoRAG.load(folder))
    shutil.move(folder, tmp_path / "elsewhere")
    assert answers(MemoRAG.load(tmp_path / "elsewhere")) == expected


def test_there_is_no_pickle_in_the_folder(tmp_path, documents):
    made(documents, HashEmbedder()).save(tmp_path / "s")
    files = snapshot(tmp_path / "s")
    assert list(files) == [store.DATABASE]
    assert files[store.DATABASE].startswith(b"SQLite format 3\x00")
    assert not any(
        mark in data for data in files.values() for mark in (b"numpy.core", b"cnumpy", b"\x80\x04\x95", b"PK\x03\x04")
    )
    with closing(sqlite3.connect(tmp_path / "s" / store.DATABASE)) as database:
        kinds = {
            type(value)
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for row in database.execute(f"SELECT * FROM {table}")
            for value in row
        }
        [(vector,)] = database.execute("SELECT vector FROM vectors LIMIT 1").fetchall()
    assert kinds <= {int, float, str, bytes, type(None)}
    assert len(vector) == 64 * 4, "float32 and nothing else"


def test_reuse_takes_over_what_the_store_holds(tmp_path, documents):
    made(documents, HashEmbedder()).save(tmp_path / "s")
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder, passage_size=130)
    memo.reuse(tmp_path / "s")
    memo.memorize([*documents, "new"], progress=False)
    assert [text for text in embedder.passages if text != EmbedderFingerprint.PROBE] == ["new"]
    memo.reuse(tmp_path / "not there")


# ── saving over what is there ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def format1():
    return Path(__file__).parents[1] / "stores" / "format1"


def test_a_store_of_the_first_format_is_read_as_it_is(format1):
    before = snapshot(format1)
    loaded = MemoRAG.load(format1 / "vectors", embedder=HashEmbedder(16))
    assert list(loaded.corpus.documents) == ["lighthouse", "bakery", "river", "河"]
    assert loaded.get("bakery") == Document(BAKERY, "bakery", {"kind": "craft", "year": 2020}, {"any": "thing"})
    fresh = MemoRAG(embedder=HashEmbedder(16), passage_size=130, fusion=loaded.fusion)
    fresh.memorize(loaded.corpus.documents.values(), progress=False)
    assert answers(loaded) == answers(fresh)
    assert snapshot(format1) == before


def test_a_store_of_the_first_format_is_carried_over_by_the_first_change(format1, tmp_path):
    shutil.copytree(format1 / "vectors", tmp_path / "s")
    embedder = HashEmbedder(16)
    with MemoRAG.open(tmp_path / "s", embedder=embedder) as memo:
        expected = answers(memo)
        assert memo.add(Document("new", "new"), progress=False).encoded == 1
        memo.delete("new", progress=False)
    assert embedder.passages == [EmbedderFingerprint.PROBE, "new"]
    with closing(sqlite3.connect(tmp_path / "s" / store.DATABASE)) as rows:
        assert rows.execute("PRAGMA user_version").fetchone() == (store.FORMAT,)
    assert answers(MemoRAG.load(tmp_path / "s", embedder=HashEmbedder(16))) == expected


def test_memories_and_given_passages_of_the_first_format_are_carried_over(format1, tmp_path):
    shutil.copytree(format1 / "gists", tmp_path / "s")
    silent_llm = ScriptedLLM(lambda prompt: pytest.fail("nothing is asked again"), window=20_000)
    model = GistMemory(silent_llm, folder=tmp_path / "none", stretch=300, words=20)
    old = MemoRAG.load(format1 / "gists", memory=model)
    old.save(tmp_path / "s")
    loaded = MemoRAG.load(tmp_path / "s", memory=model)
    assert loaded.corpus.index.passages == old.corpus.index.passages
    assert [passage.id for passage in loaded.corpus.index.passages] == ["n1", "n2"]
    assert loaded.corpus.memories[0].memory.levels == old.corpus.memories[0].memory.levels


def test_saving_twice_is_saving_once_and_the_last_one_counts(folder, documents):
    memo = made(documents[:1])
    memo.save(folder)
    memo.save(folder)
    assert set(snapshot(folder)) == {store.DATABASE}
    assert list(MemoRAG.load(folder).corpus.documents) == ["lighthouse"]


def test_nothing_memorized_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="Nothing is memorized yet"):
        MemoRAG().save(tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("way", ["save", "memorize"])
def test_a_foreign_folder_is_not_written_to(tmp_path, documents, way):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    memo = made(documents)
    before, corpus = snapshot(tmp_path), memo.corpus
    write = memo.save if way == "save" else lambda to: memo.memorize("new", save_dir=to, progress=False)
    with pytest.raises(StoreError, match=r"found other files\. Pass another folder"):
        write(tmp_path / "notes")
    assert snapshot(tmp_path) == before
    assert memo.corpus is corpus, "refused before anything was read"


@pytest.mark.parametrize(
    "use",
    [
        lambda folder, documents: MemoRAG.load(folder),
        lambda folder, documents: MemoRAG.open(folder),
        lambda folder, documents: MemoRAG().memorize(documents, save_dir=folder, progress=False),
        lambda folder, documents: made(documents).save(folder),
        lambda folder, documents: maintenance.verify(folder),
        lambda folder, documents: maintenance.repair(folder, drop=True, progress=False),
        lambda folder, documents: maintenance.compact(folder),
    ],
    ids=["load", "open", "memorize", "save", "verify", "repair", "compact"],
)
@pytest.mark.parametrize("left", ["memories", "journal"])
def test_a_store_that_lost_its_database_is_not_taken_for_an_empty_folder(tmp_path, documents, use, left):
    folder, model = tmp_path / "store", GistMemory(ScriptedLLM("A gist."), folder=tmp_path / "gists")
    MemoRAG.open(folder, memory=model).add(documents, progress=False)
    (folder / store.DATABASE).unlink()
    if left == "journal":
        shutil.rmtree(folder / "memories")
        (folder / f"{store.DATABASE}-journal").write_bytes(b"pages")
    before = snapshot(folder)
    with pytest.raises(
        StoreError, match=rf"has lost its {store.DATABASE}; found .*{left} alone.*Restore .* from a copy"
    ):
        use(folder, documents)
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "value", ['{"config": null, "fingerprint": {"name": "HashEmbedder"}}', '{"fingerprint": {}}', "[]", "7"]
)
def test_a_broken_setting_is_told_by_every_door(tmp_path, documents, value):
    made(documents, HashEmbedder()).save(tmp_path / "s")
    change(tmp_path / "s", f"UPDATE meta SET value = '{value}' WHERE key = 'embedder'")
    problems = maintenance.verify(tmp_path / "s")
    assert "The list of documents, memories and settings is not the one that was written." in problems
    assert any("is damaged (" in problem for problem in problems)
    for use in (MemoRAG.load, MemoRAG.open, maintenance.repair):
        with pytest.raises(StoreError, match=r"is damaged \("):
            use(tmp_path / "s", embedder=HashEmbedder())
    if "config" not in value:
        with pytest.raises(StoreError, match=r"is damaged \("):
            MemoRAG.needs_embedder(tmp_path / "s")


def test_repair_does_not_drop_all_there_is(tmp_path, documents):
    made(documents).save(tmp_path / "s")
    change(tmp_path / "s", "UPDATE documents SET seal = x'00'")
    before = snapshot(tmp_path / "s")
    with pytest.raises(StoreError, match=r"None of the 3 documents .*nothing would be left: 'lighthouse'"):
        maintenance.repair(tmp_path / "s", drop=True, progress=False)
    assert snapshot(tmp_path / "s") == before


@pytest.mark.parametrize("place", ["file.txt", "file.txt/store", "file.txt/deep/store"])
def test_a_file_in_the_way_is_left(tmp_path, documents, place):
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(StoreError, match=str(tmp_path)):
        made(documents).save(tmp_path / place)
    assert snapshot(tmp_path) == {"file.txt": b"mine"}


def test_a_full_disk_leaves_the_old_store(folder, documents, monkeypatch):
    before, memo = answers(MemoRAG.load(folder)), made([*documents, "x " * 20_000])
    with monkeypatch.context() as patch:
        opened = database._opened

        def small(path):
            connection = opened(path)
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + 1}")
            return connection

        patch.setattr(database, "_opened", small)
        with pytest.raises(StoreError, match=r"could not be written .*full.*untouched"):
            memo.save(folder)
    assert answers(MemoRAG.load(folder)) == before
    memo.save(folder)
    assert len(MemoRAG.load(folder).corpus.documents) == 4


def test_a_folder_without_permission_is_said(folder, documents, monkeypatch):
    before = snapshot(folder)
    if os.geteuid() == 0:  # to whom every folder is open
        monkeypatch.setattr(store.os, "access", lambda path, mode: mode != os.W_OK)
    else:
        folder.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"cannot be written to. Change its permissions"):
            made(documents).save(folder)
    finally:
        folder.chmod(0o700)
    assert snapshot(folder) == before


def test_a_store_of_a_newer_format_is_not_written_over(folder, documents):
    change(folder, f"PRAGMA user_version={store.FORMAT + 1}")
    before = snapshot(folder)
    with pytest.raises(StoreError, match="Upgrade memorag-integrations"):
        made(documents).save(folder)
    assert snapshot(folder) == before


# ── loading what is not a whole store ─────────────────────────────────────────────────────────────────────────────


def missing(folder):
    shutil.rmtree(folder)


def empty(folder):
    (folder / store.DATABASE).unlink()


def foreign(folder):
    empty(folder)
    (folder / "mine.txt").write_text("mine")


def a_file(folder):
    missing(folder)
    folder.write_text("mine")


def not_sqlite(folder):
    (folder / store.DATABASE).write_bytes(b"this is not a database, but it is long enough to look like one" * 100)


def zero_bytes(folder):
    (folder / store.DATABASE).write_bytes(b"")


def truncated(folder):
    path = folder / store.DATABASE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_in_the_header(folder):
    path = folder / store.DATABASE
    path.write_bytes(path.read_bytes()[:50])


def zeros_in_the_middle(folder):
    path = folder / store.DATABASE
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(len(data) - 4096))


def anothers_database(folder):
    empty(folder)
    with closing(sqlite3.connect(folder / store.DATABASE)) as database:
        database.execute("CREATE TABLE contacts(name)")


def newer(folder):
    change(folder, f"PRAGMA user_version={store.FORMAT + 1}")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (missing, r"Expected a store folder at .*found nothing"),
        (a_file, r"Expected a store folder at .*found a file"),
        (empty, r"found an empty folder\. Make one with memorize"),
        (foreign, r"found mine\.txt\. Make one with memorize"),
        (not_sqlite, r"is damaged \(file is not a database\)\..*restore it from a copy"),
        (zero_bytes, r"is damaged \(the file is empty or cut short\)"),
        (truncated, r"is damaged .*restore it from a copy"),
        (truncated_in_the_header, r"is damaged .*restore it from a copy"),
        (zeros_in_the_middle, r"is damaged .*restore it from a copy"),
        (anothers_database, r"not a store of memorag-integrations\. It was left"),
        (newer, rf"has format {store.FORMAT + 1}; this version reads up to {store.FORMAT}\. Upgrade"),
    ],
)
def test_what_is_not_a_whole_store_is_said_and_left_as_it_is(folder, harm, message):
    harm(folder)
    before = snapshot(folder.parent)
    with pytest.raises(StoreError, match=message) as caught:
        MemoRAG.load(folder)
    assert str(folder) in str(caught.value)
    assert snapshot(folder.parent) == before


@pytest.mark.parametrize("harm", [empty, zero_bytes])
def test_a_place_where_no_store_is_left_is_not_taken_for_one_that_needs_an_embedder(folder, harm):
    harm(folder)
    with pytest.raises(StoreError):
        MemoRAG.needs_embedder(folder)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE spaces",
        "DROP INDEX passages_of",
        "CREATE TRIGGER more AFTER INSERT ON meta BEGIN DELETE FROM documents; END",
        "DELETE FROM documents WHERE place = 1",
        "DELETE FROM passages",
        "DELETE FROM shards",
        "DELETE FROM shards WHERE place = 1",
        "DELETE FROM meta",
        "DELETE FROM meta WHERE key = 'embedder'",
        "UPDATE meta SET value = '{' WHERE key = 'settings'",
        "UPDATE meta SET value = '[]' WHERE key = 'settings'",
        "UPDATE meta SET value = '{\"fusion\": {}}' WHERE key = 'settings'",
        "UPDATE documents SET text = text || 'x' WHERE place = 0",
        "UPDATE documents SET metadata = '[1]' WHERE place = 0",
        "UPDATE documents SET place = 7 WHERE place = 0",
        "UPDATE documents SET seal = x'00' WHERE place = 0",
        "UPDATE documents SET terms_seal = x'00' WHERE place = 0",
        "UPDATE passages SET document = 99",
        "UPDATE passages SET centre = 1.5",
        "UPDATE passages SET vector = NULL WHERE place = 0",
        "UPDATE meta SET value = 'true' WHERE key = 'made'",
        'UPDATE meta SET value = \'{"generation": 5, "digest": ""}\' WHERE key = \'state\'',
    ],
)
def test_rows_that_do_not_fit_together_are_damage(tmp_path, documents, statement):
    made(documents, HashEmbedder()).save(tmp_path / "s")
    change(tmp_path / "s", statement)
    before = snapshot(tmp_path)
    with pytest.raises(
        StoreError, match=r"damaged .*repair.*restore it from a copy, or memorize the documents again into another"
    ):
        MemoRAG.load(tmp_path / "s", embedder=HashEmbedder())
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("statement", "again"),
    [
        ("DELETE FROM vectors", True),
        ("DELETE FROM spaces", True),
        ("UPDATE vectors SET vector = zeroblob(256)", True),
        ("UPDATE vectors SET vector = x'00'", True),
        ("UPDATE vectors SET seal = x'00'", True),
        ("UPDATE passages SET terms = x'ffffffff'", False),
        ("UPDATE passages SET terms = x'ff'", False),
        ("UPDATE documents SET vocabulary = 'x'", False),
    ],
)
def test_what_is_derived_is_made_again(tmp_path, documents, statement, again, caplog):
    memo = made(documents, HashEmbedder())
    memo.save(tmp_path / "s")
    change(tmp_path / "s", statement)
    embedder = HashEmbedder()
    assert answers(MemoRAG.load(tmp_path / "s", embedder=embedder)) == answers(memo)
    assert (len(embedder.passages) > 1) is again, "the probe, and where they were lost the passages"
    assert "again" in caplog.text


@pytest.mark.parametrize("other", [HashEmbedder(32), HashEmbedder(seed=3)])
def test_another_embedder_is_refused_with_both_named(tmp_path, documents, other):
    made(documents, HashEmbedder()).save(tmp_path / "s")
    before = snapshot(tmp_path)
    with pytest.raises(EmbedderError, match=r"HashEmbedder seed 0 \(64 dimensions\)") as caught:
        MemoRAG.load(tmp_path / "s", embedder=other)
    assert f"{other.name} ({other.dimension} dimensions)" in str(caught.value)
    assert snapshot(tmp_path) == before


def test_a_store_that_needs_an_embedder_asks_for_it_by_name(tmp_path, documents):
    made(documents, HashEmbedder()).save(tmp_path / "s")
    with pytest.raises(StoreError, match=r"made by HashEmbedder seed 0 .*pass the same embedding model"):
        MemoRAG.load(tmp_path / "s")


def test_a_store_without_vectors_refuses_an_embedder(folder):
    assert not MemoRAG.needs_embedder(folder)
    with pytest.raises(StoreError, match="made without an embedder"):
        MemoRAG.load(folder, embedder=HashEmbedder())


def test_what_is_no_embedder_is_not_called_damage(tmp_path, documents):
    made(documents, HashEmbedder()).save(tmp_path / "s")
    with pytest.raises(InputError, match="embedder must be None"):
        MemoRAG.load(tmp_path / "s", embedder=5)
    broken = HashEmbedder(hook=lambda texts: {}["the model's own error"])
    with pytest.raises(EmbedderError, match="own error"):
        MemoRAG.load(tmp_path / "s", embedder=broken)
