"""Settings of the retriever: their names, what is meant by other names, and those that a store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings

from memorag_integrations.contracts import Embedder, Reranker
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.arguments import (
    ENGINE_HINTS,
    check_embedder,
    check_names,
    check_retrieval,
)
from memorag_integrations.hosts.retrieval_settings import (
    filters_from_data,
    read_settings,
)
from memorag_integrations.index.filters import Filters
from memorag_integrations.retrieval.query import Mode
from memorag_integrations.retrieval.reranking import Reranking

from .adapters import as_embedder

EmbedModel = Embeddings | Embedder | str | None


HostReranker = BaseDocumentCompressor | BaseCrossEncoder | Reranker | Reranking | str | None


CONSTRUCTORS = (
    "MemoRAGRetriever.from_documents(documents), .from_chunks(chunks), .from_texts(texts) or .load_local(folder)"
)


HINTS: Mapping[str, str] = {
    **dict.fromkeys(("similarity_top_k", "top_k", "top_n", "n_results", "limit", "fetch_k"), "k="),
    **dict.fromkeys(("where", "metadata_filters"), "filters="),
    **dict.fromkeys(("embed_model", "embeddings", "embedder", "embedding_function", "embedding_model"), "embedding="),
    **dict.fromkeys(("score_threshold", "similarity_cutoff", "threshold"), "cutoff="),
    **dict.fromkeys(("text_splitter", "splitter"), "from_chunks(splitter.split_documents(documents))"),
    **dict.fromkeys(
        ("chunk_size", "chunk_overlap"), "engine={'passage_size': …}, or from_chunks for a splitter's chunks"
    ),
    **dict.fromkeys(("folder_path", "persist_directory", "path"), "folder="),
    "lambda_mult": "merge=True against neighbours; what says the same is given once in any case",
    "llm": "memory=LLMMemory(llm)",
    "progress": "show_progress=",
    "allow_dangerous_deserialization": "nothing in its place: a store of ours cannot run code",
    **ENGINE_HINTS,
}


class RetrieverSettings(TypedDict, total=False):
    """Settings of a retriever; see `MemoRAGRetriever`."""

    budget: int | None
    mode: Mode
    filters: Filters | None
    filter: Filters | None
    cutoff: float
    merge: bool
    provenance: bool
    return_provenance: bool
    search_kwargs: Mapping[str, Any] | None
    search_type: Literal["similarity", "similarity_score_threshold"]
    tags: list[str] | None
    metadata: dict[str, Any] | None
    name: str | None


class IndexSettings(RetrieverSettings, total=False):
    """Settings of a retriever whose corpus may change, too."""

    source_key: str | None


def normalized(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under our own names: `filter`, `return_provenance`, `search_kwargs` and `search_type` are resolved.

    Raises:
        InputError: Where a setting is given twice, or a search type is none of ours.
    """
    resolved = dict(settings)
    search_kwargs, search_type = resolved.pop("search_kwargs", None), resolved.pop("search_type", None)
    if search_type not in (None, "similarity", "similarity_score_threshold"):
        raise InputError(
            f"There is no search_type {search_type!r} here. Leave it out; mode= chooses the ranking, and what says the same "
            f"is given once."
        )
    if search_kwargs is not None and not isinstance(search_kwargs, Mapping):
        raise InputError(f"search_kwargs takes a mapping, found {type(search_kwargs).__name__}.")
    for name, value in (search_kwargs or {}).items():
        _set(resolved, "cutoff" if name == "score_threshold" else name, value)
    for name, ours in (("filter", "filters"), ("return_provenance", "provenance")):
        if name in resolved:
            _set(resolved, ours, resolved.pop(name))
    return resolved


def _set(settings: dict[str, Any], name: str, value: Any) -> None:
    if settings.get(name) is not None and value is not None and settings[name] != value:
        raise InputError(f"{name} is given twice, as {settings[name]!r} and as {value!r}. Leave one out.")
    if settings.get(name) is None:
        settings[name] = value


def checked_settings(k: int | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A retriever's settings under our own names, refused where no query could be answered with them."""
    own = normalized({**settings, "k": k} if k is not None else settings)
    aliases = ("filter", "return_provenance", "search_kwargs", "search_type")
    known = ["k", *(name for name in IndexSettings.__annotations__ if name not in aliases)]
    check_names("MemoRAGRetriever", own, known, HINTS)
    mode, cutoff, merge = own.get("mode", "memorag"), own.get("cutoff", 0.0), own.get("merge", False)
    check_retrieval(own.get("k"), own.get("budget"), cutoff, mode, own.get("filters"), merge)
    if not isinstance(own.get("provenance", False), bool):
        raise InputError(f"provenance must be True or False, found {own['provenance']!r}.")
    return own


def second(second: EmbedModel | int, k: int | None) -> tuple[EmbedModel, int | None]:
    """The embedding model and k, out of the second positional argument: the model, as vector stores have it. A number is
    taken for k, which stood there once.
    """
    if not isinstance(second, int):
        return second, k
    if k is not None and k != second:
        raise InputError(f"k is given twice, as {second!r} and as {k!r}. The second argument is the embedding model.")
    return None, second


def embedder_of(embedding: EmbedModel) -> Embedder | str | None:
    return check_embedder(as_embedder(embedding), "embedding", "a LangChain Embeddings")


def with_saved(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, those that are not given as the store keeps them."""
    saved = read_settings(folder)
    if "filters" not in settings and "filters" in saved:
        saved["filters"] = filters_from_data(saved["filters"])
    if settings.get("budget") is not None or settings.get("k") is not None:
        saved.pop("k", None)
        saved.pop("budget", None)
    return {**saved, **settings}
