"""Steps that are written once and run sync or async: generators that yield what has to be waited for, and two drivers.

`run` waits for each request in the calling thread. `arun` awaits it, and runs what lies between two requests in a thread,
so that the event loop stays free.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Steps = Generator["Request", Any, T]
"""Work that yields requests, is sent the result of each, and returns a T."""


WORKERS = 1
"""Threads that async calls do their own work in. A second one adds no speed, for the lock is one, but doubles the wait."""

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()
_this_thread = threading.local()


class Request(Protocol):
    """Something that has to be waited for."""

    def run(self) -> Any:
        """Wait for it in the calling thread."""

    async def arun(self) -> Any:
        """Wait for it on the event loop."""


def run(steps: Steps[T]) -> T:
    """The result of these steps; every request is waited for in the calling thread."""
    done, value = _advance(steps, None)
    while not done:
        done, value = _advance(steps, value.run())
    result: T = value
    return result


async def arun(steps: Steps[T]) -> T:
    """The result of these steps; every request is awaited, and what lies between two requests runs in a thread."""
    done, value = await in_worker(_advance, steps, None)
    while not done:
        done, value = await in_worker(_advance, steps, await value.arun())
    result: T = value
    return result


def _advance(steps: Steps[T], answer: Any) -> tuple[bool, Any]:
    """Go on to the next request, (False, request), or to the end, (True, result)."""
    try:
        return False, steps.send(answer)
    except StopIteration as end:
        return True, end.value


async def in_worker(work: Callable[..., T], *arguments: Any) -> T:
    """`work` in one of `WORKERS` threads that all async calls of the process share, in their order.

    Work in Python holds the interpreter's lock. Each thread that wants the lock keeps it for 5 ms at a time, and the event
    loop waits for its turn among them: with asyncio's own pool it stood still for hundreds of milliseconds under load
    (benchmarks/event_loop.py), and nothing was done sooner. Work that waits for something else does not belong here.
    """
    if getattr(_this_thread, "is_worker", False):  # an event loop inside a worker must not wait for the workers
        return await asyncio.to_thread(work, *arguments)
    call = partial(contextvars.copy_context().run, work, *arguments)
    return await asyncio.get_running_loop().run_in_executor(_workers(), call)


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(WORKERS, "memorag", lambda: setattr(_this_thread, "is_worker", True))
        return _pool


def _forget_workers() -> None:
    """In the child of a fork, which has none of its parent's threads."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()
    _this_thread.is_worker = False


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_forget_workers)


async def gather(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order. Where one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def in_thread_cancellable(work: Callable[..., T], *arguments: Any, **how: Any) -> T:
    """`work` in a thread; cancelling the task sets its `cancel`, unless the caller passed an event of their own."""
    cancel = how.pop("cancel", None) or threading.Event()
    try:
        return await asyncio.to_thread(work, *arguments, cancel=cancel, **how)
    except asyncio.CancelledError:
        cancel.set()
        raise
