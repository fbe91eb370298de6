"""The base of every memory: what is checked before a text is read, and what a memory may offer besides the contract.

A memory of your own leaves two methods to write on each side. On the model's: `read(shard, text, …)` and
`load(path, shard)`; on the memory's: `recall(queries, …)` and `save(path)`. `random.py` is one.

A class that derives from neither base fits as well, if it has the members of `contracts.MemoryModel` and
`contracts.Memory`; whatever it has of the members below counts, and for the rest the defaults here hold.
"""

from __future__ import annotations

import inspect
import threading
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xxhash

from ..clues import Completion, Usage
from ..contracts import LLM, Config, Memory, MemoryModel, Progress
from ..contracts.conformance import conforms, missing_members
from ..documents import Shard, clean_text
from ..errors import Cancelled, InputError, MemoryModelError
from ..llms.gate import PromptGate
from ..progress import silent
from ..registry import MEMORY_MODELS
from ..scores import Scores


class BaseMemoryModel(MemoryModel):
    """Settings of a memory, the checks before a text is read, and capabilities with their defaults."""

    together: int = 1
    """Memories of one recall that are asked at once."""
    llm: LLM | None = None
    """The language model that answers and summaries are written with, unless the engine is given another."""
    context_window: int | None = None
    """Tokens of prompt and reply together, where `llm` does not say; None for what it says."""

    @property
    def config(self) -> Config | None:
        return None

    @property
    def capacity(self) -> int | None:
        return None

    @property
    def usage(self) -> Usage:
        """Of everything asked through this object."""
        return Usage()

    @property
    def gate(self) -> PromptGate | None:
        """What admits prompts to `llm`, where the model limits them."""
        return None

    def groups(self, memories: Sequence[Memory], most: int) -> list[list[int]]:
        """Each memory by itself; see `contracts.JoiningModel`."""
        return each_by_itself(memories, most)

    def joined(self, memories: Sequence[Memory]) -> Memory:
        """Its groups have one memory each, so there is nothing to join."""
        [memory] = memories
        return memory

    def form(self, shard: Shard, *, progress: Progress | None = None, cancel: threading.Event | None = None) -> Memory:
        """Read the shard's text once.

        Raises:
            InputError: For a blank text.
            Cancelled: When `cancel` was set; nothing is left behind.
        """
        check_not_cancelled(cancel, "the memory was formed")
        text = clean_text(shard.text)
        if not text.strip():
            raise InputError("A memory needs a text to be formed over; this shard's is blank.")
        return self.read(shard, text, progress or silent, cancel)

    @abstractmethod
    def read(self, shard: Shard, text: str, progress: Progress, cancel: threading.Event | None) -> Memory:
        """The memory over a shard.

        Args:
            shard: Documents and where they stand.
            text: The shard's text as valid Unicode, not blank; offsets are those of `shard.text`.
            progress: Told of each step.
            cancel: When set, the reading ends with `errors.Cancelled`, and nothing is left behind.
        """


class BaseMemory(Memory):
    """A memory over one shard, and capabilities with their defaults."""

    reads_text: bool = True
    """Whether it knows more of its text than `scores` tell it. A memory that does not is asked under every filter, for
    scores hold admitted passages alone."""

    def restricted(self, shard: Shard) -> Memory | None:
        """A memory over a part of this one's text, made when a query comes: without a call to a model.

        It is asked where a filter excludes some of this memory's text. The default is None: then this memory is not asked.

        Args:
            shard: The admitted part: documents that are admitted as a whole, and excerpts of the others.

        Returns:
            A memory that knows nothing but `shard`, and places its clues there. It is asked, and never saved.
        """
        return None

    def recall_key(self, query: str, scores: Scores | None) -> Hashable | None:
        """What a recall depends on besides the query: a recall is kept, and given again where this is the same.

        The default is a hash of everything that `scores` hold: right for a memory that reads them, and another one for
        another filter. A memory that does not read them says what else its recalls depend on, such as its prompts.

        Returns:
            None for a recall that is never kept.
        """
        return hash_of_scores(scores)

    def summarize(self, *, cancel: threading.Event | None = None) -> Completion:
        """The text's key points from memory alone, one a line.

        Raises:
            InputError: Where no language model speaks for the memory.
        """
        raise no_key_points(self)


def each_by_itself(memories: Sequence[Memory], most: int) -> list[list[int]]:
    """Groups of one memory each; see `contracts.JoiningModel.groups`."""
    return [[number] for number in range(len(memories))][:most]


def hash_of_scores(scores: Scores | None) -> str | None:
    """A hash of everything that a memory can read in the scores of a query: passages, metadata, numbers, terms.

    None for no scores at all.
    """
    if scores is None:
        return None
    digest = xxhash.xxh3_128()
    candidates = scores.candidates
    arrays = (scores.bm25, scores.dense, scores.local, scores.activation, scores.vector)
    for array in (*arrays, candidates.document, candidates.centre):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        digest.update(b"|")
    numbers = (sorted(scores.terms.items()), scores.known_terms, candidates.median_length)
    digest.update(repr((scores.text, numbers)).encode("utf-8", "surrogatepass"))
    for passage in candidates.passages:
        digest.update(repr(passage).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def declared(owner: object, name: str, default: Any) -> Any:
    """A capability of a memory or a model that need not derive from the base: its own, or the default."""
    return getattr(owner, name) if inspect.getattr_static(owner, name, None) is not None else default


def check_not_cancelled(cancel: threading.Event | None, before: str) -> None:
    """Raises Cancelled where `cancel` was set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled(f"Cancelled before {before}.")


def check_memory_model(model: object) -> MemoryModel:
    """`model`, if it has every member of the contract.

    Raises:
        InputError: Otherwise, naming all that it lacks.
    """
    if conforms(model, MemoryModel):
        return model
    found = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
    remedy = f"Pass an object of it: {model.__name__}(…)." if isinstance(model, type) else _remedy("BaseMemoryModel")
    raise InputError(
        f"memory must be a memory model or one of {', '.join(sorted(MEMORY_MODELS))}; found {found}, which lacks "
        f"{', '.join(missing_members(model, MemoryModel))}. {remedy}"
    )


def check_memory(memory: object, model: MemoryModel, made_by: str) -> Memory:
    """`memory`, if it has every member of the contract.

    Args:
        memory: What a model's method returned.
        model: The model.
        made_by: The method's name.

    Raises:
        MemoryModelError: Otherwise, naming all that it lacks.
    """
    if conforms(memory, Memory):
        return memory
    found = f"the class {memory.__name__}" if isinstance(memory, type) else type(memory).__name__
    raise MemoryModelError(
        f"Expected a memory from {type(model).__name__}.{made_by}, found {found}, which lacks "
        f"{', '.join(missing_members(memory, Memory))}. {_remedy('BaseMemory')}"
    )


def _remedy(base: str) -> str:
    return f"Write what it lacks, or derive its class from memorag_integrations.memories.base.{base}."


def no_key_points(memory: object) -> InputError:
    """The error of a memory that cannot summarize."""
    return InputError(
        f'{type(memory).__name__} has no language model to name key points. Use method="whole", or a memory that has '
        f"one: LLMMemory, GistMemory, LongContextMemory, BeaconMemory."
    )
