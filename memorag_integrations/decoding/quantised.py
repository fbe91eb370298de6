"""A frozen cache held in 8-bit floating point, by the cache layer that transformers has for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args, overload

from torch import Tensor

from ..errors import InputError
from .branches import Entries

CacheDtype = Literal["auto", "fp8"]
"""As the model computes, or 8 bits a number (E4M3) with one scale for each layer's keys and one for its values."""


def check_cache_dtype(name: object) -> None:
    """Raises InputError for a dtype of the cache that there is not, or that this transformers has not."""
    if name not in get_args(CacheDtype):
        raise InputError(f"Expected kv_cache_dtype out of {', '.join(get_args(CacheDtype))}, found {name!r}.")
    if name == "fp8":
        _layer()


class QuantisedEntries(Sequence[tuple[Tensor, Tensor]]):
    """Keys and values of each layer, [1, kv heads, length, head size]: held quantised, in full while one looks at them.

    Every pass through the model makes each layer's once more, so a small memory is paid for with time.

    Args:
        entries: What is held; it can be let go afterwards.
    """

    def __init__(self, entries: Entries) -> None:
        self._layers = [_held(keys, values) for keys, values in entries]

    @classmethod
    def _of(cls, layers: list[Any]) -> QuantisedEntries:
        made = cls(())
        made._layers = layers
        return made

    @overload
    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]: ...
    @overload
    def __getitem__(self, i: slice) -> QuantisedEntries: ...
    def __getitem__(self, i: int | slice) -> tuple[Tensor, Tensor] | QuantisedEntries:
        if isinstance(i, slice):
            return self._of(self._layers[i])
        layer = self._layers[i]
        return layer._dequantize(layer._quantized_keys), layer._dequantize(layer._quantized_values)

    def __len__(self) -> int:
        return len(self._layers)

    def __add__(self, other: QuantisedEntries) -> QuantisedEntries:
        return self._of([*self._layers, *other._layers])

    @property
    def nbytes(self) -> int:
        """What is held."""
        return sum(
            numbers.nbytes + scale.nbytes
            for layer in self._layers
            for numbers, scale in (layer._quantized_keys, layer._quantized_values)
        )


def bytes_of(entries: Entries) -> int:
    """What keys and values take where they are held."""
    if isinstance(entries, QuantisedEntries):
        return entries.nbytes
    return sum(keys.nbytes + values.nbytes for keys, values in entries)


def _held(keys: Tensor, values: Tensor) -> Any:
    layer = _layer()
    layer.update(keys, values)
    return layer


def _layer() -> Any:
    try:
        from transformers.cache_utils import Fp8QuantizedLayer
    except ImportError as error:
        import transformers

        raise InputError(
            f'kv_cache_dtype="fp8" needs a transformers with Fp8QuantizedLayer, such as 5.23; found '
            f'{transformers.__version__}. Install a newer one, or pass kv_cache_dtype="auto".'
        ) from error
    return Fp8QuantizedLayer()
