"""Nodes of what an app already has: an index, or a document store."""

from __future__ import annotations

from typing import Any

from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, Document, MetadataMode
from llama_index.core.storage.docstore.types import BaseDocumentStore

from memorag_integrations.errors import InputError


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


def docstore_nodes(docstore: BaseDocumentStore) -> list[BaseNode]:
    """The nodes of a document store that hold text.

    Raises:
        InputError: Where none does.
    """
    if not isinstance(docstore, BaseDocumentStore):
        raise InputError(f"docstore takes a LlamaIndex document store, found {type(docstore).__name__}.")
    nodes = list(docstore.docs.values())
    nodes = [node for node in nodes if not isinstance(node, Document)] or nodes
    filled = [node for node in nodes if node.get_content(metadata_mode=MetadataMode.NONE).strip()]
    if not filled:
        raise InputError(
            f"The document store holds {len(nodes)} nodes, and none of them holds text. Pass nodes that do: nodes=…"
        )
    return filled
