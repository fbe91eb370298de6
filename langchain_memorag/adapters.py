"""LangChain's models as ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings

from memorag_integrations.contracts import Config, Embedder, Reranker
from memorag_integrations.encoders.symmetry import Symmetry
from memorag_integrations.retrieval.reranking import Reranking, scores_of
from memorag_integrations.scores import Floats


class LangChainEmbedder(Embedder):
    """A LangChain embedding model as an embedder of the engine.

    LangChain has no batch of queries. Several queries (the clues of one recall) go out together: as one batch of documents
    where the model embeds queries as it embeds documents, else gathered (async) or one after another (sync).
    """

    def __init__(self, model: Embeddings) -> None:
        self.model = model
        self._symmetry = Symmetry()

    @property
    def name(self) -> str:
        label = next((getattr(self.model, key) for key in ("model", "model_name") if hasattr(self.model, key)), "")
        return f"{type(self.model).__name__} {label}".strip()

    @property
    def config(self) -> Config | None:
        return None

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        return np.asarray(self.model.embed_documents(list(texts)), dtype=np.float32)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        return self._symmetry.embed(texts, self.model.embed_query, self.model.embed_documents)

    async def aembed_passages(self, texts: Sequence[str]) -> Floats:
        return np.asarray(await self.model.aembed_documents(list(texts)), dtype=np.float32)

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        return await self._symmetry.aembed(texts, self.model.aembed_query, self.model.aembed_documents)


class LangChainReranker(Reranker):
    """A LangChain document compressor that reorders (a `…Rerank`), or a cross-encoder, as a reranker of the engine.

    Passages that it drops (beyond its `top_n`) stand below those that it gives back.
    """

    def __init__(self, model: BaseDocumentCompressor | BaseCrossEncoder) -> None:
        self.model = model

    def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        if isinstance(self.model, BaseCrossEncoder):
            return self.model.score([(query, passage) for passage in passages])
        return _scores(self.model.compress_documents(_numbered(passages), query), len(passages), self.model)

    async def arerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        if isinstance(self.model, BaseCrossEncoder):
            return await super().arerank(query, passages)
        return _scores(await self.model.acompress_documents(_numbered(passages), query), len(passages), self.model)


_PLACE = "memorag_place"


def _numbered(passages: Sequence[str]) -> list[LangChainDocument]:
    return [LangChainDocument(page_content=text, metadata={_PLACE: str(i)}) for i, text in enumerate(passages)]


def _scores(reordered: Sequence[LangChainDocument], count: int, model: BaseDocumentCompressor) -> list[float]:
    scored = [(document.metadata.get(_PLACE, ""), document.metadata.get("relevance_score")) for document in reordered]
    return scores_of(scored, count, type(model).__name__)


def as_embedder(model: Embeddings | Embedder | str | None) -> Embedder | str | None:
    """What `MemoRAG(embedder=…)` takes, out of what a LangChain user has at hand."""
    return LangChainEmbedder(model) if isinstance(model, Embeddings) else model


def as_reranker(
    reranker: BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None,
) -> Reranker | Reranking | str | None:
    """What `MemoRAG(reranker=…)` takes, out of what a LangChain user has at hand."""
    if isinstance(reranker, BaseDocumentCompressor | BaseCrossEncoder):
        return LangChainReranker(reranker)
    return reranker
