"""A corpus that changes behind LangChain's `DocumentIndex`: its own suites, its `index()`, and what they leave open."""

import asyncio
import threading

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.indexing.base import DocumentIndex
from langchain_tests.integration_tests.indexer import AsyncDocumentIndexTestSuite, DocumentIndexerTestSuite

from langchain_memorag import MemoRAGRetriever
from memorag_integrations import MemoRAG
from memorag_integrations.errors import InputError, StoreError
from tests.hosts.corpus import TEXTS
from tests.hosts.test_langchain import WordEmbeddings, documents

EMPTY = {"num_added": 0, "num_updated": 0, "num_skipped": 0, "num_deleted": 0}


class TestStandard(DocumentIndexerTestSuite):
    """LangChain's own suite for document indexes, as it stands."""

    @pytest.fixture
    def index(self):
        return MemoRAGRetriever.empty(embedding=WordEmbeddings())


class TestStandardOfChunks(TestStandard):
    @pytest.fixture
    def index(self):
        return MemoRAGRetriever.empty(source_key="source")


class TestStandardInAFolder(TestStandard):
    @pytest.fixture
    def index(self, tmp_path):
        return MemoRAGRetriever.open_local(tmp_path / "store")


class TestStandardAsync(AsyncDocumentIndexTestSuite):
    @pytest.fixture
    async def index(self):
        return MemoRAGRetriever.empty(embedding=WordEmbeddings())


class Api:
    """One surface over both: every method is awaited, and calls the sync or the async one."""

    def __init__(self, mode):
        self.mode = mode

    async def call(self, retriever, name, *args, **kwargs):
        if self.mode == "async":
            return await getattr(retriever, f"a{name}")(*args, **kwargs)
        return getattr(retriever, name)(*args, **kwargs)

    async def index(self, documents, records, retriever, **how):
        how = {"key_encoder": "sha256", **how}
        if self.mode == "async":
            return await aindex(documents, records, retriever, **how)
        return index(documents, records, retriever, **how)


@pytest.fixture(params=["sync", "async"])
def api(request):
    return Api(request.param)


def sourced(**texts):
    return [
        Document(page_content=part, metadata={"source": name})
        for name, text in texts.items()
        for part in text.strip().split("\n\n")
    ]


def chunks_of(retriever, source):
    return [passage.text for passage in retriever.memo.corpus.entries[source].passages]


# ── LangChain's index() ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("source_key", [None, "source"])
@pytest.mark.parametrize("cleanup", [None, "incremental", "full", "scoped_full"])
async def test_indexing_again_encodes_nothing(api, cleanup, source_key):
    model, records = WordEmbeddings(), InMemoryRecordManager("test")
    retriever = MemoRAGRetriever.empty(embedding=model, source_key=source_key)
    every, how = sourced(**TEXTS), {"cleanup": cleanup, "source_id_key": "source"}
    assert await api.index(every, records, retriever, **how) == {**EMPTY, "num_added": len(every)}
    encoded = model.passages
    assert await api.index(every, records, retriever, **how) == {**EMPTY, "num_skipped": len(every)}
    assert model.passages == encoded
    how["force_update"] = True
    assert await api.index(every, records, retriever, **how) == {**EMPTY, "num_updated": len(every)}
    assert model.passages == encoded


@pytest.mark.parametrize("source_key", [None, "source"])
@pytest.mark.parametrize("cleanup", [None, "incremental", "full"])
async def test_a_changed_source_is_replaced(api, cleanup, source_key):
    model, records = WordEmbeddings(), InMemoryRecordManager("test")
    retriever = MemoRAGRetriever.empty(embedding=model, source_key=source_key)
    how = {"cleanup": cleanup, "source_id_key": "source"}
    await api.index(sourced(**TEXTS), records, retriever, **how)
    encoded = model.passages
    changed = sourced(story=TEXTS["story"].replace("candles", "honey"))
    found = await api.index(changed, records, retriever, **how)
    guide = len(sourced(guide=TEXTS["guide"]))
    gone = {None: 0, "incremental": 1, "full": 1 + guide}[cleanup]
    assert found == {**EMPTY, "num_added": 1, "num_skipped": len(changed) - 1, "num_deleted": gone}
    assert model.passages == encoded + 1
    texts = [passage.text for passage in retriever.memo.corpus.index.passages]
    assert sum("honey" in text for text in texts) == 1
    assert sum("candles" in text for text in texts) == (1 if cleanup is None else 0)
    assert any("boiler" in text for text in texts) == (cleanup != "full")


async def test_indexing_nothing_empties_the_corpus_and_it_is_asked_without_error(api):
    records, retriever = InMemoryRecordManager("test"), MemoRAGRetriever.empty()
    assert await api.call(retriever, "invoke", "the mill") == []
    await api.index(sourced(**TEXTS), records, retriever, cleanup="full")
    assert len(await api.call(retriever, "invoke", "the mill")) == 5
    found = await api.index([], records, retriever, cleanup="full")
    assert found == {**EMPTY, "num_deleted": len(sourced(**TEXTS))}
    assert await api.call(retriever, "invoke", "the mill") == []
    assert await api.call(retriever, "upsert", documents()) == {"succeeded": ["story", "guide"], "failed": []}
    assert await api.call(retriever, "invoke", "the mill")


async def test_indexing_into_a_folder_is_there_in_another_process(api, tmp_path):
    model, records = WordEmbeddings(), InMemoryRecordManager("test")
    retriever = MemoRAGRetriever.open_local(tmp_path / "s", model, k=1, source_key="source")
    await api.index(sourced(**TEXTS), records, retriever, cleanup="full")
    loaded = MemoRAGRetriever.load_local(tmp_path / "s", model, k=1)
    assert loaded.invoke("Who wept?") == retriever.invoke("Who wept?")
    assert (loaded.k, retriever.k, len(loaded.memo.corpus.documents)) == (1, 1, 2)


# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_long_document_is_cut_found_and_given_back_whole(api):
    retriever = MemoRAGRetriever.empty(engine={"passage_size": 120})
    await api.call(retriever, "upsert", documents())
    assert await api.call(retriever, "get", ["guide", "story", "guide", "no"]) == documents()[::-1]
    [found] = await api.call(retriever, "invoke", "Why did Tomas weep?", k=1)
    assert found.page_content in TEXTS["story"]
    assert len(found.page_content) <= 120


async def test_items_without_ids_have_the_same_in_every_run_and_none_is_lost(api):
    items = [
        Document(page_content="blank page", metadata={"page": 1}),
        Document(page_content="blank page", metadata={"page": 2}),
        Document(page_content="blank page", metadata={"page": 2}),
    ]
    retriever = MemoRAGRetriever.empty()
    first = (await api.call(retriever, "upsert", items))["succeeded"]
    assert len(set(first)) == 3
    for item in items[:2]:
        await api.call(retriever, "upsert", [item])
    assert (await api.call(retriever, "upsert", items))["succeeded"] == first
    assert {document.id for document in await api.call(retriever, "get", first)} == set(first)
    assert list(MemoRAGRetriever.from_documents(items).memo.corpus.documents) == first


async def test_of_two_items_with_one_id_the_last_counts(api):
    retriever = MemoRAGRetriever.empty()
    items = [Document(page_content="old", id="a"), Document(page_content="new", id="a")]
    assert await api.call(retriever, "upsert", items) == {"succeeded": ["a", "a"], "failed": []}
    assert retriever.get(["a"]) == items[1:]


@pytest.mark.parametrize("source_key", [None, "source"])
async def test_items_without_text_fail_and_the_others_do_not(api, source_key, caplog):
    retriever = MemoRAGRetriever.empty(source_key=source_key)
    old = Document(page_content="text", id="a")
    await api.call(retriever, "upsert", [old])
    items = [Document(page_content=" \n", id="a"), Document(page_content="more", id="b")]
    assert await api.call(retriever, "upsert", items) == {"succeeded": ["b"], "failed": ["a"]}
    assert await api.call(retriever, "upsert", items[:1]) == {"succeeded": [], "failed": ["a"]}
    assert await api.call(retriever, "upsert", []) == {"succeeded": [], "failed": []}
    assert retriever.get(["a", "b"]) == [old, items[1]]
    assert "1 of 2 items hold no text" in caplog.text


async def test_what_a_caller_does_to_items_afterwards_is_a_change_of_theirs_alone(api):
    retriever = MemoRAGRetriever.empty()
    item = Document(page_content="text", id="a", metadata={"tags": ["x"]})
    await api.call(retriever, "upsert", [item])
    item.metadata["tags"].append("y")
    [found] = await api.call(retriever, "get", ["a"])
    assert found.metadata == {"tags": ["x"]}
    found.metadata["tags"].append("z")
    assert retriever.get(["a"])[0].metadata == {"tags": ["x"]}
    await api.call(retriever, "upsert", [item])
    assert retriever.get(["a"]) == [item]


# ── chunks ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_chunk_joins_its_source_and_leaves_it(api):
    model = WordEmbeddings()
    retriever = MemoRAGRetriever.from_chunks(sourced(**TEXTS), embedding=model)
    before, encoded = chunks_of(retriever, "story"), model.passages
    more = Document(page_content="The ship was sold.", id="last", metadata={"source": "story"})
    assert (await api.call(retriever, "upsert", [more]))["succeeded"] == ["last"]
    assert chunks_of(retriever, "story") == [*before, "The ship was sold."]
    assert model.passages == encoded + 1
    assert await api.call(retriever, "get", ["last"]) == [more]
    found = await api.call(retriever, "invoke", "What became of the ship that was sold?", k=1)
    assert (found[0].id, found[0].page_content) == ("last", more.page_content)
    assert (await api.call(retriever, "delete", ["last", "story"]))["succeeded"] == ["last"], "a source is no item"
    assert chunks_of(retriever, "story") == before
    assert model.passages == encoded + 1


async def test_chunks_with_start_index_find_their_place_in_a_store_of_another_key(api, tmp_path):
    def chunk(name, start):
        return Document(page_content=f"{name} stands here.", id=name, metadata={"file": "f", "start_index": start})

    one = MemoRAGRetriever.from_chunks([chunk("c", 60), chunk("a", 0)], source_key="file")
    one.save_local(tmp_path / "s")
    loaded = MemoRAGRetriever.open_local(tmp_path / "s")
    await api.call(loaded, "upsert", [chunk("b", 30)])
    assert [text[0] for text in chunks_of(loaded, "f")] == ["a", "b", "c"]
    assert [text[0] for text in chunks_of(MemoRAGRetriever.load_local(tmp_path / "s"), "f")] == ["a", "b", "c"]
    ids = [passage.id for passage in loaded.memo.corpus.index.passages]
    assert (await api.call(loaded, "delete", ids))["num_deleted"] == 3
    assert loaded.memo.corpus.documents == {}
    assert await api.call(loaded, "invoke", "here") == []


async def test_a_chunk_of_a_source_that_was_taken_in_as_a_document_is_refused(api):
    retriever = MemoRAGRetriever.from_documents(documents(), source_key="source")
    before = retriever.memo.corpus
    with pytest.raises(InputError, match="'story' was given as a whole"):
        await api.call(retriever, "upsert", sourced(story="More of it."))
    assert retriever.memo.corpus is before


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a text"], "Expected langchain_core Document objects, found str"),
        ([Document(page_content="x", metadata={"at": object()})], "JSON"),
        ([Document(page_content="x", id="a", metadata={"at": {b"1"}})], "JSON"),
        ([Document(page_content="x", id="a\x00b")], "valid Unicode without NUL"),
    ],
)
@pytest.mark.parametrize("source_key", [None, "source"])
async def test_bad_items_change_nothing(api, items, message, source_key):
    retriever = MemoRAGRetriever.empty(source_key=source_key)
    good = Document(page_content="good", id="good")
    await api.call(retriever, "upsert", [good])
    before = retriever.memo.corpus
    with pytest.raises(InputError, match=message):
        await api.call(retriever, "upsert", [Document(page_content="fine", id="fine"), *items])
    assert retriever.memo.corpus is before


@pytest.mark.parametrize("ids", [None, "a"])
async def test_delete_takes_a_list(api, ids):
    with pytest.raises(ValueError, match="a list of ids"):
        await api.call(MemoRAGRetriever.empty(), "delete", ids)


async def test_ids_of_any_shape_are_only_ids(api, tmp_path):
    retriever = MemoRAGRetriever.open_local(tmp_path / "s")
    names = ["../../x", "é" * 5000, "/etc/passwd", "a b\nc"]
    items = [Document(page_content=f"text {i}", id=name) for i, name in enumerate(names)]
    assert (await api.call(retriever, "upsert", items))["succeeded"] == names
    assert MemoRAGRetriever.load_local(tmp_path / "s").get(names) == items
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]
    assert (await api.call(retriever, "delete", [*names, 5, "x"]))["succeeded"] == names


async def test_a_memory_that_nothing_was_memorized_with_yet_takes_items_in(api):
    retriever = MemoRAGRetriever(memo=MemoRAG())
    assert await api.call(retriever, "get", ["guide"]) == []
    await api.call(retriever, "upsert", documents())
    assert await api.call(retriever, "get", ["story", "guide"]) == documents()
    retriever.memo.close()
    with pytest.raises(InputError, match="closed"):
        await api.call(retriever, "get", ["guide"])


def test_a_store_of_a_langchain_model_asks_for_it(tmp_path):
    MemoRAGRetriever.open_local(tmp_path / "s", WordEmbeddings()).upsert(documents())
    with pytest.raises(StoreError, match="pass the same embedding model"):
        MemoRAGRetriever.open_local(tmp_path / "s")
    with pytest.raises(InputError, match="passage_size=1000"):
        MemoRAGRetriever.open_local(tmp_path / "s", WordEmbeddings(), engine={"passage_size": 99})
    assert isinstance(MemoRAGRetriever.open_local(tmp_path / "s", WordEmbeddings()), DocumentIndex)


async def test_the_async_twins_leave_the_event_loop_free_and_can_be_cancelled():
    started, go_on = threading.Event(), threading.Event()

    class Slow(WordEmbeddings):
        def embed_documents(self, texts):
            if any("slow" in text for text in texts):
                assert threading.current_thread() is not threading.main_thread()
                started.set()
                assert go_on.wait(20)
            return super().embed_documents(texts)

    retriever = MemoRAGRetriever.empty(embedding=Slow())
    await retriever.aupsert(documents())
    before = retriever.memo.corpus
    task = asyncio.create_task(retriever.aupsert([Document(page_content="slow", id="slow")]))
    await asyncio.to_thread(started.wait, 20)
    assert await retriever.ainvoke("the mill"), "asked while it is being changed"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await retriever.adelete(["no such id"])  # waits until the work has ended
    assert list(retriever.memo.corpus.documents) == list(before.documents)
