"""Documents come in, passages go out: text with exact character offsets."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .errors import InputError
from .text.metadata import encode_metadata

logger = logging.getLogger(__name__)

GIVEN = "given"
"""What cut a document whose passages came with it, instead of our splitter."""

EMBEDDING_TEXT = "embedding_text"
"""The one key of a passage's `host` that the engine reads: what to embed instead of the passage's text, either as text or
as [what stands before the passage's text, what stands behind it]."""

LONGEST_ID = 100_000
"""Characters of an id, at most: every passage, clue and piece of evidence repeats its document's."""

_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    """One text with an id. Without an id, the hash of the text serves: the same text has the same id in every run.

    Args:
        text: The text. Lone surrogates and NUL characters are replaced one for one by U+FFFD when it is memorized.
        id: Unique within a corpus.
        metadata: What JSON can hold, dates, sets and their like (`metadata`). Never changed, and given back with every
            passage.
        host: What a host package needs to make its own objects of the passages; opaque to the engine, JSON only.
    """

    text: str
    id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InputError(f"A document's text must be a str, not {type(self.text).__name__}.")
        if not isinstance(self.id, str):
            raise InputError(f"A document's id must be a str, not {type(self.id).__name__} ({self.id!r}).")
        if _NOT_TEXT.search(self.id):
            raise InputError(f"A document's id must be valid Unicode without NUL, found {self.id[:80]!r}.")
        if not self.id:
            object.__setattr__(self, "id", text_hash(self.text)[:32])


@dataclass(frozen=True)
class Passage:
    """The unit of retrieval.

    Args:
        id: Unique within a corpus.
        document_id: The document it is from.
        text: Where we cut it, exactly `document.text[start:end]`; where the host gave it, the host's text.
        start, end: Character range in the document, or None where a host's node does not say.
        centre: Position of its middle in the document, in characters (estimated where offsets are unknown).
        metadata: The document's, or the host node's own.
        host: What a host package needs to give its own object back; opaque to the engine but for `EMBEDDING_TEXT`.
    """

    id: str
    document_id: str
    text: str
    start: int | None
    end: int | None
    centre: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Shard:
    """The documents that one memory is formed over: one, or a pack of several up to the model's capacity.

    The text of a pack is its documents' texts with `SEPARATOR` between them; `locate` leads back from a range of that
    text to the document it lies in. Identity is the content alone (`content_hash`): renaming a document does not make
    its memory another one.
    """

    SEPARATOR = "\n\n"
    documents: tuple[Document, ...]

    @property
    def text(self) -> str:
        return self.SEPARATOR.join(document.text for document in self.documents)

    @cached_property
    def content_hash(self) -> str:
        return text_hash(*(document.text for document in self.documents))

    def locate(self, start: int, end: int) -> tuple[str, int, int]:
        """The document a range of `text` begins in, and the range in that document's own characters, clipped to it."""
        offset = 0
        for document in self.documents:
            stop = offset + len(document.text)
            if start < stop or document is self.documents[-1]:
                low = min(max(start - offset, 0), len(document.text))
                return document.id, low, max(low, min(end - offset, len(document.text)))
            offset = stop + len(self.SEPARATOR)
        raise InputError("A shard without documents has no places in it.")


def text_hash(*texts: str) -> str:
    """SHA-256 over the texts and their lengths, in hex."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def clean_text(text: str) -> str:
    """`text` with every NUL and lone surrogate replaced by U+FFFD; the length, and so every offset, stays."""
    return _NOT_TEXT.sub("\ufffd", text)


def embedding_text(passage: Passage) -> str:
    """The text whose vector stands for a passage: the passage's own, unless its host embeds metadata with it."""
    instead = None if passage.host is None else passage.host.get(EMBEDDING_TEXT)
    if instead is None:
        return passage.text
    return clean_text(instead) if isinstance(instead, str) else clean_text(passage.text.join(instead))


def check_metadata(metadata: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    """`metadata`, if a store can hold it.

    Raises:
        InputError: With the key that cannot be stored.
    """
    encode_metadata(metadata, owner)
    return metadata


def read_documents(source: str | Document | Iterable[str | Document]) -> Iterator[Document]:
    """Documents out of whatever a caller passes: one text or document, or any iterable of them, consumed once.

    Raises:
        InputError: For anything else, two documents of one id, an id beyond `LONGEST_ID`, or metadata that JSON cannot hold.
            What the iterable itself raises is the caller's, and comes out unchanged.
    """
    if isinstance(source, str | Document):
        source = [source]
    if not isinstance(source, Iterable) or isinstance(source, Mapping):
        raise InputError(
            f"Expected documents (a str, a Document, or an iterable of these), found {type(source).__name__}."
        )
    seen: set[str] = set()
    for item in source:
        if not isinstance(item, str | Document):
            raise InputError(
                f"Expected a str or a memorag_integrations.Document, found {type(item).__name__}. "
                f"A host framework's documents go through llamaindex_memorag or langchain_memorag."
            )
        document = Document(item) if isinstance(item, str) else item
        if document.id in seen:
            raise InputError(
                f"Two documents have the id {document.id[:80]!r}. Ids must be unique; "
                f"a document given without an id is named by its text, so the same text twice is one too many."
            )
        seen.add(document.id)
        if len(document.id) > LONGEST_ID:
            raise InputError(
                f"A document's id may have {LONGEST_ID:,} characters, found {len(document.id):,}: {document.id[:80]!r}. Pass "
                f"a shorter one, or none: a document without an id is named by the hash of its text."
            )
        check_metadata(document.metadata, f"document {document.id[:80]!r}")
        if document.host is not None:
            check_metadata(document.host, f"the host of document {document.id[:80]!r}")
        text = clean_text(document.text)
        if text != document.text:
            bad = sum(a != b for a, b in zip(text, document.text, strict=True))
            logger.warning("Document %.80r: %d characters that are not text became U+FFFD.", document.id, bad)
            document = replace(document, text=text)
        yield own(document)


def own(document: Document) -> Document:
    """The same document, whose metadata nobody else holds: what its owner changes there later is a change to be made."""
    host = None if document.host is None else deepcopy(dict(document.host))
    return replace(document, metadata=deepcopy(dict(document.metadata)), host=host)
