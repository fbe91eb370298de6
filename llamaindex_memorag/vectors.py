"""Vectors that nodes bring with them: used where they are the retriever's model's own, of one and the same form of text."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, MetadataMode

from memorag_integrations.documents import EMBEDDING_TEXT, clean_text, text_hash
from memorag_integrations.encoders.checked import CheckedEmbedder
from memorag_integrations.encoders.symmetry import cosine
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.precut_edits import current_documents
from memorag_integrations.scores import Floats

logger = logging.getLogger(__name__)

_SAME_SPACE = 0.99
"""Cosine of a brought vector and the model's own vector of the same text from which both are of one model: what
`EmbedderFingerprint` asks of a probe, too."""

_SAMPLES = 2
"""Nodes whose vector is held against the model's own."""


def embeds_metadata(memo: MemoRAG) -> bool:
    """Whether the corpus's vectors are of texts with their metadata (LlamaIndex's `MetadataMode.EMBED`)."""
    passages = (entry.passages for entry in current_documents(memo).values())
    return any(EMBEDDING_TEXT in (passage.host or {}) for group in passages for passage in group)


def use_vectors(memo: MemoRAG, nodes: Sequence[BaseNode], known: Mapping[str, Sequence[float]] | None = None) -> bool:
    """Have the engine take over the vectors that nodes bring, where they are its model's.

    One call of the model decides that: two nodes are embedded in both forms (with their metadata, without it), and the
    brought vectors must be one of the two. A corpus keeps to one form; vectors of the other are left.

    Args:
        memo: The engine.
        nodes: The nodes.
        known: Further vectors by node id, of the store that the nodes are from.

    Returns:
        Whether the vectors of these nodes are to be those of texts with metadata.

    Raises:
        InputError: Where the vectors that nodes bring are not of one dimension, or hold NaN.
    """
    fixed = embeds_metadata(memo) if current_documents(memo) else None
    if memo.embedder is None:
        return bool(fixed)
    brought = _brought(nodes, known or {})
    if not brought:
        return bool(fixed)
    form = _form(memo.embedder, [(node, brought[node.node_id]) for node in nodes if node.node_id in brought])
    if form is None:
        logger.info(
            "The vectors that %d nodes bring are not those of %s: they are embedded again.",
            len(brought),
            memo.embedder.embedder.name,
        )
        return bool(fixed)
    differing = any(_text(node, MetadataMode.EMBED) != _text(node) for node in nodes)
    with_metadata = form == MetadataMode.EMBED and differing
    if with_metadata and memo.embedder.lexical is not None:
        logger.info("The model's lexical weights are of texts without metadata: the nodes are embedded again.")
        return bool(fixed)
    if fixed is not None and fixed != with_metadata and differing:
        logger.info("The corpus's vectors are of another form of text (with metadata or without): embedded again.")
        return fixed
    memo.embedder.keep(
        {
            text_hash(clean_text(_text(node, form))): _unit(brought[node.node_id])
            for node in nodes
            if node.node_id in brought
        }
    )
    return with_metadata


def _brought(nodes: Sequence[BaseNode], known: Mapping[str, Sequence[float]]) -> dict[str, Floats]:
    """Vectors by node id, checked."""
    brought: dict[str, Floats] = {}
    first: BaseNode | None = None
    for node in nodes:
        given = known.get(node.node_id) if node.embedding is None else node.embedding
        if given is None:
            continue
        vector = np.asarray(given, dtype=np.float32)
        length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
        if not np.isfinite(length) or length == 0:
            raise InputError(
                f"Node {node.node_id[:80]!r} brings an embedding that is no vector of finite numbers. Set its embedding to "
                f"None to have it embedded again."
            )
        if first is not None and vector.shape != brought[first.node_id].shape:
            raise InputError(
                f"Node {node.node_id[:80]!r} brings an embedding of {len(vector)} dimensions, others bring "
                f"{len(brought[first.node_id])}. Set its embedding to None to have it embedded again."
            )
        first = first or node
        brought[node.node_id] = vector
    return brought


def _form(embedder: CheckedEmbedder, brought: Sequence[tuple[BaseNode, Floats]]) -> MetadataMode | None:
    """The form of text that the vectors are of; None where they are not the model's."""
    telling = [pair for pair in brought if _text(pair[0]).strip()]
    differing = [pair for pair in telling if _text(pair[0], MetadataMode.EMBED) != _text(pair[0])] or telling
    samples = differing[:: max(1, len(differing) // _SAMPLES)][:_SAMPLES]
    if not samples:
        return None
    forms = (MetadataMode.EMBED, MetadataMode.NONE)
    texts = {form: [clean_text(_text(node, form)) for node, _ in samples] for form in forms}
    unique = list(dict.fromkeys(text for form in forms for text in texts[form]))
    own = dict(zip(unique, embedder.embedder.embed_passages(unique), strict=False))
    # of a long text with little metadata both forms are near: the nearer one it is
    nearness = {
        form: min(cosine(own.get(text), vector) for text, (_, vector) in zip(texts[form], samples, strict=True))
        for form in forms
    }
    best = max(forms, key=lambda form: nearness[form])
    return best if nearness[best] >= _SAME_SPACE else None


def _text(node: BaseNode, form: MetadataMode = MetadataMode.NONE) -> str:
    return node.get_content(metadata_mode=form)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


# ── what an index holds ───────────────────────────────────────────────────────────────────────────────────────────


def index_embed_model(index: BaseIndex[Any]) -> BaseEmbedding | None:
    """The model that an index embeds with, if it does."""
    model = getattr(index, "_embed_model", None)
    return model if isinstance(model, BaseEmbedding) else None


def index_vectors(index: BaseIndex[Any], nodes: Sequence[BaseNode]) -> dict[str, Sequence[float]]:
    """The vectors that an index's vector store gives out, by node id; nothing where it gives none out.

    Read from the node (Qdrant), by `get` (LlamaIndex's in-memory store), or from a Chroma collection.
    """
    store = getattr(index, "vector_store", None)
    missing = [node.node_id for node in nodes if node.embedding is None]
    if store is None or not missing:
        return {}
    try:
        if type(store).__name__ == "ChromaVectorStore":
            found = store.client.get(ids=missing, include=["embeddings"])
            return dict(zip(found["ids"], found["embeddings"], strict=True))
        return {id: store.get(id) for id in missing}
    except Exception as error:  # whatever a third party's store raises for "not so", encoding is the answer
        logger.info("%s gives no vectors out (%s): its nodes are embedded again.", type(store).__name__, error)
        return {}
