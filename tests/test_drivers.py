"""The threads that async calls do their work in: few, shared, and alive after a fork."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
import time

import pytest

from memorag_integrations.drivers import arun, in_builder, in_worker

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="")


def steps(seen: set[str]):
    for _ in range(3):
        seen.add(threading.current_thread().name)
        time.sleep(0.001)
        yield Wait()
    return "done"


class Wait:
    def run(self) -> None: ...

    async def arun(self) -> None:
        await asyncio.sleep(0)


def test_many_calls_share_few_threads() -> None:
    seen: set[str] = set()

    async def all_at_once() -> list[str]:
        return list(await asyncio.gather(*(arun(steps(seen)) for _ in range(50))))

    assert asyncio.run(all_at_once()) == ["done"] * 50
    assert len(seen) == 1
    assert threading.current_thread().name not in seen


def test_a_worker_sees_the_callers_context() -> None:
    async def ask() -> str:
        NAME.set("caller")
        return await in_worker(NAME.get)

    assert asyncio.run(ask()) == "caller"


def test_an_event_loop_inside_a_worker_does_not_wait_for_the_workers() -> None:
    async def inner() -> int:
        return await in_worker(lambda: 7)

    async def outer() -> list[int]:
        return list(await asyncio.gather(*(in_worker(lambda: asyncio.run(inner())) for _ in range(8))))

    assert asyncio.run(asyncio.wait_for(outer(), 30)) == [7] * 8


def test_long_work_keeps_no_short_work_waiting() -> None:
    free = threading.Event()

    async def both() -> tuple[bool, int]:
        long = asyncio.create_task(in_builder(free.wait, 30))
        short = await in_worker(lambda: 7)
        free.set()
        return await long, short

    assert asyncio.run(both()) == (True, 7)


def test_a_cancelled_call_lets_the_next_one_in() -> None:
    async def cancelled() -> list[int]:
        blocked = [asyncio.create_task(in_worker(time.sleep, 0.05)) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in blocked:
            task.cancel()
        return list(await asyncio.gather(*(in_worker(lambda i=i: i) for i in range(20))))

    assert asyncio.run(asyncio.wait_for(cancelled(), 30)) == list(range(20))


def test_an_error_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_worker(lambda: 1 // 0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_the_child_of_a_fork_has_workers_of_its_own() -> None:
    program = """
import asyncio, os
from memorag_integrations.drivers import in_worker
assert asyncio.run(in_worker(lambda: 1)) == 1
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(in_worker(lambda: 2)) == 2 else 1)
assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(in_worker(lambda: 3)) == 3
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
