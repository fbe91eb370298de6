"""What many tests share: a small corpus, a real embedder without weights, and the real MiniLM."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import settings

from memorag_integrations import Document
from memorag_integrations.contracts import Config, Embedder
from memorag_integrations.encoders.embedders import MiniLMEmbedder
from memorag_integrations.scores import Floats

settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=2000)  # pytest --hypothesis-profile thorough
settings.load_profile("quick")

LIGHTHOUSE = """The lighthouse on Corran Point was built of grey granite in 1871. Its keeper, Ewan Baird, lit the lamp each dusk.

In the winter of 1902 the oil ran out for three nights. A trawler, the Silver Hind, struck the reef and eleven men drowned.

The inquiry found that the supply boat had been sold by the harbour board to pay for a new quay. Nobody had told the keeper.

Baird never spoke of it. He planted eleven apple trees behind the tower, and tended them until he died."""

BAKERY = """Marta opens the bakery at four. The sourdough has rested since the evening before, in baskets lined with linen.

She learned the craft from her grandmother, who measured nothing and was never wrong. The oven is older than both of them.

On Fridays there is rye bread with caraway. Customers queue along the canal, and the tourists photograph the queue."""

RIVER = """The river gauge at Halden measures depth every ten minutes. When depth passes four metres, an alarm goes to the town.

In spring the snow melts above the gorge. The engineers open the sluice gates two at a time, never all together.

The flood of 1987 came at night. The gauge had frozen, the alarm stayed silent, and the lower mill was carried away."""


class HashEmbedder(Embedder):
    """Words hashed into dimensions, weighed by count: texts that share words are close. Deterministic, needs no weights.

    Args:
        dimension: Of the vectors.
        fail: How its answers go wrong from now on: "nan", "zero", "count", "dimension", "uneven", "raise"; None for not.
        hook: Called with every list of texts before it is embedded, in the thread that embeds.
        seed: Another seed is another vector space.
    """

    def __init__(
        self,
        dimension: int = 64,
        fail: str | None = None,
        hook: Callable[[Sequence[str]], None] | None = None,
        seed: int = 0,
    ) -> None:
        self.dimension, self.fail, self.hook, self.seed = dimension, fail, hook, seed
        self.passages: list[str] = []
        self.queries: list[str] = []
        self.threads: set[int] = set()

    @property
    def name(self) -> str:
        return f"HashEmbedder seed {self.seed}"

    @property
    def config(self) -> Config | None:
        return None

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        self.passages += texts
        return self._embed(texts)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        self.queries += texts
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Floats:
        self.threads.add(threading.get_ident())
        if self.hook is not None:
            self.hook(texts)
        if self.fail == "raise":
            raise RuntimeError("the model's server is away")
        if self.fail == "uneven":
            return [[1.0] * (3 + i) for i in range(len(texts))] + [[1.0]]  # type: ignore[return-value]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        vectors[:, self.seed % self.dimension] = 0.01
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.casefold()):
                vectors[row, zlib.crc32(f"{self.seed} {word}".encode("utf-8", "replace")) % self.dimension] += 1
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if self.fail == "nan":
            vectors[-1, 0] = np.nan
        if self.fail == "zero":
            vectors[-1] = 0
        if self.fail == "count":
            return vectors[:-1]
        if self.fail == "dimension":
            return np.hstack([vectors, vectors])
        return vectors


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(LIGHTHOUSE, "lighthouse", {"kind": "story", "year": 1902}),
        Document(BAKERY, "bakery", {"kind": "craft", "year": 2020}),
        Document(RIVER, "river", {"kind": "report", "year": 1987}),
    ]


@pytest.fixture(scope="session")
def minilm() -> MiniLMEmbedder:
    """The real model, loaded once. Where its package is missing the test fails."""
    embedder = MiniLMEmbedder(device="cpu")
    embedder.embed_queries(["warm"])
    return embedder
