"""LangChain documents as ours, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from langchain_core.documents import Document as LangChainDocument

from memorag_integrations.documents import Document, Passage, text_hash
from memorag_integrations.errors import InputError
from memorag_integrations.evidence import Evidence
from memorag_integrations.hosts.passage_ids import host_id
from memorag_integrations.hosts.precut import PrecutPassage
from memorag_integrations.hosts.provenance import provenance_key, provenance_of
from memorag_integrations.text.metadata import encode_metadata

SOURCE_KEY = "source_key"
"""Where a kept chunk notes which key of its metadata named its source."""


def to_documents(documents: Iterable[LangChainDocument]) -> Iterator[Document]:
    """LangChain documents as ours: text as it is, metadata copied; without an id, one made from text and metadata."""
    for document, id in with_ids(documents):
        yield Document(document.page_content, id, deepcopy(document.metadata))


def to_precut_passages(chunks: Iterable[LangChainDocument], source_key: str) -> list[PrecutPassage]:
    """LangChain chunks as passages that are kept whole; those of one source are neighbours in the order given."""
    passages = []
    for chunk, id in with_ids(chunks):
        index = chunk.metadata.get("start_index")
        start = index if isinstance(index, int) and index >= 0 else None
        passages.append(
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
    return passages


def stored_precut_passage(passage: Passage) -> PrecutPassage:
    """The `PrecutPassage` that a stored passage was made of."""
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


def to_langchain_document(evidence: Evidence, provenance: bool = False) -> LangChainDocument:
    """A fresh document for a piece of evidence.

    Args:
        evidence: The evidence.
        provenance: Whether to say in the metadata what found it. Without it a document is equal for every query.

    Returns:
        A chunk with the id it came with; a passage that we cut, with a UUID made of its document and range.
    """
    passage = evidence.passage
    metadata: dict[str, Any] = deepcopy(dict(passage.metadata))
    if provenance:
        metadata[provenance_key(metadata)] = provenance_of(evidence)
    id = host_id(passage) if passage.host is None else passage.host["id"]
    return LangChainDocument(page_content=passage.text, metadata=metadata, id=id)


def to_stored_item(stored: Document | Passage) -> LangChainDocument:
    """A document, or a chunk that was kept whole, as it came in; one that came without an id has the one we gave it."""
    return LangChainDocument(page_content=stored.text, metadata=deepcopy(dict(stored.metadata)), id=stored.id)


def from_texts(
    texts: Iterable[str], metadatas: Sequence[Mapping[str, Any]] | None = None, ids: Sequence[str | None] | None = None
) -> list[LangChainDocument]:
    """Documents of texts, as LangChain's vector stores make them.

    Raises:
        InputError: For what is no text, or where there are not as many metadatas or ids as texts.
    """
    if isinstance(texts, str):
        raise InputError("texts takes a list of texts, found a single one. Write [text].")
    listed = list(texts)
    for name, values in (("metadatas", metadatas), ("ids", ids)):
        if values is not None and len(values) != len(listed):
            raise InputError(f"{name} must be as many as texts ({len(listed)}), found {len(values)}.")
    for text in listed:
        if not isinstance(text, str):
            raise InputError(f"texts takes texts, found {type(text).__name__}. Documents go to from_documents.")
    return [
        LangChainDocument(
            page_content=text,
            metadata={} if metadatas is None else dict(metadatas[i] or {}),
            id=None if ids is None else ids[i],
        )
        for i, text in enumerate(listed)
    ]


def with_ids(documents: Iterable[LangChainDocument]) -> Iterator[tuple[LangChainDocument, str]]:
    """Documents with their ids, made from text and metadata where they have none: the same in every run.

    The same text twice without ids (blank pages, say) is two documents: the second is named by its count.

    Raises:
        InputError: For what is no document, or metadata that a store cannot hold.
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
        metadata = encode_metadata(document.metadata, f"the document {document.page_content[:40]!r}")
        facts = [json.dumps(sorted(metadata.items(), key=str))] if metadata else []
        name = text_hash(document.page_content, *facts)[:32]
        counts[name] = counts.get(name, 0) + 1
        yield document, name if counts[name] == 1 else f"{name}-{counts[name]}"
