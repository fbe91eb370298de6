"""A corpus that changes behind a retriever as LlamaIndex's indexes do; LlamaIndex's own index says what is right."""

import asyncio
import itertools
import threading

import pytest
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import NodeRelationship, TextNode

from llamaindex_memorag import MemoRAGRetriever
from memorag_integrations import MemoRAG
from memorag_integrations.errors import InputError, StoreError
from memorag_integrations.retrieval import fusion
from tests.hosts.corpus import TEXTS
from tests.hosts.test_llamaindex import WordEmbedding, documents


@pytest.fixture(autouse=True)
def _no_app_settings(monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_llm", None)


class Api:
    """One surface over both: every method is awaited, and calls the sync or the async one."""

    def __init__(self, mode):
        self.mode = mode

    async def call(self, retriever, name, *args, **kwargs):
        if self.mode == "async":
            return await getattr(retriever, f"a{name}")(*args, **kwargs)
        return getattr(retriever, name)(*args, **kwargs)


@pytest.fixture(params=["sync", "async"])
def api(request):
    return Api(request.param)


def cut(**how):
    return SentenceSplitter(**{"chunk_size": 60, "chunk_overlap": 0, **how}).get_nodes_from_documents(documents())


def node_ids(retriever, ref_doc_id):
    return [passage.id for passage in retriever.memo.corpus.entries[ref_doc_id].passages]


# ── documents ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_from_nothing_and_back_to_nothing(api):
    model = WordEmbedding()
    retriever = MemoRAGRetriever.empty(embed_model=model, engine={"passage_size": 120})
    assert await api.call(retriever, "retrieve", "the mill") == []
    for document in documents():
        change = await api.call(retriever, "insert", document)
        assert change.added == (document.id_,)
        assert change.encoded == change.indexed == len(node_ids(retriever, document.id_))
    [found] = (await api.call(retriever, "retrieve", "What stops the pump?"))[:1]
    assert found.node.ref_doc_id == "guide"
    assert TEXTS["guide"][found.node.start_char_idx : found.node.end_char_idx] == found.node.text
    encoded = model.passages
    change = await api.call(retriever, "delete_ref_doc", "guide", delete_from_docstore=True)
    assert (change.deleted, change.reused) == (("guide",), 1)
    assert {node.node.ref_doc_id for node in await api.call(retriever, "retrieve", "the pump")} == {"story"}
    await api.call(retriever, "delete_ref_doc", "story")
    assert await api.call(retriever, "retrieve", "the mill") == []
    assert retriever.ref_doc_info == {}
    assert model.passages == encoded


async def test_a_memory_that_nothing_was_memorized_with_yet_takes_documents_in(api):
    for name, argument in (("insert", documents()[0]), ("insert_nodes", cut()), ("refresh_ref_docs", documents())):
        retriever = MemoRAGRetriever(MemoRAG())
        assert retriever.ref_doc_info == {}
        await api.call(retriever, name, argument)
        assert "story" in retriever.ref_doc_info


async def test_a_document_that_is_there_is_updated_not_inserted_twice(api):
    retriever = MemoRAGRetriever.from_documents(documents())
    before = retriever.memo.corpus
    with pytest.raises(InputError, match=r"'story' already\. Use update_ref_doc"):
        await api.call(retriever, "insert", documents()[0])
    assert retriever.memo.corpus is before
    new = Document(text="The mill was sold to a miller from Halden.", id_="story", metadata={"kind": "news"})
    assert (await api.call(retriever, "update_ref_doc", new)).replaced == ("story",)
    [found] = (await api.call(retriever, "retrieve", "Who bought the mill? A miller from Halden"))[:1]
    assert (found.node.text, found.node.metadata["kind"]) == (new.text, "news")
    assert found.node.relationships[NodeRelationship.SOURCE].hash == new.hash
    more = Document(text="Something else.", id_="new")
    assert (await api.call(retriever, "update_ref_doc", more)).added == ("new",), "as in LlamaIndex"


async def test_refreshing_does_what_an_index_does(api):
    model = WordEmbedding()
    retriever = MemoRAGRetriever.from_documents(documents(), embed_model=model)
    theirs = VectorStoreIndex.from_documents(documents(), embed_model=WordEmbedding())
    changed, marked = documents()[0], documents()[1]
    changed.set_content(TEXTS["story"] + "\n\nThe end.")
    marked.metadata["kind"] = "manual"
    for batch in (
        documents(),
        [changed, documents()[1]],
        [changed, Document(text="A third text.", id_="third")],
        [marked],
        [],
        [documents()[0], marked],
    ):
        encoded = model.passages
        found = await api.call(retriever, "refresh_ref_docs", batch)
        assert found == theirs.refresh_ref_docs(batch)
        assert (model.passages > encoded) == any(found[i] for i, document in enumerate(batch) if document is not marked)
    assert set(retriever.ref_doc_info) == {"story", "guide", "third"}, "none is deleted"
    assert retriever.memo.get("guide").metadata == {"kind": "manual"}


async def test_ref_doc_info_names_nodes_that_are_found(api):
    retriever = MemoRAGRetriever.from_documents(documents(), 99, engine={"passage_size": 120})
    info = retriever.ref_doc_info
    found = await api.call(retriever, "retrieve", "the mill")
    assert {node.node_id for node in found} == {id for document in info.values() for id in document.node_ids}
    assert info["story"].metadata == {"kind": "story"}


# ── nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nodes_join_those_of_their_document_at_their_place(api):
    model, nodes = WordEmbedding(), cut()
    retriever = MemoRAGRetriever.from_nodes(nodes[::2], embed_model=model)
    encoded = model.passages
    change = await api.call(retriever, "insert_nodes", nodes[1::2])
    assert change.encoded == model.passages - encoded == len(nodes[1::2])
    together = MemoRAGRetriever.from_nodes(nodes, embed_model=model)
    for id in TEXTS:
        assert node_ids(retriever, id) == node_ids(together, id)
        assert retriever.memo.corpus.texts[id] == together.memo.corpus.texts[id]
    assert not await api.call(retriever, "insert_nodes", nodes), "the same again is no change"
    by_id = {node.node_id: node for node in nodes}
    for found in await api.call(retriever, "retrieve", "Who wept over the wheel?"):
        given = by_id[found.node_id]
        assert (found.node.text, found.node.relationships) == (given.text, given.relationships)


async def test_nodes_without_offsets_join_by_their_links_from_a_store_too(api, tmp_path):
    nodes = [TextNode(text=f"{name} comes here.", id_=name) for name in ("one", "two", "three", "four")]
    for node in nodes:
        node.relationships[NodeRelationship.SOURCE] = Document(text="", id_="tale").as_related_node_info()
    for before, after in itertools.pairwise(nodes):
        after.relationships[NodeRelationship.PREVIOUS] = before.as_related_node_info()
    MemoRAGRetriever.from_nodes([nodes[0], nodes[2]]).persist(tmp_path / "s")
    retriever = MemoRAGRetriever.open(tmp_path / "s")
    await api.call(retriever, "insert_nodes", [nodes[3], nodes[1]])
    assert node_ids(retriever, "tale") == ["one", "two", "three", "four"]
    assert not await api.call(MemoRAGRetriever.open(tmp_path / "s"), "insert_nodes", nodes)


async def test_a_node_of_the_same_id_takes_the_old_ones_place(api):
    nodes = cut()
    retriever = MemoRAGRetriever.from_nodes(nodes)
    before = node_ids(retriever, "story")
    nodes[1].text = "A word about the harbour master."
    await api.call(retriever, "insert_nodes", [nodes[1]])
    assert node_ids(retriever, "story") == before
    assert (await api.call(retriever, "retrieve", "harbour master"))[0].node.text == nodes[1].text


async def test_nodes_are_deleted_one_by_one_and_the_last_takes_its_document_along(api, caplog):
    nodes = cut()
    retriever = MemoRAGRetriever.from_nodes(nodes)
    story, guide = node_ids(retriever, "story"), node_ids(retriever, "guide")
    assert (await api.call(retriever, "delete_nodes", [story[0], "no"])).replaced == ("story",)
    assert "1 of 2 nodes not found" in caplog.text
    assert node_ids(retriever, "story") == story[1:]
    assert (await api.call(retriever, "delete_nodes", guide)).deleted == ("guide",)
    whole = MemoRAGRetriever.from_documents(documents())
    with pytest.raises(InputError, match="Use delete_ref_doc"):
        await api.call(whole, "delete_nodes", [node_ids(whole, "guide")[0]])


async def test_documents_of_given_nodes_are_refreshed_by_the_hash_their_nodes_carry(api):
    retriever = MemoRAGRetriever.from_nodes(cut())
    before = retriever.memo.corpus.entries["guide"]
    changed = documents()[0]
    changed.set_content("An altogether other story.")
    assert await api.call(retriever, "refresh_ref_docs", [changed, documents()[1]]) == [True, False]
    assert retriever.memo.corpus.texts["story"] == changed.text
    assert retriever.memo.corpus.entries["guide"] is before


async def test_nodes_of_a_document_that_was_given_as_a_whole_are_refused(api):
    retriever = MemoRAGRetriever.from_documents(documents())
    before = retriever.memo.corpus
    with pytest.raises(InputError, match="'story' was given as a whole"):
        await api.call(retriever, "insert_nodes", cut())
    assert retriever.memo.corpus is before


# ── in a folder ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_corpus_in_a_folder_is_changed_by_two_and_seen_by_both(api, tmp_path):
    model = WordEmbedding()
    one = MemoRAGRetriever.open(tmp_path / "s", 1, embed_model=model, engine={"passage_size": 120})
    assert await api.call(one, "retrieve", "anything") == []
    await api.call(one, "insert", documents()[0])
    other = MemoRAGRetriever.open(tmp_path / "s", 1, embed_model=model)
    await api.call(other, "insert", documents()[1])
    await api.call(one, "delete_ref_doc", "guide")  # which this one has not seen yet
    assert list(one.ref_doc_info) == ["story"]
    assert other.memo.reload()
    assert list(other.ref_doc_info) == ["story"]
    assert other.retrieve("the wheel")[0].node.to_dict() == one.retrieve("the wheel")[0].node.to_dict()


def test_opening_takes_the_apps_model_where_a_model_is_needed(tmp_path, monkeypatch):
    MemoRAGRetriever.open(tmp_path / "bm25").insert(documents()[0])
    Settings.embed_model = model = WordEmbedding()
    assert MemoRAGRetriever.open(tmp_path / "bm25").memo.embedder is None
    MemoRAGRetriever.open(tmp_path / "dense").insert(documents()[0])
    assert MemoRAGRetriever.open(tmp_path / "dense").memo.embedder.embedder.model is model
    assert MemoRAGRetriever.open(tmp_path / "none", embed_model=None).memo.embedder is None
    monkeypatch.setattr(Settings, "_embed_model", None)
    with pytest.raises(StoreError, match="pass the same embedding model"):
        MemoRAGRetriever.open(tmp_path / "dense")
    with pytest.raises(InputError, match="passage_size=1000"):
        MemoRAGRetriever.open(tmp_path / "bm25", engine={"passage_size": 99})
    with pytest.raises(InputError, match="wait must be"):
        MemoRAGRetriever.open(tmp_path / "bm25", wait=-1)


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unknown_id_is_logged_and_nothing_happens(api, caplog):
    retriever = MemoRAGRetriever.from_documents(documents())
    assert not await api.call(retriever, "delete_ref_doc", "no such")
    assert "ref_doc_id no such not found, nothing deleted" in caplog.text
    assert set(retriever.ref_doc_info) == set(TEXTS)


async def test_a_text_that_is_blank_replaces_nothing(api):
    retriever = MemoRAGRetriever.from_documents(documents())
    before, blank = retriever.memo.corpus, Document(text=" \n", id_="story")
    for name, argument in (("update_ref_doc", blank), ("refresh_ref_docs", [documents()[1], blank])):
        with pytest.raises(InputError, match="'story' holds no text"):
            await api.call(retriever, name, argument)
    with pytest.raises(InputError, match="no document holds any text"):
        await api.call(retriever, "insert", Document(text="", id_="new"))
    assert await api.call(retriever, "refresh_ref_docs", [Document(text="", id_="new")]) == [False]
    assert retriever.memo.corpus.documents == before.documents


@pytest.mark.parametrize("wrong", ["a text", 5, {"text": "x"}, None])
async def test_what_is_no_document_is_refused(api, wrong):
    retriever = MemoRAGRetriever.from_documents(documents())
    before = retriever.memo.corpus
    for name, argument in (
        ("insert", wrong),
        ("update_ref_doc", wrong),
        ("refresh_ref_docs", [documents()[0], wrong]),
        ("insert_nodes", [*cut(), wrong]),
    ):
        with pytest.raises(InputError, match=r"Expected llama_index\.core"):
            await api.call(retriever, name, argument)
    with pytest.raises(InputError, match="JSON"):
        await api.call(retriever, "insert", Document(text="x", id_="x", metadata={"at": object()}))
    assert retriever.memo.corpus is before


async def test_what_was_deleted_while_it_was_found_is_still_told(api, monkeypatch):
    retriever = MemoRAGRetriever.from_documents(documents())
    rank = fusion.rank

    def deleting(*args):
        retriever.memo.delete(["story", "guide"], progress=False)
        return rank(*args)

    monkeypatch.setattr(fusion, "rank", deleting)
    found = await api.call(retriever, "retrieve", "the mill")
    assert {node.node.ref_doc_id for node in found} == set(TEXTS)
    monkeypatch.setattr(fusion, "rank", rank)
    assert await api.call(retriever, "retrieve", "the mill") == []


async def test_the_async_twins_leave_the_event_loop_free_and_can_be_cancelled():
    started, go_on = threading.Event(), threading.Event()

    class Slow(WordEmbedding):
        def _get_text_embedding(self, text):
            if "slow" in text:
                assert threading.current_thread() is not threading.main_thread()
                started.set()
                assert go_on.wait(20)
            return super()._get_text_embedding(text)

    retriever = MemoRAGRetriever.from_documents(documents(), embed_model=Slow())
    task = asyncio.create_task(retriever.ainsert(Document(text="slow", id_="slow")))
    await asyncio.to_thread(started.wait, 20)
    assert await retriever.aretrieve("the mill"), "asked while it is being changed"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await retriever.adelete_ref_doc("no such")  # waits until the work has ended
    assert set(retriever.ref_doc_info) == set(TEXTS)


def test_the_mock_of_llamaindex_serves(tmp_path):
    retriever = MemoRAGRetriever.open(tmp_path / "s", embed_model=MockEmbedding(embed_dim=8))
    assert retriever.insert(documents()[0], show_progress=True).encoded == 1
