"""BGE-M3 (Chen et al., arXiv 2402.03216) as an embedder, through FlagEmbedding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from ..contracts import Config, LexicalEmbedder
from ..errors import InputError, check_extra
from ..scores import Floats, LexicalWeights
from .flagembedding import M3, Preparing, load_m3

BGE_M3 = "BAAI/bge-m3"


class BGEM3Embedder(Preparing, LexicalEmbedder):
    """BGE-M3's dense vectors: 1,024 dimensions, more than 100 languages, texts of up to 8,192 tokens.

    FlagEmbedding and the weights are loaded when first used, in half precision on CUDA alone, onto one device. An
    embedder and a `BGEM3Reranker` of the same folder and device hold the weights once.

    Args:
        model: Hub name, or a local folder in its layout.
        max_length: Tokens of a text that the model reads; None for as many as it has positions for.
        device: "cpu", "cuda", "cuda:1", "mps"; None picks one.
        batch_size: Most texts of a forward pass.
        lexical: How its learned lexical weights are used: "beside" BM25, "instead" of it, or None for not at all. They
            come with the vectors, from the same pass, and a store keeps them with these.

    Raises:
        InputError: For another `lexical`.
        MissingExtraError: Without FlagEmbedding (the `bge` extra).
    """

    def __init__(
        self,
        model: str = BGE_M3,
        max_length: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
        lexical: Literal["beside", "instead"] | None = None,
    ) -> None:
        if lexical not in ("beside", "instead", None):
            raise InputError(f'lexical must be "beside", "instead" or None, found {lexical!r}.')
        check_extra("BGE-M3", "bge")
        self.model = model
        self.max_length = max_length
        self.device = device
        self.batch_size = batch_size
        self._lexical = lexical

    @property
    def lexical(self) -> Literal["beside", "instead"] | None:
        return self._lexical

    @property
    def name(self) -> str:
        return f"BGE-M3 {self.model}"

    @property
    def config(self) -> Config | None:
        return {
            "kind": "bge-m3",
            "model": self.model,
            "max_length": self.max_length,
            "device": self.device,
            "batch_size": self.batch_size,
            "lexical": self.lexical,
        }

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        dense = self._loaded.encode(texts, max_length=self.max_length, batch_size=self.batch_size, dense=True).dense
        assert dense is not None
        return dense

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """As `embed_passages`: BGE-M3 has no instruction for queries."""
        return self.embed_passages(texts)

    def embed_lexical(self, texts: Sequence[str]) -> tuple[Floats, list[LexicalWeights]]:
        encoded = self._loaded.encode(
            texts, max_length=self.max_length, batch_size=self.batch_size, dense=True, lexical=True
        )
        assert encoded.dense is not None
        assert encoded.lexical is not None
        return encoded.dense, [LexicalWeights(tokens, weights) for tokens, weights in encoded.lexical]

    @cached_property
    def _loaded(self) -> M3:
        return load_m3(self.model, self.device)
