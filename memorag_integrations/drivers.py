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
from weakref import WeakKeyDictionary

from .threads import in_thread

T = TypeVar("T")
Steps = Generator["Request", Any, T]
"""Work that yields requests, is sent the result of each, and returns a T."""


QUEUED = 4
"""Calls of one event loop that are handed to a lane ahead of their turn."""

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


class Lane:
    """One thread that all async calls of the process share for one kind of work, in their order.

    Work in Python holds the interpreter's lock. Each thread that wants the lock keeps it for 5 ms at a time, and the event
    loop waits for its turn among them: with asyncio's own pool it stood still for hundreds of milliseconds under load
    (benchmarks/event_loop.py), and nothing was done sooner. Work that waits for something else does not belong here.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.forget()

    def forget(self) -> None:
        """Start without a thread: the child of a fork has none of its parent's."""
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """`work` in this lane's thread, with the caller's context variables."""
        if getattr(_this_thread, "is_lane", False):  # an event loop inside a lane must not wait for the lane
            return await in_thread(work, *arguments)
        loop = asyncio.get_running_loop()
        async with self._gate(loop):
            call = partial(contextvars.copy_context().run, work, *arguments)
            return await loop.run_in_executor(self._threads(), call)

    def _gate(self, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
        """Keeps all but a few calls of a loop waiting: to hand hundreds over in one go would stop the loop, too."""
        with self._lock:
            return self._gates.setdefault(loop, asyncio.Semaphore(QUEUED))

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, self._name, lambda: setattr(_this_thread, "is_lane", True))
            return self._pool


_short, _long = Lane("memorag-work"), Lane("memorag-build")


async def in_worker(work: Callable[..., T], *arguments: Any) -> T:
    """`work` of milliseconds in the lane for all such."""
    return await _short.run(work, *arguments)


async def in_builder(work: Callable[..., T], *arguments: Any) -> T:
    """`work` that may take seconds, such as an index, in a lane of its own, so that no short work waits for it."""
    return await _long.run(work, *arguments)


def _after_fork() -> None:
    _this_thread.is_lane = False
    _short.forget()
    _long.forget()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_after_fork)


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
        return await in_thread(work, *arguments, cancel=cancel, **how)
    except asyncio.CancelledError:
        cancel.set()
        raise
