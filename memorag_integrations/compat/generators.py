"""Whatever the original takes as a generator, as a language model of the contract."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from ..clues import Completion, Usage
from ..contracts import LLM
from ..contracts.conformance import conforms
from ..errors import InputError, LLMError
from ..text.tokens import estimate_tokens
from ..threads import in_thread


@dataclass(frozen=True)
class GeneratingLLM(LLM):
    """An object with generate(prompt, max_new_tokens=…) that returns a text, or a list with one.

    Args:
        model: The object; its `context_window` counts where it has one.
    """

    model: Any

    @property
    def name(self) -> str:
        return type(self.model).__name__

    @property
    def context_window(self) -> int | None:
        window = getattr(self.model, "context_window", None)
        return window if isinstance(window, int) else None

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        began = time.perf_counter()
        reply = self.model.generate(prompt, **({} if max_tokens is None else {"max_new_tokens": max_tokens}))
        text = reply[0] if isinstance(reply, list) and len(reply) == 1 else reply
        if not isinstance(text, str):
            raise LLMError(f"{self.name}.generate should return a text, or a list with one; found {reply!r:.200}.")
        used = Usage(estimate_tokens(prompt), 0, estimate_tokens(text), time.perf_counter() - began, 1)
        return Completion(text, used)

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        """The whole reply in one piece."""
        yield self.complete(prompt, max_tokens=max_tokens).text

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        yield await in_thread(lambda: self.complete(prompt, max_tokens=max_tokens).text)


def as_llm(generator: object) -> LLM:
    """The language model that a generator is, or has.

    Raises:
        InputError: For an object that writes nothing.
    """
    own = getattr(getattr(generator, "memory_model", None), "llm", None)
    if conforms(own, LLM):  # a Model or a Memory
        return own
    if conforms(generator, LLM):
        return generator
    if callable(getattr(generator, "generate", None)):
        return GeneratingLLM(generator)
    raise InputError(
        f"customized_gen_model must be an Agent, an LLM of memorag_integrations.contracts, or an object with "
        f"generate(prompt, max_new_tokens=…); found {type(generator).__name__}."
    )
