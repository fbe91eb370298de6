"""The rerankers we ship: cross-encoders, and BGE-M3's late interaction. Both run through FlagEmbedding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..contracts import Reranker
from ..contracts.conformance import conforms
from ..errors import InputError, check_extra
from .flagembedding import M3, CrossEncoder, Preparing, is_m3_folder, load_cross_encoder, load_m3

BGE_M3, BGE_RERANKER = "BAAI/bge-m3", "BAAI/bge-reranker-v2-m3"


class CrossEncoderReranker(Preparing, Reranker):
    """An encoder that reads query and passage together: the BGE rerankers, and any sequence classifier with one score.

    Loaded when first used, in half precision on CUDA alone, onto one device.

    Args:
        model: Hub name or local folder.
        max_length: Tokens of query and passage together; None for as many as the model has positions for.
        device: "cpu", "cuda", "cuda:1", "mps"; None picks one.
        batch_size: Most pairs of a forward pass.

    Raises:
        MissingExtraError: Without FlagEmbedding (the `bge` extra).
    """

    def __init__(
        self,
        model: str = BGE_RERANKER,
        max_length: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        check_extra("A cross-encoder", "bge")
        self.model = model
        self.max_length = max_length
        self.device = device
        self.batch_size = batch_size

    def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        """The model's logits.

        Raises:
            RerankerError: Where the model cannot be had, is none of this kind, or fails.
        """
        logits = self._loaded.score(query, passages, max_length=self.max_length, batch_size=self.batch_size)
        return [float(score) for score in logits]

    @cached_property
    def _loaded(self) -> CrossEncoder:
        return load_cross_encoder(self.model, self.device)


class BGEM3Reranker(Preparing, Reranker):
    """BGE-M3's late interaction (ColBERT; Khattab and Zaharia, SIGIR 2020): each token of the query seeks its best match.

    The vectors of a passage's tokens are computed for each query and not kept: they take 4 KiB a token.

    Args:
        model: Hub name or local folder. An embedder of the same model and device shares its weights.
        max_length, device, batch_size: As in `CrossEncoderReranker`; the length is that of a text.

    Raises:
        MissingExtraError: Without FlagEmbedding (the `bge` extra).
    """

    def __init__(
        self,
        model: str = BGE_M3,
        max_length: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        check_extra("BGE-M3", "bge")
        self.model = model
        self.max_length = max_length
        self.device = device
        self.batch_size = batch_size

    def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        """Over the query's tokens, the mean of the best cosine with any token of the passage.

        Raises:
            EmbedderError: Where the model cannot be had, is not BGE-M3, or fails.
        """
        if not passages:
            return []
        texts = [query, *passages]
        encoded = self._loaded.encode(texts, max_length=self.max_length, batch_size=self.batch_size, colbert=True)
        assert encoded.colbert is not None
        query_tokens, *passage_tokens = encoded.colbert
        return [float(np.mean((query_tokens @ tokens.T).max(axis=1))) for tokens in passage_tokens]

    @cached_property
    def _loaded(self) -> M3:
        return load_m3(self.model, self.device)


def resolve_reranker(reranker: str | Reranker) -> Reranker:
    """The reranker that an argument names.

    Args:
        reranker: A reranker, BGE-M3's name or a folder in its layout for its late interaction, or the name or path of a
            cross-encoder.

    Raises:
        InputError: For anything else.
        MissingExtraError: Where the packages it needs are not installed.
    """
    if not isinstance(reranker, str) and conforms(reranker, Reranker):
        return reranker
    if not isinstance(reranker, str) or not reranker.strip():
        raise InputError(
            f'reranker must be None, the name or path of a cross-encoder ("{BGE_RERANKER}"), "{BGE_M3}" for its late '
            f"interaction, or an object of the contract (a subclass of memorag_integrations.contracts.Reranker with rerank); "
            f"found {reranker!r}. A host's reranker is wrapped by llamaindex_memorag.LlamaIndexReranker or "
            f"langchain_memorag.LangChainReranker."
        )
    if reranker == BGE_M3 or is_m3_folder(reranker):
        return BGEM3Reranker(reranker)
    return CrossEncoderReranker(reranker)
