"""What is returned is equal for every query and stores anywhere; provenance is one call away, and never takes a user's key."""

import json
import logging
from collections import Counter
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document as LangChainDocument
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import MetadataMode, NodeRelationship
from llama_index.core.vector_stores.utils import node_to_metadata_dict

from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever
from memorag_integrations.documents import Passage
from memorag_integrations.hosts import provenance
from memorag_integrations.hosts.passage_ids import host_id
from tests.hosts.corpus import TEXTS
from tests.hosts.test_langchain import WordEmbeddings
from tests.hosts.test_llamaindex import WordEmbedding
from tests.scripted import llama_index_llm

QUERIES = ["Who kept the mill?", "What stops the pump?", "the wheel", "Why was it painted blue?"]


@pytest.fixture(autouse=True)
def _no_app_settings(monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_llm", None)
    monkeypatch.setattr(provenance, "_moved", set())


def index_documents(**metadata):
    return [Document(text=text, id_=name, metadata={"kind": name, **metadata}) for name, text in TEXTS.items()]


def chain_documents(**metadata):
    return [
        LangChainDocument(page_content=text, id=name, metadata={"kind": name, **metadata})
        for name, text in TEXTS.items()
    ]


def nodes():
    return SentenceSplitter(chunk_size=60, chunk_overlap=0).get_nodes_from_documents(index_documents())


def index_retrievers():
    small = {"similarity_top_k": 99, "engine": {"passage_size": 120}}
    yield IndexRetriever.from_documents(index_documents(), **small)
    yield IndexRetriever.from_documents(index_documents(), **small, embed_model=WordEmbedding())
    yield IndexRetriever.from_documents(index_documents(), **small, merge=True, mode="bm25")
    yield IndexRetriever.from_nodes(nodes(), 99)
    yield IndexRetriever.from_index(VectorStoreIndex(nodes(), embed_model=WordEmbedding()), 99)


def chain_retrievers():
    chunks = [
        LangChainDocument(page_content=part, metadata={"source": name, "n": i})
        for name, text in TEXTS.items()
        for i, part in enumerate(text.split("\n\n"))
    ]
    small = {"k": 99, "engine": {"passage_size": 120}}
    yield ChainRetriever.from_documents(chain_documents(), **small)
    yield ChainRetriever.from_documents(chain_documents(), WordEmbeddings(), **small)
    yield ChainRetriever.from_documents([LangChainDocument(page_content=text) for text in TEXTS.values()], **small)
    yield ChainRetriever.from_chunks(chunks, k=99)


@pytest.mark.parametrize("number", range(5))
async def test_a_node_is_equal_for_every_query(number):
    retriever = list(index_retrievers())[number]
    seen: dict[str, set[str]] = {}
    for query in QUERIES:
        for found in [*retriever.retrieve(query), *await retriever.aretrieve(query)]:
            seen.setdefault(found.node_id, set()).add(json.dumps(found.node.to_dict(), sort_keys=True, default=str))
            assert found.score is not None
    if not retriever.merge:
        assert all(len(forms) == 1 for forms in seen.values())
    assert len({form for forms in seen.values() for form in forms}) == len(seen)


@pytest.mark.parametrize("number", range(4))
async def test_a_document_is_equal_for_every_query(number):
    retriever = list(chain_retrievers())[number]
    unique: list[LangChainDocument] = []
    for query in QUERIES:
        for one in [*retriever.invoke(query), *await retriever.ainvoke(query)]:
            if one not in unique:  # as MultiQueryRetriever and merger retrievers compare
                unique.append(one)
    assert len(unique) == len(retriever.memo.corpus.index)
    assert all(set(one.metadata) <= {"kind", "source", "n"} for one in unique)


@pytest.mark.parametrize("mode", FUSION_MODES)
def test_fusion_with_another_retriever_loses_and_doubles_nothing(mode):
    index = VectorStoreIndex(nodes(), embed_model=WordEmbedding())
    ours, theirs = IndexRetriever.from_index(index, 3), index.as_retriever(similarity_top_k=3)
    for query in QUERIES:
        single = [{node.node_id: node.score for node in one.retrieve(query)} for one in (ours, theirs)]
        union = single[0].keys() | single[1].keys()
        fused = QueryFusionRetriever(
            [ours, theirs],
            llm=llama_index_llm("other"),
            mode=mode,
            num_queries=1,
            similarity_top_k=len(union),  # where one node stood there twice, another would have no place
            use_async=False,
        )
        found = fused.retrieve(query)
        assert sorted(node.node_id for node in found) == sorted(union)
        if mode == FUSION_MODES.RECIPROCAL_RANK:
            both = single[0].keys() & single[1].keys()
            assert both
            assert all((node.score > 1 / 60) == (node.node_id in both) for node in found), "summed"


def test_fusion_of_several_queries_over_ours_sums_what_is_the_same():
    retriever = IndexRetriever.from_nodes(nodes(), 99)
    fused = QueryFusionRetriever(
        [retriever],
        llm=llama_index_llm("the wheel\nWhat stops the pump?"),
        mode=FUSION_MODES.RECIPROCAL_RANK,
        num_queries=3,
        similarity_top_k=99,
        use_async=False,
    )
    found = fused.retrieve("Who kept the mill?")
    assert Counter(node.node_id for node in found).most_common(1)[0][1] == 1
    assert len(found) == len(retriever.memo.corpus.index)
    assert max(node.score for node in found) > 2 / 61, "summed over queries"


def test_results_go_into_stores_of_the_hosts():
    found = IndexRetriever.from_documents(index_documents(), engine={"passage_size": 120}).retrieve("the mill")
    for one in found:
        node_to_metadata_dict(one.node, flat_metadata=True)  # what Chroma asks for; raises for what is nested
        assert str(UUID(one.node_id)) == one.node_id  # what Qdrant asks for
    documents = ChainRetriever.from_documents(chain_documents(), engine={"passage_size": 120}).invoke("the mill")
    for document in documents:
        assert all(isinstance(value, str | int | float | bool) for value in document.metadata.values())
        assert str(UUID(document.id)) == document.id
    store = InMemoryVectorStore(WordEmbeddings())
    store.add_documents(documents)
    store.add_documents(documents)
    assert len(store.store) == len(documents)


def test_the_id_of_a_passage_that_we_cut_is_made_of_document_and_range():
    def one(document="a", start=0, end=4, text="text", host=None):
        return host_id(Passage("x", document, text, start, end, 2.0, {}, host))

    assert one() == one(text="other") != one("b")
    assert len({one(), one("b"), one(end=5), one(start=1), one("a\0", 0, 4)}) == 5
    assert one(host={}) == "x"
    assert UUID(one()).version == 5


def test_nodes_that_we_cut_are_linked_to_those_beside_them():
    retriever = IndexRetriever.from_documents(index_documents(), 99, engine={"passage_size": 120})
    found = {node.node_id: node.node for query in QUERIES for node in retriever.retrieve(query)}
    for id, node in found.items():
        for kind, back in (
            (NodeRelationship.PREVIOUS, NodeRelationship.NEXT),
            (NodeRelationship.NEXT, NodeRelationship.PREVIOUS),
        ):
            if kind in node.relationships:
                other = found[node.relationships[kind].node_id]
                assert other.relationships[back].node_id == id
                assert node.relationships[kind].hash == other.hash
                assert other.ref_doc_id == node.ref_doc_id
    ends = [node for node in found.values() if NodeRelationship.NEXT not in node.relationships]
    assert {node.ref_doc_id for node in ends} == set(TEXTS)
    assert len(ends) == 2
    info = retriever.ref_doc_info
    assert {id for document in info.values() for id in document.node_ids} == set(found)


@pytest.mark.parametrize("switch", [{"provenance": True}, {"return_provenance": True}])
def test_the_switch_brings_the_provenance(switch):
    chain = ChainRetriever.from_documents(chain_documents(), k=2, **switch)
    at_a_call = ChainRetriever.from_documents(chain_documents(), k=2)
    found = chain.invoke("the mill")
    assert found == at_a_call.invoke("the mill", **switch)
    assert found != at_a_call.invoke("the mill")
    proof = found[0].metadata["memorag"]
    assert proof["found_by"]
    assert proof["id"] == found[0].id
    tool = create_retriever_tool(chain, "library", "Looks up.", response_format="content_and_artifact")
    message = tool.invoke({"type": "tool_call", "id": "1", "name": "library", "args": {"query": "the mill"}})
    assert message.artifact[0].metadata["memorag"]["found_by"]
    assert "found_by" not in message.content


def test_the_switch_brings_the_provenance_to_nodes():
    retriever = IndexRetriever.from_documents(index_documents(), 2, provenance=True)
    node = retriever.retrieve("the mill")[0].node
    assert node.metadata["memorag"]["id"] == node.node_id
    assert "memorag" not in node.get_content(metadata_mode=MetadataMode.LLM)
    assert "memorag" not in retriever.as_retriever(provenance=False).retrieve("the mill")[0].node.metadata


async def test_explain_tells_what_found_each_result_and_is_json():
    retriever = IndexRetriever.from_documents(index_documents(), 3, engine={"passage_size": 120})
    found, evidence = retriever.retrieve("the mill"), retriever.explain("the mill")
    assert [host_id(piece.passage) for piece in evidence] == [node.node_id for node in found]
    assert [piece.score for piece in evidence] == [node.score for node in found]
    assert all(piece.found_by for piece in evidence)
    assert json.loads(json.dumps([piece.to_json() for piece in evidence]))[0]["found_by"][0]["signal"]
    assert await retriever.aexplain("the mill") == evidence
    chain = ChainRetriever.from_documents(chain_documents(), k=3, engine={"passage_size": 120})
    assert [host_id(e.passage) for e in chain.explain("the mill")] == [d.id for d in chain.invoke("the mill")]
    assert len(chain.explain("the mill", k=1)) == 1
    assert await chain.aexplain("the mill") == chain.explain("the mill")


@pytest.mark.parametrize("own", ["mine", {"nested": 1}, None])
def test_a_users_own_key_is_kept(own, caplog):
    index = IndexRetriever.from_documents(index_documents(memorag=own), provenance=True)
    chain = ChainRetriever.from_documents(chain_documents(memorag=own), provenance=True)
    with caplog.at_level(logging.WARNING):
        for query in QUERIES:
            for one in [node.node for node in index.retrieve(query)] + chain.invoke(query):
                assert one.metadata["memorag"] == own
                assert one.metadata["memorag_provenance"]["found_by"] is not None
    assert caplog.text.count("memorag_provenance") == 1, "said once"


def test_both_of_a_users_keys_are_kept():
    both = {"memorag": 1, "memorag_provenance": 2}
    found = ChainRetriever.from_documents(chain_documents(**both), provenance=True).invoke("the mill")[0].metadata
    assert {key: found[key] for key in both} == both
    assert len(found) == 4


def test_what_a_caller_changes_in_a_result_is_not_changed_in_the_corpus():
    index = IndexRetriever.from_documents(index_documents(tags=["a"]))
    index.retrieve("the mill")[0].node.metadata["tags"].append("b")
    assert index.retrieve("the mill")[0].node.metadata["tags"] == ["a"]
    kept = IndexRetriever.from_nodes(SentenceSplitter().get_nodes_from_documents(index_documents(tags=["a"])))
    kept.retrieve("the mill")[0].node.metadata["tags"].append("b")
    assert kept.retrieve("the mill")[0].node.metadata["tags"] == ["a"]
    chain = ChainRetriever.from_documents(chain_documents(tags=["a"]))
    chain.invoke("the mill")[0].metadata["tags"].append("b")
    assert chain.invoke("the mill")[0].metadata["tags"] == ["a"]


class Events(BaseCallbackHandler):
    def __init__(self):
        self.data = []

    def on_custom_event(self, name, data, **kwargs):
        self.data.append((name, data))


async def test_the_trace_of_a_run_holds_the_evidence():
    chain = ChainRetriever.from_documents(chain_documents(), k=2)
    for call in (lambda **how: chain.invoke("the mill", **how), lambda **how: chain.ainvoke("the mill", **how)):
        seen = Events()
        found = call(config={"callbacks": [seen]})
        found = found if isinstance(found, list) else await found
        [(name, data)] = seen.data
        assert name == "memorag"
        assert [piece["id"] for piece in data["evidence"]] == [one.id for one in found]
        assert [step["step"] for step in data["steps"]] == ["recall", "fusion"]
        assert data["steps"][1]["weights"]["query"] == 1
        json.dumps(data)
