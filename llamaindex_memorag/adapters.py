"""LlamaIndex objects to ours and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    ObjectType,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.schema import Document as LlamaDocument
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc

from memorag_integrations.contracts import Config, Embedder, Reranker
from memorag_integrations.documents import GIVEN, Document, Passage
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.precut import PrecutPassage
from memorag_integrations.index.documents import IndexedDocument
from memorag_integrations.retrieval.reranking import Reranking, scores_of
from memorag_integrations.scores import Floats

KEY = "memorag"
"""The one metadata key we add: the provenance of a piece of evidence."""


class LlamaIndexEmbedder(Embedder):
    """A LlamaIndex embedding model as an embedder of the engine."""

    def __init__(self, model: BaseEmbedding) -> None:
        self.model = model

    @property
    def name(self) -> str:
        return f"{self.model.class_name()} {self.model.model_name}"

    @property
    def config(self) -> Config | None:
        return None

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        return np.asarray(self.model.get_text_embedding_batch(list(texts)), dtype=np.float32)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        return np.asarray([self.model.get_query_embedding(text) for text in texts], dtype=np.float32)

    async def aembed_passages(self, texts: Sequence[str]) -> Floats:
        return np.asarray(await self.model.aget_text_embedding_batch(list(texts)), dtype=np.float32)

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        return np.asarray([await self.model.aget_query_embedding(text) for text in texts], dtype=np.float32)


class LlamaIndexReranker(Reranker):
    """A LlamaIndex node postprocessor that reorders (a `…Rerank`) as a reranker of the engine.

    Passages that it drops (beyond its `top_n`) stand below those that it gives back.
    """

    def __init__(self, postprocessor: BaseNodePostprocessor) -> None:
        self.postprocessor = postprocessor

    def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        back = self.postprocessor.postprocess_nodes(_nodes(passages), QueryBundle(query))
        return _scores(back, len(passages), self.postprocessor)

    async def arerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        back = await self.postprocessor.apostprocess_nodes(_nodes(passages), QueryBundle(query))
        return _scores(back, len(passages), self.postprocessor)


def _nodes(passages: Sequence[str]) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(id_=str(i), text=text), score=0.0) for i, text in enumerate(passages)]


def _scores(back: Sequence[NodeWithScore], count: int, postprocessor: BaseNodePostprocessor) -> list[float]:
    return scores_of([(node.node.node_id, node.score) for node in back], count, type(postprocessor).__name__)


def as_reranker(
    reranker: BaseNodePostprocessor | Reranker | Reranking | str | None,
) -> Reranker | Reranking | str | None:
    """What `MemoRAG(reranker=…)` takes, out of what a LlamaIndex user has at hand."""
    return LlamaIndexReranker(reranker) if isinstance(reranker, BaseNodePostprocessor) else reranker


def app_embed_model() -> BaseEmbedding | None:
    """The embedding model the app has set in `Settings`, or None. Reading the public property would make an OpenAI one."""
    found = getattr(Settings, "_embed_model", None)
    return found if isinstance(found, BaseEmbedding) else None


def app_llm() -> LLM | None:
    """The LLM the app has set in `Settings`, or None. Reading the public property would make an OpenAI one."""
    found = getattr(Settings, "_llm", None)
    return found if isinstance(found, LLM) else None


def as_embedder(model: BaseEmbedding | Embedder | str | None) -> Embedder | str | None:
    """What `MemoRAG(embedder=…)` takes, out of what a LlamaIndex user has at hand."""
    return LlamaIndexEmbedder(model) if isinstance(model, BaseEmbedding) else model


def to_documents(documents: Iterable[BaseNode]) -> Iterable[Document]:
    """LlamaIndex documents as ours: id and text as they are, metadata copied."""
    for document in documents:
        if not isinstance(document, BaseNode):
            raise InputError(
                f"Expected llama_index.core Document objects, found {type(document).__name__}. "
                f"Wrap a text as Document(text=…)."
            )
        host = {
            "hash": document.hash,
            "excluded_embed_metadata_keys": list(document.excluded_embed_metadata_keys),
            "excluded_llm_metadata_keys": list(document.excluded_llm_metadata_keys),
        }
        if isinstance(document, LlamaDocument):
            host |= {"text_template": document.text_template, "metadata_template": document.metadata_template}
            host |= {"metadata_separator": document.metadata_separator}
        yield Document(
            document.get_content(metadata_mode=MetadataMode.NONE), document.node_id, deepcopy(document.metadata), host
        )


def to_precut_passages(nodes: Iterable[BaseNode]) -> list[PrecutPassage]:
    """LlamaIndex nodes as passages that are kept whole."""
    given = []
    for node in nodes:
        if not isinstance(node, BaseNode):
            raise InputError(f"Expected llama_index.core nodes, found {type(node).__name__}.")
        stored = doc_to_json(node)
        data = stored["__data__"]
        data |= {"embedding": None, "metadata": {}}
        if "text" in data:
            data["text"] = ""
        before = node.relationships.get(NodeRelationship.PREVIOUS)
        given.append(
            PrecutPassage(
                node.node_id,
                node.ref_doc_id or node.node_id,
                node.get_content(metadata_mode=MetadataMode.NONE),
                getattr(node, "start_char_idx", None),
                getattr(node, "end_char_idx", None),
                before.node_id if isinstance(before, RelatedNodeInfo) else None,
                deepcopy(node.metadata),
                stored,
            )
        )
    return given


def stored_precut_passage(passage: Passage) -> PrecutPassage:
    """A node that was kept whole, as `to_precut_passages` made it."""
    follows = _link(passage, NodeRelationship.PREVIOUS).get("node_id")
    return PrecutPassage(
        passage.id,
        passage.document_id,
        passage.text,
        passage.start,
        passage.end,
        follows,
        passage.metadata,
        passage.host,
    )


def same_hash(entry: IndexedDocument, document: Document) -> bool:
    """Whether a document that is there, or was when its nodes were cut, is this one by LlamaIndex's hash."""
    if entry.cut == GIVEN:
        digest = _link(entry.passages[0], NodeRelationship.SOURCE).get("hash")
    else:
        digest = (entry.document.host or {}).get("hash")
    return digest is not None and digest == (document.host or {}).get("hash")


def to_node(evidence: Evidence, document: Document | None, provenance: bool = True) -> NodeWithScore:
    """A fresh node for a piece of evidence: the host's own where there was one, else one cut from the document.

    Args:
        evidence: The evidence.
        document: Of that evidence, or None where it was deleted meanwhile.
        provenance: Whether to say what found it.
    """
    passage = evidence.passage
    node = _given_node(passage) if passage.host is not None else _cut_node(passage, document)
    node.metadata = dict(passage.metadata)
    if not provenance:
        return NodeWithScore(node=node, score=evidence.score)
    node.metadata[KEY] = evidence.provenance()
    node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, KEY]
    node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, KEY]
    return NodeWithScore(node=node, score=evidence.score)


def _given_node(passage: Passage) -> BaseNode:
    stored: dict[str, Any] = dict(passage.host or {})
    data = dict(stored["__data__"])
    if "text" in data:
        data["text"] = passage.text
    return json_to_doc({**stored, "__data__": data})


def _link(passage: Passage, kind: NodeRelationship) -> dict[str, Any]:
    """What a kept node notes of the one it is related to in this way; read without making the node again."""
    found = (passage.host or {})["__data__"].get("relationships", {}).get(kind.value)
    return found if isinstance(found, dict) else {}


def _cut_node(passage: Passage, document: Document | None) -> BaseNode:
    host = dict((document and document.host) or {})
    digest = host.pop("hash", None)
    source = RelatedNodeInfo(
        node_id=passage.document_id, node_type=ObjectType.DOCUMENT, metadata=dict(passage.metadata), hash=digest
    )
    return TextNode(
        id_=passage.id,
        text=passage.text,
        start_char_idx=passage.start,
        end_char_idx=passage.end,
        relationships={NodeRelationship.SOURCE: source},
        **host,
    )
