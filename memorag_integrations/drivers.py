"""Steps that are written once and run sync or async: generators that yield what has to be waited for, and two drivers.

`run` waits for each request in the calling thread. `arun` awaits it, and runs what lies between two requests in a thread,
so that the event loop stays free.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Steps = Generator["Request", Any, T]
"""Work that yields requests, is sent the result of each, and returns a T."""


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
    done, value = await asyncio.to_thread(_advance, steps, None)
    while not done:
        done, value = await asyncio.to_thread(_advance, steps, await value.arun())
    result: T = value
    return result


def _advance(steps: Steps[T], answer: Any) -> tuple[bool, Any]:
    """Go on to the next request, (False, request), or to the end, (True, result)."""
    try:
        return False, steps.send(answer)
    except StopIteration as end:
        return True, end.value


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
