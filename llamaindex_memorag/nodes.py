"""LlamaIndex documents and nodes as ours, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.schema import Document as LlamaDocument
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc

from memorag_integrations.corpus.splitter import Splitter
from memorag_integrations.documents import EMBEDDING_TEXT, GIVEN, Document, Passage
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.passage_ids import host_id
from memorag_integrations.hosts.precut import PrecutPassage
from memorag_integrations.hosts.provenance import provenance_key, provenance_of
from memorag_integrations.index.documents import IndexedDocument
from memorag_integrations.text.metadata import encode_metadata


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
        text = document.get_content(metadata_mode=MetadataMode.NONE)
        yield Document(text, document.node_id, deepcopy(document.metadata), host)


def to_precut_passages(nodes: Iterable[BaseNode], embed_metadata: bool = False) -> list[PrecutPassage]:
    """LlamaIndex nodes as passages that are kept whole.

    Args:
        nodes: The nodes; their objects (`IndexNode.obj`) are taken off before, see `without_objects`.
        embed_metadata: Whether the vector of a node is that of its text with its metadata (`MetadataMode.EMBED`).

    Raises:
        InputError: For what is no node, or holds what a store cannot hold.
    """
    passages = []
    for node in nodes:
        if not isinstance(node, BaseNode):
            raise InputError(f"Expected llama_index.core nodes, found {type(node).__name__}.")
        host = doc_to_json(node)
        data = host["__data__"]
        data |= {"embedding": None, "metadata": {}}
        if "text" in data:
            data["text"] = ""
        text = node.get_content(metadata_mode=MetadataMode.NONE)
        if embed_metadata and (instead := _embedding_text(node, text)) is not None:
            host[EMBEDDING_TEXT] = instead
        encode_metadata(host, f"node {node.node_id[:80]!r}")
        previous = node.relationships.get(NodeRelationship.PREVIOUS)
        passages.append(
            PrecutPassage(
                node.node_id,
                node.ref_doc_id or node.node_id,
                text,
                getattr(node, "start_char_idx", None),
                getattr(node, "end_char_idx", None),
                previous.node_id if isinstance(previous, RelatedNodeInfo) else None,
                deepcopy(node.metadata),
                host,
            )
        )
    return passages


def _embedding_text(node: BaseNode, text: str) -> str | list[str] | None:
    """What LlamaIndex embeds for a node, where that is not its text: around the text, or in its place."""
    embedded = node.get_content(metadata_mode=MetadataMode.EMBED)
    if embedded == text:
        return None
    return [*embedded.split(text)] if text and embedded.count(text) == 1 else embedded


def stored_precut_passage(passage: Passage) -> PrecutPassage:
    """The `PrecutPassage` that a stored passage was made of."""
    follows = _relation(passage, NodeRelationship.PREVIOUS).get("node_id")
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


def without_objects(nodes: Iterable[BaseNode]) -> tuple[list[BaseNode], dict[str, Any]]:
    """Nodes whose objects are taken off, and these objects by `index_id`. The caller's nodes stay as they are.

    An object that is a node stays where it is: it can be stored. LlamaIndex looks up all others in the retriever's
    `object_map`.
    """
    bare, objects = [], {}
    for node in nodes:
        if isinstance(node, IndexNode) and node.obj is not None and not isinstance(node.obj, BaseNode):
            objects[node.index_id] = node.obj
            node = node.model_copy(update={"obj": None})
        bare.append(node)
    return bare, objects


def cut_nodes(documents: Iterable[BaseNode], splitter: Splitter) -> list[BaseNode]:
    """LlamaIndex documents cut by our splitter into nodes of LlamaIndex, with offsets and relationships."""
    nodes: list[BaseNode] = []
    for document in to_documents(documents):
        passages = [replace(passage, metadata=document.metadata) for passage in splitter.split(document)]
        nodes += [_cut_node(passages, i, document) for i in range(len(passages))]
    return nodes


def same_hash(entry: IndexedDocument, document: Document) -> bool:
    """Whether a stored document, or the one that its nodes were cut from, has LlamaIndex's hash of this one."""
    if entry.cut == GIVEN:
        stored = _relation(entry.passages[0], NodeRelationship.SOURCE).get("hash")
    else:
        stored = (entry.document.host or {}).get("hash")
    return stored is not None and stored == (document.host or {}).get("hash")


def to_node(evidence: Evidence, entry: IndexedDocument | None, provenance: bool = False) -> NodeWithScore:
    """A fresh node for a piece of evidence: the host's own where there was one, else one cut from the document.

    Args:
        evidence: The evidence.
        entry: The document of that evidence, or None where it was deleted meanwhile.
        provenance: Whether to say in the node's metadata what found it. Without it a node is equal for every query.
    """
    passage = evidence.passage
    if passage.host is not None:
        node = _stored_node(passage)
    else:
        passages, i = _neighbourhood(passage, entry)
        node = _cut_node(passages, i, None if entry is None else entry.document)
    if provenance:
        key = provenance_key(node.metadata)
        node.metadata[key] = provenance_of(evidence)
        node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, key]
        node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, key]
    return NodeWithScore(node=node, score=evidence.score)


def _stored_node(passage: Passage) -> BaseNode:
    host: dict[str, Any] = {key: value for key, value in (passage.host or {}).items() if key != EMBEDDING_TEXT}
    data = deepcopy(dict(host["__data__"]))
    if "text" in data:
        data["text"] = passage.text
    node = json_to_doc({**host, "__data__": data})
    node.metadata = deepcopy(dict(passage.metadata))
    return node


def _relation(passage: Passage, kind: NodeRelationship) -> Mapping[str, Any]:
    """What a stored node says of the one related to it in this way, read without making the node again."""
    relation = (passage.host or {})["__data__"].get("relationships", {}).get(kind.value)
    return relation if isinstance(relation, dict) else {}


def _neighbourhood(passage: Passage, entry: IndexedDocument | None) -> tuple[Sequence[Passage], int]:
    """A passage between those before and behind it in its document, and its place among these; alone where unknown."""
    if entry is None or passage.start is None or passage.end is None:
        return [passage], 0
    before = [other for other in entry.passages if (other.end or 0) <= passage.start]
    behind = [other for other in entry.passages if (other.start or 0) >= passage.end]
    return [*before[-1:], passage, *behind[:1]], len(before[-1:])


def _cut_node(passages: Sequence[Passage], i: int, document: Document | None) -> TextNode:
    """The node of the i-th of a document's passages, related to the document and to the passages beside it."""
    passage, host = passages[i], dict((document and document.host) or {})
    digest = host.pop("hash", None)
    source = RelatedNodeInfo(
        node_id=passage.document_id,
        node_type=ObjectType.DOCUMENT,
        metadata=deepcopy(dict(passage.metadata)),
        hash=digest,
    )
    relationships: dict[NodeRelationship, Any] = {NodeRelationship.SOURCE: source}
    for kind, other in ((NodeRelationship.PREVIOUS, i - 1), (NodeRelationship.NEXT, i + 1)):
        if 0 <= other < len(passages):
            neighbour = passages[other]
            plain = TextNode(id_=host_id(neighbour), text=neighbour.text, metadata=deepcopy(dict(neighbour.metadata)))
            relationships[kind] = plain.as_related_node_info()
    return TextNode(
        id_=host_id(passage),
        text=passage.text,
        metadata=deepcopy(dict(passage.metadata)),
        start_char_idx=passage.start,
        end_char_idx=passage.end,
        relationships=relationships,
        **host,
    )
