"""Cases for the newest packages of both hosts, installed beside our wheel: `test_installed_together.py` runs them there.

It stands alone: no other file of the repository can be imported where it runs.
"""

import asyncio
import re
import zlib
from importlib import import_module
from importlib.metadata import distributions, version
from typing import Annotated, Any

import numpy as np
import pytest
from chromadb import EphemeralClient
from langchain_chroma import Chroma
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MergerRetriever,
    MultiQueryRetriever,
)
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_community.document_transformers import EmbeddingsRedundantFilter
from langchain_core.documents import Document as ChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qdrant import QdrantVectorStore as ChainQdrant
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import QueryFusionRetriever, RouterRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import RetrieverTool
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.retrievers.bm25 import BM25Retriever
from llama_index.vector_stores.chroma import ChromaVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from pydantic import Field
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams
from typing_extensions import TypedDict

from langchain_memorag import LLMMemory
from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever

DIMENSION = 64
TEXTS = {
    "story": "Anna kept the mill after the flood. She mended the wheel by lamplight, and nobody helped her.\n\n"
    "Her brother Tomas left for the harbour. He wrote that land was a chain, and that only ships were honest.\n\n"
    "Years later Tomas came back thin and quiet. He asked whether the wheel still turned, and wept when it did.\n",
    "guide": "The boiler is drained once a year. Close the inlet valve first, then open the tap at the bottom.\n\n"
    "A kettling noise means scale on the heat exchanger. Descale it with citric acid, never with vinegar.\n\n"
    "Pressure below one bar stops the pump. Refill through the loop until the needle stands at one and a half.\n",
}
QUERIES = ["Who kept the mill?", "What stops the pump?", "the wheel", "How is scale removed?"]


def vector(text):
    out = np.zeros(DIMENSION)
    for word in re.findall(r"\w+", text.lower()):
        out[zlib.crc32(word.encode()) % DIMENSION] += 1
    return (out / np.linalg.norm(out)).tolist() if out.any() else [1.0] + [0.0] * (DIMENSION - 1)


class IndexEmbedding(BaseEmbedding):
    texts: list = Field(default_factory=list)

    def _get_text_embedding(self, text):
        self.texts.append(text)
        return vector(text)

    def _get_query_embedding(self, query):
        return vector(query)

    async def _aget_query_embedding(self, query):
        return vector(query)


class ChainEmbedding(Embeddings):
    def embed_documents(self, texts):
        return [vector(text) for text in texts]

    def embed_query(self, text):
        return vector(text)


@pytest.fixture(autouse=True)
def _settings(monkeypatch):
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    monkeypatch.setattr(Settings, "_embed_model", None)


def nodes():
    documents = [Document(text=text, id_=name, metadata={"kind": name}) for name, text in TEXTS.items()]
    return SentenceSplitter(chunk_size=30, chunk_overlap=0).get_nodes_from_documents(documents)


def chunks():
    return [
        ChainDocument(page_content=part.strip(), metadata={"source": name, "n": i})
        for name, text in TEXTS.items()
        for i, part in enumerate(text.split("\n\n"))
    ]


def chain_documents():
    return [ChainDocument(page_content=text, id=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def test_all_are_imported_and_none_brings_torch():
    for name in ("langchain", "langchain_classic", "langgraph", "langchain_chroma", "langchain_qdrant", "Stemmer"):
        assert import_module(name)
    import langchain_memorag
    import llamaindex_memorag
    import memorag_integrations

    assert "site-packages" in memorag_integrations.__file__
    for package in (langchain_memorag, llamaindex_memorag):
        assert package.__version__ == version("memorag-integrations")
        assert set(package.__all__) <= set(dir(package))
        assert all(getattr(package, name) for name in package.__all__)
    assert not {"torch", "tensorflow"} & {one.metadata["Name"].lower() for one in distributions()}


# ── LlamaIndex ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", FUSION_MODES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_query_fusion_with_bm25_loses_and_doubles_nothing(mode, asynchronous):
    given = nodes()
    ours = IndexRetriever.from_nodes(given, 4)
    theirs = BM25Retriever.from_defaults(nodes=given, similarity_top_k=4)
    for query in QUERIES:
        union = {node.node_id for one in (ours, theirs) for node in one.retrieve(query)}
        most = len(union)  # where one node stood there twice, another would have no place
        fused = QueryFusionRetriever(
            [ours, theirs], mode=mode, num_queries=1, similarity_top_k=most, use_async=asynchronous, llm=MockLLM()
        )
        assert sorted(node.node_id for node in fused.retrieve(query)) == sorted(union)


def test_a_router_chooses_ours():
    tool = RetrieverTool.from_defaults(IndexRetriever.from_nodes(nodes(), 2), description="the novel")

    class Chooser(MockLLM):
        def complete(self, prompt, formatted=False, **how):
            return CompletionResponse(text='[{"choice": 1, "reason": "x"}]')

    router = RouterRetriever(selector=LLMSingleSelector.from_defaults(llm=Chooser()), retriever_tools=[tool])
    assert router.retrieve("Who kept the mill?")


def stores():
    yield "qdrant", QdrantVectorStore(collection_name="nodes", client=QdrantClient(":memory:"))
    client = EphemeralClient()
    yield (
        "chroma",
        ChromaVectorStore(chroma_collection=client.get_or_create_collection(f"nodes{np.random.randint(10**9)}")),
    )


@pytest.mark.parametrize("name", ["qdrant", "chroma"])
def test_the_vectors_of_an_index_over_a_store_are_used(name):
    store = dict(stores())[name]
    model = IndexEmbedding()
    built = VectorStoreIndex(
        nodes(), storage_context=StorageContext.from_defaults(vector_store=store), embed_model=model
    )
    count = len(model.texts)
    assert count >= 6
    for index in (built, VectorStoreIndex.from_vector_store(store, embed_model=model)):
        model.texts.clear()
        retriever = IndexRetriever.from_index(index)
        assert len(retriever.memo.corpus.index) == count
        assert len(model.texts) <= 5, "the fingerprint's probe, and two nodes in two forms"
        assert retriever.retrieve("How is scale removed?")[0].node.metadata == {"kind": "guide"}


@pytest.mark.parametrize("name", ["qdrant", "chroma"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: IndexRetriever.from_nodes(nodes()),
        lambda: IndexRetriever.from_documents(
            [Document(text=text, id_=name, metadata={"kind": name}) for name, text in TEXTS.items()],
            engine={"passage_size": 120},
        ),
    ],
)
def test_what_we_return_goes_into_a_store(name, make):
    found = [node.node for node in make().retrieve("Who kept the mill?")]
    store = dict(stores())[name]
    for node in found:
        node.embedding = vector(node.text)
    store.add(found)
    back = store.query(VectorStoreQuery(query_embedding=vector(found[0].text), similarity_top_k=99))
    assert {node.node_id for node in back.nodes} == {node.node_id for node in found}


# ── LangChain ─────────────────────────────────────────────────────────────────────────────────────────────────────


def talking(text):
    return GenericFakeChatModel(messages=iter([AIMessage(content=text)] * 99))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ChainRetriever.from_documents(chain_documents(), k=3, engine={"passage_size": 120}),
        lambda: ChainRetriever.from_chunks(chunks(), k=3),
    ],
)
def test_multi_query_gives_each_document_once(make, asynchronous):
    ours = make()
    retriever = MultiQueryRetriever.from_llm(ours, talking("\n".join(QUERIES)), include_original=True)
    found = asyncio.run(retriever.ainvoke(QUERIES[0])) if asynchronous else retriever.invoke(QUERIES[0])
    expected = {one.page_content for query in QUERIES for one in ours.invoke(query)}
    assert {one.page_content for one in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("id_key", [None, "key"])
def test_an_ensemble_with_another_retriever_gives_each_document_once(asynchronous, id_key):
    given = [one.model_copy(update={"metadata": {**one.metadata, "key": i}}) for i, one in enumerate(chunks())]
    ours = ChainRetriever.from_chunks(given, k=4)
    theirs = InMemoryVectorStore.from_documents(given, ChainEmbedding()).as_retriever(search_kwargs={"k": 4})
    ensemble = EnsembleRetriever(retrievers=[ours, theirs], id_key=id_key)
    for query in QUERIES:
        found = asyncio.run(ensemble.ainvoke(query)) if asynchronous else ensemble.invoke(query)
        expected = {one.page_content for retriever in (ours, theirs) for one in retriever.invoke(query)}
        assert sorted(one.page_content for one in found) == sorted(expected)


def test_a_merger_with_a_redundancy_filter_gives_each_document_once():
    ours = [ChainRetriever.from_documents(chain_documents(), k=k, engine={"passage_size": 120}) for k in (2, 3)]
    pipeline = DocumentCompressorPipeline(transformers=[EmbeddingsRedundantFilter(embeddings=ChainEmbedding())])
    retriever = ContextualCompressionRetriever(
        base_compressor=pipeline, base_retriever=MergerRetriever(retrievers=ours)
    )
    found = [one.page_content for one in retriever.invoke("Who kept the mill?")]
    assert len(found) == len(set(found)) == 3


@pytest.mark.parametrize("name", ["chroma", "qdrant"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ChainRetriever.from_documents(chain_documents(), k=3, engine={"passage_size": 120}),
        lambda: ChainRetriever.from_chunks(chunks(), k=3),
    ],
)
def test_results_go_into_a_store_once(name, make):
    found = make().invoke("Who kept the mill?")
    if name == "chroma":
        store: Any = Chroma(f"one{np.random.randint(10**9)}", ChainEmbedding())
    else:
        client = QdrantClient(":memory:")
        client.create_collection("one", vectors_config=VectorParams(size=DIMENSION, distance=Distance.COSINE))
        store = ChainQdrant(client, "one", ChainEmbedding())
    store.add_documents(found)
    back = store.similarity_search("Who kept the mill?", k=99)
    assert {one.page_content for one in back} == {one.page_content for one in found}
    if found[0].id is not None:
        store.add_documents(make().invoke("Who kept the mill?"))
        assert len(store.similarity_search("Who kept the mill?", k=99)) == 3


class State(TypedDict):
    messages: Annotated[list, add_messages]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_graph_streams_no_token_of_the_memory(asynchronous):
    memory = LLMMemory(talking("- SECRET clue of the mill"), context_window=100_000)
    retriever = ChainRetriever.from_documents(chain_documents(), k=1, memory=memory)
    writer = talking("The public answer.")

    def answer(state):
        found = retriever.invoke("Who kept the mill?")
        return {"messages": [writer.invoke(found[0].page_content)]}

    async def aanswer(state):
        found = await retriever.ainvoke("Who kept the mill?")
        return {"messages": [await writer.ainvoke(found[0].page_content)]}

    graph = StateGraph(State)
    graph.add_node("answer", aanswer if asynchronous else answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    compiled = graph.compile()

    async def streamed():
        return [chunk async for chunk, _ in compiled.astream({"messages": []}, stream_mode="messages")]

    if asynchronous:
        shown = asyncio.run(streamed())
    else:
        shown = [chunk for chunk, _ in compiled.stream({"messages": []}, stream_mode="messages")]
    text = "".join(str(chunk.content) for chunk in shown)
    assert "public" in text
    assert "SECRET" not in text
    assert retriever.memo.usage.calls >= 1


def test_a_tool_node_gives_documents_as_artifact():
    retriever = ChainRetriever.from_documents(chain_documents(), k=1, provenance=True)
    tool = create_retriever_tool(retriever, "library", "Looks up.", response_format="content_and_artifact")
    call = {"name": "library", "args": {"query": "the mill"}, "id": "1", "type": "tool_call"}
    graph = StateGraph(State)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    [message] = graph.compile().invoke({"messages": [AIMessage(content="", tool_calls=[call])]})["messages"][1:]
    assert message.artifact[0].metadata["memorag"]["found_by"]
