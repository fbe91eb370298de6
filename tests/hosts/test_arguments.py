"""Arguments go where they belong, before any work; a wrong name says the right one."""

from datetime import date

import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from pydantic import ValidationError

from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import MemoRAGQueryEngine
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever
from llamaindex_memorag.filters import to_filters
from memorag_integrations import MemoRAG
from memorag_integrations.errors import ArgumentError, InputError
from tests.hosts.corpus import TEXTS
from tests.hosts.test_langchain import WordEmbeddings
from tests.hosts.test_llamaindex import WordEmbedding
from tests.scripted import ScriptedLLM, lang_chain_llm, llama_index_llm


@pytest.fixture(autouse=True)
def _no_app_settings(monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_llm", None)


class Untouchable:
    """Documents that nothing may read yet."""

    def __iter__(self):
        raise AssertionError("read before the arguments were checked")


def index_documents():
    return [Document(text=text, id_=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def chain_documents():
    return [LangChainDocument(page_content=text, id=name, metadata={"kind": name}) for name, text in TEXTS.items()]


# ── LlamaIndex ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_query_engine_passes_each_argument_to_its_part():
    model = WordEmbedding()
    filters = MetadataFilters(filters=[MetadataFilter(key="kind", value="guide")])
    engine = MemoRAGQueryEngine.from_documents(
        index_documents(),
        llm=MockLLM(max_tokens=8),
        embed_model=model,
        filters=filters,
        similarity_top_k=1,
        engine={"passage_size": 120},
        mode="hybrid",
        streaming=True,
        response_mode="tree_summarize",
    )
    assert model.passages > 1
    found = [node.node.ref_doc_id for node in engine.query("the mill").source_nodes]
    assert found == ["guide"]
    assert "".join(engine.query("the mill").response_gen)
    assert type(engine._response_synthesizer).__name__ == "TreeSummarize"
    assert engine.retriever.mode == "hybrid"
    assert engine.retriever.memo.splitter.size == 120


def test_arguments_in_a_mapping_are_passed_too_but_not_twice():
    engine = MemoRAGQueryEngine.from_documents(index_documents(), MockLLM(), retriever={"similarity_top_k": 1})
    assert len(engine.query("the mill").source_nodes) == 1
    with pytest.raises(InputError, match="similarity_top_k is given twice"):
        MemoRAGQueryEngine.from_documents(
            Untouchable(), MockLLM(), similarity_top_k=2, retriever={"similarity_top_k": 1}
        )
    with pytest.raises(ArgumentError, match=r"top_k.*similarity_top_k="):
        MemoRAGQueryEngine.from_documents(Untouchable(), MockLLM(), retriever={"top_k": 1})


WRONG_FOR_INDEX = [
    ({"k": 3}, "similarity_top_k="),
    ({"top_k": 3}, "similarity_top_k="),
    ({"search_kwargs": {"k": 3}}, "similarity_top_k= and filters="),
    ({"filter": {"kind": "guide"}}, "filters="),
    ({"embedding": None}, "embed_model="),
    ({"similarity_cutoff": 0.5}, "cutoff="),
    ({"chunk_size": 100}, "transformations="),
    ({"passage_size": 100}, r"engine=\{'passage_size'"),
    ({"similarity_topk": 3}, "Did you mean similarity_top_k"),
    ({"nonsense": 3}, "It takes budget, mode"),
]


@pytest.mark.parametrize(("wrong", "right"), WRONG_FOR_INDEX)
@pytest.mark.parametrize(
    "make", [IndexRetriever.from_documents, IndexRetriever.from_nodes, MemoRAGQueryEngine.from_documents]
)
def test_a_wrong_name_says_the_right_one(make, wrong, right):
    how = {"llm": MockLLM()} if make == MemoRAGQueryEngine.from_documents else {}
    with pytest.raises(ArgumentError, match=right):
        make(Untouchable(), **how, **wrong)
    with pytest.raises(TypeError):  # which it is, too
        make(Untouchable(), **how, **wrong)


@pytest.mark.parametrize(("wrong", "right"), WRONG_FOR_INDEX)
def test_the_constructor_and_the_others_say_it_too(wrong, right, tmp_path):
    retriever = IndexRetriever.from_documents(index_documents())
    retriever.persist(tmp_path)
    for make in (
        lambda: IndexRetriever(retriever.memo, **wrong),
        lambda: IndexRetriever.empty(**wrong),
        lambda: IndexRetriever.open(tmp_path / "other", **wrong),
        lambda: IndexRetriever.from_persist_dir(tmp_path, **wrong),
        lambda: retriever.as_retriever(**wrong),
        lambda: IndexRetriever.from_defaults(nodes=Untouchable(), **wrong),
    ):
        with pytest.raises(ArgumentError, match=right):
            make()
    assert not (tmp_path / "other").exists()


BAD_FOR_INDEX = [
    ({"similarity_top_k": 0}, "at least 1"),
    ({"budget": 0}, "at least 1"),
    ({"cutoff": 2}, "cutoff"),
    ({"mode": "fast"}, "mode must be one of"),
    ({"mode": "plain"}, "needs an embedding model"),
    ({"merge": "yes"}, "merge must be True or False"),
    ({"provenance": 1}, "provenance must be"),
    ({"filters": {"year": {"$near": 1}}}, r"no filter operator '\$near'"),
    ({"filters": 3}, "mapping"),
    ({"filters": MetadataFilters(filters=[MetadataFilter(key="a", value="x", operator=FilterOperator.IN)])}, "a list"),
    ({"objects": [TextNode(text="x")]}, "IndexNode"),
    ({"embed_model": 3}, "BaseEmbedding"),
    ({"memory": "no such"}, "activation"),
    ({"engine": {"passage": 3}}, "Did you mean passage_size"),
    ({"engine": 3}, "mapping of settings"),
    ({"engine": {"passage_size": 3}}, "characters from 50 to"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_FOR_INDEX)
@pytest.mark.parametrize(
    "make", [IndexRetriever.from_documents, IndexRetriever.from_nodes, MemoRAGQueryEngine.from_documents]
)
def test_a_bad_value_is_refused_before_any_work(make, bad, message):
    how = {"llm": MockLLM()} if make == MemoRAGQueryEngine.from_documents else {}
    with pytest.raises(InputError, match=message):
        make(Untouchable(), **how, **bad)


@pytest.mark.parametrize("llm", [MockLLM(), llama_index_llm("x"), ScriptedLLM("x")])
def test_a_language_model_given_as_memory_is_told_to_be_wrapped(llm):
    with pytest.raises(InputError, match=r"LLMMemory\(llm\)"):
        IndexRetriever.from_documents(Untouchable(), memory=llm)
    with pytest.raises(InputError, match=r"LLMMemory\(llm\)"):
        IndexRetriever.from_persist_dir("nowhere", memory=llm)


@pytest.mark.parametrize("what", [index_documents(), "index", {"a": 1}, None])
def test_what_is_no_engine_is_told_its_constructor(what):
    what = VectorStoreIndex([], embed_model=WordEmbedding()) if what == "index" else what
    with pytest.raises(InputError, match=r"from_documents\(documents\).*from_index\(index\)"):
        IndexRetriever(what)
    with pytest.raises(InputError, match="Expected a retriever"):
        MemoRAGQueryEngine.from_args(what, MockLLM())


def test_an_argument_of_the_query_engine_that_is_not_known_is_not_swallowed():
    retriever = IndexRetriever.from_documents(index_documents())
    with pytest.raises(ArgumentError, match="Did you mean streaming"):
        MemoRAGQueryEngine.from_args(retriever, MockLLM(), steaming=True)
    with pytest.raises(ArgumentError, match="similarity_top_k"):
        MemoRAGQueryEngine.from_args(retriever, MockLLM(), top_k=3)
    with pytest.raises(InputError, match="response_mode must be one of"):
        MemoRAGQueryEngine.from_args(retriever, MockLLM(), response_mode="no such")


@pytest.fixture
def no_openai(monkeypatch):
    """Whatever would look for OpenAI fails."""

    def refuse(*arguments, **how):
        raise AssertionError("looked for a default model")

    monkeypatch.setattr("llama_index.core.settings.resolve_llm", refuse)
    monkeypatch.setattr("llama_index.core.settings.resolve_embed_model", refuse)


@pytest.mark.parametrize("mode", [ResponseMode.NO_TEXT, ResponseMode.CONTEXT_ONLY, "no_text", "context_only"])
@pytest.mark.parametrize("llm", [None, MockLLM()])
def test_silent_response_modes_never_look_for_openai(mode, llm, no_openai):
    engine = MemoRAGQueryEngine.from_documents(index_documents(), llm, response_mode=mode)
    assert engine.query("the mill").source_nodes


def test_the_constructor_called_directly_never_looks_for_openai(no_openai, monkeypatch):
    retriever = IndexRetriever.from_documents(index_documents())
    with pytest.raises(InputError, match="needs an LLM"):
        MemoRAGQueryEngine(retriever)
    monkeypatch.setattr(Settings, "_llm", MockLLM(max_tokens=4))
    assert str(MemoRAGQueryEngine(retriever).query("the mill"))
    synthesizer = RetrieverQueryEngine.from_args(retriever, MockLLM())._response_synthesizer
    monkeypatch.setattr(Settings, "_llm", None)
    assert str(MemoRAGQueryEngine(retriever, synthesizer).query("the mill"))


def test_the_model_does_not_depend_on_what_read_the_settings_before(monkeypatch, caplog):
    monkeypatch.setenv("IS_TESTING", "1")
    unread = IndexRetriever.from_documents(index_documents())
    assert Settings.embed_model is not None
    assert Settings.transformations
    read = IndexRetriever.from_documents(index_documents())
    assert unread.memo.embedder is None
    assert read.memo.embedder is None
    assert "embed_model=Settings.embed_model" in caplog.text
    assert [p.text for p in read.memo.corpus.index.passages] == [p.text for p in unread.memo.corpus.index.passages]
    assert IndexRetriever.from_documents(index_documents(), embed_model=Settings.embed_model).memo.embedder is not None


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (MetadataFilters(filters=[MetadataFilter(key="on", value="2024-01-01", operator=FilterOperator.GTE)]), "b"),
        (MetadataFilters(filters=[MetadataFilter(key="tags", value="x", operator=FilterOperator.CONTAINS)]), "a"),
        (
            MetadataFilters(
                filters=[
                    MetadataFilters(
                        filters=[MetadataFilter(key="n", value=1), MetadataFilter(key="n", value=2)],
                        condition=FilterCondition.OR,
                    ),
                    MetadataFilter(key="n", value=2, operator=FilterOperator.NE),
                ]
            ),
            "a",
        ),
        (MetadataFilters(filters=[MetadataFilter(key="n", value=1)], condition=FilterCondition.NOT), "b"),
        ({"on": {"$lt": date(2024, 1, 1)}}, "a"),
        (lambda metadata: metadata["n"] == 2, "b"),
    ],
)
def test_filters_of_every_form(filters, kept):
    documents = [
        Document(text="the mill", id_="a", metadata={"n": 1, "on": date(2023, 5, 1), "tags": {"x", "y"}}),
        Document(text="the mill wheel", id_="b", metadata={"n": 2, "on": date(2024, 5, 1), "tags": {"z"}}),
    ]
    retriever = IndexRetriever.from_documents(documents, filters=filters)
    assert [node.node.ref_doc_id for node in retriever.retrieve("mill")] == [kept]


def test_filters_of_llamaindex_with_a_wrong_type_are_named():
    one = MetadataFilter(key="n", value="x", operator=FilterOperator.GT)
    with pytest.raises(InputError, match="'n' > 'x'"):
        to_filters(MetadataFilters(filters=[one]))({"n": 3})


# ── LangChain ─────────────────────────────────────────────────────────────────────────────────────────────────────

WRONG_FOR_CHAIN = [
    ({"top_k": 3}, "k="),
    ({"similarity_top_k": 3}, "k="),
    ({"embed_model": None}, "embedding="),
    ({"embedding_function": None}, "embedding="),
    ({"score_threshold": 0.5}, "cutoff="),
    ({"where": {}}, "filters="),
    ({"passage_size": 100}, r"engine=\{'passage_size'"),
    ({"search_kwargs": {"fetch_k": 20}}, "k="),
    ({"serach_kwargs": {}}, "It takes"),
    ({"filterz": {}}, "Did you mean filters"),
]


@pytest.mark.parametrize(("wrong", "right"), WRONG_FOR_CHAIN)
def test_a_wrong_name_says_the_right_one_in_langchain(wrong, right, tmp_path):
    retriever = ChainRetriever.from_documents(chain_documents())
    retriever.save_local(tmp_path)
    for make in (
        lambda: ChainRetriever.from_documents(Untouchable(), **wrong),
        lambda: ChainRetriever.from_chunks(Untouchable(), **wrong),
        lambda: ChainRetriever.empty(**wrong),
        lambda: ChainRetriever.load_local(tmp_path, **wrong),
        lambda: ChainRetriever.open_local(tmp_path / "other", **wrong),
        lambda: retriever.as_retriever(**wrong),
        lambda: retriever.invoke("the mill", **wrong),
    ):
        with pytest.raises(ArgumentError, match=right):
            make()
    with pytest.raises(ValidationError, match=right):
        ChainRetriever(memo=retriever.memo, **wrong)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"k": 0}, "at least 1"),
        ({"cutoff": 2}, "cutoff"),
        ({"mode": "plain"}, "needs an embedding model"),
        ({"mode": "fast"}, "mode must be one of"),
        ({"filters": {"year": {"$near": 1}}}, r"no filter operator '\$near'"),
        ({"filter": {"year": {"$gt": None}}}, "takes a number"),
        ({"filter": {"a": 1}, "filters": {"a": 2}}, "filters is given twice"),
        ({"k": 2, "search_kwargs": {"k": 3}}, "k is given twice"),
        ({"search_kwargs": 3}, "mapping"),
        ({"search_type": "mmr"}, "search_type 'mmr'"),
        ({"embedding": object()}, "LangChain Embeddings"),
        ({"memory": lang_chain_llm("x")}, r"LLMMemory\(llm\)"),
        ({"memory": lang_chain_llm("x").with_retry()}, r"LLMMemory\(llm\)"),
        ({"engine": {"chunk_size": 3}}, "passage_size"),
        ({"provenance": "yes"}, "provenance must be"),
    ],
)
@pytest.mark.parametrize("make", [ChainRetriever.from_documents, ChainRetriever.from_chunks])
def test_a_bad_value_is_refused_before_any_work_in_langchain(make, bad, message):
    with pytest.raises(InputError, match=message):
        make(Untouchable(), **bad)


@pytest.mark.parametrize("what", [chain_documents(), "store", None])
def test_what_is_no_engine_is_told_its_constructor_in_langchain(what):
    what = InMemoryVectorStore(WordEmbeddings()) if what == "store" else what
    with pytest.raises(ValidationError, match=r"from_documents\(documents\)"):
        ChainRetriever(memo=what)


def test_the_second_argument_is_the_embedding_model_and_a_number_is_k():
    model = WordEmbeddings()
    assert ChainRetriever.from_documents(chain_documents(), model).memo.embedder.embedder.model is model
    assert ChainRetriever.from_texts(list(TEXTS.values()), model).memo.embedder.embedder.model is model
    assert ChainRetriever.from_chunks(chain_documents(), model).memo.embedder.embedder.model is model
    assert ChainRetriever.from_documents(chain_documents(), 1).k == 1
    with pytest.raises(InputError, match="twice"):
        ChainRetriever.from_documents(Untouchable(), 1, k=2)


def test_a_mode_that_needs_vectors_is_refused_at_construction():
    memo = MemoRAG()
    memo.memorize("the mill", progress=False)
    with pytest.raises(ValidationError, match="needs an embedding model"):
        ChainRetriever(memo=memo, mode="plain")
    with pytest.raises(InputError, match="needs an embedding model"):
        IndexRetriever(memo, mode="per-clue-union")
