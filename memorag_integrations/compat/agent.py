"""`Agent`: a language model behind an API, through OpenAI's client; also a language model of the contract."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cached_property
from typing import Any

from ..clues import Completion, Usage
from ..contracts import LLM
from ..errors import InputError, LLMError, MissingExtraError
from ..llms.provider_usage import reported_cost
from ..llms.scheduling import provider_errors
from ..text.tokens import estimate_tokens
from ..threads import in_thread
from .arguments import refuse_unknown

SOURCES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "azure": (frozenset({"endpoint", "api_version", "api_key"}), frozenset()),
    "openai": (frozenset({"api_key"}), frozenset({"base_url"})),
    "deepseek": (frozenset({"base_url", "api_key"}), frozenset()),
}
"""What api_dict must hold for each source, and what it may."""

RETRIES = 3
"""Times that the client asks again after a failure that may pass."""


class Agent(LLM):
    """A chat model of OpenAI, Azure, DeepSeek, or any server that speaks as they do.

    Args:
        model: Its name there.
        source: "openai", "azure" or "deepseek".
        api_dict: openai: api_key, and base_url for another server; azure: endpoint, api_version, api_key; deepseek:
            base_url, api_key.
        temperature: Sent with each prompt; None sends none, for models that refuse it.
        context_window: Tokens of prompt and reply, where you know; prompts are made to fit it.

    Raises:
        InputError: For an unknown source or argument, a key that is missing in api_dict or unknown.
        MissingExtraError: Without the `openai` extra.
    """

    def __init__(
        self,
        model: str,
        source: str,
        api_dict: Mapping[str, str],
        temperature: float | None = 0.0,
        *,
        context_window: int | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(type(self).__name__, Agent.__init__, unknown)
        if source not in SOURCES:
            raise InputError(f"source must be one of {', '.join(SOURCES)}; found {source!r}.")
        needed, allowed = SOURCES[source]
        missing, more = sorted(needed - set(api_dict)), sorted(set(api_dict) - needed - allowed)
        if missing or more:
            found = f"no {missing[0]!r}" if missing else f"{more[0]!r}, which it does not know"
            raise InputError(
                f"api_dict for {source!r} must hold {', '.join(sorted(needed))}"
                f"{f' and may hold {next(iter(allowed))}' if allowed else ''}; found {found}."
            )
        self.model, self.source, self.temperature = model, source, temperature
        self._api = dict(api_dict)
        self._window = context_window
        _ = self.client

    @property
    def name(self) -> str:
        return f"{self.source} {self.model}"

    @property
    def context_window(self) -> int | None:
        return self._window

    @cached_property
    def client(self) -> Any:
        """The OpenAI client."""
        try:
            from openai import AzureOpenAI, OpenAI
        except ImportError as error:
            raise MissingExtraError("Agent", "openai") from error
        api = self._api
        if self.source == "azure":
            return AzureOpenAI(
                azure_endpoint=api["endpoint"],
                api_version=api["api_version"],
                api_key=api["api_key"],
                max_retries=RETRIES,
            )
        return OpenAI(api_key=api["api_key"], base_url=api.get("base_url"), max_retries=RETRIES)

    def generate(self, prompt: str, max_new_tokens: int | None = None) -> list[str]:
        """The reply, in a list of one.

        Raises:
            LLMError: What the provider said.
        """
        with provider_errors(self):
            return [self.complete(prompt, max_tokens=max_new_tokens).text]

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        began = time.perf_counter()
        response = self.client.chat.completions.create(**self._request(prompt, max_tokens))
        choice = response.choices[0]
        if not isinstance(choice.message.content, str):
            raise LLMError(f"{self.name} replied without a text (it ended with {choice.finish_reason!r}).")
        text = choice.message.content
        cost = reported_cost(response.usage)
        read, cached, written = cost or (estimate_tokens(prompt), 0, estimate_tokens(text))
        return Completion(text, Usage(read, cached, written, time.perf_counter() - began, 1))

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        """The reply in pieces; closing the iterator closes the connection."""
        with self.client.chat.completions.create(**self._request(prompt, max_tokens), stream=True) as chunks:
            for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        pieces = self.stream(prompt, max_tokens=max_tokens)
        while (piece := await in_thread(next, pieces, None)) is not None:
            yield piece

    def _request(self, prompt: str, max_tokens: int | None) -> dict[str, Any]:
        # OpenAI's own newer models refuse the name that all the others know.
        limit = "max_completion_tokens" if self.source == "openai" and "base_url" not in self._api else "max_tokens"
        request: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        if self.temperature is not None:
            request["temperature"] = self.temperature
        if max_tokens is not None:
            request[limit] = max_tokens
        return request
