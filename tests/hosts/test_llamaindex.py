"""`llamaindex_memorag` against LlamaIndex itself."""

import asyncio
import itertools
import threading

import pytest
from llama_index.core import Document, MockEmbedding, Settings, SummaryIndex, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import MetadataMode, NodeRelationship, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from llamaindex_memorag import LlamaIndexEmbedder, LlamaIndexReranker, MemoRAGQueryEngine, MemoRAGRetriever
from llamaindex_memorag.adapters import app_embed_model, app_llm
from memorag_integrations import Reranking
from memorag_integrations.errors import EmbedderError, InputError, RerankerError, StoreError
from memorag_integrations.retrieval import scoring
from tests.hosts.corpus import TEXTS, vector


class WordEmbedding(BaseEmbedding):
    """LlamaIndex's interface over bag-of-words vectors; counts what it encodes."""

    passages: int = 0
    queries: int = 0
    asynchronous: int = 0

    def _get_text_embedding(self, text: str) -> list[float]:
        self.passages += 1
        return vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        self.queries += 1
        return vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        self.asynchronous += 1
        return vector(query)


@pytest.fixture(autouse=True)
def _no_app_settings(monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_llm", None)


def documents():
    return [Document(text=text, id_=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def test_nodes_carry_place_score_source_and_provenance():
    retriever = MemoRAGRetriever.from_documents(
        documents(), similarity_top_k=3, engine={"passage_size": 120}, provenance=True
    )
    found = retriever.retrieve("How do the brother's views of land drift apart?")
    assert len(found) == 3
    assert [node.score for node in found] == sorted((node.score for node in found), reverse=True)
    for scored in found:
        node = scored.node
        assert TEXTS[node.ref_doc_id][node.start_char_idx : node.end_char_idx] == node.text
        assert node.metadata["kind"] == node.ref_doc_id
        assert node.metadata["memorag"]["found_by"]
        assert node.relationships[NodeRelationship.SOURCE].metadata == {"kind": node.ref_doc_id}
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "memorag" not in node.get_content(metadata_mode=mode)
            assert "kind: " in node.get_content(metadata_mode=mode)


def test_excluded_keys_of_a_document_are_those_of_its_nodes():
    document = Document(text=TEXTS["guide"], metadata={"secret": "x"}, excluded_llm_metadata_keys=["secret"])
    node = MemoRAGRetriever.from_documents([document]).retrieve("boiler")[0].node
    assert "secret" not in node.get_content(metadata_mode=MetadataMode.LLM)
    assert "secret" in node.get_content(metadata_mode=MetadataMode.EMBED)


async def test_async_finds_the_same_and_does_not_block(monkeypatch):
    model = WordEmbedding()
    retriever = MemoRAGRetriever.from_documents(documents(), embed_model=model, engine={"passage_size": 120})
    for query in ("What stops the pump?", "Why was the mill painted?"):
        sync, other = retriever.retrieve(query), await retriever.aretrieve(QueryBundle(query))
        assert [(a.node_id, a.score) for a in sync] == [(b.node_id, b.score) for b in other]
    assert model.asynchronous == 2

    ran_on = []
    activate = scoring.activate
    monkeypatch.setattr(scoring, "activate", lambda *args: ran_on.append(threading.current_thread()) or activate(*args))
    await asyncio.gather(retriever.aretrieve("wheel"), retriever.aretrieve("candles"))
    assert ran_on
    assert threading.main_thread() not in ran_on


def test_top_k_is_a_property_read_once_a_call():
    retriever = MemoRAGRetriever.from_documents(documents(), similarity_top_k=1, engine={"passage_size": 120})
    assert len(retriever.retrieve("the mill")) == 1
    retriever.similarity_top_k = 4
    assert retriever.similarity_top_k == 4
    assert len(retriever.retrieve("the mill")) == 4
    with pytest.raises(InputError, match="at least 1"):
        retriever.similarity_top_k = 0
    assert retriever.similarity_top_k == 4


def test_given_nodes_come_back_whole_and_untouched():
    nodes = SentenceSplitter(chunk_size=60, chunk_overlap=10).get_nodes_from_documents(documents())
    before = [node.to_dict() for node in nodes]
    retriever = MemoRAGRetriever.from_nodes(nodes, similarity_top_k=4)
    found = retriever.retrieve("Who wept over the wheel?")
    assert [node.to_dict() for node in nodes] == before
    by_id = {node.node_id: node for node in nodes}
    for scored in found:
        given, node = by_id[scored.node_id], scored.node
        assert node is not given
        assert node.text == given.text
        assert node.relationships == given.relationships
        assert (node.start_char_idx, node.end_char_idx) == (given.start_char_idx, given.end_char_idx)
        assert {key: value for key, value in node.metadata.items() if key != "memorag"} == given.metadata


def test_nodes_without_offsets_are_neighbours_by_their_links():
    texts = ["Alpha opens the tale.", "Beta follows it.", "Gamma ends it."]
    nodes = [TextNode(text=text, id_=text[:5].strip(), metadata={}) for text in texts]
    for node in nodes:
        node.relationships[NodeRelationship.SOURCE] = Document(text="", id_="tale").as_related_node_info()
    for before, after in itertools.pairwise(nodes):
        after.relationships[NodeRelationship.PREVIOUS] = before.as_related_node_info()
    retriever = MemoRAGRetriever.from_nodes([nodes[2], nodes[0], nodes[1]])
    assert [passage.id for passage in retriever.memo.corpus.index.passages] == [node.node_id for node in nodes]
    assert all(passage.start is None for passage in retriever.memo.corpus.index.passages)


def test_an_index_gives_its_nodes_its_model_and_its_vectors():
    model = WordEmbedding()
    index = VectorStoreIndex.from_documents(documents(), embed_model=model)
    encoded = model.passages
    retriever = MemoRAGRetriever.from_index(index, similarity_top_k=1)
    assert model.passages - encoded <= 5  # the probe of the fingerprint, two nodes in two forms, and no node again
    assert retriever.retrieve("scale on the heat exchanger")[0].node.ref_doc_id == "guide"
    assert set(index.docstore.docs) == {passage.id for passage in retriever.memo.corpus.index.passages}


def test_an_index_without_vectors_runs_on_bm25():
    retriever = MemoRAGRetriever.from_index(SummaryIndex.from_documents(documents()))
    assert retriever.memo.embedder is None
    assert retriever.retrieve("citric acid")[0].node.ref_doc_id == "guide"


def test_the_app_decides_on_the_embedding_model_without_an_openai_default():
    assert app_embed_model() is None
    assert app_llm() is None
    assert MemoRAGRetriever.from_documents(documents()).memo.embedder is None
    Settings.embed_model = MockEmbedding(embed_dim=8)
    retriever = MemoRAGRetriever.from_documents(documents())
    assert isinstance(retriever.memo.embedder.embedder, LlamaIndexEmbedder)
    assert MemoRAGRetriever.from_documents(documents(), embed_model=None).memo.embedder is None


def test_persisting_brings_back_the_same_nodes(tmp_path):
    model = WordEmbedding()
    nodes = SentenceSplitter(chunk_size=60, chunk_overlap=0).get_nodes_from_documents(documents())
    retriever = MemoRAGRetriever.from_nodes(nodes, embed_model=model)
    retriever.persist(tmp_path / "store")
    encoded = model.passages
    loaded = MemoRAGRetriever.from_persist_dir(tmp_path / "store", embed_model=model)
    assert model.passages == encoded + 1  # the probe
    before, after = retriever.retrieve("the wheel still turned"), loaded.retrieve("the wheel still turned")
    assert [node.to_dict() for node in before] == [node.to_dict() for node in after]
    with pytest.raises(StoreError, match="pass the same embedding model"):
        MemoRAGRetriever.from_persist_dir(tmp_path / "store")
    with pytest.raises(EmbedderError, match="8 dimensions"):
        MemoRAGRetriever.from_persist_dir(tmp_path / "store", embed_model=MockEmbedding(embed_dim=8))
    Settings.embed_model = model
    assert MemoRAGRetriever.from_persist_dir(tmp_path / "store").retrieve("wheel")


def test_a_store_on_bm25_loads_whatever_the_app_has_set(tmp_path):
    MemoRAGRetriever.from_documents(documents()).persist(tmp_path)
    Settings.embed_model = MockEmbedding(embed_dim=8)
    assert MemoRAGRetriever.from_persist_dir(tmp_path, similarity_top_k=1).retrieve("candles")


def test_metadata_filters_of_llamaindex():
    filters = MetadataFilters(filters=[MetadataFilter(key="kind", value="guide")])
    retriever = MemoRAGRetriever.from_documents(documents(), filters=filters, engine={"passage_size": 120})
    assert {node.node.ref_doc_id for node in retriever.retrieve("the mill wheel")} == {"guide"}


def test_the_query_engine_answers_streams_and_awaits():
    engine = MemoRAGQueryEngine.from_documents(documents(), llm=MockLLM(max_tokens=16), similarity_top_k=2)
    response = engine.query("What stops the pump?")
    assert str(response)
    assert {node.node.ref_doc_id for node in response.source_nodes} <= set(TEXTS)
    assert str(asyncio.run(engine.aquery("What stops the pump?"))) == str(response)
    streaming = MemoRAGQueryEngine.from_documents(documents(), llm=MockLLM(max_tokens=16), streaming=True)
    assert "".join(streaming.query("What stops the pump?").response_gen)


def test_any_query_engine_takes_the_retriever():
    retriever = MemoRAGRetriever.from_documents(documents())
    assert str(RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query("Who wept?"))


def test_no_llm_is_an_error_before_any_work():
    class Untouchable:
        def __iter__(self):
            raise AssertionError("memorized without an LLM")

    with pytest.raises(InputError, match="llm="):
        MemoRAGQueryEngine.from_documents(Untouchable())
    with pytest.raises(InputError, match=r"Settings\.llm"):
        MemoRAGQueryEngine.from_args(MemoRAGRetriever.from_documents(documents()))
    engine = MemoRAGQueryEngine.from_documents(documents(), response_mode=ResponseMode.NO_TEXT)
    assert engine.query("Who wept?").source_nodes
    Settings.llm = MockLLM()
    assert str(MemoRAGQueryEngine.from_documents(documents()).query("Who wept?"))


@pytest.mark.parametrize("wrong", ["a text", 5, {"text": "x"}])
def test_what_is_no_document_is_refused(wrong):
    with pytest.raises(InputError, match="Document"):
        MemoRAGRetriever.from_documents([wrong])
    with pytest.raises(InputError, match="nodes"):
        MemoRAGRetriever.from_nodes([wrong])


def test_an_index_whose_store_lists_nothing_says_what_to_do():
    index = VectorStoreIndex.from_documents(documents(), embed_model=WordEmbedding())
    for id in list(index.docstore.docs):
        index.docstore.delete_document(id)
    with pytest.raises(InputError, match="from_nodes"):
        MemoRAGRetriever.from_index(index)


def test_a_budget_stands_in_the_place_of_top_k():
    retriever = MemoRAGRetriever.from_documents(documents(), budget=100_000, engine={"passage_size": 60})
    assert retriever.similarity_top_k is None
    assert len(retriever.retrieve("the mill")) == len(retriever.memo.corpus.index) > 5
    assert MemoRAGRetriever(retriever.memo).similarity_top_k == 5
    assert len(MemoRAGRetriever(retriever.memo, 2, budget=100_000).retrieve("the mill")) == 2


def test_without_provenance_nodes_keep_the_hash_that_fusion_goes_by():
    nodes = SentenceSplitter(chunk_size=60, chunk_overlap=0).get_nodes_from_documents(documents())
    hashes = {node.node_id: node.hash for node in nodes}
    found = MemoRAGRetriever.from_nodes(nodes, provenance=False).retrieve("the wheel")
    assert all(node.node.hash == hashes[node.node_id] for node in found)


def test_what_is_no_index_is_refused():
    with pytest.raises(InputError, match="index"):
        MemoRAGRetriever.from_index("an index")


class ByWord(BaseNodePostprocessor):
    """A reranker in LlamaIndex's way: scores set on the nodes, the best `top_n` given back."""

    word: str = "boiler"
    top_n: int = 2
    scored: bool = True
    fail: str = ""

    def _postprocess_nodes(self, nodes, query_bundle=None):
        assert query_bundle.query_str
        if self.fail == "nan":
            nodes[0].score = float("nan")
            return nodes
        if self.fail == "other":
            return [NodeWithScore(node=TextNode(text="mine"), score=1.0)]
        ranked = sorted(nodes, key=lambda node: -node.node.get_content().count(self.word))
        for node in ranked:
            node.score = float(node.node.get_content().count(self.word)) if self.scored else node.score
        return ranked[: self.top_n]


@pytest.mark.parametrize("scored", [True, False])
async def test_a_postprocessor_of_llamaindex_rereads_the_best(scored, tmp_path):
    settings = {"similarity_top_k": 4, "engine": {"passage_size": 120}, "provenance": True}
    retriever = MemoRAGRetriever.from_documents(documents(), reranker=ByWord(scored=scored), **settings)
    plain = MemoRAGRetriever.from_documents(documents(), **settings).retrieve("How is the mill?")
    found = retriever.retrieve("How is the mill?")
    assert "boiler" in found[0].text
    assert "boiler" not in plain[0].text
    assert "reranker" in found[0].node.metadata["memorag"]["raw"]
    assert [node.node_id for node in await retriever.aretrieve("How is the mill?")] == [node.node_id for node in found]
    dropped = [node.node_id for node in found[2:]]
    kept = [node.node_id for node in plain if node.node_id not in {found[0].node_id, found[1].node_id}]
    assert dropped == kept[: len(dropped)], "what it dropped stands below, in the order there was"
    retriever.persist(tmp_path)
    assert "boiler" not in MemoRAGRetriever.from_persist_dir(tmp_path).retrieve("How is the mill?")[0].text
    again = MemoRAGRetriever.from_persist_dir(tmp_path, reranker=Reranking(LlamaIndexReranker(ByWord()), candidates=9))
    assert "boiler" in again.retrieve("How is the mill?")[0].text


@pytest.mark.parametrize(("fail", "said"), [("nan", "ByWord returned 1 of"), ("other", "passages it was given")])
def test_a_postprocessor_that_gives_back_nonsense_is_named(fail, said):
    retriever = MemoRAGRetriever.from_documents(documents(), reranker=ByWord(fail=fail))
    with pytest.raises(RerankerError, match=said):
        retriever.retrieve("How is the mill?")


def test_llamaindexs_own_reranker_with_an_llm_is_one():
    class Choosing(MockLLM):
        def complete(self, prompt, formatted=False, **kwargs):
            number = prompt.split("boiler is drained")[0].rsplit("Document ", 1)[1].split(":")[0]
            return CompletionResponse(text=f"Doc: {number}, Relevance: 9")

    reranker = LLMRerank(llm=Choosing(), choice_batch_size=30, top_n=3)
    retriever = MemoRAGRetriever.from_documents(
        documents(), reranker=reranker, engine={"passage_size": 120}, provenance=True
    )
    found = retriever.retrieve("How is the mill?")
    assert "boiler is drained" in found[0].text
    assert found[0].node.metadata["memorag"]["raw"]["reranker"] == 9
