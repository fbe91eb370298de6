"""An embedder whose answers are checked, and whose vectors are kept by the content of the text."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from ..contracts import Embedder, LexicalEmbedder, Progress
from ..contracts.conformance import conforms
from ..documents import text_hash
from ..errors import Cancelled, EmbedderError
from ..scores import Floats, LexicalWeights
from .fingerprint import EmbedderFingerprint

logger = logging.getLogger(__name__)

BATCH = 256
"""Passages that go to an embedder in one call: one step of the progress bar, one check of the cancel event."""

REMEMBERED = 256
"""Texts whose lexical weights are kept from their embedding to their scoring, moments later."""


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

    @classmethod
    def of(cls, embedder: Embedder | None) -> CheckedEmbedder | None:
        """The embedder, checked; None for none."""
        return None if embedder is None else cls(embedder)

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
        return self.embedder.lexical if conforms(self.embedder, LexicalEmbedder) else None

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
        if conforms(self.embedder, LexicalEmbedder) and self.embedder.lexical is not None:
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


def check_lexical(weights: Sequence[LexicalWeights], count: int, name: str) -> None:
    """Whether these are lexical weights of so many texts.

    Raises:
        EmbedderError: For another number, or weights that are negative, NaN or infinite.
    """
    if len(weights) != count:
        raise EmbedderError(f"{name} should return lexical weights of {count} texts, found those of {len(weights)}.")
    for row in weights:
        if row.tokens.shape != row.weights.shape or not np.isfinite(row.weights).all() or (row.weights < 0).any():
            raise EmbedderError(
                f"{name} returned lexical weights that are no positive numbers, one for each token. Check its precision, or "
                f"leave them out: lexical=None."
            )
