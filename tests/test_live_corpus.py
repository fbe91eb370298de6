"""A corpus over time: whatever changes, it answers as one memorized at once, and encodes what is new alone."""

import asyncio
import json
import os
import shutil
import stat
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from memorag_integrations import Document, GistMemory, LLMMemory, MemoRAG
from memorag_integrations.corpus.sharding import plan_shards
from memorag_integrations.errors import Cancelled, InputError, StoreError
from memorag_integrations.store import maintenance as upkeep
from memorag_integrations.store.paths import DATABASE
from memorag_integrations.store.sqlite import reading
from memorag_integrations.store.store import Store
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER, HashEmbedder
from tests.scripted import ScriptedLLM

TEXTS = (LIGHTHOUSE, BAKERY, RIVER, "The gauge froze.", "Rye bread.\n\nThe reef.", "水位计每十分钟测一次。", "x " * 200)
QUERIES = ("Which trawler struck the reef?", "bread", "gauge")


class Api:
    def __init__(self, mode):
        self.mode = mode

    async def call(self, memo, name, *args, **how):
        if self.mode == "async":
            return await getattr(memo, f"a{name}")(*args, progress=False, **how)
        return getattr(memo, name)(*args, progress=False, **how)


@pytest.fixture(params=["sync", "async"])
def api(request):
    return Api(request.param)


@pytest.fixture(params=["in RAM", "in a store"])
def memo(request, documents, tmp_path):
    if request.param == "in RAM":
        memo = MemoRAG(embedder=HashEmbedder(), passage_size=130)
    else:
        memo = MemoRAG.open(tmp_path / "store", embedder=HashEmbedder(), passage_size=130)
    memo.memorize(documents, progress=False)
    memo.embedder.embedder.passages.clear()
    return memo


def memorized(documents, **how):
    memo = MemoRAG(embedder=HashEmbedder(), passage_size=130, **how)
    memo.memorize(documents, progress=False)
    return memo


def answers(memo):
    """With scores rounded: BM25 sums its terms in another order once the corpus has changed."""
    found = [[(piece.passage, round(piece.score, 4)) for piece in memo.retrieve(query, 50)] for query in QUERIES]
    return [sorted(pieces, key=lambda piece: (-piece[1], piece[0].id)) for pieces in found]


# ── sync and async through the same cases ─────────────────────────────────────────────────────────────────────────


async def test_what_is_added_is_encoded_and_nothing_else(api, memo, documents):
    new = Document("A text that nobody has seen before.", "new")
    change = await api.call(memo, "add", new)
    assert (change.added, change.replaced, change.deleted, change.unchanged) == (("new",), (), (), 3)
    assert (change.indexed, change.encoded, change.formed, change.reused) == (1, 1, 1, 3)
    assert memo.embedder.embedder.passages == [new.text]
    assert answers(memo) == answers(memorized([*documents, new]))
    assert memo.get("new") == new
    assert memo.get("unknown") is None


async def test_a_new_version_costs_what_changed_in_it(api, memo, documents):
    longer = Document(LIGHTHOUSE + "\n\nThe tower stands empty now.", "lighthouse", {"kind": "story", "year": 2020})
    change = await api.call(memo, "replace", longer)
    assert (change.added, change.replaced, change.deleted, change.unchanged) == ((), ("lighthouse",), (), 2)
    assert len(memo.embedder.embedder.passages) == change.encoded == 1
    assert list(memo.corpus.documents) == ["lighthouse", "bakery", "river"], "it keeps its place"
    assert answers(memo) == answers(memorized([longer, *documents[1:]]))
    changed = await api.call(memo, "upsert", [Document("new", "new"), Document("Rye bread.", "bakery")])
    assert (changed.added, changed.replaced) == (("new",), ("bakery",))


async def test_what_is_deleted_is_gone_and_nothing_is_encoded(api, memo, documents):
    change = await api.call(memo, "delete", ["bakery", "river"])
    assert (change.deleted, change.encoded, change.formed, change.reused) == (("bakery", "river"), 0, 0, 1)
    assert answers(memo) == answers(memorized(documents[:1]))
    await api.call(memo, "delete", "lighthouse")
    assert memo.retrieve("the reef") == []
    assert memo.recall("the reef").clues == ()
    assert memo.embedder.embedder.passages == []
    assert (await api.call(memo, "add", documents[1])).added == ("bakery",)


async def test_refresh_makes_the_corpus_what_it_is_given(api, memo, documents):
    given = [Document("new", "new"), documents[2], Document("Rye bread.", "bakery")]
    change = await api.call(memo, "refresh", given)
    assert (change.added, change.replaced, change.deleted) == (("new",), ("bakery",), ("lighthouse",))
    assert change.unchanged == 1
    assert answers(memo) == answers(memorized(given))
    assert not await api.call(memo, "refresh", given)


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("add", Document("x", "river"), r"id 'river' already\. Use replace"),
        ("add", [Document("x", "new"), Document("x", "river")], "id 'river' already"),
        ("add", [Document("x", "a"), Document("y", "a")], "Ids must be unique"),
        ("add", "   ", "no document holds any text"),
        ("add", Document("x", "a", {"at": object()}), "'at' is a object"),
        ("add", 5, "Expected documents"),
        ("replace", Document("x", "unknown"), "found 'unknown'. Nothing was changed"),
        ("replace", Document(" ", "river"), r"holds no text\. Use delete"),
        ("delete", "unknown", "found 'unknown'"),
        ("delete", ["river", "unknown"], "found 'unknown'"),
        ("delete", [None], "found 'None'"),
        ("delete", "../../x", r"found '\.\./\.\./x'"),
        ("delete", "x" * 10_240, "found 'x{80}'"),
        ("replace", Document("x", "../../x"), r"found '\.\./\.\./x'"),
        ("replace", Document("", "river"), r"holds no text\. Use delete"),
        ("replace", Document("x", "river", {"at": 1j}), "'at' is a complex"),
        ("upsert", Document("", "river"), r"holds no text\. Use delete"),
        ("upsert", Document("x", "river", {"at": object()}), "'at' is a object"),
        ("refresh", Document("x", "river", {("a", "b"): 1}), r"found \('a', 'b'\), which is a tuple"),
        ("refresh", [], "no document holds any text"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(api, memo, name, argument, message):
    before, expected = memo.corpus, answers(memo)
    with pytest.raises(InputError, match=message):
        await api.call(memo, name, argument)
    assert memo.corpus is before
    assert answers(memo) == expected
    assert memo.embedder.embedder.passages == []


@pytest.mark.parametrize(
    "id", ["../../x", "/etc/passwd", "a/b\\c", "x" * 10_240, "CON", "'; DROP TABLE documents; --", "河"]
)
async def test_any_id_is_a_name_and_never_a_path(api, tmp_path, id):
    llm = ScriptedLLM(json.dumps({"spans": ["Rye bread"]}))
    model = GistMemory(llm, folder=tmp_path / "gists")
    with MemoRAG.open(tmp_path / "in" / "store", memory=model) as memo:
        await api.call(memo, "add", Document("Rye bread.", id))
        assert MemoRAG.load(tmp_path / "in" / "store", memory=model).retrieve("bread")[0].document_id == id
        await api.call(memo, "delete", id)
    assert set(os.listdir(tmp_path)) <= {"gists", "in"}
    assert os.listdir(tmp_path / "in") == ["store"]


async def test_cancel_leaves_corpus_and_store_as_they_were(api, tmp_path, documents):
    embedder = HashEmbedder()
    memo = MemoRAG.open(tmp_path / "s", embedder=embedder)
    memo.add(documents, progress=False)
    before, cancel = memo.corpus, threading.Event()
    embedder.hook = lambda texts: cancel.set()
    many = [Document(f"text {n}", str(n)) for n in range(600)]
    with pytest.raises(Cancelled):
        await api.call(memo, "add", many, cancel=cancel)
    assert memo.corpus is before
    assert list(MemoRAG.load(tmp_path / "s", embedder=HashEmbedder()).corpus.documents) == list(before.documents)
    assert upkeep.verify(tmp_path / "s") == []
    embedder.hook = None
    embedder.passages.clear()
    other = MemoRAG.open(tmp_path / "s", embedder=embedder)
    assert (await api.call(other, "add", many)).encoded == 600 - 256, "a batch was done, and is found in the store"


async def test_a_cancelled_task_is_a_cancelled_change(tmp_path, documents):
    reached, go_on = threading.Event(), threading.Event()
    embedder = HashEmbedder()
    memo = MemoRAG.open(tmp_path / "s", embedder=embedder)
    memo.add(documents[:1], progress=False)
    embedder.hook = lambda texts: (reached.set(), go_on.wait(20))
    task = asyncio.create_task(memo.aadd(documents[1:], progress=False))
    await asyncio.to_thread(reached.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    embedder.hook = None
    go_on.set()
    assert (await memo.aadd(documents[2], progress=False)).added == ("river",)
    assert list(memo.corpus.documents) == ["lighthouse", "river"]


# ── the memories follow ───────────────────────────────────────────────────────────────────────────────────────────


class Counting(LLMMemory):
    """Packs of up to 120 tokens, and a note of every text that was formed."""

    capacity = 120

    def form(self, shard, **how):
        formed.append(shard.text)
        return super().form(shard, **how)


formed: list[str] = []


def test_a_change_touches_one_pack(tmp_path):
    formed.clear()
    model = Counting(ScriptedLLM("{}"))
    model.count("x")
    documents = [Document(f"number {n} " + "word " * 20, str(n)) for n in range(12)]
    with MemoRAG.open(tmp_path / "s", memory=model) as memo:
        memo.add(documents, progress=False)
        packs = len(memo.corpus.shards)
        assert 3 < packs < 12
        assert len(formed) == packs
        formed.clear()
        memo.replace(Document("number 4 " + "new " * 18, "4"), progress=False)
        assert len(formed) == 1
        assert "number 4 new" in formed[0]
        assert "number 5" in formed[0] or "number 3" in formed[0]
        memo.delete("7", progress=False)
        assert len(formed) == 2
        assert "number 7" not in formed[1]
        memo.add(Document("one more", "more"), progress=False)
        assert len(formed) == 3
        formed.clear()
    MemoRAG.open(tmp_path / "s", memory=model)
    assert formed == [], "all are in the store"


def test_packs_keep_within_the_capacity_and_keep_every_document_once():
    model = Counting(ScriptedLLM("{}"))
    before = []
    for turn in range(8):
        documents = {str(n): Document("w " * (5 + 7 * ((n + turn) % 9)), str(n)) for n in range(turn, 30 - turn)}
        before = plan_shards(documents, model, before)
        assert sorted(d.id for shard in before for d in shard.documents) == sorted(documents)
        assert all(documents[d.id] == d for shard in before for d in shard.documents)
        between = model.count(shard_separator())
        for shard in before:
            if len(shard.documents) > 1:
                assert sum(model.count(d.text) + between for d in shard.documents) <= model.capacity


def shard_separator():
    from memorag_integrations.documents import Shard

    return Shard.SEPARATOR


# ── the store ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_who_have_it_open_build_on_each_other(tmp_path, documents):
    one = MemoRAG.open(tmp_path / "s", embedder=HashEmbedder())
    two = MemoRAG.open(tmp_path / "s", embedder=HashEmbedder())
    one.add(documents[0], progress=False)
    two.add(documents[1], progress=False)
    one.delete("bakery", progress=False)
    two.add(documents[2], progress=False)
    assert list(two.corpus.documents) == ["lighthouse", "river"]
    assert one.reload()
    assert not one.reload()
    assert answers(one) == answers(two) == answers(MemoRAG.load(tmp_path / "s", embedder=HashEmbedder()))
    assert upkeep.verify(tmp_path / "s") == []


def test_a_reader_follows_and_encodes_nothing(tmp_path, documents):
    writer = MemoRAG.open(tmp_path / "s", embedder=HashEmbedder())
    writer.add(documents[:2], progress=False)
    embedder = HashEmbedder()
    reader = MemoRAG.load(tmp_path / "s", embedder=embedder)
    kept = reader.corpus.entries["bakery"]
    writer.replace(Document("The lighthouse is gone.", "lighthouse"), progress=False)
    writer.add(documents[2], progress=False)
    assert reader.reload()
    assert reader.corpus.entries["bakery"] is kept, "what is the same is not read again"
    assert answers(reader) == answers(writer)
    assert len(embedder.passages) == 1, "the probe"


def test_a_save_over_what_somebody_else_changed_is_refused(tmp_path, documents):
    memorized(documents[:1]).save(tmp_path / "s")
    mine = MemoRAG.load(tmp_path / "s", embedder=HashEmbedder())
    theirs = MemoRAG.load(tmp_path / "s", embedder=HashEmbedder())
    theirs.add(documents[1], progress=False)
    theirs.save(tmp_path / "s")
    mine.add(documents[2], progress=False)
    with pytest.raises(StoreError, match="changed by somebody else since this corpus was loaded"):
        mine.save(tmp_path / "s")
    with pytest.raises(InputError, match="changed in RAM"):
        mine.reload()
    assert list(MemoRAG.load(tmp_path / "s", embedder=HashEmbedder()).corpus.documents) == ["lighthouse", "bakery"]
    mine.save(tmp_path / "elsewhere")


def test_a_second_writer_waits_or_is_told(tmp_path, documents):
    memo = MemoRAG.open(tmp_path / "s", wait=0)
    patient = MemoRAG.open(tmp_path / "s", wait=20)
    import sqlite3

    other = sqlite3.connect(tmp_path / "s" / DATABASE, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"Another process is writing to the store .* 0 s"):
        memo.add(documents[0], progress=False)
    assert memo.corpus.documents == {}
    threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
    assert patient.add(documents[0], progress=False).added == ("lighthouse",)
    other.close()


def test_what_was_broken_off_is_not_done_again(tmp_path):
    def script(prompt):
        if len(llm.prompts) == 8:
            raise ConnectionError("the provider is away")
        return "A gist."

    llm = ScriptedLLM(script)
    model = GistMemory(llm, folder=tmp_path / "gists", stretch=200, words=10, together=1, context_window=2600)
    told = [
        "".join(f"Paragraph {i} of {n} has its own words, {i * n} of them.\n\n" for i in range(40)) for n in range(6)
    ]
    documents = [Document(text, str(n)) for n, text in enumerate(told)]
    memo = MemoRAG(model)
    with pytest.raises(Exception, match="the provider is away"):
        memo.memorize(documents, save_dir=tmp_path / "s", progress=False)
    with pytest.raises(StoreError, match="holds no corpus yet"):
        MemoRAG.load(tmp_path / "s", memory=model)
    asked = len(llm.prompts)
    MemoRAG(model).memorize(documents, save_dir=tmp_path / "s", progress=False)
    assert len(llm.prompts) > asked
    assert len(set(llm.prompts)) == len(llm.prompts) - 1, "only the prompt that failed was sent twice"
    asked = len(llm.prompts)
    shutil.rmtree(tmp_path / "gists")
    MemoRAG(model).memorize(documents, save_dir=tmp_path / "s", progress=False)
    assert len(llm.prompts) == asked, "the memories themselves are in the store"


def test_a_read_only_store_can_be_asked(tmp_path, documents, monkeypatch):
    memorized(documents).save(tmp_path / "s")
    expected = answers(MemoRAG.load(tmp_path / "s", embedder=HashEmbedder()))
    if os.geteuid() == 0:  # to whom every folder is open
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    else:
        (tmp_path / "s" / DATABASE).chmod(stat.S_IREAD)
        (tmp_path / "s").chmod(stat.S_IREAD | stat.S_IEXEC)
    try:
        loaded = MemoRAG.load(tmp_path / "s", embedder=HashEmbedder())
        assert answers(loaded) == expected
        assert upkeep.verify(tmp_path / "s") == []
        with pytest.raises(StoreError, match=r"cannot be written to\. Change its permissions"):
            loaded.save(tmp_path / "s")
        living = MemoRAG.open(tmp_path / "s", embedder=HashEmbedder())
        with pytest.raises(StoreError, match=r"cannot be written to\. Change its permissions"):
            living.delete("river", progress=False)
        assert answers(living) == expected
    finally:
        (tmp_path / "s").chmod(0o700)


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, documents, monkeypatch):
    memo = MemoRAG.open(tmp_path / "s")
    memo.add(documents[0], progress=False)
    monkeypatch.setattr(time, "gmtime", lambda *_: time.struct_time((1970, 1, 1, 0, 0, 0, 3, 1, 0)))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    other = MemoRAG.open(tmp_path / "s")
    other.replace(Document("later", "lighthouse"), progress=False)
    assert memo.reload()
    assert memo.get("lighthouse").text == "later"
    under_way = tmp_path / "s" / "memories" / ".name.1"
    under_way.mkdir(parents=True)
    upkeep.compact(tmp_path / "s")
    assert under_way.is_dir(), "of a later time than now: somebody may be at it"
    assert upkeep.verify(tmp_path / "s") == []


def test_clearing_up_just_before_a_commit_takes_no_memory_away(tmp_path, documents, monkeypatch):
    model, commit = GistMemory(ScriptedLLM("A gist."), folder=tmp_path / "gists"), Store.commit

    def overtaken(store, *args, **how):
        assert os.listdir(tmp_path / "s" / "memories")
        upkeep.compact(tmp_path / "s")
        assert os.listdir(tmp_path / "s" / "memories") == []
        return commit(store, *args, **how)

    monkeypatch.setattr(Store, "commit", overtaken)
    MemoRAG.open(tmp_path / "s", memory=model).add(documents, progress=False)
    assert upkeep.verify(tmp_path / "s") == []
    assert list(MemoRAG.load(tmp_path / "s", memory=model).corpus.documents) == ["lighthouse", "bakery", "river"]


def test_a_closed_corpus_says_so(tmp_path, documents):
    with MemoRAG.open(tmp_path / "s") as memo:
        memo.add(documents, progress=False)
    memo.close()
    for use in (lambda: memo.retrieve("x"), lambda: memo.add("y", progress=False)):
        with pytest.raises(InputError, match="closed"):
            use()


def test_a_store_that_is_there_keeps_its_settings(tmp_path):
    MemoRAG.open(tmp_path / "s", passage_size=130).close()
    assert MemoRAG.open(tmp_path / "s").splitter.size == 130
    MemoRAG.open(tmp_path / "s", passage_size=130)
    with pytest.raises(InputError, match="made with passage_size=130, found 200"):
        MemoRAG.open(tmp_path / "s", passage_size=200)
    with pytest.raises(InputError, match="wait must be a number of seconds"):
        MemoRAG.open(tmp_path / "s", wait=-1)


def test_a_change_that_changes_nothing_is_no_change_for_others(tmp_path, documents):
    memo, reader = MemoRAG.open(tmp_path / "s"), None
    memo.add(documents, progress=False)
    reader = MemoRAG.load(tmp_path / "s")
    assert not memo.upsert(documents, progress=False)
    assert not memo.refresh(documents, progress=False)
    assert not reader.reload()
    memo.refresh(documents[::-1], progress=False)
    assert reader.reload()
    assert list(reader.corpus.documents) == ["river", "bakery", "lighthouse"]


def test_compact_drops_what_nothing_refers_to(tmp_path, documents):
    llm = ScriptedLLM("A gist.")
    model = GistMemory(llm, folder=tmp_path / "gists", context_window=2600)
    with MemoRAG.open(tmp_path / "s", memory=model, embedder=HashEmbedder()) as memo:
        memo.add([Document(LIGHTHOUSE * 20, "long"), *documents], progress=False)
        memo.delete("long", progress=False)
        expected = answers(memo)
    folders = len(os.listdir(tmp_path / "s" / "memories"))
    assert upkeep.compact(tmp_path / "s") > 0
    assert len(os.listdir(tmp_path / "s" / "memories")) < folders
    with reading(tmp_path / "s") as (database, _):
        kept = database.execute("SELECT count(*) FROM vectors").fetchone()[0]
    loaded = MemoRAG.load(tmp_path / "s", memory=model, embedder=HashEmbedder())
    assert kept == len(loaded.corpus.index)
    assert answers(loaded) == expected
    assert upkeep.compact(tmp_path / "s") == 0
    assert upkeep.verify(tmp_path / "s") == []


# ── any order of changes ──────────────────────────────────────────────────────────────────────────────────────────


class Life(RuleBasedStateMachine):
    """Any changes, by two who have one store open: each state answers as a corpus memorized at once."""

    ids = Bundle("ids")
    name = st.sampled_from(["a", "b", "c", "d"])

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.memos = [MemoRAG.open(self.folder / "s", embedder=HashEmbedder(16), passage_size=130) for _ in range(2)]
        self.wanted: dict[str, Document] = {}

    @rule(who=st.integers(0, 1), id=name, text=st.sampled_from(TEXTS), year=st.integers(0, 1))
    def upsert(self, who, id, text, year):
        document = Document(text, id, {"year": year})
        self.memos[who].upsert(document, progress=False)
        self.wanted[id] = document

    @rule(who=st.integers(0, 1), id=name)
    def delete(self, who, id):
        if id in self.wanted:
            self.memos[who].delete(id, progress=False)
            del self.wanted[id]

    @rule(who=st.integers(0, 1), chosen=st.lists(name, unique=True, min_size=1), text=st.sampled_from(TEXTS))
    def refresh(self, who, chosen, text):
        documents = [self.wanted.get(id, Document(text, id)) for id in chosen]
        self.memos[who].refresh(documents, progress=False)
        self.wanted = {document.id: document for document in documents}

    @rule()
    def reopen(self):
        self.memos[0] = MemoRAG.open(self.folder / "s", embedder=HashEmbedder(16))

    @rule()
    def compact(self):
        upkeep.compact(self.folder / "s")

    @invariant()
    def it_is_what_was_asked_for(self):
        for memo in self.memos:
            memo.reload()
            assert dict(memo.corpus.documents) == self.wanted
        if self.wanted:
            anew = MemoRAG(embedder=HashEmbedder(16), passage_size=130)
            anew.memorize(self.memos[0].corpus.documents.values(), progress=False)
            assert answers(self.memos[0]) == answers(self.memos[1]) == answers(anew)

    def teardown(self):
        if hasattr(self, "folder"):
            assert upkeep.verify(self.folder / "s") == []
            shutil.rmtree(self.folder)


Life.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestLife = Life.TestCase


# ── words that no document has any more ────────────────────────────────────────────────────────────────────────────


def of_words(turn: int) -> Document:
    return Document(" ".join(f"word{turn}x{n}" for n in range(200)) + f" sluice {turn}.", "changing")


@pytest.mark.parametrize("lives", ["in RAM", "in a store"])
def test_words_that_no_document_has_go(documents, tmp_path, lives):
    memo = (
        MemoRAG(embedder=HashEmbedder()) if lives == "in RAM" else MemoRAG.open(tmp_path / "s", embedder=HashEmbedder())
    )
    memo.add(documents, progress=False)
    query = "Who opened the sluice gates in spring?"
    states = []
    for turn in range(60):
        memo.upsert(of_words(turn), progress=False)
        terms = memo.corpus.index.terms
        alive = {number for row in terms.rows for number in row.tolist()}
        assert len(terms.vocabulary) <= 2 * len(alive) + 1000
        if turn % 10 == 0:
            states.append((turn, memo.corpus, memo.retrieve(query, 8)))
    for turn, corpus, evidence in states:  # who still reads an older state finds what it held
        assert corpus.index.terms.known([f"word{turn}x7"])
        anew = MemoRAG(embedder=HashEmbedder())
        anew.memorize([*documents, of_words(turn)], progress=False)
        same = anew.retrieve(query, 8)
        assert [(piece.passage.id, piece.score) for piece in evidence] == [(p.passage.id, p.score) for p in same]
    if lives == "in a store":
        assert upkeep.verify(tmp_path / "s") == []
        loaded = MemoRAG.load(tmp_path / "s", embedder=HashEmbedder())
        assert loaded.retrieve(query, 8) == memo.retrieve(query, 8)
        with MemoRAG.open(tmp_path / "s", embedder=HashEmbedder()) as other:
            other.delete("changing", progress=False)
        assert memo.reload()
        assert list(memo.corpus.documents) == [document.id for document in documents]
        assert memo.upsert(of_words(60), progress=False).added == ("changing",)
