"""An embedder whose answers are checked. Its vectors are kept by the content of their text until an index has them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import numpy as np

from ..contracts import Embedder, LexicalEmbedder, Progress
from ..contracts.conformance import conforms
from ..documents import Passage, embedding_text, text_hash
from ..errors import Cancelled, EmbedderError, InputError, raised_as
from ..scores import Floats, LexicalWeights
from ..threads import in_thread
from .fingerprint import EmbedderFingerprint

logger = logging.getLogger(__name__)

BATCH = 256
"""Passages in one call of an embedder. Between calls progress is reported and the cancel event is checked."""

REMEMBERED = 256
"""Queries whose lexical weights are kept between their embedding and their scoring."""

SPARE = 1_000
"""Texts whose lexical weights may always be kept beyond twice the passages of the corpus."""


class CheckedEmbedder:
    """An embedder whose answers are checked, and whose fingerprint is taken once.

    What it encoded is kept until an index has it, so that interrupted work is not done again.

    Args:
        embedder: The model.
        expected: The fingerprint of stored vectors; the model is compared with it at first use, or by `verify`. None
            to take the model's own.
    """

    late: Callable[[Mapping[str, LexicalWeights]], None] | None = None
    """Called with lexical weights that had to be computed during a query, so that a store can keep them."""

    def __init__(self, embedder: Embedder, expected: EmbedderFingerprint | None = None) -> None:
        self.embedder = embedder
        self.vectors: dict[str, Floats] = {}
        self.encoded = 0
        self.weights: dict[str, LexicalWeights] = {}
        self._query_weights: OrderedDict[str, LexicalWeights] = OrderedDict()
        self._query_lock = threading.Lock()
        self._fingerprint = expected
        self._verified = False

    @classmethod
    def of(cls, embedder: Embedder | None) -> CheckedEmbedder | None:
        """The embedder, checked; None for none."""
        return None if embedder is None else cls(embedder)

    def copied(self) -> CheckedEmbedder:
        """Another one over the same model, whose vectors under way are its own."""
        copy = CheckedEmbedder(self.embedder, self._fingerprint)
        copy._verified, copy.weights, copy.late = self._verified, dict(self.weights), self.late
        return copy

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
        """Embed the probe text once, and compare its vector with the expected fingerprint.

        Raises:
            EmbedderError: Where the stored vectors are another model's.
        """
        expected = self.fingerprint
        if not self._verified:
            actual = take_fingerprint(self.embedder)
            if not actual.same_space(expected):
                raise EmbedderError(
                    f"The stored vectors were made by {expected}, but {actual} is in use, and its vectors are others. "
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
        """Vectors by key. Texts whose vectors are kept do not go to the model; the others go longest first, in even batches.

        Args:
            texts: The texts, by `text_hash`.
            progress: Called after each batch.
            cancel: Ends the work between two batches when set.
            arrived: Called with the vectors of each batch.
        """
        self.verify()
        order = sorted((key for key in texts if key not in self.vectors), key=lambda key: -len(texts[key]))
        for at in range(0, len(order), BATCH):
            if cancel is not None and cancel.is_set():
                raise Cancelled("Cancelled while passages were embedded; the corpus is as it was before.")
            batch = order[at : at + BATCH]
            vectors, weights = self._embed([texts[key] for key in batch], self.embedder.embed_passages)
            self.weights.update(zip(batch, weights, strict=False))
            by_key = dict(zip(batch, vectors, strict=True))
            self.vectors.update(by_key)
            self.encoded += len(batch)
            if arrived is not None:
                arrived(by_key)
            progress("embedding passages", at + len(batch), len(order))
        return {key: self.vectors[key] for key in texts}

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        self.verify()
        vectors, weights = self._embed(texts, self.embedder.embed_queries)
        with self._query_lock:
            self._query_weights.update(zip(texts, weights, strict=False))
            while len(self._query_weights) > max(REMEMBERED, len(texts)):
                self._query_weights.popitem(last=False)
        return vectors

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        if self.lexical is not None:
            return await in_thread(self.embed_queries, texts)
        if not self._verified:
            await in_thread(self.verify)
        with _embedder_errors(self.embedder):
            vectors = await self.embedder.aembed_queries(texts)
        return check_vectors(vectors, len(texts), self.dimension, self.embedder.name)

    def check_query_vector(self, vector: Sequence[float] | Floats) -> Floats:
        """A query's vector that was made elsewhere, as `embed_queries` gives it: float32 [1, dimension], of unit length.

        Raises:
            InputError: For another dimension, NaN, infinity, or length zero.
        """
        try:
            with np.errstate(over="ignore"):
                row = np.asarray(vector, dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            row = np.zeros(0, np.float32)
        length = float(np.linalg.norm(row)) if row.ndim == 1 else 0.0
        if row.shape != (self.dimension,) or not np.isfinite(length) or length == 0:
            raise InputError(
                f"The query's vector must be {self.dimension} finite numbers, not all zero, as {self.fingerprint} makes "
                f"them; found {list(row.shape)}. Leave it out to have the query embedded."
            )
        return np.asarray(row[None] / length, dtype=np.float32)

    @property
    def lexical(self) -> Literal["beside", "instead"] | None:
        """Where the embedder's lexical weights count; None where it has none."""
        return self.embedder.lexical if conforms(self.embedder, LexicalEmbedder) else None

    def lexical_passages(self, texts: Sequence[str]) -> list[LexicalWeights]:
        """The lexical weights of passages. Those that are missing are computed again."""
        keys = [text_hash(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.weights}
        if missing:
            logger.warning("The lexical weights of %d passages are not at hand, and are read again.", len(missing))
        names = list(missing)
        for at in range(0, len(names), BATCH):
            batch = names[at : at + BATCH]
            _, weights = self._embed([missing[key] for key in batch], self.embedder.embed_passages)
            by_key = dict(zip(batch, weights, strict=True))
            self.weights.update(by_key)
            if self.late is not None:
                self.late(by_key)
        return [self.weights[key] for key in keys]

    def lexical_queries(self, texts: Sequence[str]) -> list[LexicalWeights]:
        """The lexical weights of queries. Those of texts that `embed_queries` has just embedded are at hand."""
        with self._query_lock:
            known = [self._query_weights.get(text) for text in texts]
        if any(weights is None for weights in known):
            _, weights = self._embed(texts, self.embedder.embed_queries)
            return list(weights)
        return [weights for weights in known if weights is not None]

    def _embed(
        self, texts: Sequence[str], plain: Callable[[Sequence[str]], Floats]
    ) -> tuple[Floats, Sequence[LexicalWeights]]:
        """Checked vectors, and the lexical weights of the same pass where the embedder has any."""
        weights: Sequence[LexicalWeights] = ()
        if conforms(self.embedder, LexicalEmbedder) and self.embedder.lexical is not None:
            with _embedder_errors(self.embedder):
                vectors, weights = self.embedder.embed_lexical(texts)
            check_lexical(weights, len(texts), self.embedder.name)
        else:
            with _embedder_errors(self.embedder):
                vectors = plain(texts)
        return check_vectors(vectors, len(texts), self.dimension, self.embedder.name), weights

    def keep(self, vectors: Mapping[str, Floats], weights: Mapping[str, LexicalWeights] | None = None) -> None:
        """Take over vectors and lexical weights that another object made, by `text_hash` of their text."""
        self.vectors.update(vectors)
        self.weights.update(weights or {})

    def forget(self) -> None:
        """Drop the vectors that were kept, once the index has them."""
        self.vectors = {}

    def forget_weights(self, passages: Sequence[Passage]) -> None:
        """Drop the lexical weights of all texts but these passages', once those are too many."""
        if len(self.weights) > 2 * len(passages) + SPARE:
            living = {text_hash(text) for passage in passages for text in (passage.text, embedding_text(passage))}
            self.weights = {key: weights for key, weights in self.weights.items() if key in living}


def take_fingerprint(embedder: Embedder) -> EmbedderFingerprint:
    """The fingerprint of an embedder: the vector of the probe text."""
    with _embedder_errors(embedder):
        answer = embedder.embed_passages([EmbedderFingerprint.PROBE])
    vectors = check_vectors(answer, 1, None, embedder.name)
    probe = tuple(round(float(value), 5) for value in vectors[0])
    return EmbedderFingerprint(embedder.name, len(probe), probe)


def _embedder_errors(embedder: Embedder) -> AbstractContextManager[None]:
    """What an embedder raises comes out as EmbedderError, with its own exception as the cause."""
    return raised_as(EmbedderError, f"{embedder.name} could not embed texts")


def check_vectors(vectors: object, count: int, dimension: int | None, name: str) -> Floats:
    """`vectors` as float32 [count, dimension] of unit length.

    Raises:
        EmbedderError: For another shape, another dimension, NaN, infinity, or a vector of length zero.
    """
    try:
        array = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise EmbedderError(
            f"{name} should return {count} vectors of one dimension; its answer is uneven: {error}"
        ) from error
    if array.ndim != 2 or array.shape[0] != count or (dimension is not None and array.shape[1] != dimension):
        raise EmbedderError(
            f"{name} should return vectors of shape [{count}, {dimension or 'dimension'}], found {list(array.shape)}. "
            f"Memorize again if the embedding model was changed."
        )
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        bad = int((~np.isfinite(lengths) | (lengths == 0)).sum())
        raise EmbedderError(
            f"{name} returned {bad} of {count} vectors with NaN, infinity or length zero. "
            f"Nothing was stored. Check its precision (half precision overflows on some CPUs) and its input."
        )
    return np.asarray(array / lengths, dtype=np.float32)


def check_lexical(weights: Sequence[LexicalWeights], count: int, name: str) -> None:
    """Check the lexical weights of so many texts.

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
