"""Documents as an index holds them: passages, their terms, and the keys of their vectors."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..contracts import Progress
from ..documents import Document, Passage, embedding_text, text_hash
from ..errors import Cancelled
from ..text import terms as analysis
from .bm25 import Row, Vocabulary


@dataclass(frozen=True, eq=False)
class IndexedDocument:
    """One document, cut into passages and analysed. It never changes; a new version of the document is another object.

    Args:
        document: The document.
        cut: What cut it into passages: "1000 characters" for our splitter, or `GIVEN`.
        language: ISO 639-1 code.
        passages: In the order of the text.
        terms: The terms of each passage, as numbers of the corpus's vocabulary.
        keys: `text_hash` of each passage's `embedding_text`, by which vectors are kept; none for BM25 alone.
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
    """Detect the language of documents and take the terms of their passages.

    Args:
        cut: Each document, what cut it, and its passages.
        language: ISO 639-1 code of all, or "auto".
        vocabulary: Numbers their terms; new terms are added to it.
        dense: Whether the passages will have vectors.
        progress: Called every 256 passages.
        cancel: Ends the work when set.

    Raises:
        Cancelled: When `cancel` was set.
        TokenizerError: Where a tokenizer of the user's own fails.
    """
    done, total = 0, sum(len(passages) for _, _, passages in cut)
    for document, name, passages in cut:
        code = analysis.detect_language(document.text) if language == "auto" else language
        terms = []
        for passage in passages:
            terms.append(vocabulary.analyse(passage.text, code))
            done += 1
            if done % 256 == 0 or done == total:
                if cancel is not None and cancel.is_set():
                    raise Cancelled("Cancelled while passages were indexed; the corpus is as it was before.")
                progress("indexing terms", done, total)
        keys = tuple(text_hash(embedding_text(passage)) for passage in passages) if dense else ()
        yield IndexedDocument(document, name, code, tuple(passages), tuple(terms), keys)
