"""What a LlamaIndex index already holds: its nodes, its vectors, its embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, Document, MetadataMode

from memorag_integrations.documents import clean_text, text_hash
from memorag_integrations.errors import InputError
from memorag_integrations.scores import Floats


def index_nodes(index: BaseIndex[Any]) -> list[BaseNode]:
    """The nodes of an index, from its document store, else from its vector store.

    Raises:
        InputError: Where neither lists them.
    """
    struct, stored = index.index_struct, index.docstore.docs
    listed = getattr(struct, "nodes_dict", None) or getattr(struct, "nodes", None) or {}
    ids = list(listed.values()) if isinstance(listed, dict) else list(listed)
    if ids and all(isinstance(id, str) and id in stored for id in ids):
        return [stored[id] for id in ids]
    nodes = [node for node in stored.values() if not isinstance(node, Document)]
    if nodes:
        return nodes
    try:
        nodes = list(index.vector_store.get_nodes(None))  # type: ignore[attr-defined]
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        nodes = []
    if not nodes:
        raise InputError(
            f"The store behind this {type(index).__name__} lists no nodes. "
            f"Pass them yourself: MemoRAGRetriever.from_nodes(nodes, embed_model=…)."
        )
    return nodes


def index_embed_model(index: BaseIndex[Any]) -> BaseEmbedding | None:
    """The model an index embeds with, if it does."""
    found = getattr(index, "_embed_model", None)
    return found if isinstance(found, BaseEmbedding) else None


def index_vectors(index: BaseIndex[Any], nodes: Sequence[BaseNode]) -> dict[str, Floats]:
    """The vectors that an index's in-memory vector store gives out, at unit length, by hash of the node's text.

    A store that does not give them out costs one encoding of its nodes.
    """
    store = getattr(index, "vector_store", None)
    vectors: dict[str, Floats] = {}
    for node in nodes:
        try:
            found = np.asarray(store.get(node.node_id), dtype=np.float32)  # type: ignore[union-attr]
        except Exception:  # whatever a third party's store raises for "not so", encoding is the answer
            return {}
        length = float(np.linalg.norm(found))
        if found.ndim != 1 or not np.isfinite(length) or length == 0:
            return {}
        vectors[text_hash(clean_text(node.get_content(metadata_mode=MetadataMode.NONE)))] = found / length
    return vectors
