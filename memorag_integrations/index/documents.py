"""A document as an index holds it: its passages, their terms, and the names of their vectors."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..contracts import Progress
from ..documents import Document, Passage, text_hash
from ..errors import Cancelled
from ..text import terms as analysis
from .bm25 import Row, Vocabulary


@dataclass(frozen=True, eq=False)
class IndexedDocument:
    """One document, cut and analysed. It never changes: a changed document is another entry.

    Args:
        document: The document.
        cut: What cut it; the same document cut by the same is the same entry.
        language: ISO 639-1 code.
        passages: In the order of the text.
        terms: Of each passage, numbered by the corpus's vocabulary.
        keys: `text_hash` of each passage's text: the names of the vectors; none for BM25 alone.
    """

    document: Document
    cut: str
    language: str
    passages: Sequence[Passage]
    terms: Sequence[Row]
    keys: Sequence[str]


def analyse(
    cut: Sequence[tuple[Document, str, Sequence[Passage]]],
    language: str,
    vocabulary: Vocabulary,
    dense: bool,
    progress: Progress,
    cancel: threading.Event | None,
) -> Iterator[IndexedDocument]:
    """Entries of documents that are cut into passages: languages detected, terms taken.

    Args:
        cut: Documents, what cut each, and their passages.
        language: ISO 639-1 code of all, or "auto".
        vocabulary: Takes in their terms.
        dense: Whether they are to have vectors.

    Raises:
        Cancelled: When `cancel` was set.
    """
    done, total = 0, sum(len(passages) for _, _, passages in cut)
    for document, name, passages in cut:
        code = analysis.detect_language(document.text) if language == "auto" else language
        terms = []
        for passage in passages:
            terms.append(vocabulary.number(analysis.terms(passage.text, code)))
            done += 1
            if done % 256 == 0 or done == total:
                if cancel is not None and cancel.is_set():
                    raise Cancelled("Cancelled while passages were indexed; the corpus is as it was before.")
                progress("indexing terms", done, total)
        keys = tuple(text_hash(passage.text) for passage in passages) if dense else ()
        yield IndexedDocument(document, name, code, tuple(passages), tuple(terms), keys)
