"""LangChain objects to ours and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings

from memorag_integrations.contracts import Config, Embedder, Reranker
from memorag_integrations.documents import Document, Passage, check_metadata, text_hash
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.precut import PrecutPassage
from memorag_integrations.retrieval.reranking import Reranking, scores_of
from memorag_integrations.scores import Floats

KEY = "memorag"
"""The one metadata key we add: the provenance of a piece of evidence."""

SOURCE_KEY = "source_key"
"""Where a kept chunk notes which key of its metadata named its source."""


class LangChainEmbedder(Embedder):
    """A LangChain embedding model as an embedder of the engine."""

    def __init__(self, model: Embeddings) -> None:
        self.model = model

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
        return np.asarray([self.model.embed_query(text) for text in texts], dtype=np.float32)

    async def aembed_passages(self, texts: Sequence[str]) -> Floats:
        return np.asarray(await self.model.aembed_documents(list(texts)), dtype=np.float32)

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        return np.asarray([await self.model.aembed_query(text) for text in texts], dtype=np.float32)


def as_embedder(model: Embeddings | Embedder | str | None) -> Embedder | str | None:
    """What `MemoRAG(embedder=…)` takes, out of what a LangChain user has at hand."""
    return LangChainEmbedder(model) if isinstance(model, Embeddings) else model


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


def _scores(back: Sequence[LangChainDocument], count: int, model: BaseDocumentCompressor) -> list[float]:
    said = [(document.metadata.get(_PLACE, ""), document.metadata.get("relevance_score")) for document in back]
    return scores_of(said, count, type(model).__name__)


def as_reranker(
    reranker: BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None,
) -> Reranker | Reranking | str | None:
    """What `MemoRAG(reranker=…)` takes, out of what a LangChain user has at hand."""
    if isinstance(reranker, BaseDocumentCompressor | BaseCrossEncoder):
        return LangChainReranker(reranker)
    return reranker


def to_documents(documents: Iterable[LangChainDocument]) -> Iterator[Document]:
    """LangChain documents as ours: text as it is, metadata copied; without an id, one made from text and metadata."""
    for document, id in named(documents):
        yield Document(document.page_content, id, deepcopy(document.metadata))


def to_precut_passages(chunks: Iterable[LangChainDocument], source_key: str) -> list[PrecutPassage]:
    """LangChain chunks as passages that are kept whole; those of one source are neighbours in the order given."""
    given = []
    for chunk, id in named(chunks):
        found = chunk.metadata.get("start_index")
        start = found if isinstance(found, int) and found >= 0 else None
        given.append(
            PrecutPassage(
                id,
                str(chunk.metadata.get(source_key, id)),
                chunk.page_content,
                start,
                None if start is None else start + len(chunk.page_content),
                None,
                deepcopy(chunk.metadata),
                {"id": chunk.id, SOURCE_KEY: source_key},
            )
        )
    return given


def stored_precut_passage(passage: Passage) -> PrecutPassage:
    """A chunk that was kept whole, as `to_precut_passages` made it."""
    return PrecutPassage(
        passage.id,
        passage.document_id,
        passage.text,
        passage.start,
        passage.end,
        None,
        passage.metadata,
        passage.host,
    )


def to_langchain_document(evidence: Evidence) -> LangChainDocument:
    """A fresh document for a piece of evidence; a given chunk keeps the id it had, a cut one has its passage's."""
    passage = evidence.passage
    metadata: dict[str, Any] = {**passage.metadata, KEY: evidence.provenance()}
    id = passage.id if passage.host is None else passage.host["id"]
    return LangChainDocument(page_content=passage.text, metadata=metadata, id=id)


def to_stored_item(kept: Document | Passage) -> LangChainDocument:
    """A document, or a chunk that was kept whole, as it came in; one that came without an id has the one we gave it."""
    return LangChainDocument(page_content=kept.text, metadata=deepcopy(dict(kept.metadata)), id=kept.id)


def named(documents: Iterable[LangChainDocument]) -> Iterator[tuple[LangChainDocument, str]]:
    """Documents with their ids, made from text and metadata where they have none: the same in every run.

    The same text twice without ids (blank pages, say) is two documents: the second is named by its count.

    Raises:
        InputError: For what is no document, or metadata that JSON cannot hold.
    """
    counts: dict[str, int] = {}
    for document in documents:
        if not isinstance(document, LangChainDocument):
            raise InputError(
                f"Expected langchain_core Document objects, found {type(document).__name__}. "
                f"Wrap a text as Document(page_content=…)."
            )
        if document.id:
            yield document, document.id
            continue
        check_metadata(document.metadata, f"the document {document.page_content[:40]!r}")
        facts = [json.dumps(sorted(document.metadata.items(), key=str))] if document.metadata else []
        name = text_hash(document.page_content, *facts)[:32]
        counts[name] = counts.get(name, 0) + 1
        yield document, name if counts[name] == 1 else f"{name}-{counts[name]}"
