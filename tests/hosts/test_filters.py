"""Filters through both hosts: nothing of excluded chunks comes back, and a function must say yes or no at once."""

import json
import re

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters
from pydantic import ValidationError

from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever
from memorag_integrations import LLMMemory
from memorag_integrations.errors import InputError
from tests.scripted import ScriptedLLM, text_of

CHUNKS = {
    "public": "Anna kept the mill after the flood, and mended its wheel.",
    "secret": "Anna kept the strongbox under the mill; its number is 88-1172.",
    "open": "Anna kept bees behind the mill.",
}
QUERY = "What did Anna keep?"
SECRET = re.compile("strongbox|88-1172")


async def later(metadata):
    return True


def quoting(prompt):
    sentences = text_of(prompt).split("\n")
    return json.dumps({"spans": [s for s in sentences if s.strip()], "answer": " ".join(sentences)})


def chain(**settings):
    chunks = [
        LangChainDocument(text, id=kind, metadata={"kind": kind, "source": "ledger"}) for kind, text in CHUNKS.items()
    ]
    llm = ScriptedLLM(quoting)
    return llm, ChainRetriever.from_chunks(chunks, memory=LLMMemory(llm), provenance=True, **settings)


def index(**settings):
    nodes = []
    for kind, text in CHUNKS.items():
        node = TextNode(text=text, id_=kind, metadata={"kind": kind})
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="ledger")
        nodes.append(node)
    llm = ScriptedLLM(quoting)
    return llm, IndexRetriever.from_nodes(nodes, embed_model=None, memory=LLMMemory(llm), provenance=True, **settings)


FILTERS = [
    {"kind": ["public", "open"]},
    {"kind": {"$ne": "secret"}},
    lambda metadata: metadata.pop("kind") != "secret",
]
HOST_FILTERS = [
    MetadataFilters(filters=[MetadataFilter(key="kind", value="secret", operator="!=")]),
    MetadataFilters(filters=[MetadataFilter(key="kind", value="secret")], condition=FilterCondition.NOT),
]


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("name", ["filter", "filters"])
async def test_langchain(filters, name):
    llm, retriever = chain()
    assert SECRET.search(str(retriever.invoke(QUERY)))
    for wanted in (retriever.invoke, retriever.ainvoke):
        found = wanted(QUERY, **{name: filters})
        found = found if isinstance(found, list) else await found
        assert {document.metadata["kind"] for document in found} == {"public", "open"}
        assert not SECRET.search(str(found))
    assert not SECRET.search(str([one.to_json() for one in retriever.explain(QUERY, filters=filters)]))
    assert len(llm.prompts) == 2
    assert not SECRET.search(llm.prompts[1])


@pytest.mark.parametrize("filters", [*FILTERS, *HOST_FILTERS])
async def test_llama_index(filters):
    llm, retriever = index()
    assert SECRET.search(str(retriever.retrieve(QUERY)))
    filtered = retriever.as_retriever(filters=filters)
    for nodes in (filtered.retrieve(QUERY), await filtered.aretrieve(QUERY)):
        assert {node.metadata["kind"] for node in nodes} == {"public", "open"}
        assert not SECRET.search(str([(node.text, node.metadata) for node in nodes]))
    assert len(llm.prompts) == 2
    assert not SECRET.search(llm.prompts[1])


@pytest.mark.parametrize("filters", [later, {"$not": later}, {"$or": [{"kind": "open"}, later]}])
def test_a_function_that_answers_later_is_refused_at_once(filters):
    with pytest.raises((InputError, ValidationError), match="plain function of the metadata"):
        chain(filters=filters)
    with pytest.raises((InputError, ValidationError), match="plain function of the metadata"):
        chain()[1].invoke(QUERY, filters=filters)
    for make in (lambda: index(filters=filters), lambda: index()[1].as_retriever(filters=filters)):
        with pytest.raises(InputError, match="plain function of the metadata"):
            make()
