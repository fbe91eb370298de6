"""LlamaIndex's metadata filters as the engine's, and as data for the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from memorag_integrations.errors import InputError
from memorag_integrations.hosts import retrieval_settings as stored_filters
from memorag_integrations.index.filters import Filters
from memorag_integrations.text.metadata import plain_metadata

_HOST_KEY = "$llamaindex"
"""Under which key filters of LlamaIndex lie among a store's settings."""

_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
_TEXTS = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)
_ORDERS = (FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE)


def to_filters(filters: MetadataFilters | Filters | None) -> Filters | None:
    """What `MemoRAG.retrieve(filters=…)` takes. Filters of LlamaIndex see metadata as its vector stores keep it: dates in
    ISO 8601, sets as lists, UUIDs and paths as texts.

    Raises:
        InputError: For an operator with a value that it cannot have.
    """
    if not isinstance(filters, MetadataFilters):
        return filters
    accept = _group(filters)
    return lambda metadata: accept(plain_metadata(dict(metadata)))


def _group(filters: MetadataFilters) -> Callable[[Mapping[str, Any]], bool]:
    members = [_group(member) if isinstance(member, MetadataFilters) else _single(member) for member in filters.filters]
    if filters.condition == FilterCondition.OR:
        return lambda metadata: not members or any(member(metadata) for member in members)
    if filters.condition == FilterCondition.NOT:
        return lambda metadata: not any(member(metadata) for member in members)
    return lambda metadata: all(member(metadata) for member in members)


def _single(one: MetadataFilter) -> Callable[[Mapping[str, Any]], bool]:
    """One filter, evaluated by LlamaIndex itself."""
    value, operator = one.value, one.operator
    expected = None
    if operator in _LISTS and not isinstance(value, list):
        expected = "a list"
    elif operator in _TEXTS and not isinstance(value, str):
        expected = "a text"
    elif operator in _ORDERS and not isinstance(value, int | float | str):
        expected = "a number or a text"
    if expected is not None:
        raise InputError(f"The filter {one.key!r} {operator.value} takes {expected}, found {value!r}.")
    current: dict[str, Any] = {}
    accept = build_metadata_filter_fn(lambda _: current["metadata"], MetadataFilters(filters=[one]))

    def single(metadata: Mapping[str, Any]) -> bool:
        current["metadata"] = metadata
        try:
            return accept("")
        except TypeError as error:
            raise InputError(
                f"The filter {one.key!r} {operator.value} {value!r} cannot be held against a value of type "
                f"{type(metadata.get(one.key)).__name__}. Use values of one type."
            ) from error

    return single


def filters_to_data(filters: MetadataFilters | Filters | None) -> dict[str, Any] | None:
    """Filters as JSON for the store."""
    if isinstance(filters, MetadataFilters):
        return {_HOST_KEY: filters.model_dump(mode="json")}
    return stored_filters.filters_to_data(filters)


def filters_from_data(data: Mapping[str, Any] | None) -> MetadataFilters | Filters | None:
    """What `filters_to_data` was given.

    Raises:
        StoreError: Where it was a function.
    """
    if data is not None and _HOST_KEY in data:
        return MetadataFilters.model_validate(data[_HOST_KEY])
    return stored_filters.filters_from_data(data)
