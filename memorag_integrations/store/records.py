"""The rows of a store, and the checksums by which a damaged row is recognised."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from ..text.metadata import decode_metadata, encode_metadata

Value = str | bytes | int | float | None


class PassageRow(NamedTuple):
    """A passage.

    Its text is stored only where it is not `document.text[start:stop]`, its metadata only where it is not the document's.
    """

    id: str
    start: int | None
    stop: int | None
    centre: float
    text: str | None
    metadata: str | None
    host: str | None
    terms: bytes
    vector: bytes | None


class ShardRow(NamedTuple):
    """A shard: ids of its documents as JSON, the hash of their texts, the name of its memory's folder if it has one."""

    documents: str
    content: str
    folder: str | None


@dataclass(frozen=True)
class DocumentRow:
    """A document and its passages.

    Args:
        vocabulary: Its terms, one a line. Passages name them by number (uint16, or uint32 above 65,536 terms).
    """

    id: str
    text: str
    metadata: str
    host: str | None
    language: str
    cut: str
    vocabulary: str
    passages: Sequence[PassageRow]

    @cached_property
    def checksum(self) -> bytes:
        """Checksum of what the user gave us; that cannot be made again."""
        fields = (self.id, self.text, self.metadata, self.host, self.language, self.cut)
        return checksum(fields, *((*row[:7], row.vector) for row in self.passages))

    @cached_property
    def terms_checksum(self) -> bytes:
        """Checksum of the terms, which can be made again from the text."""
        return checksum((self.vocabulary,), *((row.terms,) for row in self.passages))


@dataclass(frozen=True)
class Version:
    """Which state of which store.

    Args:
        identity: Of the store: random, written once, the same in its copies. None in a store of before there were any.
        generation: Counts the changes.
        digest: Of the state; two states with as many changes behind them differ in it. "" in the first format.
    """

    identity: str | None
    generation: int
    digest: str

    def is_state(self, other: Version) -> bool:
        """Whether both are the same state, where the store is the same."""
        return self.generation == other.generation and (
            self.digest == other.digest or "" in (self.digest, other.digest)
        )


@dataclass(frozen=True)
class State:
    """One state of a store.

    Args:
        version: Which one.
        meta: Settings and fingerprints.
        order: Ids of all documents, in their order.
        rows: The documents that were read, by id.
        shards: The shards that memories were formed over.
        broken_terms: Ids of documents whose terms are not as they were written.
        checksummed: Whether the files of its memories have checksums; those of format 1 have none.
    """

    version: Version
    meta: Mapping[str, Any]
    order: Sequence[str]
    rows: Mapping[str, DocumentRow]
    shards: Sequence[ShardRow]
    broken_terms: frozenset[str] = frozenset()
    checksummed: bool = True


def checksum(*groups: Iterable[Value]) -> bytes:
    """XXH3 (128 bits) of values with their types and lengths. It reveals accidents, not forgery."""
    digest = xxhash.xxh3_128()
    for group in groups:
        for value in group:
            data = _bytes(value)
            digest.update(f"{type(value).__name__} {len(data)} ".encode())
            digest.update(data)
    return digest.digest()


def _bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")


FIRST_ANALYSIS = "terms 1"
"""What made the terms of a document that does not say it."""


def pack_terms(
    passages: Sequence[NDArray[np.uint32]], term: Callable[[int], str], analysis: str = FIRST_ANALYSIS
) -> tuple[str, list[bytes]]:
    """The vocabulary of one document, one term a line, and the terms of its passages as numbers in it.

    The first line says what made the terms. It has a blank in it, as no term has, and no passage names its number.

    Args:
        passages: Term numbers of each passage, in the corpus's vocabulary.
        term: The term with a number in that vocabulary.
        analysis: What made the terms.
    """
    every = np.concatenate(passages) if len(passages) else np.zeros(0, np.uint32)
    numbers, local = np.unique(every, return_inverse=True)
    lines = [term(int(number)) for number in numbers]
    if analysis != FIRST_ANALYSIS:
        lines, local = [analysis, *lines], local + 1
    ends = np.cumsum([len(row) for row in passages])
    blobs = [part.tobytes() for part in np.split(local.astype(_width(len(lines))), ends[:-1])]
    return "\n".join(lines), blobs


def analysis_of(row: DocumentRow) -> str:
    """What made the terms of a document."""
    first = row.vocabulary.partition("\n")[0]
    return first if " " in first else FIRST_ANALYSIS


def unpack_terms(row: DocumentRow, number: Callable[[Sequence[str]], NDArray[np.uint32]]) -> list[NDArray[np.uint32]]:
    """The terms of each passage of a document, as numbers in the corpus's vocabulary.

    Args:
        row: The document.
        number: The numbers of terms in the corpus's vocabulary.

    Raises:
        ValueError, IndexError: For numbers beyond the document's vocabulary.
    """
    lines = row.vocabulary.split("\n") if row.vocabulary else []
    headers = int(analysis_of(row) != FIRST_ANALYSIS)
    numbers, width = number(lines[headers:]), _width(len(lines))
    numbers = np.concatenate([np.zeros(headers, np.uint32), numbers])
    return [numbers[np.frombuffer(passage.terms, dtype=width)] for passage in row.passages]


def to_json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(encode_metadata(value, "a document or passage", deepest=sys.maxsize))


def from_json(stored: str) -> dict[str, Any]:
    """Raises ValueError or TypeError for what is no mapping."""
    value = json.loads(stored)
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {stored[:80]}")
    return decode_metadata(value)


def _width(terms: int) -> str:
    return "<u2" if terms <= 1 << 16 else "<u4"
