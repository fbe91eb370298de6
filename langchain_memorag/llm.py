"""LangChain chat models as the `LLM` contract."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from memorag_integrations.clues import Completion, Usage
from memorag_integrations.contracts import LLM
from memorag_integrations.errors import InputError
from memorag_integrations.llms.provider_usage import reported_cost
from memorag_integrations.text.tokens import estimate_tokens

NOSTREAM = "nostream"
"""LangGraph's tag for model calls whose tokens its `stream_mode="messages"` leaves out."""


class LangChainLLM(LLM):
    """Any LangChain chat model, or a runnable around one (`with_retry()`, `bind()`): text in, a message or text out.

    Retries, keys, callbacks and tracing stay the host's.

    Args:
        llm: The host's model.
        context_window: Tokens of prompt and reply; else from the model's `profile`, where its package carries one.
        tags: Tags of the model's runs, such as `NOSTREAM` for calls whose tokens are not for an end user.
    """

    def __init__(self, llm: Runnable[Any, Any], context_window: int | None = None, tags: Sequence[str] = ()) -> None:
        if not isinstance(llm, Runnable):
            raise InputError(
                f"Expected a langchain_core chat model or a runnable around one, found {type(llm).__name__}."
            )
        self.host = llm
        self._window = context_window
        self._tags = list(tags)

    @property
    def name(self) -> str:
        model = self._model()
        named = getattr(model, "model_name", None) or getattr(model, "model", None)
        return f"{type(model).__name__} {named}" if isinstance(named, str) else type(model).__name__

    @property
    def context_window(self) -> int | None:
        profile = getattr(self._model(), "profile", None) or {}
        return self._window or profile.get("max_input_tokens")

    def count_tokens(self, text: str) -> int:
        """By `custom_get_token_ids` where the model has one; the host's default would download a tokenizer."""
        encode = getattr(self._model(), "custom_get_token_ids", None)
        return len(encode(text)) if encode else estimate_tokens(text)

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        began = time.perf_counter()
        return self._completion(prompt, self.host.invoke(prompt, self._config(), **self._limit(max_tokens)), began)

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        began = time.perf_counter()
        return self._completion(
            prompt, await self.host.ainvoke(prompt, self._config(), **self._limit(max_tokens)), began
        )

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        for chunk in self.host.stream(prompt, self._config(), **self._limit(max_tokens)):
            if piece := _text(chunk):
                yield piece

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        async for chunk in self.host.astream(prompt, self._config(), **self._limit(max_tokens)):
            if piece := _text(chunk):
                yield piece

    def _model(self) -> Any:
        """The chat model inside wrappers."""
        model: Any = self.host
        while not isinstance(model, BaseChatModel) and isinstance(inner := getattr(model, "bound", None), Runnable):
            model = inner
        return model

    def _config(self) -> RunnableConfig | None:
        """The surrounding run's tags and our own; None where we have none."""
        if not self._tags:
            return None
        surrounding = (var_child_runnable_config.get() or {}).get("tags") or []
        return {"tags": list(dict.fromkeys([*surrounding, *self._tags]))}

    def _limit(self, max_tokens: int | None) -> dict[str, Any]:
        """The reply's length as a call argument, for the providers that have such a one."""
        has = "max_tokens" in getattr(type(self._model()), "model_fields", {})
        return {"max_tokens": max_tokens} if has and max_tokens is not None else {}

    def _completion(self, prompt: str, message: Any, began: float) -> Completion:
        text = _text(message)
        cost = reported_cost(getattr(message, "usage_metadata", None), getattr(message, "response_metadata", None))
        read, cached, generated = cost or (self.count_tokens(prompt), 0, self.count_tokens(text))
        return Completion(text, Usage(read, cached, generated, time.perf_counter() - began, 1))


def as_llm(llm: Any) -> Any:
    """A LangChain model as the `LLM` contract; anything else as it is."""
    return LangChainLLM(llm) if isinstance(llm, Runnable) else llm


def _text(message: Any) -> str:
    """A message's text blocks; thoughts and tool calls are not among them."""
    if isinstance(message, BaseMessage):
        return str(message.text)
    if isinstance(message, str):
        return message
    raise InputError(f"Expected a message or a str from the LangChain model, found {type(message).__name__}.")
