"""The hosts' names: constructors, helpers, objects, transformations, filters."""

import logging

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document as LangChainDocument
from langchain_core.runnables import RunnableLambda
from llama_index.core import Document, MockEmbedding, Settings, SimpleKeywordTableIndex, SummaryIndex, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.extractors import BaseExtractor
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import IndexNode, NodeRelationship, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import RetrieverTool

import langchain_memorag
import llamaindex_memorag
from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import LLMMemory, MemoRAGFusionEvent, MemoRAGQueryEngine, MemoRAGRecallEvent
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever
from memorag_integrations.errors import InputError
from tests.hosts.corpus import TEXTS
from tests.hosts.test_langchain import WordEmbeddings
from tests.hosts.test_llamaindex import WordEmbedding
from tests.scripted import lang_chain_llm, llama_index_llm


@pytest.fixture(autouse=True)
def _no_app_settings(monkeypatch):
    for name in ("_embed_model", "_llm", "_node_parser", "_transformations"):
        monkeypatch.setattr(Settings, name, None)


def documents():
    return [Document(text=text, id_=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def nodes():
    return SentenceSplitter(chunk_size=60, chunk_overlap=0).get_nodes_from_documents(documents())


def chain_documents():
    return [LangChainDocument(page_content=text, id=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def passages(retriever):
    return [passage.text for passage in retriever.memo.corpus.index.passages]


# ── LlamaIndex ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("package", [llamaindex_memorag, langchain_memorag])
def test_a_package_lists_its_names_and_its_version(package):
    assert set(package.__all__) <= set(dir(package))
    assert package.__version__
    with pytest.raises(AttributeError, match="no_such"):
        package.no_such  # noqa: B018


def docstore(some):
    store = SimpleDocumentStore()
    store.add_documents(some)
    return store


@pytest.mark.parametrize("of", ["index", "nodes", "docstore"])
def test_from_defaults_takes_what_other_retrievers_take(of):
    given = nodes()
    value = {
        "index": VectorStoreIndex(given, embed_model=WordEmbedding()),
        "nodes": given,
        "docstore": docstore(given),
    }[of]
    retriever = IndexRetriever.from_defaults(**{of: value}, similarity_top_k=2)
    assert len(retriever.retrieve("the mill")) == 2
    assert {p.id for p in retriever.memo.corpus.index.passages} == {node.node_id for node in given}


@pytest.mark.parametrize("how", [{}, {"nodes": [], "docstore": SimpleDocumentStore()}])
def test_from_defaults_takes_exactly_one(how):
    with pytest.raises(InputError, match="exactly one of index, nodes and docstore"):
        IndexRetriever.from_defaults(**how)


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_a_docstore_without_text_is_named(texts):
    with pytest.raises(InputError, match="none of them holds text"):
        IndexRetriever.from_defaults(docstore=docstore([TextNode(text=text) for text in texts]))
    with pytest.raises(InputError, match="document store"):
        IndexRetriever.from_defaults(docstore={"a": 1})


def test_a_docstore_with_some_text_gives_that():
    store = docstore([TextNode(text=" "), TextNode(text="the mill"), IndexNode(text="", index_id="x")])
    assert passages(IndexRetriever.from_defaults(docstore=store)) == ["the mill"]


@pytest.mark.parametrize("index", [VectorStoreIndex, SummaryIndex, SimpleKeywordTableIndex])
def test_an_index_of_any_kind_gives_its_nodes(index, monkeypatch):
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    monkeypatch.setattr(Settings, "_embed_model", MockEmbedding(embed_dim=8))
    made = index(nodes())
    assert sorted(passages(IndexRetriever.from_index(made))) == sorted(node.text for node in nodes())


def sizes(retriever):
    return sorted(map(len, passages(retriever)))


def test_transformations_are_obeyed_by_from_documents_and_by_what_is_inserted_later():
    class Tagging(BaseExtractor):
        async def aextract(self, nodes):
            return [{"tag": "x"} for _ in nodes]

    own = [SentenceSplitter(chunk_size=30, chunk_overlap=0), Tagging()]
    retriever = IndexRetriever.from_documents(documents(), 99, transformations=own)
    expected = SentenceSplitter(chunk_size=30, chunk_overlap=0).get_nodes_from_documents(documents())
    assert sizes(retriever) == sorted(len(node.text) for node in expected)
    retriever.insert(Document(text=TEXTS["guide"] * 2, id_="new"))
    retriever.update_ref_doc(Document(text="One short text.", id_="story"))
    assert retriever.refresh_ref_docs([Document(text="One short text.", id_="story"), documents()[1]]) == [False, False]
    assert retriever.refresh_ref_docs([Document(text="Another short text.", id_="story")]) == [True]
    with pytest.raises(InputError, match="update_ref_doc"):
        retriever.insert(Document(text="x", id_="story"))
    found = retriever.retrieve("text boiler")
    assert {node.node.metadata["tag"] for node in found} == {"x"}
    assert [node.text for node in found if node.node.ref_doc_id == "story"] == ["Another short text."]
    assert len(retriever.ref_doc_info["new"].node_ids) > 2
    retriever.delete_ref_doc("new")
    assert set(retriever.ref_doc_info) == set(TEXTS)


@pytest.mark.parametrize(
    "app",
    [
        {"chunk_overlap": 0, "chunk_size": 30},
        {"transformations": [SentenceSplitter(chunk_size=30, chunk_overlap=0)]},
        {"node_parser": SentenceSplitter(chunk_size=30, chunk_overlap=0)},
    ],
)
def test_what_the_app_has_set_is_obeyed(app):
    plain = sizes(IndexRetriever.from_documents(documents()))
    for name, value in app.items():
        setattr(Settings, name, value)
    assert sizes(IndexRetriever.from_documents(documents())) != plain
    engine = MemoRAGQueryEngine.from_documents(documents(), MockLLM())
    assert sizes(engine.retriever) != plain
    empty = IndexRetriever.empty()
    empty.insert(documents()[0])
    assert len(passages(empty)) > 1


def test_where_nothing_is_set_our_splitter_cuts_and_that_is_said(caplog):
    with caplog.at_level(logging.INFO):
        retriever = IndexRetriever.from_documents(documents())
    assert "memorag's own splitter" in caplog.text
    assert Settings.transformations  # read by something else
    assert passages(IndexRetriever.from_documents(documents())) == passages(retriever)


class Elsewhere(BaseRetriever):
    def _retrieve(self, query_bundle):
        from llama_index.core.schema import NodeWithScore

        return [NodeWithScore(node=TextNode(text="found elsewhere", id_="elsewhere"), score=0.5)]


def engine_of(llm):
    return IndexRetriever.from_documents([Document(text="inner text")]).as_query_engine(llm)


@pytest.mark.parametrize("kind", ["retriever", "query engine", "node", "ours"])
@pytest.mark.parametrize("way", ["nodes", "objects", "documents", "inserted", "index", "constructor", "object_map"])
async def test_an_index_node_leads_to_its_object(kind, way, tmp_path):
    obj = {
        "retriever": Elsewhere(),
        "query engine": engine_of(llama_index_llm("found elsewhere")),
        "node": TextNode(text="found elsewhere", id_="elsewhere"),
        "ours": IndexRetriever.from_documents([Document(text="found elsewhere", id_="e")]),
    }[kind]
    node = IndexNode(text="all about harbours and ships", index_id="i", obj=obj, id_="pointer")
    if way == "nodes":
        retriever = IndexRetriever.from_nodes([node], 1)
    elif way == "objects":
        retriever = IndexRetriever.from_nodes([], 1, objects=[node])
    elif way == "documents":
        retriever = IndexRetriever.from_documents([Document(text="other things")], 1, objects=[node])
    elif way == "inserted":
        retriever = IndexRetriever.empty(1)
        retriever.insert_nodes([node])
    elif way == "index":
        retriever = IndexRetriever.from_index(VectorStoreIndex(objects=[node], embed_model=WordEmbedding()), 1)
    else:
        IndexRetriever.from_nodes([node], 1).persist(tmp_path)
        how = {"objects": [node]} if way == "constructor" else {"object_map": {"i": obj}}
        retriever = IndexRetriever.from_persist_dir(tmp_path, **how)
    if way != "index":
        assert node.obj is obj, "the caller's node stays as it is"
    for found in (retriever.retrieve("harbours and ships"), await retriever.aretrieve("harbours and ships")):
        assert [one.text for one in found] == ["found elsewhere"]


def test_an_index_node_whose_object_is_gone_is_the_node_itself(tmp_path):
    node = IndexNode(text="all about harbours and ships", index_id="i", obj=Elsewhere(), id_="pointer")
    IndexRetriever.from_nodes([node]).persist(tmp_path)
    [found] = IndexRetriever.from_persist_dir(tmp_path).retrieve("harbours")
    assert (found.node_id, found.text) == ("pointer", node.text)
    with pytest.raises(ValueError, match="not retrievable"):  # the host's own word for an object that is none
        IndexRetriever.from_nodes([node.model_copy(update={"obj": object()})]).retrieve("harbours")


def test_helpers_of_an_index():
    retriever = IndexRetriever.from_documents(documents(), 1)
    assert len(retriever.as_retriever(similarity_top_k=2).retrieve("the mill")) == 2
    assert retriever.as_retriever().similarity_top_k == 1
    assert retriever.as_retriever(budget=100_000).similarity_top_k is None
    assert retriever.as_retriever(mode="bm25").memo is retriever.memo
    engine = retriever.as_query_engine(llm=MockLLM(max_tokens=4), similarity_top_k=2, response_mode="refine")
    assert len(engine.query("the mill").source_nodes) == 2
    with pytest.raises(InputError, match="needs an LLM"):
        retriever.as_query_engine()
    with pytest.raises(TypeError, match="streaming"):
        retriever.as_query_engine(llm=MockLLM(), steaming=True)
    assert RetrieverTool.from_defaults(retriever, name="library", description="x").call("the mill")


@pytest.mark.parametrize(
    "mode", [ChatMode.BEST, ChatMode.CONTEXT, ChatMode.CONDENSE_QUESTION, ChatMode.SIMPLE, "context"]
)
def test_chat_engines_of_an_index(mode):
    retriever = IndexRetriever.from_documents(documents(), 1)
    chat = retriever.as_chat_engine(chat_mode=mode, llm=MockLLM(max_tokens=4), similarity_top_k=2)
    assert str(chat.chat("Who kept the mill?"))
    with pytest.raises(InputError, match="chat mode"):
        retriever.as_chat_engine(chat_mode="no such", llm=MockLLM())
    with pytest.raises(InputError, match="needs an LLM"):
        retriever.as_chat_engine(chat_mode=mode)


def test_nodes_inserted_among_those_with_metadata_keep_their_links():
    retriever = IndexRetriever.from_documents(
        documents(), 99, transformations=[SentenceSplitter(chunk_size=30, chunk_overlap=0)]
    )
    found = [one.node for one in retriever.retrieve("the mill") if one.node.ref_doc_id == "story"]
    assert any(NodeRelationship.NEXT in node.relationships for node in found)


class Events(BaseEventHandler):
    seen: list = []  # noqa: RUF012

    @classmethod
    def class_name(cls):
        return "Events"

    def handle(self, event, **how):
        self.seen.append(event)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_recall_and_fusion_are_events_within_the_retrievals_span(asynchronous):
    memory = LLMMemory(llama_index_llm("- the mill\n- the wheel"))
    retriever = IndexRetriever.from_documents(documents(), 2, memory=memory)
    handler, dispatcher = Events(seen=[]), get_dispatcher()
    dispatcher.add_event_handler(handler)
    try:
        _ = await retriever.aretrieve("Who kept it?") if asynchronous else retriever.retrieve("Who kept it?")
    finally:
        dispatcher.event_handlers.remove(handler)
    [recall] = [event for event in handler.seen if isinstance(event, MemoRAGRecallEvent)]
    [fusion] = [event for event in handler.seen if isinstance(event, MemoRAGFusionEvent)]
    assert {"the mill", "the wheel"} <= {clue["text"] for clue in recall.clues}
    assert recall.usage["calls"] >= 1
    assert recall.usage["tokens_generated"] > 0
    assert fusion.weights["query"] == 1
    assert fusion.candidates == len(retriever.memo.corpus.index)
    assert recall.seconds >= 0
    assert fusion.model_dump_json()
    assert recall.span_id == fusion.span_id
    assert recall.span_id.startswith(
        ("MemoRAGRetriever.retrieve", "MemoRAGRetriever._retrieve", "MemoRAGRetriever.a", "MemoRAGRetriever._a")
    )


# ── LangChain ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_constructors_of_vector_stores():
    texts, metadatas, ids = list(TEXTS.values()), [{"kind": name} for name in TEXTS], list(TEXTS)
    model = WordEmbeddings()
    made = [
        ChainRetriever.from_texts(texts, model, metadatas, ids=ids, k=1),
        await ChainRetriever.afrom_texts(texts, model, metadatas, ids=ids, k=1),
        ChainRetriever.from_documents(chain_documents(), model, k=1),
        await ChainRetriever.afrom_documents(chain_documents(), model, k=1),
    ]
    for retriever in made:
        assert retriever.invoke("the wheel") == made[0].invoke("the wheel")
        assert set(retriever.memo.corpus.documents) == set(TEXTS)
    chunked = await ChainRetriever.afrom_chunks(chain_documents(), source_key="kind", k=1)
    assert chunked.source_key == "kind"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"texts": "one"}, "single one"),
        ({"texts": ["a", 3]}, "found int"),
        ({"texts": ["a"], "ids": ["1", "2"]}, "as many as texts"),
        ({"texts": ["a"], "metadatas": []}, "as many as texts"),
        ({"texts": chain_documents()}, "from_documents"),
    ],
)
def test_bad_texts_are_refused(how, message):
    with pytest.raises(InputError, match=message):
        ChainRetriever.from_texts(**how)
    with pytest.raises(InputError, match=message):
        ChainRetriever.empty().add_texts(**how)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_adding_as_vector_stores_do(asynchronous):
    async def call(method, *arguments, **how):
        return (
            await getattr(retriever, "a" + method)(*arguments, **how)
            if asynchronous
            else getattr(retriever, method)(*arguments, **how)
        )

    retriever = ChainRetriever.empty()
    assert await call("add_documents", chain_documents()) == list(TEXTS)
    assert await call("add_texts", ["more text", " "], [{"n": 1}, {}], ids=["x", "y"]) == ["x"]
    [id] = await call("add_documents", [LangChainDocument(page_content="without an id")])
    assert retriever.get([id, "x"]) == [
        LangChainDocument(page_content="without an id", id=id),
        LangChainDocument(page_content="more text", metadata={"n": 1}, id="x"),
    ]
    assert await call("add_documents", chain_documents()[:1], ids=["other"]) == ["other"]
    assert set(retriever.memo.corpus.documents) == {*TEXTS, "x", id, "other"}
    with pytest.raises(InputError, match="as many as documents"):
        await call("add_documents", chain_documents(), ids=["one"])


FILTERED = [
    {"filter": {"kind": "guide"}},
    {"filters": {"kind": {"$eq": "guide"}}},
    {"filter": {"kind": {"$ne": "story"}}},
    {"filter": {"kind": {"$in": ["guide"]}}},
    {"filter": {"$or": [{"kind": "guide"}, {"kind": "nothing"}]}},
    {"filter": lambda metadata: metadata["kind"] == "guide"},
    {"search_kwargs": {"k": 1, "filter": {"kind": "guide"}}},
    {"search_kwargs": {"filter": {"$not": {"kind": "story"}}}},
]


@pytest.mark.parametrize("how", FILTERED)
async def test_filters_of_vector_stores(how):
    plain = ChainRetriever.from_documents(chain_documents(), k=5)
    for retriever in (
        ChainRetriever.from_documents(chain_documents(), **how),
        plain.as_retriever(**how),
        ChainRetriever(memo=plain.memo, **how),
    ):
        assert {one.metadata["kind"] for one in retriever.invoke("the mill")} == {"guide"}
    assert {one.metadata["kind"] for one in plain.invoke("the mill", **how)} == {"guide"}
    assert {one.metadata["kind"] for one in await plain.ainvoke("the mill", **how)} == {"guide"}
    assert {piece.passage.metadata["kind"] for piece in plain.explain("the mill", **how)} == {"guide"}


def test_as_retriever_of_a_vector_store():
    retriever = ChainRetriever.from_documents(chain_documents(), k=1, engine={"passage_size": 60})
    assert len(retriever.as_retriever(search_kwargs={"k": 3}).invoke("the mill")) == 3
    assert len(retriever.as_retriever(search_type="similarity", k=2).invoke("the mill")) == 2
    threshold = retriever.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.999}
    )
    assert threshold.invoke("the mill") == []
    tagged = retriever.as_retriever(tags=["a"], metadata={"b": 1}, budget=100_000)
    assert (tagged.tags, tagged.metadata, tagged.k) == (["a"], {"b": 1}, None)
    assert retriever.k == 1
    chain = retriever.as_retriever(search_kwargs={"k": 2}) | RunnableLambda(len)
    assert chain.invoke("the mill") == 2
    assert chain.batch(["the mill", "the wheel"]) == [2, 2]


class Seen(BaseCallbackHandler):
    def __init__(self):
        self.retrievers, self.models = [], []

    def on_retriever_start(self, serialized, query, *, metadata=None, **how):
        self.retrievers.append(metadata)

    def on_chat_model_start(self, serialized, messages, *, tags=None, parent_run_id=None, **how):
        self.models.append((tags, parent_run_id))


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_traces_name_the_models_and_tag_the_memorys_calls(asynchronous):
    memory = langchain_memorag.LLMMemory(lang_chain_llm("- the mill"))
    retriever = ChainRetriever.from_documents(chain_documents(), WordEmbeddings(), memory=memory, tags=["mine"])
    seen = Seen()
    config = {"callbacks": [seen], "tags": ["theirs"], "metadata": {"x": 1}}
    _ = await retriever.ainvoke("Who?", config) if asynchronous else retriever.invoke("Who?", config)
    [metadata] = seen.retrievers
    assert metadata["ls_embedding_provider"] == "WordEmbeddings"
    assert metadata["ls_embedding_model"]
    assert metadata["ls_retriever_name"] == "memorag"
    assert metadata["x"] == 1
    assert seen.models
    for tags, parent in seen.models:
        assert "nostream" in tags
        assert "theirs" in tags
        assert parent is not None
    bare = ChainRetriever.from_documents(chain_documents())
    assert "ls_embedding_provider" not in bare._get_ls_params()


def test_the_tag_does_not_go_beyond_the_memory():
    seen, llm = Seen(), lang_chain_llm("an answer")
    retriever = ChainRetriever.from_documents(
        chain_documents(), memory=langchain_memorag.LLMMemory(lang_chain_llm("- x"))
    )
    chain = retriever | (lambda found: found[0].page_content) | llm
    chain.invoke("Who?", {"callbacks": [seen]})
    assert ["nostream" in (tags or []) for tags, _ in seen.models].count(False) == 1


def test_a_warning_is_said_once_not_once_a_query(caplog):
    for retriever, ask in (
        (index := IndexRetriever.from_documents(documents()), index.retrieve),
        (chain := ChainRetriever.from_documents(chain_documents()), chain.invoke),
    ):
        caplog.clear()
        for query in ("Где находится старая мельница?", "Почему братья уехали из города?", "Кто чинил насос зимой?"):
            assert ask(query)
        assert caplog.text.count("No term of the query") == 1, retriever
