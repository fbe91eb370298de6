"""Many prompts to one language model: chains side by side, the prompts of a chain one after the other.

The prompts of a chain begin with the same text, so each finds in the provider's cache what the one before it left.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..clues import Completion
from ..contracts import LLM
from ..contracts.conformance import conforms, missing_members
from ..errors import InputError, LLMError, MemoRAGError
from ..threads import DaemonPool
from .gate import POLL, PromptGate, Ticket, check_cancel

Chain = Sequence[str]
Arrived = Callable[[int, Completion], None]
T = TypeVar("T")


@runtime_checkable
class BatchLLM(LLM, Protocol):
    """A language model that completes several prompts in one pass."""

    def complete_batch(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[Completion]: ...


def check_llm(llm: object) -> LLM:
    """`llm`, if it has the members of the contract.

    Raises:
        InputError: Otherwise, naming what it lacks and the adapters.
    """
    if conforms(llm, LLM):
        return llm
    kind = llm if isinstance(llm, type) else type(llm)
    hint = {
        "llama_index": "Make the memory with llamaindex_memorag, or wrap it: llamaindex_memorag.LlamaIndexLLM(llm).",
        "transformers": "Wrap its folder or hub name: HuggingFaceLLM(path).",
    }.get(
        kind.__module__.partition(".")[0], "A LangChain chat model is wrapped by langchain_memorag.LangChainLLM(llm)."
    )
    if isinstance(llm, type):
        hint = f"Pass an object of the class: {kind.__name__}(…)."
    raise InputError(
        f"Expected a language model with name, context_window, complete, stream, acomplete and astream "
        f"(memorag_integrations.contracts.LLM), found {'the class ' if isinstance(llm, type) else ''}"
        f"{kind.__module__}.{kind.__qualname__}, which lacks {', '.join(missing_members(llm, LLM))}. {hint}"
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
    gate: PromptGate,
    cancel: threading.Event | None = None,
    arrived: Arrived | None = None,
    batch: bool = False,
) -> list[list[Completion]]:
    """The completion of every prompt, by chain.

    Args:
        llm: Asked once a prompt.
        gate: Admits prompts. A prompt holds its slot until the model is done with it, also where nobody waits any more.
        cancel: When set, no further prompt is sent and no answer waited for.
        arrived: Called with a chain's number and each of its completions as they come, one at a time.
        batch: Whether a model that can (`BatchLLM`) gets as many prompts as the gate admits in one pass; for prompts
            that share no prefix.

    Raises:
        Cancelled: When `cancel` was set.
        LLMError: When the provider fails; prompts not yet sent stay unsent.
    """
    answers: list[list[Completion]] = [[] for _ in chains]

    def keep(chain: int, completion: Completion) -> None:
        answers[chain].append(completion)
        if arrived is not None:
            arrived(chain, completion)

    if batch and gate.limit > 1 and len(chains) > 1 and conforms(llm, BatchLLM):
        for rows in _rounds(chains, gate.limit):
            prompts = [chains[row][len(answers[row])] for row in rows]
            completions = _waited(partial(_batch, llm, prompts, max_tokens), gate, len(rows), cancel)
            for row, completion in zip(rows, completions, strict=True):
                keep(row, completion)
    elif gate.limit == 1 or len(chains) == 1:
        for number, chain in enumerate(chains):
            for prompt in chain:
                keep(number, _waited(partial(_one, llm, prompt, max_tokens), gate, 1, cancel))
    else:
        _SideBySide(llm, chains, max_tokens, gate, cancel, keep).run()
    return answers


async def aask(
    llm: LLM,
    chains: Sequence[Chain],
    *,
    max_tokens: int | None,
    gate: PromptGate,
    cancel: threading.Event | None = None,
) -> list[list[Completion]]:
    """`ask` with the model's own async call. Cancelling the task, too, ends what is under way."""
    turns = asyncio.Semaphore(gate.limit)  # not the gate: one call's prompts do not fill the line before another's
    failed = False

    async def one(prompt: str) -> Completion:
        nonlocal failed
        async with turns, gate.aheld(1, cancel):
            if failed:  # of another chain, whose slot this prompt has got
                raise asyncio.CancelledError
            try:
                with provider_errors(llm):
                    return _checked(llm, await llm.acomplete(prompt, max_tokens=max_tokens))
            except BaseException:
                failed = True
                raise

    async def chain_of(prompts: Chain) -> list[Completion]:
        return [await one(prompt) for prompt in prompts]

    check_cancel(cancel)
    tasks = [asyncio.ensure_future(_as_coroutine(chain_of(chain))) for chain in chains]
    try:
        pending: set[asyncio.Future[list[Completion]]] = set(tasks)
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=None if cancel is None else POLL, return_when=asyncio.FIRST_EXCEPTION
            )
            check_cancel(cancel)
            for task in sorted(done, key=lambda task: task.cancelled()):  # a failure before those it has cancelled
                task.result()
        return [task.result() for task in tasks]
    finally:
        failed = True
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


class _SideBySide:
    """Chains on a pool of threads. The caller's thread alone waits at the gate, sends prompts and keeps completions: so
    a failure or a cancel leaves unsent whatever has not been sent.

    No more tickets are drawn than the gate has slots: calls that share a gate take turns.
    """

    def __init__(
        self,
        llm: LLM,
        chains: Sequence[Chain],
        max_tokens: int | None,
        gate: PromptGate,
        cancel: threading.Event | None,
        keep: Arrived,
    ) -> None:
        self.llm, self.chains, self.max_tokens = llm, chains, max_tokens
        self.gate, self.cancel, self.keep = gate, cancel, keep
        self.ready = deque((number, 0) for number, chain in enumerate(chains) if chain)
        self.tickets: dict[Future[None], Ticket] = {}
        self.under_way: dict[Future[Completion], tuple[int, int]] = {}
        self.failed = threading.Event()
        self.pool = DaemonPool(min(gate.limit, len(chains)), "memorag-ask")

    def run(self) -> None:
        try:
            check_cancel(self.cancel)
            while self.ready or self.under_way:
                self._draw_tickets()
                futures: list[Future[Any]] = [*self.tickets, *self.under_way]
                done, _ = wait(futures, None if self.cancel is None else POLL, FIRST_COMPLETED)
                self._take_completions([future for future in done if future in self.under_way])
                check_cancel(self.cancel)
                self._send([future for future in done if future in self.tickets])
        finally:
            for ticket in self.tickets.values():
                ticket.release()
            self.pool.shutdown()

    def _draw_tickets(self) -> None:
        while len(self.tickets) < min(len(self.ready), self.gate.limit - len(self.under_way)):
            ticket = self.gate.ticket()
            self.tickets[ticket.future] = ticket

    def _take_completions(self, done: Sequence[Future[Any]]) -> None:
        errors = []
        for future in done:
            chain, step = self.under_way.pop(future)
            if (error := future.exception()) is not None:
                errors.append(error)
                continue
            self.keep(chain, future.result())
            if step + 1 < len(self.chains[chain]):
                self.ready.appendleft((chain, step + 1))
        if errors:
            raise errors[0]

    def _send(self, admitted: Sequence[Future[Any]]) -> None:
        for future in admitted:
            if self.failed.is_set():
                return  # the failed prompt gave its slot to this one before its error was known here
            chain, step = self.ready.popleft()
            ticket = self.tickets.pop(future)
            work = partial(_one, self.llm, self.chains[chain][step], self.max_tokens)
            sent = self.pool.submit(copy_context().run, _then_release, work, ticket, self.failed)
            sent.add_done_callback(partial(_release, ticket))  # also where it is cancelled unbegun
            self.under_way[sent] = (chain, step)


def _release(ticket: Ticket, _: object) -> None:
    ticket.release()


def _then_release(work: Callable[[], T], ticket: Ticket, failed: threading.Event) -> T:
    """The result of `work`. The slot is given back when it is done, and a failure is noted before that."""
    try:
        return work()
    except BaseException:
        failed.set()
        raise
    finally:
        ticket.release()


def _waited(work: Callable[[], T], gate: PromptGate, slots: int, cancel: threading.Event | None) -> T:
    """The result of `work`, sent when the gate admits it; with a `cancel`, on a thread that is left behind when it is set."""
    if cancel is None:
        with gate.held(slots):
            return work()
    ticket = gate.ticket(slots)
    pool = DaemonPool(1, "memorag-ask")
    sent = False
    try:
        ticket.wait(cancel)
        future: Future[T] = pool.submit(copy_context().run, _then_release, work, ticket, threading.Event())
        future.add_done_callback(lambda _: ticket.release())
        sent = True
        while not wait([future], POLL).done:
            check_cancel(cancel)
        return future.result()
    finally:
        if not sent:
            ticket.release()
        pool.shutdown()


def _one(llm: LLM, prompt: str, max_tokens: int | None) -> Completion:
    with provider_errors(llm):
        return _checked(llm, llm.complete(prompt, max_tokens=max_tokens))


def _batch(llm: BatchLLM, prompts: Sequence[str], max_tokens: int | None) -> list[Completion]:
    with provider_errors(llm):
        completions = list(llm.complete_batch(prompts, max_tokens=max_tokens))
    if len(completions) != len(prompts):
        raise LLMError(f"{llm.name} was asked {len(prompts)} prompts in a batch and gave {len(completions)} answers.")
    return [_checked(llm, completion) for completion in completions]


def _checked(llm: LLM, completion: object) -> Completion:
    if isinstance(completion, Completion) and isinstance(completion.text, str):
        return completion
    raise LLMError(f"{llm.name} answered with {type(completion).__name__} where a Completion of a str was expected.")
