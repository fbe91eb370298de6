"""The embedders and memory models we ship, by name. A store names what made it, and `build` makes it again."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .contracts import Config, MemoryModel
from .errors import InputError, MissingExtraError, StoreError, extra_of

EMBEDDERS = {
    "bge-m3": "memorag_integrations.encoders.bge_m3:BGEM3Embedder",
    "minilm": "memorag_integrations.encoders.embedders:MiniLMEmbedder",
    "sentence-transformers": "memorag_integrations.encoders.embedders:SentenceTransformerEmbedder",
}
MEMORY_MODELS = {
    "activation": "memorag_integrations.memories.activation:ActivationMemoryModel",
    "beacon": "memorag_integrations.memories.beacon:BeaconMemory",
    "gist": "memorag_integrations.memories.gist:GistMemory",
    "llm": "memorag_integrations.memories.llm:LLMMemory",
    "longcontext": "memorag_integrations.memories.longcontext:LongContextMemory",
    "random": "memorag_integrations.memories.random:RandomMemoryModel",
}
LANGUAGE_MODELS = {
    "huggingface": "memorag_integrations.llms.huggingface:HuggingFaceLLM",
}


def build(table: Mapping[str, str], config: Config) -> Any:
    """The object that a `config` names: {"kind": a name in `table`, …: its constructor's arguments}.

    Raises:
        StoreError: For a kind or an argument that this version does not know.
    """
    kind = str(config.get("kind"))
    if kind not in table:
        raise StoreError(
            f"Expected one of {', '.join(sorted(table))}, found {kind!r}. "
            f"The store was made by another version: upgrade memorag-integrations, or pass the object to load()."
        )
    arguments = {name: value for name, value in config.items() if name != "kind"}
    try:
        return resolve(table, kind)(**arguments)
    except TypeError as error:
        raise StoreError(f"The stored settings of {kind!r} do not fit this version: {error}.") from error


def resolve(table: Mapping[str, str], kind: str) -> Any:
    """The class registered as `kind`, imported when asked for.

    Raises:
        InputError: For a kind that is not in `table`.
        MissingExtraError: Where the packages that its module imports are not installed.
    """
    if kind not in table:
        raise InputError(f"Expected one of {', '.join(sorted(table))}, found {kind!r}.")
    module, name = table[kind].split(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        if (extra := extra_of(error)) is None:
            raise
        raise MissingExtraError(name, extra) from error


def memory_by_name(name: str) -> MemoryModel:
    """A memory model that needs no settings.

    Raises:
        InputError: For a name that is not in `MEMORY_MODELS`, or of a model that needs some.
    """
    model = resolve(MEMORY_MODELS, name)
    try:
        made: MemoryModel = model()
    except TypeError as error:
        raise InputError(
            f"The memory {name!r} needs settings of its own. Pass the object: {model.__name__}(…)."
        ) from error
    return made
