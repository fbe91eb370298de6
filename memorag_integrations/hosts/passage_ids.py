"""Ids of passages as a host sees them."""

from __future__ import annotations

from uuid import UUID, uuid5

from ..documents import Passage

_NAMESPACE = UUID("6c1b1f1e-6d3c-5d0e-9d7e-4d656d6f5241")


def host_id(passage: Passage) -> str:
    """The id of a passage in its host: the host's own, or a UUID of document and range where we cut the passage.

    Vector stores take UUIDs as ids (Qdrant takes nothing else but numbers). The same document id and range have the same
    UUID in every run.
    """
    if passage.host is not None:
        return passage.id
    return str(uuid5(_NAMESPACE, f"{passage.document_id}\0{passage.start}\0{passage.end}"))
