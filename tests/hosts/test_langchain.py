"""`langchain_memorag` against LangChain itself."""

import asyncio
import threading

import pytest
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from langchain_memorag import LangChainEmbedder, LangChainReranker, MemoRAGRetriever
from memorag_integrations import MemoRAG, Reranking
from memorag_integrations.errors import EmbedderError, InputError, RerankerError, StoreError
from memorag_integrations.hosts.passage_ids import host_id
from memorag_integrations.retrieval import scoring
from tests.hosts.corpus import TEXTS, vector


class WordEmbeddings(Embeddings):
    """LangChain's interface over bag-of-words vectors; counts what it encodes."""

    def __init__(self):
        self.passages = self.queries = self.asynchronous = 0

    def embed_documents(self, texts):
        self.passages += len(texts)
        return [vector(text) for text in texts]

    def embed_query(self, text):
        self.queries += 1
        return vector(text)

    async def aembed_query(self, text):
        self.asynchronous += 1
        return vector(text)


def documents():
    return [Document(page_content=text, id=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def retriever(**settings):
    return MemoRAGRetriever.from_documents(documents(), engine={"passage_size": 120}, **settings)


class TestStandard(RetrieversIntegrationTests):
    """LangChain's own suite for retrievers, as it stands."""

    @property
    def retriever_constructor(self):
        return MemoRAGRetriever

    @property
    def retriever_constructor_params(self):
        memo = MemoRAG(passage_size=120)
        memo.memorize((text for text in TEXTS.values()), progress=False)
        return {"memo": memo}

    @property
    def retriever_query_example(self):
        return "How do the brother's views drift apart?"


def test_documents_carry_place_and_provenance_and_their_metadata():
    found = retriever(k=3, provenance=True).invoke("How do the brother's views of land drift apart?")
    assert len(found) == 3
    for document in found:
        proof = document.metadata["memorag"]
        assert TEXTS[proof["document_id"]][proof["start"] : proof["end"]] == document.page_content
        assert document.metadata["kind"] == proof["document_id"]
        assert proof["found_by"]
        assert 0 <= proof["score"] <= 1
    assert len({document.id for document in found}) == 3


def test_every_setting_obeys_for_one_call():
    one = retriever(k=2)
    assert len(one.invoke("the mill")) == 2
    assert len(one.invoke("the mill", k=4)) == 4
    assert len(one.invoke("the mill", k=1)) == 1
    assert {d.metadata["kind"] for d in one.invoke("the mill", filters={"kind": "guide"})} == {"guide"}
    bm25 = one.invoke("the mill", mode="bm25", k=8)
    assert [d.id for d in bm25] == [host_id(e.passage) for e in one.memo.retrieve("the mill", 8, mode="bm25")]
    assert one.invoke("the mill", k=8, cutoff=0.999) == []
    assert len(one.invoke("the mill")) == 2
    with pytest.raises(TypeError, match="top_k"):
        one.invoke("the mill", top_k=3)


async def test_async_finds_the_same_and_does_not_block(monkeypatch):
    model = WordEmbeddings()
    one = retriever(embedding=model)
    for query in ("What stops the pump?", "Why was the mill painted?"):
        assert one.invoke(query) == await one.ainvoke(query)
    assert model.asynchronous == 2
    assert [d.id for d in await one.ainvoke("wheel", k=1)] == [d.id for d in one.invoke("wheel", k=1)]

    ran_on = []
    activate = scoring.activate
    monkeypatch.setattr(scoring, "activate", lambda *args: ran_on.append(threading.current_thread()) or activate(*args))
    await asyncio.gather(one.ainvoke("wheel"), one.ainvoke("candles"))
    assert ran_on
    assert threading.main_thread() not in ran_on


def test_in_a_chain_and_as_a_tool():
    def joined(found):
        return "\n".join(document.page_content for document in found)

    prompt = PromptTemplate.from_template("{context}\n---\n{question}")
    chain = (
        {"context": retriever(k=1) | joined, "question": RunnablePassthrough()}
        | prompt
        | RunnableLambda(lambda value: value.to_string())
        | StrOutputParser()
    )
    assert "citric acid" in chain.invoke("How is scale removed from the heat exchanger?")
    tool = create_retriever_tool(retriever(k=1), "library", "Looks things up.")
    assert "citric acid" in tool.invoke({"query": "How is scale removed from the heat exchanger?"})


def test_chunks_come_back_whole_and_are_neighbours():
    chunks = [
        Document(page_content=part + "\n\n", metadata={"source": name, "page": i})
        for name, text in TEXTS.items()
        for i, part in enumerate(text.split("\n\n"))
    ]
    one = MemoRAGRetriever.from_chunks(chunks, k=3)
    assert len(one.memo.corpus.documents) == 2
    found = one.invoke("Why did Tomas weep?")
    originals = {chunk.page_content: chunk for chunk in chunks}
    for document in found:
        original = originals[document.page_content]
        assert {k: v for k, v in document.metadata.items() if k != "memorag"} == original.metadata
        assert document.id is None


def test_chunks_with_start_index_stand_at_their_offsets():
    text = TEXTS["story"]
    starts = [0, text.index("Her brother"), text.index("In spring")]
    chunks = [
        Document(page_content=text[a : a + 80], metadata={"source": "s", "start_index": a}) for a in reversed(starts)
    ]
    one = MemoRAGRetriever.from_chunks(chunks)
    assert [passage.start for passage in one.memo.corpus.index.passages] == starts


def test_the_same_text_twice_without_ids_is_one_evidence_with_two_places():
    one = MemoRAGRetriever.from_documents([Document(page_content=TEXTS["guide"])] * 2, provenance=True)
    found = one.invoke("boiler")
    assert len(found) == 1
    assert len(found[0].metadata["memorag"]["repeats"]) == 1


def test_saving_brings_back_the_same_documents(tmp_path):
    model = WordEmbeddings()
    one = retriever(embedding=model, k=3)
    one.save_local(tmp_path / "store")
    encoded = model.passages
    loaded = MemoRAGRetriever.load_local(tmp_path / "store", model, k=3)
    assert model.passages == encoded + 1  # the probe
    assert loaded.invoke("the wheel") == one.invoke("the wheel")
    with pytest.raises(StoreError, match="pass the same embedding model"):
        MemoRAGRetriever.load_local(tmp_path / "store")
    with pytest.raises(EmbedderError, match="16 dimensions"):
        MemoRAGRetriever.load_local(tmp_path / "store", DeterministicFakeEmbedding(size=16))


def test_names_of_embedders_say_which():
    assert LangChainEmbedder(WordEmbeddings()).name == "WordEmbeddings"


def test_bad_settings_are_refused():
    memo = retriever().memo
    with pytest.raises(ValidationError, match="k"):
        MemoRAGRetriever(memo=memo, k=0)
    with pytest.raises(ValidationError, match="top"):
        MemoRAGRetriever(memo=memo, top_k=3)
    with pytest.raises(InputError, match="at least 1"):
        retriever().invoke("the mill", k=0)
    with pytest.raises(InputError, match="Document"):
        MemoRAGRetriever.from_documents(["a text"])
    with pytest.raises(InputError, match="JSON"):
        MemoRAGRetriever.from_documents([Document(page_content="x y", metadata={"at": object()})])


def test_a_budget_stands_in_the_place_of_k():
    one = MemoRAGRetriever.from_documents(documents(), budget=100_000, engine={"passage_size": 60})
    every = len(one.memo.corpus.index)
    assert len(one.invoke("the mill")) == every > 5
    few = MemoRAGRetriever(memo=one.memo, k=2)
    assert len(few.invoke("the mill", budget=100_000)) == every
    assert len(few.invoke("the mill", k=3, budget=100_000)) == 3
    assert len(MemoRAGRetriever(memo=one.memo).invoke("the mill")) == 5


class ByWord(BaseDocumentCompressor):
    """A reranker in LangChain's way: scores in the metadata, the best `top_n` given back as copies."""

    word: str = "boiler"
    top_n: int = 2
    scored: bool = True
    fail: str = ""

    def compress_documents(self, documents, query, callbacks=None):
        assert query
        if self.fail == "other":
            return [Document(page_content="mine")]
        ranked = sorted(documents, key=lambda document: -document.page_content.count(self.word))
        score = (lambda d: float("nan")) if self.fail == "nan" else (lambda d: float(d.page_content.count(self.word)))
        return [
            document.model_copy(
                update={"metadata": document.metadata | ({"relevance_score": score(document)} if self.scored else {})}
            )
            for document in ranked[: self.top_n]
        ]


class WordEncoder(BaseCrossEncoder):
    def score(self, text_pairs):
        return [float(passage.count("boiler")) for _, passage in text_pairs]


@pytest.mark.parametrize("reranker", [ByWord(), ByWord(scored=False), WordEncoder()])
async def test_a_reranker_of_langchain_rereads_the_best(reranker, tmp_path):
    settings = {"k": 4, "engine": {"passage_size": 120}, "provenance": True}
    retriever = MemoRAGRetriever.from_documents(documents(), reranker=reranker, **settings)
    plain = MemoRAGRetriever.from_documents(documents(), **settings).invoke("How is the mill?")
    found = retriever.invoke("How is the mill?")
    assert "boiler" in found[0].page_content
    assert "boiler" not in plain[0].page_content
    assert "reranker" in found[0].metadata["memorag"]["raw"]
    assert "memorag_place" not in found[0].metadata
    assert [piece.id for piece in await retriever.ainvoke("How is the mill?")] == [piece.id for piece in found]
    retriever.save_local(tmp_path)
    assert "boiler" not in MemoRAGRetriever.load_local(tmp_path).invoke("How is the mill?")[0].page_content
    again = MemoRAGRetriever.load_local(tmp_path, reranker=Reranking(LangChainReranker(reranker), candidates=9))
    assert "boiler" in again.invoke("How is the mill?")[0].page_content


@pytest.mark.parametrize(("fail", "said"), [("nan", "ByWord returned 2 of"), ("other", "passages it was given")])
def test_a_compressor_that_gives_back_nonsense_is_named(fail, said):
    retriever = MemoRAGRetriever.from_documents(documents(), reranker=ByWord(fail=fail))
    with pytest.raises(RerankerError, match=said):
        retriever.invoke("How is the mill?")
