"""Arguments of a host's retriever, checked before any work; a wrong name is told the right one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypedDict, get_args

from ..answers.writer import Writer
from ..contracts import LLM, Embedder, MemoryModel
from ..engine import MemoRAG
from ..errors import ArgumentError, InputError
from ..index.filters import Filters, filter_predicate
from ..registry import MEMORY_MODELS
from ..retrieval.fusion import Fusion
from ..retrieval.query import Mode
from ..retrieval.selection import Selection

MODES: Collection[str] = get_args(Mode)
_VECTOR_MODES = ("plain", "per-clue-union")


class EngineSettings(TypedDict, total=False):
    """Settings of `MemoRAG` that a host passes on as `engine={…}`."""

    passage_size: int
    language: str
    fusion: Fusion | None
    shards: int
    clues: int
    generator: LLM | Writer | None


ENGINE_HINTS: Mapping[str, str] = {name: f"engine={{{name!r}: …}}" for name in EngineSettings.__annotations__}


def check_names(function: str, found: Iterable[str], known: Collection[str], hints: Mapping[str, str]) -> None:
    """Refuse keyword arguments that a function does not have.

    Args:
        function: Its name, for the message.
        found: Names of the arguments that were passed.
        known: Names that it has.
        hints: Wrong names that are common, each with what to write instead.

    Raises:
        ArgumentError: With the right name, where one is known or near.
    """
    for name in found:
        if name in known:
            continue
        near = get_close_matches(name, known, 1)
        if name in hints:
            advice = f"Use {hints[name]}."
        elif near:
            advice = f"Did you mean {near[0]}=?"
        else:
            advice = f"It takes {', '.join(known)}."
        raise ArgumentError(f"{function} has no argument {name!r}. {advice}")


def check_engine_settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings for `engine=`, their names checked; `MemoRAG` checks their values.

    Raises:
        InputError: For what is no mapping, or a name that is no setting of the engine.
    """
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise InputError(f"engine takes a mapping of settings of MemoRAG, found {type(settings).__name__}.")
    hints = {"memory": "memory= beside engine=", "embedder": "the embedding model's own argument beside engine="}
    known = [*EngineSettings.__annotations__, "reranker"]
    check_names("engine", settings, known, hints | {"chunk_size": "engine={'passage_size': …}"})
    return dict(settings)


def check_retrieval(
    k: int | None, budget: int | None, cutoff: float, mode: str, filters: Filters | None, merge: bool
) -> None:
    """Refuse values with which no query could be answered.

    Raises:
        InputError: For k or budget below 1, a cutoff outside [0, 1], an unknown mode, a filter that cannot be meant.
    """
    Selection.of(k, budget, cutoff)
    if mode not in MODES:
        raise InputError(f"mode must be one of {', '.join(MODES)}; found {mode!r}.")
    if not isinstance(merge, bool):
        raise InputError(f"merge must be True or False, found {merge!r}.")
    if filters is not None:
        filter_predicate(filters)


def check_mode(mode: str, has_embedder: bool) -> None:
    """Raises InputError for a mode that ranks by vectors, where there is no embedding model."""
    if mode in _VECTOR_MODES and not has_embedder:
        raise InputError(f'mode "{mode}" ranks by vectors and needs an embedding model. Pass one, or use mode="bm25".')


def check_engine(memo: Any, constructors: str) -> MemoRAG:
    """`memo`, if it is an engine.

    Raises:
        InputError: With the constructors that take what was passed instead.
    """
    if not isinstance(memo, MemoRAG):
        raise InputError(
            f"Expected an engine (memorag_integrations.MemoRAG), found {type(memo).__name__}. To make a retriever out of "
            f"what you have, use {constructors}."
        )
    return memo


def check_memory(memory: Any, is_llm: bool) -> str | MemoryModel | None:
    """`memory`, if it is a memory model, the name of one, or None.

    Args:
        memory: What was passed.
        is_llm: Whether it is a language model of the host.

    Raises:
        InputError: Otherwise. A language model is told to be wrapped.
    """
    speaks = all(hasattr(type(memory), method) for method in ("complete", "acomplete"))
    if is_llm or speaks:
        raise InputError(
            f"memory must be a memory model, found the language model {type(memory).__name__}. Wrap it: "
            f"memory=LLMMemory(llm), or memory=GistMemory(llm) for millions of tokens."
        )
    if isinstance(memory, str) and memory not in MEMORY_MODELS:
        raise InputError(
            f"memory must be a memory model or one of {', '.join(sorted(MEMORY_MODELS))}; found {memory!r}."
        )
    return memory  # type: ignore[no-any-return]


def check_embedder(embedder: Any, argument: str, expected: str) -> str | Embedder | None:
    """`embedder`, if the engine can embed with it.

    Args:
        embedder: What was passed, a host's model wrapped already.
        argument: The argument's name.
        expected: The host's class of embedding models.

    Raises:
        InputError: Otherwise.
    """
    if embedder is None or isinstance(embedder, str | Embedder):
        return embedder
    raise InputError(
        f"{argument} takes {expected}, the name or path of a sentence-transformers model, an Embedder, or None for BM25 "
        f"alone; found {type(embedder).__name__}."
    )
