"""Threads for work that waits, which nothing waits for at the end: Ctrl-C ends a call, and the process, at once.

The threads of `concurrent.futures` are joined when a pool's block ends, when asyncio's loop closes and when the process
exits, so a language model that takes half a minute holds all of them up.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

A = TypeVar("A")
T = TypeVar("T")

_Queue = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]

MOST = min(32, (os.cpu_count() or 1) + 4)
"""Threads of one event loop, as many as asyncio's own pool has."""


class DaemonPool:
    """At most so many threads, each started when it is needed. They end with `shutdown`, with the pool, or with the process.

    Args:
        threads: How many at most.
        name: Theirs.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._most, self._name = threads, name
        self._queue: _Queue = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._lock = threading.Lock()
        weakref.finalize(self, self._queue.put, None).atexit = False

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """`work` as soon as a thread is free. A future that is cancelled before that is not begun."""
        future: Future[T] = Future()
        self._queue.put((future, partial(work, *arguments)))
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if self._started < self._most:
                    self._started += 1
                    name = f"{self._name}-{self._started}"
                    threading.Thread(target=_serve, args=(self._queue, self._idle), name=name, daemon=True).start()
        return future

    def shutdown(self) -> None:
        """Cancel what has not begun, and let the threads end when they are done. Nothing waits for them."""
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is not None:
                item[0].cancel()
        self._queue.put(None)


def _serve(queue: _Queue, idle: threading.Semaphore) -> None:
    """Work from a queue, until there is None in it, which stays for the other threads."""
    while True:
        try:
            item = queue.get_nowait()
        except Empty:
            idle.release()
            item = queue.get()
        if item is None:
            queue.put(None)
            return
        future, work = item
        if future.set_running_or_notify_cancel():
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
        del item, future, work  # or an idle thread would keep what it has worked on


def side_by_side(work: Callable[[A], T], items: Sequence[A], threads: int) -> list[T]:
    """The result of `work` for each item, in order; in so many threads, or in this one where one is enough.

    The first error ends the call. What is under way then, or when the call is interrupted, is left behind.
    """
    if min(len(items), threads) <= 1:
        return [work(item) for item in items]
    pool = DaemonPool(min(len(items), threads), "memorag-side")
    try:
        futures: list[Future[T]] = [pool.submit(contextvars.copy_context().run, work, item) for item in items]
        return [future.result() for future in futures]
    finally:
        pool.shutdown()


_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, DaemonPool] = weakref.WeakKeyDictionary()
_pools_lock = threading.Lock()


async def in_thread(work: Callable[..., T], *arguments: Any, **how: Any) -> T:
    """`asyncio.to_thread` in threads that neither the end of the event loop nor that of the process waits for."""
    loop = asyncio.get_running_loop()
    with _pools_lock:
        pool = _pools.get(loop)
        if pool is None:
            pool = _pools[loop] = DaemonPool(MOST, "memorag-async")
    call = partial(contextvars.copy_context().run, work, *arguments, **how)
    return await asyncio.wrap_future(pool.submit(call))


def _forget() -> None:
    """In the child of a fork, which has none of its parent's threads."""
    global _pools, _pools_lock
    _pools, _pools_lock = weakref.WeakKeyDictionary(), threading.Lock()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_forget)
