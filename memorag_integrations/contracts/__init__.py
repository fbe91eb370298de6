"""The contracts between the packages. Whatever has these members fits; nothing needs to be inherited.

A class that derives from one of these protocols inherits the async methods: each runs the sync method in a thread.
`conformance.missing_members` says what an object lacks.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from ..clues import Completion, Recall
from ..documents import Shard
from ..scores import Floats, LexicalWeights, Scores
from ..threads import in_thread

Config = Mapping[str, Any]
"""Settings in JSON from which `registry.build` makes the same object again."""


class Progress(Protocol):
    """Called as work goes on: what is being done ("embedding passages"), how much of it is done, how much there is."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


@runtime_checkable
class Embedder(Protocol):
    """Texts to vectors: float32 [n, dimension], each of unit length."""

    @property
    def name(self) -> str:
        """For people and fingerprints: the class and the model."""

    @property
    def config(self) -> Config | None:
        """How to make it again from a store alone; None where only the caller can (a host's model)."""

    def embed_passages(self, texts: Sequence[str]) -> Floats: ...

    def embed_queries(self, texts: Sequence[str]) -> Floats: ...

    async def aembed_passages(self, texts: Sequence[str]) -> Floats:
        return await in_thread(self.embed_passages, texts)

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        return await in_thread(self.embed_queries, texts)


@runtime_checkable
class LexicalEmbedder(Embedder, Protocol):
    """An embedder whose model says in the same pass how much each token of a text matters."""

    @property
    def lexical(self) -> Literal["beside", "instead"] | None:
        """Where these weights count: beside BM25, in its place, or not at all."""

    def embed_lexical(self, texts: Sequence[str]) -> tuple[Floats, list[LexicalWeights]]:
        """The vectors as `embed_passages` and `embed_queries` give them, and each text's weights."""


@runtime_checkable
class Memory(Protocol):
    """What was formed over one shard. Read-only: recalling leaves it as it was.

    `memories.base.BaseMemory` declares what a memory may have besides: `recall_key`, `summarize`.
    """

    @property
    def token_count(self) -> int:
        """Tokens of the text it was formed over."""

    @property
    def nbytes(self) -> int:
        """Bytes it holds in RAM or on the device."""

    def recall(
        self,
        queries: Sequence[str],
        *,
        scores: Sequence[Scores],
        cancel: threading.Event | None = None,
    ) -> list[Recall]:
        """Clues for each query.

        Args:
            queries: At least one, none blank.
            scores: What the index says of each query about this shard's passages.
            cancel: When set, the recall ends with `errors.Cancelled`, and the memory can be asked again.
        """

    async def arecall(
        self,
        queries: Sequence[str],
        *,
        scores: Sequence[Scores],
        cancel: threading.Event | None = None,
    ) -> list[Recall]:
        return await in_thread(self.recall, queries, scores=scores, cancel=cancel)

    def save(self, path: Path) -> None:
        """Write it to `path`, a folder that does not exist yet and is the memory's own: safetensors and JSON."""


@runtime_checkable
class MemoryModel(Protocol):
    """Settings, and how to form a memory and load one. Loads what it needs when first used.

    `memories.base.BaseMemoryModel` declares what a model may have besides: `together`, `llm`, `usage`, `groups`, ….
    """

    @property
    def config(self) -> Config | None:
        """How to make it again from a store alone; None where only the caller can (an LLM of a host)."""

    @property
    def fingerprint(self) -> str:
        """Hash of whatever changes what a memory holds. A shard's memory is reused where this and its text are the same."""

    @property
    def capacity(self) -> int | None:
        """Tokens that one shard may hold, or None for no limit but a document."""

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as `capacity` counts them."""

    def form(self, shard: Shard, *, progress: Progress | None = None, cancel: threading.Event | None = None) -> Memory:
        """Read the shard's text once. A set `cancel` ends it with `errors.Cancelled` and leaves nothing behind."""

    def load(self, path: Path, shard: Shard) -> Memory:
        """The memory that `Memory.save` wrote to `path`, formed over this shard.

        Raises:
            MemoryModelError: Where the files are broken, or of another model (both fingerprints in the message).
        """


class JoiningModel(MemoryModel, Protocol):
    """A memory model that says which of its memories are asked in one prompt. Every model has it in the engine's hands:
    see `memories.recall_cache`."""

    def groups(self, memories: Sequence[Memory], most: int) -> list[list[int]]:
        """The memories that share a prompt.

        Args:
            memories: Of this model, the best first.
            most: Groups.

        Returns:
            Numbers of memories, by group; memories that go into none are not asked.
        """

    def joined(self, memories: Sequence[Memory]) -> Memory:
        """The memories of one group as one, over their documents in this order. It is asked, and never saved."""


class RestrictingModel(JoiningModel, Protocol):
    """A joining model that says which of its memories may be asked under a filter that admits a part of their text. Every
    model has it in the engine's hands: see `memories.recall_cache`."""

    def reads_text(self, memory: Memory) -> bool:
        """Whether the memory knows more of its text than the scores tell it, which hold admitted passages alone."""

    def can_restrict(self, memory: Memory) -> bool:
        """Whether `restricted` may give a memory at all."""

    def restricted(self, memory: Memory, shard: Shard) -> Memory | None:
        """A memory over a part of the text of another one; None where that cannot be.

        Args:
            memory: Over a whole shard, of this model.
            shard: The admitted part of that shard.
        """


@runtime_checkable
class LLM(Protocol):
    """A language model that completes prompts."""

    @property
    def name(self) -> str:
        """For people and fingerprints."""

    @property
    def context_window(self) -> int | None:
        """Tokens of prompt and answer together, or None where the provider does not say."""

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion: ...

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        """The reply in pieces; in one piece where the model does not say it as it comes."""
        yield self.complete(prompt, max_tokens=max_tokens).text

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        return await in_thread(self.complete, prompt, max_tokens=max_tokens)

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        """`stream`, each piece made in a thread. An iterator that is not read to its end closes `stream`'s."""
        pieces = self.stream(prompt, max_tokens=max_tokens)
        try:
            while (piece := await in_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            if (close := getattr(pieces, "close", None)) is not None:
                await in_thread(close)


@runtime_checkable
class Reranker(Protocol):
    """Scores passages for a query by reading both together; higher is better, any range."""

    def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]: ...

    async def arerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        return await in_thread(self.rerank, query, passages)
