"""Settings of the retriever: their names, what is meant by other names, and those that a store keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.llms import LLM as HostLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import IndexNode
from llama_index.core.vector_stores.types import MetadataFilters

from memorag_integrations.contracts import Embedder, Reranker
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.arguments import (
    ENGINE_HINTS,
    check_names,
    check_retrieval,
)
from memorag_integrations.hosts.retrieval_settings import read_settings
from memorag_integrations.index.filters import Filters
from memorag_integrations.retrieval.query import Mode
from memorag_integrations.retrieval.reranking import Reranking

from .adapters import app_llm
from .filters import filters_from_data, to_filters

FROM_APP = "app"
"""Stands for: the embedding model that the app has set in `Settings`, or none."""


EmbedModel = BaseEmbedding | Embedder | str | None


HostReranker = BaseNodePostprocessor | Reranker | Reranking | str | None


CONSTRUCTORS = "MemoRAGRetriever.from_documents(documents), .from_nodes(nodes), .from_index(index) or .from_defaults(…)"


HINTS: Mapping[str, str] = {
    **dict.fromkeys(("k", "top_k", "top_n", "n_results", "limit"), "similarity_top_k="),
    **dict.fromkeys(("filter", "where", "metadata_filters"), "filters="),
    **dict.fromkeys(("embedding", "embeddings", "embedder", "embedding_model", "embed"), "embed_model="),
    **dict.fromkeys(("score_threshold", "similarity_cutoff", "threshold"), "cutoff="),
    **dict.fromkeys(("node_parser", "text_splitter", "splitter"), "transformations=[…]"),
    **dict.fromkeys(
        ("chunk_size", "chunk_overlap"), "transformations=[SentenceSplitter(…)] or engine={'passage_size': …}"
    ),
    **dict.fromkeys(("vector_store_query_mode", "retriever_mode", "search_type"), "mode="),
    "search_kwargs": "similarity_top_k= and filters=",
    "llm": "memory=LLMMemory(llm) for a memory that asks it, or MemoRAGQueryEngine for answers",
    "node_postprocessors": "reranker= for one that reorders, or MemoRAGQueryEngine(…, node_postprocessors=…)",
    "return_provenance": "provenance=",
    "progress": "show_progress=",
    "storage_context": "MemoRAGRetriever.open(folder)",
    "service_context": "embed_model= and Settings",
    "folder": "persist_dir=",
    **ENGINE_HINTS,
}


class RetrieverSettings(TypedDict, total=False):
    """Settings of a retriever; see `MemoRAGRetriever`."""

    budget: int | None
    mode: Mode
    filters: MetadataFilters | Filters | None
    cutoff: float
    merge: bool
    provenance: bool
    callback_manager: CallbackManager | None
    objects: Sequence[IndexNode] | None
    object_map: dict[str, Any] | None
    verbose: bool


def check_settings(similarity_top_k: int | None, settings: Mapping[str, Any]) -> None:
    """Refuse names and values of a retriever's settings with which no query could be answered."""
    check_names(
        "MemoRAGRetriever",
        settings,
        [*RetrieverSettings.__annotations__, "similarity_top_k", "embed_model", "memory"],
        HINTS,
    )
    filters = to_filters(settings.get("filters"))
    mode, cutoff = settings.get("mode", "memorag"), settings.get("cutoff", 0.0)
    check_retrieval(similarity_top_k, settings.get("budget"), cutoff, mode, filters, settings.get("merge", False))
    for name in ("provenance", "verbose"):
        if not isinstance(settings.get(name, False), bool):
            raise InputError(f"{name} must be True or False, found {settings[name]!r}.")
    for node in settings.get("objects") or ():
        if not isinstance(node, IndexNode):
            raise InputError(f"objects takes IndexNode objects, found {type(node).__name__}.")


def retrieval_part(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the retriever, and the others."""
    names = {*RetrieverSettings.__annotations__, "similarity_top_k"} - {"callback_manager", "verbose"}
    own = {name: value for name, value in settings.items() if name in names}
    return own, {name: value for name, value in settings.items() if name not in names}


def saved_settings(folder: Path, similarity_top_k: int | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a store keeps of its retriever, those that are passed in their place."""
    saved = read_settings(folder)
    if "filters" in settings:
        saved.pop("filters", None)
    elif "filters" in saved:
        saved["filters"] = filters_from_data(saved["filters"])
    k = saved.pop("k", None)
    if similarity_top_k is not None or settings.get("budget") is not None:
        saved.pop("budget", None)
        k = similarity_top_k
    return {**saved, "similarity_top_k": k}


def llm_or_error(llm: HostLLM | None) -> HostLLM:
    """The LLM that was passed, else the one the app has set.

    Raises:
        InputError: Where there is neither, or what was passed is none.
    """
    if llm is not None and not isinstance(llm, HostLLM):
        raise InputError(f"llm must be a LlamaIndex LLM, found {type(llm).__name__}.")
    found = llm or app_llm()
    if found is None:
        raise InputError(
            "A query engine needs an LLM to write answers with, and neither the call nor Settings has one. "
            "Pass llm=…, set Settings.llm, or use MemoRAGRetriever for the evidence alone."
        )
    return found
