"""Embeddings that were paid for are used; those of one retrieval are asked together."""

import logging

import numpy as np
import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import TransformRetriever
from llama_index.core.schema import MetadataMode, QueryBundle
from pydantic import Field

from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import LLMMemory
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever
from memorag_integrations.documents import EMBEDDING_TEXT
from memorag_integrations.errors import InputError
from memorag_integrations.memories.llm import LLMMemory as EngineLLMMemory
from tests.hosts.corpus import TEXTS, vector
from tests.scripted import ScriptedLLM, llama_index_llm


@pytest.fixture(autouse=True)
def _no_app_settings(monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_llm", None)


class Counting(BaseEmbedding):
    """Bag-of-words vectors; counts calls and texts. `instruction` goes before queries: it is another vector then."""

    instruction: str = ""
    batches: list = Field(default_factory=list)
    queries: list = Field(default_factory=list)
    embed_batch_size: int = 100

    def _get_text_embedding(self, text):
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts):
        self.batches.append(list(texts))
        return [vector(text) for text in texts]

    async def _aget_text_embeddings(self, texts):
        return self._get_text_embeddings(texts)

    def _get_query_embedding(self, query):
        self.queries.append(query)
        return vector(self.instruction + query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)

    @property
    def texts(self):
        return [text for batch in self.batches for text in batch]

    def forget(self):
        self.batches.clear()
        self.queries.clear()
        return self


def counting(**how):
    return Counting(**how, batches=[], queries=[])


def documents(**metadata):
    return [Document(text=text, id_=name, metadata={"kind": name, **metadata}) for name, text in TEXTS.items()]


def embedded(model, form=MetadataMode.EMBED, docs=None):
    nodes = SentenceSplitter(chunk_size=60, chunk_overlap=0).get_nodes_from_documents(docs or documents())
    for node in nodes:
        node.embedding = vector(node.get_content(metadata_mode=form))
    model.forget()
    return nodes


def vectors(retriever):
    index = retriever.memo.corpus.index
    return dict(zip([passage.id for passage in index.passages], index.vectors.matrix, strict=True))


@pytest.mark.parametrize("form", [MetadataMode.EMBED, MetadataMode.NONE])
def test_nodes_with_embeddings_are_not_embedded_again(form):
    model = counting()
    nodes = embedded(model, form)
    retriever = IndexRetriever.from_nodes(nodes, embed_model=model)
    again = {node.get_content(metadata_mode=mode) for node in nodes for mode in (MetadataMode.EMBED, MetadataMode.NONE)}
    assert len([text for text in model.texts if text in again]) <= 4
    assert len(model.batches) <= 2, "one for the fingerprint, one to compare"
    for node in nodes:
        assert np.allclose(vectors(retriever)[node.node_id], node.embedding, atol=1e-6)


@pytest.mark.parametrize("form", [MetadataMode.EMBED, MetadataMode.NONE])
def test_of_long_texts_with_little_metadata_the_form_is_told(form):
    model = counting()
    long = [Document(text=f"{TEXTS['story']} {TEXTS['guide']} {n} " * 3, metadata={"n": n}) for n in range(4)]
    nodes = SentenceSplitter(chunk_size=1000).get_nodes_from_documents(long)
    for node in nodes:
        node.embedding = vector(node.get_content(metadata_mode=form))
    retriever = IndexRetriever.from_nodes(nodes, embed_model=model)
    hosts = [passage.host for passage in retriever.memo.corpus.index.passages]
    assert all((EMBEDDING_TEXT in host) == (form == MetadataMode.EMBED) for host in hosts)


def test_those_of_an_ingestion_pipeline_are_used():
    model = counting()
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(chunk_size=60, chunk_overlap=0), model])
    nodes = pipeline.run(documents=documents())
    model.forget()
    IndexRetriever.from_nodes(nodes, embed_model=model)
    assert len(model.texts) <= 5
    model.forget()
    IndexRetriever.from_documents(documents(), embed_model=model, transformations=pipeline.transformations)
    assert len(model.texts) == len(nodes) + 5


def test_nodes_inserted_with_embeddings_are_not_embedded_again():
    model = counting()
    nodes = embedded(model)
    retriever = IndexRetriever.from_nodes(nodes[:2], embed_model=model)
    model.forget()
    assert retriever.insert_nodes(nodes[2:]).encoded == 0
    assert len(model.texts) <= 4
    plain = SentenceSplitter().get_nodes_from_documents([Document(text="New text.", metadata={"kind": "new"})])
    assert retriever.insert_nodes(plain).encoded == 1
    assert model.texts[-1] == plain[0].get_content(metadata_mode=MetadataMode.EMBED)


@pytest.mark.parametrize(("first", "then"), [("EMBED", "NONE"), ("NONE", "EMBED")])
def test_vectors_made_with_metadata_and_without_never_mix(first, then):
    model = counting()
    nodes = embedded(model, MetadataMode[first])
    retriever = IndexRetriever.from_nodes(nodes[:2], embed_model=model)
    others = nodes[2:]
    for node in others:
        node.embedding = vector(node.get_content(metadata_mode=MetadataMode[then]))
    assert retriever.insert_nodes(others).encoded == len(others)
    for node in nodes:
        expected = vector(node.get_content(metadata_mode=MetadataMode[first]))
        assert np.allclose(vectors(retriever)[node.node_id], expected, atol=1e-6)


@pytest.mark.parametrize("insert", ["insert", "update_ref_doc", "refresh_ref_docs"])
def test_documents_inserted_among_vectors_with_metadata_are_embedded_so(insert, tmp_path):
    model = counting()
    retriever = IndexRetriever.from_nodes(embedded(model), embed_model=model)
    retriever.persist(tmp_path)
    retriever = IndexRetriever.from_persist_dir(tmp_path, embed_model=model)
    model.forget()
    new = Document(text="A new mill was built.", id_="new", metadata={"kind": "news"})
    getattr(retriever, insert)([new] if insert == "refresh_ref_docs" else new)
    assert "kind: news\n\nA new mill was built." in model.texts
    assert "A new mill was built." not in model.texts
    found = retriever.retrieve("a new mill")[0].node
    assert found.text == "A new mill was built."
    assert found.ref_doc_id == "new"
    assert retriever.refresh_ref_docs([new]) == [False]
    retriever.delete_ref_doc("new")
    assert "new" not in retriever.ref_doc_info


def test_a_store_keeps_the_form_and_loses_no_vector(tmp_path):
    model = counting()
    nodes = embedded(model)
    IndexRetriever.from_nodes(nodes, embed_model=model).persist(tmp_path)
    model.forget()
    loaded = IndexRetriever.from_persist_dir(tmp_path, embed_model=model)
    for node in nodes:
        assert np.allclose(vectors(loaded)[node.node_id], node.embedding, atol=1e-6)
    assert len(model.texts) == 1, "the probe"
    found = loaded.retrieve("the wheel")[0].node
    assert found == next(node for node in nodes if node.node_id == found.node_id).model_copy(update={"embedding": None})
    assert EMBEDDING_TEXT not in str(found.to_dict())


class OtherSpace(Counting):
    def _get_text_embeddings(self, texts):
        self.batches.append(list(texts))
        return [vector(text)[::-1] for text in texts]


def test_vectors_of_another_model_are_made_again(caplog):
    model = counting()
    nodes = embedded(model)
    with caplog.at_level(logging.INFO):
        retriever = IndexRetriever.from_nodes(nodes, embed_model=OtherSpace(batches=[], queries=[]))
    assert "embedded again" in caplog.text
    for node in nodes:
        assert np.allclose(vectors(retriever)[node.node_id], vector(node.text)[::-1], atol=1e-6)
    with caplog.at_level(logging.INFO):
        small = IndexRetriever.from_nodes(nodes, embed_model=MockEmbedding(embed_dim=8))
    assert small.memo.embedder.dimension == 8


@pytest.mark.parametrize("bad", [[1.0, 2.0], [float("nan")] * 64, [0.0] * 64, [[1.0] * 64], [float("inf")] * 64])
def test_one_bad_embedding_of_many_is_named_and_nothing_is_changed(bad):
    model = counting()
    nodes = embedded(model)
    retriever = IndexRetriever.from_nodes(nodes[:2], embed_model=model)
    before = retriever.memo.corpus
    broken = nodes[3].model_copy(update={"embedding": bad})
    for attempt in (
        lambda: retriever.insert_nodes([nodes[2], broken, nodes[4]]),
        lambda: IndexRetriever.from_nodes([nodes[2], broken], embed_model=model),
    ):
        with pytest.raises(InputError, match=f"{broken.node_id}.*embedding"):
            attempt()
    assert retriever.memo.corpus is before


def test_the_vectors_of_an_index_in_memory_are_used():
    model = counting()
    index = VectorStoreIndex.from_documents(
        documents(), embed_model=model, transformations=[SentenceSplitter(chunk_size=60, chunk_overlap=0)]
    )
    model.forget()
    retriever = IndexRetriever.from_index(index)
    assert len(model.texts) <= 5
    index.insert(Document(text="New text of the index.", metadata={"kind": "x"}))
    model.forget()
    retriever.insert(Document(text="New text of ours.", id_="ours", metadata={"kind": "x"}))
    assert model.texts == ["kind: x\n\nNew text of ours."]


# ── the query's own embedding ─────────────────────────────────────────────────────────────────────────────────────


def corpus():
    return [Document(text="alpha beta", id_="a"), Document(text="gamma delta", id_="b")]


async def both(retriever, bundle):
    found = [node.node.ref_doc_id for node in retriever.retrieve(bundle)]
    assert [node.node.ref_doc_id for node in await retriever.aretrieve(bundle)] == found
    assert [piece.document_id for piece in retriever.explain(bundle)] == found
    return found


async def test_an_embedding_that_comes_with_the_query_is_obeyed():
    model = counting()
    retriever = IndexRetriever.from_documents(corpus(), 1, embed_model=model, mode="plain")
    model.forget()
    assert await both(retriever, QueryBundle("alpha", embedding=vector("gamma delta"))) == ["b"]
    assert await both(retriever, QueryBundle("gamma", embedding=list(3 * np.array(vector("alpha beta"))))) == ["a"]
    assert not model.queries
    assert not model.batches


async def test_texts_to_embed_that_come_with_the_query_are_obeyed():
    model = counting()
    retriever = IndexRetriever.from_documents(corpus(), 1, embed_model=model, mode="plain")
    assert await both(retriever, QueryBundle("alpha", custom_embedding_strs=["gamma"])) == ["b"]
    model.forget()
    assert await both(retriever, QueryBundle("alpha", custom_embedding_strs=["gamma", "delta", "alpha"])) == ["b"]
    assert "alpha" not in model.queries[:1] or len(model.queries) <= 3
    assert await both(retriever, QueryBundle("alpha", custom_embedding_strs=[])) == ["a"]
    assert await both(retriever, QueryBundle("alpha")) == ["a"]


async def test_hyde_through_a_transform_retriever_reaches_the_vectors():
    retriever = IndexRetriever.from_documents(corpus(), 1, embed_model=counting(), mode="plain")
    hyde = HyDEQueryTransform(llm=llama_index_llm("gamma delta gamma delta"), include_original=True)
    assert [n.node.ref_doc_id for n in TransformRetriever(retriever, hyde).retrieve("alpha")] == ["b"]


async def test_bm25_needs_no_embedding_whatever_comes_with_the_query():
    for retriever in (
        IndexRetriever.from_documents(corpus(), 1),
        IndexRetriever.from_documents(corpus(), 1, embed_model=counting(), mode="bm25"),
    ):
        bundle = QueryBundle("alpha", custom_embedding_strs=["gamma"], embedding=vector("gamma"))
        assert await both(retriever, bundle) == ["a"]


@pytest.mark.parametrize("bad", [[1.0], [0.0] * 64, [float("nan")] * 64, [[0.5] * 64]])
def test_a_bad_embedding_of_the_query_is_refused(bad):
    retriever = IndexRetriever.from_documents(corpus(), 1, embed_model=counting())
    with pytest.raises(InputError, match="query's vector"):
        retriever.retrieve(QueryBundle("alpha", embedding=bad))


# ── asked together ────────────────────────────────────────────────────────────────────────────────────────────────

NINE = "\n".join(
    [f"- clue number {n} of the mill" for n in range(5)] + [f"- Who kept wheel number {n}?" for n in range(4)]
)


def nine_clues(prompt):
    return NINE


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_nine_clues_are_one_call(asynchronous):
    model = counting()
    retriever = IndexRetriever.from_documents(
        documents(), embed_model=model, memory=LLMMemory(llama_index_llm(nine_clues)), engine={"clues": 12}
    )

    async def calls(query):
        model.forget()
        _ = await retriever.aretrieve(query) if asynchronous else retriever.retrieve(query)
        return len(model.queries), [len(batch) for batch in model.batches]

    queries, [clues] = await calls("Who kept the mill?")
    assert (queries, clues >= 9) == (2, True), "the query, all clues, and once the first clue as a query"
    queries, [clues] = await calls("Why was the mill painted?")
    assert (queries, clues >= 9) == (1, True)


async def test_a_model_that_embeds_queries_its_own_way_is_asked_its_own_way():
    model = counting(instruction="query: ")
    retriever = IndexRetriever.from_documents(
        documents(), embed_model=model, memory=LLMMemory(llama_index_llm(nine_clues)), engine={"clues": 12}
    )
    for query in ("Who kept the mill?", "Why was the mill painted?"):
        model.forget()
        await retriever.aretrieve(query)
        assert len(model.queries) >= 10
    assert not model.batches, "it is known by then"


class ChainCounting(Embeddings):
    def __init__(self, instruction=""):
        self.instruction, self.documents, self.queries = instruction, [], []

    def embed_documents(self, texts):
        self.documents.append(len(texts))
        return [vector(text) for text in texts]

    def embed_query(self, text):
        self.queries.append(text)
        return vector(self.instruction + text)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("instruction", ["", "query: "])
async def test_nine_clues_are_one_call_in_langchain(asynchronous, instruction):
    model = ChainCounting(instruction)
    items = [LangChainDocument(page_content=text, id=name) for name, text in TEXTS.items()]
    memory = EngineLLMMemory(ScriptedLLM(nine_clues))
    retriever = ChainRetriever.from_documents(items, model, memory=memory, engine={"clues": 12})
    for query in ("Who kept the mill?", "Why was the mill painted?"):
        model.documents.clear()
        model.queries.clear()
        _ = await retriever.ainvoke(query) if asynchronous else retriever.invoke(query)
    assert (len(model.queries), len(model.documents)) == ((1, 1) if not instruction else (len(model.queries), 0))
    assert not instruction or len(model.queries) >= 10
