"""Which causal language models can be read with a cache that is kept: what is refused by name, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, MemoryModelError
from .checkpoint import FAMILIES, stock_config

FIXED_FREQUENCIES = ("default", "linear", "llama3", "yarn")
"""RoPE types whose frequencies do not depend on the length read so far."""


def check_causal(config: Mapping[str, Any], name: str) -> None:
    """Whether config.json is that of a decoder-only causal language model.

    Args:
        config: config.json.
        name: Of the checkpoint, for messages.

    Raises:
        MemoryModelError: For an encoder, an encoder-decoder, a model with another head, or a type unknown here.
    """
    from transformers.models.auto import modeling_auto as auto

    check_no_encoder(config, name)
    family, classes = config.get("model_type"), config.get("architectures") or []
    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(family)
    if causal is None or (classes and causal not in classes):
        raise _cannot_write(config, name, "")


def check_no_encoder(config: Mapping[str, Any], name: str) -> None:
    """Whether config.json is that of something else than an encoder. transformers has heads that write for encoders too,
    and makes one up where there is none.

    Raises:
        MemoryModelError: For an encoder or an encoder-decoder.
    """
    from transformers.models.auto import modeling_auto as auto

    if config.get("model_type") in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.get("is_encoder_decoder"):
        raise _cannot_write(config, name, ", an encoder")


def _cannot_write(config: Mapping[str, Any], name: str, what: str) -> MemoryModelError:
    classes = config.get("architectures") or []
    found = f"model_type {config.get('model_type')!r}" + (f" ({', '.join(map(str, classes))})" if classes else "")
    return MemoryModelError(
        f"Expected a causal language model in {name}, found {found}{what}: it cannot write. Pass an instruct "
        f"checkpoint of a family like {', '.join(FAMILIES)}; an encoder belongs into embedder=."
    )


def causal_config(folder: Path, config: Mapping[str, Any], name: str) -> Any:
    """The transformers configuration of a checkpoint: for `FAMILIES` without sliding windows, else as it is.

    Call `window_of` too: it refuses a text for which that would make a difference.

    Raises:
        MemoryModelError: For values that transformers refuses.
    """
    if config.get("model_type") in FAMILIES:
        return stock_config(config, name)
    return _as_it_is(folder, name)


def window_of(folder: Path, name: str, wanted: int | None) -> int:
    """Positions that the model may be read with, prompts and replies included.

    Args:
        folder: With config.json.
        name: Of the checkpoint, for messages.
        wanted: Of the user; None for all that the checkpoint has.

    Raises:
        InputError: For more than it has.
        MemoryModelError: For sliding windows shorter than that, layers without plain attention, or RoPE whose
            frequencies change with the length.
    """
    config = _as_it_is(folder, name)
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        raise MemoryModelError(f"Expected max_position_embeddings in config.json of {name}, found {most!r}.")
    if wanted is not None and wanted > most:
        raise InputError(
            f"Expected context_window of at most {most:,}, the max_position_embeddings of {name}, found {wanted:,}. "
            f"Leave it out, or extend the checkpoint's RoPE in its config.json (rope_scaling) if the weights allow."
        )
    window = wanted or most
    _check_rope(config, name)
    _check_layers(config, name, window)
    return window


def _check_layers(config: Any, name: str, window: int) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    other = sorted(kinds - {"full_attention", "sliding_attention"})
    if other:
        raise MemoryModelError(
            f"Expected layers of full attention in {name}, found {', '.join(other)}: what they keep of a text is not a "
            f"cache that several prompts can share. Use a model of a family like {', '.join(FAMILIES)}."
        )
    sliding = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if kinds == {"full_attention"} and getattr(config, "layer_types", None):
        sliding = None
    if sliding is not None and window > sliding:
        raise MemoryModelError(
            f"{name} attends through a sliding window of {sliding:,} tokens, so it would not see the whole of "
            f"{window:,}. Pass context_window={sliding} (longer texts are then read in parts), or set sliding_window "
            f"to null in its config.json if the weights allow full attention."
        )


def _check_rope(config: Any, name: str) -> None:
    for parameters in _rope_parameters(getattr(config, "rope_parameters", None)):
        kind = parameters.get("rope_type", "default")
        if kind not in FIXED_FREQUENCIES:
            raise MemoryModelError(
                f"Expected RoPE with fixed frequencies ({', '.join(FIXED_FREQUENCIES)}) in {name}, found rope_type "
                f"{kind!r}, whose frequencies change with the length read: a kept cache would not fit what follows. "
                f"Use a checkpoint without it, or set it to yarn or linear in config.json if the weights allow."
            )


def _rope_parameters(found: Any) -> Iterator[Mapping[str, Any]]:
    """One set, or one for each kind of layer."""
    if isinstance(found, Mapping):
        nested = [value for value in found.values() if isinstance(value, Mapping)]
        yield from nested or [found]


def _as_it_is(folder: Path, name: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers validates with many kinds of errors
        raise MemoryModelError(f"config.json of {name} cannot be used ({error}). Get the checkpoint again.") from error
