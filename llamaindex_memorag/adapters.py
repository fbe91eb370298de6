"""LlamaIndex's models as ours, and what the app has set in `Settings`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import LLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode, TransformComponent

from memorag_integrations.contracts import Config, Embedder, Reranker
from memorag_integrations.encoders.symmetry import Symmetry
from memorag_integrations.retrieval.reranking import Reranking, scores_of
from memorag_integrations.scores import Floats

logger = logging.getLogger(__name__)


class LlamaIndexEmbedder(Embedder):
    """A LlamaIndex embedding model as an embedder of the engine.

    LlamaIndex has no batch of queries. Several queries (the clues of one recall) go out together: as one batch of texts
    where the model embeds queries as it embeds texts, else gathered (async) or one after another (sync).
    """

    def __init__(self, model: BaseEmbedding) -> None:
        self.model = model
        self._symmetry = Symmetry()

    @property
    def name(self) -> str:
        return f"{self.model.class_name()} {self.model.model_name}"

    @property
    def config(self) -> Config | None:
        return None

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        return np.asarray(self.model.get_text_embedding_batch(list(texts)), dtype=np.float32)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        return self._symmetry.embed(texts, self.model.get_query_embedding, self.model.get_text_embedding_batch)

    async def aembed_passages(self, texts: Sequence[str]) -> Floats:
        return np.asarray(await self.model.aget_text_embedding_batch(list(texts)), dtype=np.float32)

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        return await self._symmetry.aembed(texts, self.model.aget_query_embedding, self.model.aget_text_embedding_batch)


class LlamaIndexReranker(Reranker):
    """A LlamaIndex node postprocessor that reorders (a `…Rerank`) as a reranker of the engine.

    Passages that it drops (beyond its `top_n`) stand below those that it gives back.
    """

    def __init__(self, postprocessor: BaseNodePostprocessor) -> None:
        self.postprocessor = postprocessor

    def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        reordered = self.postprocessor.postprocess_nodes(_nodes(passages), QueryBundle(query))
        return _scores(reordered, len(passages), self.postprocessor)

    async def arerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        reordered = await self.postprocessor.apostprocess_nodes(_nodes(passages), QueryBundle(query))
        return _scores(reordered, len(passages), self.postprocessor)


def _nodes(passages: Sequence[str]) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(id_=str(i), text=text), score=0.0) for i, text in enumerate(passages)]


def _scores(reordered: Sequence[NodeWithScore], count: int, postprocessor: BaseNodePostprocessor) -> list[float]:
    return scores_of([(node.node.node_id, node.score) for node in reordered], count, type(postprocessor).__name__)


def as_embedder(model: BaseEmbedding | Embedder | str | None) -> Embedder | str | None:
    """What `MemoRAG(embedder=…)` takes, out of what a LlamaIndex user has at hand."""
    return LlamaIndexEmbedder(model) if isinstance(model, BaseEmbedding) else model


def as_reranker(
    reranker: BaseNodePostprocessor | Reranker | Reranking | str | None,
) -> Reranker | Reranking | str | None:
    """What `MemoRAG(reranker=…)` takes, out of what a LlamaIndex user has at hand."""
    return LlamaIndexReranker(reranker) if isinstance(reranker, BaseNodePostprocessor) else reranker


# ── what the app has set in `Settings` ────────────────────────────────────────────────────────────────────────────


def app_embed_model() -> BaseEmbedding | None:
    """The embedding model that the app has set in `Settings`, or None.

    Reading `Settings.embed_model` where nothing is set makes LlamaIndex's default and sets it. Whether something read it
    before must not decide on the model, so the default counts as "not set"; that is logged.
    """
    model = getattr(Settings, "_embed_model", None)
    if not isinstance(model, BaseEmbedding):
        return None
    if _is_default_embed_model(model):
        logger.warning(
            "Settings.embed_model is LlamaIndex's own default (%s), which stands there as soon as anything reads it: BM25 "
            "alone. Pass embed_model=Settings.embed_model to use it.",
            model.class_name(),
        )
        return None
    return model


def _is_default_embed_model(model: BaseEmbedding) -> bool:
    """Whether a model is as LlamaIndex's `resolve_embed_model("default")` makes it."""
    if os.getenv("IS_TESTING"):
        return type(model) is MockEmbedding and model.embed_dim == 8
    if model.class_name() != "OpenAIEmbedding":
        return False
    try:
        default = type(model)()
    except Exception:  # whatever a third party's constructor raises, this is not its default
        return False
    changing = {"callback_manager", "api_key"}
    return bool(model.model_dump(exclude=changing) == default.model_dump(exclude=changing))


def app_llm() -> LLM | None:
    """The LLM the app has set in `Settings`, or None. Reading the public property would make an OpenAI one."""
    llm = getattr(Settings, "_llm", None)
    return llm if isinstance(llm, LLM) else None


def app_transformations() -> list[TransformComponent] | None:
    """The transformations that the app has set in `Settings`, or a node parser or chunk size of its own; else None.

    LlamaIndex's default (a `SentenceSplitter` as it comes) stands there as soon as anything reads it, and counts as "not
    set".
    """
    transformations = getattr(Settings, "_transformations", None)
    if transformations is not None and not (len(transformations) == 1 and _is_default_parser(transformations[0])):
        return list(transformations)
    parser = getattr(Settings, "_node_parser", None)
    return None if parser is None or _is_default_parser(parser) else [parser]


def _is_default_parser(parser: Any) -> bool:
    if type(parser) is not SentenceSplitter:
        return False
    default = SentenceSplitter()
    names = set(SentenceSplitter.model_fields) - {"callback_manager", "id_func"}
    return all(getattr(parser, name) == getattr(default, name) for name in names)
