"""Both hosts' own retrievers over ours: duplicates and losses on real questions, and embedding calls.

    pip install llama-index-retrievers-bm25 llama-index-vector-stores-qdrant llama-index-vector-stores-chroma langchain-classic
    python benchmarks/hosts.py --data SPLIT.jsonl.gz

Reads one JSON object a line (gzip): id, text, queries [{query}]. Prints for each combination how many results it gave, how
many of them were there twice, and how many of its retrievers' results were missing; then how many texts and calls each
way of building a retriever costs the embedding model. The vectors are bags of words: what is counted does not depend on
the model.
"""

import gzip
import json
import re
import zlib
from pathlib import Path

import click
import numpy as np
from langchain_classic.retrievers import EnsembleRetriever, MultiQueryRetriever
from langchain_core.documents import Document as ChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms import CustomLLM, LLMMetadata, MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import MetadataMode
from llama_index.retrievers.bm25 import BM25Retriever
from pydantic import Field

from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import LLMMemory
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever

DIMENSION = 256
K = 8


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--questions", default=100, show_default=True)
@click.option("--documents", "most", default=8, show_default=True, help="Documents that make up the corpus.")
def main(data: Path, questions: int, most: int) -> None:
    """Count duplicates, losses and embedding calls."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    asked = [query["query"] for row in rows for query in row["queries"]][:questions]
    rows = rows[:most]
    print(f"{len(rows)} documents, {len(asked)} questions, k={K}\n")
    print(f"{'':52}{'results':>9}{'twice':>7}{'lost':>6}")
    for name, results in [*llama_index(rows, asked), *lang_chain(rows, asked)]:
        given, twice, lost = map(sum, zip(*results, strict=True))
        print(f"{name:52}{given:9}{twice:7}{lost:6}")
    print(f"\n{'':52}{'nodes':>9}{'texts':>7}{'calls':>6}")
    for name, nodes, texts, calls in embedding_calls(rows):
        print(f"{name:52}{nodes:9}{texts:7}{calls:6}")


def vector(text: str) -> list[float]:
    counts = np.zeros(DIMENSION)
    for word in re.findall(r"\w+", text.lower()):
        counts[zlib.crc32(word.encode()) % DIMENSION] += 1
    counts[0] += 0.01
    return (counts / np.linalg.norm(counts)).tolist()


class Counting(BaseEmbedding):
    calls: list = Field(default_factory=list)
    embed_batch_size: int = 2048

    def _get_text_embedding(self, text):
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts):
        self.calls.append(len(texts))
        return [vector(text) for text in texts]

    def _get_query_embedding(self, query):
        self.calls.append(1)
        return vector(query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


class WordEmbeddings(Embeddings):
    def embed_documents(self, texts):
        return [vector(text) for text in texts]

    def embed_query(self, text):
        return vector(text)


def nodes_of(rows):
    documents = [Document(text=row["text"], id_=row["id"], metadata={"meeting": row["id"]}) for row in rows]
    return SentenceSplitter(chunk_size=256, chunk_overlap=0).get_nodes_from_documents(documents)


def counted(found, expected):
    """How many results, how many of them again, how many of those expected are missing."""
    return len(found), len(found) - len(set(found)), len(set(expected) - set(found))


def llama_index(rows, asked):
    nodes = nodes_of(rows)
    ours, theirs = IndexRetriever.from_nodes(nodes, K), BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=K)
    for mode in FUSION_MODES:
        results = []
        for question in asked:
            expected = [node.node_id for one in (ours, theirs) for node in one.retrieve(question)]
            most = len(set(expected))  # where one node stood there twice, another would have no place
            fused = QueryFusionRetriever(
                [ours, theirs], llm=MockLLM(), mode=mode, num_queries=1, similarity_top_k=most, use_async=False
            )
            results.append(counted([node.node_id for node in fused.retrieve(question)], expected))
        yield f"QueryFusionRetriever({mode.value}): ours, BM25", results


def lang_chain(rows, asked):
    chunks = [
        ChainDocument(page_content=node.text, metadata={"source": node.ref_doc_id, "n": i})
        for i, node in enumerate(nodes_of(rows))
    ]
    chunks = list({chunk.page_content: chunk for chunk in chunks}.values())
    kept = ChainRetriever.from_chunks(chunks, k=K)
    theirs = InMemoryVectorStore.from_documents(chunks, WordEmbeddings()).as_retriever(search_kwargs={"k": K})
    ensemble, results = EnsembleRetriever(retrievers=[kept, theirs]), []
    for question in asked:
        expected = [one.page_content for retriever in (kept, theirs) for one in retriever.invoke(question)]
        results.append(counted([one.page_content for one in ensemble.invoke(question)], expected))
    yield "EnsembleRetriever: ours, a vector store", results
    documents = [ChainDocument(page_content=row["text"], id=row["id"]) for row in rows]
    cut = ChainRetriever.from_documents(documents, k=K)
    for name, ours in (("chunks", kept), ("documents", cut)):
        results = []
        for question in asked:
            words = question.split()
            others = [" ".join(words[: len(words) // 2 + 1]), " ".join(words[len(words) // 2 :]), question.lower()]
            llm = GenericFakeChatModel(messages=iter([AIMessage(content="\n".join(others))]))
            several = MultiQueryRetriever.from_llm(ours, llm, include_original=True)
            expected = [one.page_content for query in [*others, question] for one in ours.invoke(query)]
            results.append(counted([one.page_content for one in several.invoke(question)], expected))
        yield f"MultiQueryRetriever over ours ({name})", results


class Clues(CustomLLM):
    @property
    def metadata(self):
        return LLMMetadata(context_window=10**6, model_name="clues")

    def complete(self, prompt, formatted=False, **how):
        spans = [f"- what was said of topic number {n}" for n in range(5)]
        return CompletionResponse(text="\n".join([*spans, *(f"- Who decided on topic {n}?" for n in range(4))]))

    def stream_complete(self, prompt, formatted=False, **how):
        raise NotImplementedError


def embedding_calls(rows):
    nodes, model = nodes_of(rows), Counting()

    def cost():
        texts, calls = sum(model.calls), len(model.calls)
        model.calls.clear()
        return texts, calls

    IndexRetriever.from_nodes(nodes, embed_model=model)
    yield "from_nodes, without embeddings", len(nodes), *cost()
    for form in (MetadataMode.EMBED, MetadataMode.NONE):
        given = [node.model_copy(update={"embedding": vector(node.get_content(metadata_mode=form))}) for node in nodes]
        IndexRetriever.from_nodes(given, embed_model=model)
        yield f"from_nodes, with embeddings ({form.name})", len(nodes), *cost()
    for name, store in vector_stores():
        context = StorageContext.from_defaults(vector_store=store) if store is not None else None
        index = VectorStoreIndex(nodes, storage_context=context, embed_model=model)
        cost()
        IndexRetriever.from_index(index)
        yield f"from_index, {name}", len(nodes), *cost()
    retriever = IndexRetriever.from_nodes(given, embed_model=model, memory=LLMMemory(Clues()), engine={"clues": 12})
    for which in ("first", "next"):
        cost()
        retriever.retrieve("What was decided?" if which == "first" else "Who decided it?")
        yield f"a query with nine clues, the {which} one", len(nodes), *cost()


def vector_stores():
    yield "in memory", None
    try:
        from llama_index.vector_stores.qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient

        yield "Qdrant local", QdrantVectorStore(collection_name="nodes", client=QdrantClient(":memory:"))
    except ImportError:
        print("Qdrant is not installed.")
    try:
        from chromadb import EphemeralClient
        from llama_index.vector_stores.chroma import ChromaVectorStore

        yield "Chroma", ChromaVectorStore(chroma_collection=EphemeralClient().create_collection("nodes"))
    except ImportError:
        print("Chroma is not installed.")


if __name__ == "__main__":
    main()
