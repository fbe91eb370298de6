"""Language models for tests: the contract itself, and each host's own interface, all speaking from a script."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from pydantic import Field

from memorag_integrations.clues import Completion, Usage
from memorag_integrations.contracts import LLM

Script = Callable[[str], str]


def text_of(prompt: str) -> str:
    """What stands in a prompt's fence."""
    found = re.match(r"<(text-[0-9a-f]{12})>\n(.*)\n</\1>\n\n", prompt, re.DOTALL)
    assert found, prompt[:100]
    return found.group(2)


def instructions_of(prompt: str) -> str:
    found = re.match(r"<(text-[0-9a-f]{12})>\n.*\n</\1>\n\n", prompt, re.DOTALL)
    assert found, prompt[:100]
    return prompt[found.end() :]


class ScriptedLLM(LLM):
    """The contract, with a prefix cache that works as a provider's does: by tokens of one character."""

    def __init__(self, script: Script | str, window: int | None = 100_000, seconds: float = 0.0) -> None:
        self.script = script if callable(script) else lambda prompt: script
        self.window, self.seconds = window, seconds
        self.prompts: list[str] = []
        self.under_way = self.most_under_way = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return "ScriptedLLM"

    @property
    def context_window(self) -> int | None:
        return self.window

    def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        completion = self._begin(prompt)
        try:
            time.sleep(self.seconds)
            return completion()
        finally:
            self._end()

    async def acomplete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
        completion = self._begin(prompt)
        try:
            await asyncio.sleep(self.seconds)
            return completion()
        finally:
            self._end()

    def stream(self, prompt: str, *, max_tokens: int | None = None) -> Iterator[str]:
        yield from self.complete(prompt).text.split(" ")

    async def astream(self, prompt: str, *, max_tokens: int | None = None) -> AsyncIterator[str]:
        for piece in (await self.acomplete(prompt)).text.split(" "):
            yield piece

    def _begin(self, prompt: str) -> Callable[[], Completion]:
        with self._lock:
            cached = max((common(prompt, other) for other in self.prompts), default=0)
            self.prompts.append(prompt)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)

        def finish() -> Completion:
            text = self.script(prompt)
            return Completion(text, Usage(len(prompt) - cached, cached, len(text), self.seconds, 1))

        return finish

    def _end(self) -> None:
        with self._lock:
            self.under_way -= 1


def common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def llama_index_llm(script: Script | str, **metadata: Any) -> Any:
    """A `CustomLLM`, LlamaIndex's own base class for a user's model."""
    from llama_index.core.base.llms.types import CompletionResponse, LLMMetadata
    from llama_index.core.llms import CustomLLM
    from llama_index.core.llms.callbacks import llm_completion_callback

    class Scripted(CustomLLM):
        max_tokens: int | None = None
        calls: list[dict[str, Any]] = Field(default_factory=list)

        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata(**{"context_window": 100_000, "model_name": "scripted", **metadata})

        @llm_completion_callback()
        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
            self.calls.append({"thread": threading.current_thread().name, **kwargs})
            text = script(prompt) if callable(script) else script
            read = max(90, len(prompt) // 3)
            raw = {
                "usage": {"prompt_tokens": read, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}
            }
            return CompletionResponse(text=text, raw=raw)

        @llm_completion_callback()
        def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
            done = ""
            for piece in re.findall(r"\S+\s*", script(prompt) if callable(script) else script):
                done += piece
                yield CompletionResponse(text=done, delta=piece)

    return Scripted()


def lang_chain_llm(script: Script | str, **fields: Any) -> Any:
    """A `BaseChatModel`, LangChain's own base class for a user's model."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

    def text_for(messages: list[BaseMessage]) -> str:
        return script(str(messages[-1].content)) if callable(script) else script

    class Scripted(BaseChatModel):
        model_name: str = "scripted"
        max_tokens: int | None = None
        calls: list[dict[str, Any]] = Field(default_factory=list)

        @property
        def _llm_type(self) -> str:
            return "scripted"

        def _generate(
            self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> Any:
            self.calls.append(kwargs)
            read = max(90, len(str(messages[-1].content)) // 3)
            usage = {
                "input_tokens": read,
                "output_tokens": 7,
                "total_tokens": read + 7,
                "input_token_details": {"cache_read": 64},
            }
            message = AIMessage(content=text_for(messages), usage_metadata=usage)  # type: ignore[arg-type]
            return ChatResult(generations=[ChatGeneration(message=message)])

        def _stream(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            for piece in re.findall(r"\S+\s*", text_for(messages)):
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))

    return Scripted(profile={"max_input_tokens": 100_000}, **fields)
