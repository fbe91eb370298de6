"""LlamaIndex language models as the `LLM` contract."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms import LLM as HostLLM
from llama_index.core.llms import CustomLLM

from memorag_integrations.clues import Completion, Usage
from memorag_integrations.contracts import LLM
from memorag_integrations.errors import InputError
from memorag_integrations.llms.provider_usage import reported_cost
from memorag_integrations.text.tokens import estimate_tokens
from memorag_integrations.threads import in_thread


class LlamaIndexLLM(LLM):
    """Any LlamaIndex LLM. Retries, keys, system prompts, callbacks and tracing stay the host's.

    Args:
        llm: The host's model.
        context_window: Tokens of prompt and reply; the model's `metadata.context_window` otherwise.
        tokenizer: Text to token ids; the model's own `tokenizer` otherwise, else counts are estimates that err upwards.
    """

    def __init__(
        self,
        llm: HostLLM,
        context_window: int | None = None,
        tokenizer: Callable[[str], list[Any]] | None = None,
    ) -> None:
        if not isinstance(llm, HostLLM):
            raise InputError(f"Expected a llama_index.core.llms.LLM, found {type(llm).__name__}.")
        self.host = llm
        self._window = context_window
        own = getattr(llm, "tokenizer", None)  # an object, or a name that would have to be downloaded
        self._encode = tokenizer or (None if isinstance(own, str) else getattr(own, "encode", None))

    @property
    def name(self) -> str:
        return f"{type(self.host).__name__} {self.host.metadata.model_name}"

    @property
    def context_window(self) -> int | None:
        return self._window or self.host.metadata.context_window

    def count_tokens(self, text: str) -> int:
        return len(self._encode(text)) if self._encode else estimate_tokens(text)

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        began = time.perf_counter()
        return self._completion(prompt, self.host.complete(prompt, **self._limit(max_tokens)), began)

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        if self._blocks("acomplete"):
            return await in_thread(self.complete, prompt, max_tokens=max_tokens)
        began = time.perf_counter()
        return self._completion(prompt, await self.host.acomplete(prompt, **self._limit(max_tokens)), began)

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        for chunk in self.host.stream_complete(prompt, **self._limit(max_tokens)):
            if chunk.delta:
                yield chunk.delta

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        if self._blocks("astream_complete"):
            pieces = self.stream(prompt, max_tokens=max_tokens)
            while (piece := await in_thread(next, pieces, None)) is not None:
                yield piece
            return
        async for chunk in await self.host.astream_complete(prompt, **self._limit(max_tokens)):
            if chunk.delta:
                yield chunk.delta

    def _blocks(self, method: str) -> bool:
        """Whether the host's async method is `CustomLLM`'s, which runs the sync one on the event loop."""
        return inspect.unwrap(getattr(type(self.host), method)) is inspect.unwrap(getattr(CustomLLM, method))

    def _limit(self, max_tokens: int | None) -> dict[str, Any]:
        """The reply's length as a call argument, for the providers that have such a one."""
        has = max_tokens is not None and "max_tokens" in type(self.host).model_fields
        return {"max_tokens": max_tokens} if has and max_tokens is not None else {}

    def _completion(self, prompt: str, response: CompletionResponse, began: float) -> Completion:
        cost = reported_cost(response.raw, response.additional_kwargs)
        read, cached, generated = cost or (self.count_tokens(prompt), 0, self.count_tokens(response.text))
        return Completion(response.text, Usage(read, cached, generated, time.perf_counter() - began, 1))


def as_llm(llm: Any) -> Any:
    """A LlamaIndex model as the `LLM` contract; anything else as it is."""
    return LlamaIndexLLM(llm) if isinstance(llm, HostLLM) else llm
