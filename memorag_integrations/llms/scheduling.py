"""Many prompts to one language model: chains side by side, the prompts of a chain one after the other.

The prompts of a chain begin with the same text, so each finds in the provider's cache what the one before it left.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..clues import Completion, Usage
from ..contracts import LLM
from ..errors import Cancelled, InputError, LLMError, MemoRAGError

Chain = Sequence[str]
Arrived = Callable[[int, Completion], None]
T = TypeVar("T")

_POLL = 0.05


@runtime_checkable
class BatchLLM(LLM, Protocol):
    """A language model that completes several prompts in one pass."""

    def complete_batch(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[Completion]: ...


class UsageMeter:
    """Adds up what a model was asked for, by whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = Usage()

    def add(self, usage: Usage) -> None:
        with self._lock:
            self._total += usage

    @property
    def total(self) -> Usage:
        return self._total


def check_llm(llm: object) -> LLM:
    """`llm`, if it has the methods of the contract.

    Raises:
        InputError: Otherwise, naming the adapters.
    """
    if isinstance(llm, LLM):
        return llm
    home = type(llm).__module__.partition(".")[0]
    hint = {
        "llama_index": "Make the memory with llamaindex_memorag, or wrap it: llamaindex_memorag.LlamaIndexLLM(llm).",
        "transformers": "Wrap its folder or hub name: HuggingFaceLLM(path).",
    }.get(home, "A LangChain chat model is wrapped by langchain_memorag.LangChainLLM(llm).")
    raise InputError(
        f"Expected a language model with name, context_window, complete, stream, acomplete and astream "
        f"(memorag_integrations.contracts.LLM), found {type(llm).__module__}.{type(llm).__qualname__}. {hint}"
    )


def no_llm() -> LLM:
    raise InputError("This memory asks a language model: make it with one, LLMMemory(llm) or GistMemory(llm).")


@contextmanager
def provider_errors(llm: LLM) -> Iterator[None]:
    """What a provider raises comes out as LLMError, in the provider's own words."""
    try:
        yield
    except MemoRAGError:
        raise
    except Exception as error:
        raise LLMError(f"{llm.name} could not be asked: {type(error).__name__}: {error}") from error


def ask(
    llm: LLM,
    chains: Sequence[Chain],
    *,
    max_tokens: int | None,
    together: int,
    cancel: threading.Event | None = None,
    arrived: Arrived | None = None,
    batch: bool = False,
) -> list[list[Completion]]:
    """The completion of every prompt, by chain.

    Args:
        llm: Asked once a prompt.
        together: Most prompts under way at once.
        cancel: When set, no further prompt is sent and no answer waited for.
        arrived: Called with a chain's number and each of its completions as they come, one at a time.
        batch: Whether a model that can (`BatchLLM`) gets `together` prompts in one pass; prompts that share no prefix.

    Raises:
        Cancelled: When `cancel` was set.
        LLMError: When the provider fails; prompts not yet sent stay unsent.
    """
    answers: list[list[Completion]] = [[] for _ in chains]

    def keep(chain: int, completion: Completion) -> None:
        answers[chain].append(completion)
        if arrived is not None:
            arrived(chain, completion)

    if batch and isinstance(llm, BatchLLM) and together > 1 and len(chains) > 1:
        for rows in _rounds(chains, together):
            prompts = [chains[row][len(answers[row])] for row in rows]
            completions = _waited(partial(_batch, llm, prompts, max_tokens), cancel)
            for row, completion in zip(rows, completions, strict=True):
                keep(row, completion)
    elif together == 1 or len(chains) == 1:
        for number, chain in enumerate(chains):
            for prompt in chain:
                keep(number, _waited(partial(_one, llm, prompt, max_tokens), cancel))
    else:
        _ask_threads(llm, chains, max_tokens, together, cancel, keep)
    return answers


async def aask(
    llm: LLM,
    chains: Sequence[Chain],
    *,
    max_tokens: int | None,
    together: int,
    cancel: threading.Event | None = None,
) -> list[list[Completion]]:
    """`ask` with the model's own async call. Cancelling the task, too, ends what is under way."""
    gate = asyncio.Semaphore(together)

    async def one(prompt: str) -> Completion:
        async with gate:
            with provider_errors(llm):
                return _checked(llm, await llm.acomplete(prompt, max_tokens=max_tokens))

    async def chain_of(prompts: Chain) -> list[Completion]:
        return [await one(prompt) for prompt in prompts]

    _check(cancel)
    tasks = [asyncio.ensure_future(_as_coroutine(chain_of(chain))) for chain in chains]
    try:
        pending: set[asyncio.Future[list[Completion]]] = set(tasks)
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=None if cancel is None else _POLL, return_when=asyncio.FIRST_EXCEPTION
            )
            _check(cancel)
            for task in done:
                task.result()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _as_coroutine(work: Coroutine[Any, Any, T]) -> T:
    return await work


def _rounds(chains: Sequence[Chain], together: int) -> Iterator[list[int]]:
    """Numbers of the chains whose next prompt goes into each batch."""
    for step in range(max(map(len, chains))):
        rows = [row for row, chain in enumerate(chains) if len(chain) > step]
        for first in range(0, len(rows), together):
            yield rows[first : first + together]


def _ask_threads(
    llm: LLM,
    chains: Sequence[Chain],
    max_tokens: int | None,
    together: int,
    cancel: threading.Event | None,
    keep: Arrived,
) -> None:
    """Chains on a pool of threads; completions are kept on the caller's."""
    pool = ThreadPoolExecutor(min(together, len(chains)), thread_name_prefix="memorag-ask")
    under_way: dict[Future[Completion], tuple[int, int]] = {}

    def send(chain: int, step: int) -> None:
        if step < len(chains[chain]):
            work = pool.submit(copy_context().run, _one, llm, chains[chain][step], max_tokens)
            under_way[work] = (chain, step)

    try:
        for number in range(len(chains)):
            send(number, 0)
        while under_way:
            done, _ = wait(under_way, None if cancel is None else _POLL, FIRST_COMPLETED)
            failed: BaseException | None = None
            for work in done:
                chain, step = under_way.pop(work)
                if (error := work.exception()) is not None:
                    failed = failed or error
                    continue
                keep(chain, work.result())
                send(chain, step + 1)
            if failed is not None:
                raise failed
            _check(cancel)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _waited(work: Callable[[], T], cancel: threading.Event | None) -> T:
    """The result of `work`; with a `cancel`, on a thread that is left behind when it is set."""
    if cancel is None:
        return work()
    _check(cancel)
    pool = ThreadPoolExecutor(1, thread_name_prefix="memorag-ask")
    try:
        future = pool.submit(copy_context().run, work)
        while not wait([future], _POLL).done:
            _check(cancel)
        return future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one(llm: LLM, prompt: str, max_tokens: int | None) -> Completion:
    with provider_errors(llm):
        return _checked(llm, llm.complete(prompt, max_tokens=max_tokens))


def _batch(llm: BatchLLM, prompts: Sequence[str], max_tokens: int | None) -> list[Completion]:
    with provider_errors(llm):
        completions = llm.complete_batch(prompts, max_tokens=max_tokens)
    if len(completions) != len(prompts):
        raise LLMError(f"{llm.name} was asked {len(prompts)} prompts in a batch and gave {len(completions)} answers.")
    return [_checked(llm, completion) for completion in completions]


def _checked(llm: LLM, completion: object) -> Completion:
    if isinstance(completion, Completion) and isinstance(completion.text, str):
        return completion
    raise LLMError(f"{llm.name} answered with {type(completion).__name__} where a Completion of a str was expected.")


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled("Cancelled while a language model was asked; the memory is what it was.")
