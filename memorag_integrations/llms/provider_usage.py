"""What a provider says that a call cost, in whichever words it says it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_PROMPT = ("prompt_tokens", "input_tokens", "prompt_eval_count", "prompt_token_count", "inputTokens")
_REPLY = ("completion_tokens", "output_tokens", "eval_count", "candidates_token_count", "outputTokens")
_CACHED = (
    *(
        "cached_tokens",
        "cache_read",
        "cache_read_input_tokens",
        "prompt_cache_hit_tokens",
        "cached_content_token_count",
    ),
    "cacheReadInputTokens",
)
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_INSIDE = (
    "usage",
    "usage_metadata",
    "token_usage",
    "prompt_tokens_details",
    "input_tokens_details",
    "input_token_details",
)
_CACHE_BESIDE = ("cache_read_input_tokens", "cacheReadInputTokens")  # these providers count cached tokens apart


class Cost(NamedTuple):
    """Tokens read anew, read from a cache, and generated."""

    read: int
    cached: int
    generated: int


def reported_cost(*sources: Any) -> Cost | None:
    """The cost out of a response's raw parts: mappings or objects, nested where providers nest them.

    OpenAI-compatible, Anthropic, Google, Bedrock, DeepSeek and Ollama names are known. The first source that names
    prompt or reply tokens counts.

    Returns:
        None where no source says anything.
    """
    for source in sources:
        found: dict[str, int] = {}
        _collect(source, found, 3)
        prompt = next((found[name] for name in _PROMPT if name in found), None)
        reply = next((found[name] for name in _REPLY if name in found), None)
        if prompt is None and reply is None:
            continue
        beside = next((found[name] for name in _CACHE_BESIDE if name in found), None)
        cached = beside if beside is not None else next((found[name] for name in _CACHED if name in found), 0)
        written = next((found[name] for name in _WRITTEN if name in found), 0)
        read = (prompt or 0) + written if beside is not None else max(0, (prompt or 0) - cached)
        return Cost(read, cached, reply or 0)
    return None


def _collect(source: Any, found: dict[str, int], depth: int) -> None:
    for name in (*_PROMPT, *_REPLY, *_CACHED, *_WRITTEN):
        value = _get(source, name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            found.setdefault(name, value)
    if depth:
        for name in _INSIDE:
            inner = _get(source, name)
            if inner is not None:
                _collect(inner, found, depth - 1)


def _get(source: Any, name: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(name)
    try:
        return getattr(source, name, None)
    except Exception:  # a provider's property may do anything
        return None
