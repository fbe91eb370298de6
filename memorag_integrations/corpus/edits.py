"""Edits of a corpus: each tells, given the documents there are, which documents there shall be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..documents import Document, read_documents
from ..errors import InputError
from ..index.documents import IndexedDocument
from .revise import with_text
from .state import Corpus

Documents = str | Document | Iterable[str | Document]
"""One text, one document, or any iterable of these."""

Edit = Callable[[Corpus], Sequence[Document | IndexedDocument]]
"""All documents of the next state, in its order; those that stay as they are may be given as the corpus holds them.

It is called again where another process changed the store meanwhile, so it must not change anything itself.
"""


def memorize(documents: Documents) -> Edit:
    """From now on the corpus is these documents and no others.

    Raises:
        InputError: Where no document holds any text.
    """
    new = with_text(list(read_documents(documents)))
    return lambda corpus: new


def add(documents: Documents) -> Edit:
    """New documents; an id that is there already is refused.

    Raises:
        InputError: Where no document holds any text.
    """
    new = with_text(list(read_documents(documents)))

    def edit(corpus: Corpus) -> list[Document | IndexedDocument]:
        for document in new:
            if document.id in corpus.entries:
                raise InputError(
                    f"There is a document with the id {document.id[:80]!r} already. Use replace(documents) for a new "
                    f"version of it, or upsert(documents) for both."
                )
        return [*corpus.entries.values(), *new]

    return edit


def replace(documents: Documents) -> Edit:
    """New versions in the place of documents with the same ids; an id that is not there is refused.

    Raises:
        InputError: For a version without any text.
    """
    new = {document.id: document for document in read_documents(documents)}
    check_versions(new.values())

    def edit(corpus: Corpus) -> list[Document | IndexedDocument]:
        check_present(new, corpus)
        return [new.get(id, entry) for id, entry in corpus.entries.items()]

    return edit


def upsert(documents: Documents) -> Edit:
    """New versions in the place of documents with the same ids; the other documents are new."""
    every = list(read_documents(documents))
    blank = [document for document in every if not document.text.strip()]
    new = {document.id: document for document in every if document.text.strip()}

    def edit(corpus: Corpus) -> list[Document | IndexedDocument]:
        check_versions(document for document in blank if document.id in corpus.entries)
        with_text(every)
        versions = [new.get(id, entry) for id, entry in corpus.entries.items()]
        return [*versions, *(document for id, document in new.items() if id not in corpus.entries)]

    return edit


def delete(ids: str | Iterable[str]) -> Edit:
    """The documents with these ids go; an id that is not there is refused, and none goes then."""
    every = [ids] if isinstance(ids, str) else list(ids) if isinstance(ids, Iterable) else [ids]
    if strange := [id for id in every if not isinstance(id, str)]:
        raise InputError(
            f"Expected the ids of documents, a str or several, found {str(strange[0])[:80]!r}, which is a "
            f"{type(strange[0]).__name__}. Nothing was changed."
        )
    leaving = dict.fromkeys(every)

    def edit(corpus: Corpus) -> list[Document | IndexedDocument]:
        check_present(leaving, corpus)
        return [entry for id, entry in corpus.entries.items() if id not in leaving]

    return edit


def check_versions(documents: Iterable[Document]) -> None:
    """Raises InputError for a new version of a document without any text."""
    for document in documents:
        if not document.text.strip():
            raise InputError(
                f"The new version of document {document.id[:80]!r} holds no text. Use delete(id) to take it out."
            )


def check_present(ids: Iterable[str], corpus: Corpus) -> None:
    """Raises InputError for an id that is not there."""
    for id in ids:
        if not isinstance(id, str) or id not in corpus.entries:
            raise InputError(
                f"Expected the id of a document of the corpus, found {str(id)[:80]!r}. Nothing was changed; "
                f"memo.corpus.documents has the ids there are."
            )
