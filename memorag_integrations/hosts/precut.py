"""Passages that a host has cut already: they are kept whole, and assembled to the documents that they were cut from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..documents import Document, Passage, clean_text

JOIN = "\n"
"""What stands between passages in a document whose offsets are unknown."""

_SPARSE = 4
"""A document text is laid out by offsets only while it is at most this many times as long as its passages."""


@dataclass(frozen=True)
class PrecutPassage:
    """One passage as a host has it.

    Args:
        id: The host's own id.
        document_id: Id of the document that it was cut from.
        text: The text. Characters that are not valid Unicode are replaced; nothing else changes.
        start, end: Character range in that document, or None where the host does not say.
        follows: Id of the passage before it in the document, where the host says.
        metadata: The host's own metadata, JSON only.
        host: What the host needs to make its own object again.
    """

    id: str
    document_id: str
    text: str
    start: int | None = None
    end: int | None = None
    follows: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] | None = None


def assemble_documents(passages: Iterable[PrecutPassage]) -> tuple[list[Document], dict[str, list[Passage]]]:
    """Documents, and the passages of each document in the order of its text.

    The order of passages follows their offsets, else their `follows` links, else the order given. Where all offsets of a
    document are known, its text holds every passage at its place and blanks elsewhere. Otherwise the text is the passages'
    texts one after another, and only `centre` tells where a passage stands.
    """
    groups: dict[str, list[PrecutPassage]] = {}
    for passage in passages:
        groups.setdefault(passage.document_id, []).append(passage)
    documents, assembled = [], {}
    for id, group in groups.items():
        if all(passage.start is not None and passage.end is not None for passage in group):
            group.sort(key=lambda passage: passage.start or 0)
        else:
            group = _in_order_of_links(group)
        text, centres = _layout(group)
        documents.append(Document(text, id))
        assembled[id] = [
            Passage(
                passage.id,
                id,
                clean_text(passage.text),
                passage.start,
                passage.end,
                centre,
                passage.metadata,
                passage.host,
            )
            for passage, centre in zip(group, centres, strict=True)
            if passage.text.strip()
        ]
    return documents, assembled


def _layout(group: Sequence[PrecutPassage]) -> tuple[str, list[float]]:
    """The document's text, and the middle of each passage in it."""
    if all(passage.start is not None and passage.end == passage.start + len(passage.text) for passage in group):
        size, covered = max(passage.end or 0 for passage in group), sum(len(passage.text) for passage in group)
        if size <= _SPARSE * covered + 10_000:
            characters = [" "] * size
            for passage in group:
                characters[passage.start : passage.end] = passage.text
            return "".join(characters), [((passage.start or 0) + (passage.end or 0)) / 2 for passage in group]
    centres, offset = [], 0
    for passage in group:
        centres.append(offset + len(passage.text) / 2)
        offset += len(passage.text) + len(JOIN)
    return JOIN.join(passage.text for passage in group), centres


def _in_order_of_links(group: Sequence[PrecutPassage]) -> list[PrecutPassage]:
    """Passages in the order of their links; each chain stands where its first passage stood."""
    by_id = {passage.id: passage for passage in group}
    successors: dict[str, PrecutPassage] = {}
    for passage in group:
        if passage.follows in by_id and passage.follows != passage.id:
            successors.setdefault(passage.follows, passage)
    heads = [passage for passage in group if successors.get(passage.follows or "") is not passage]
    ordered: dict[str, PrecutPassage] = {}
    for head in [*heads, *group]:  # the second round reaches passages whose links form a ring
        link: PrecutPassage | None = head
        while link is not None and link.id not in ordered:
            ordered[link.id] = link
            link = successors.get(link.id)
    return list(ordered.values())
