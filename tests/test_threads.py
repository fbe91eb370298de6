"""Threads that nothing waits for: not the end of a call, of an event loop, or of the process."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest

from memorag_integrations.threads import MOST, DaemonPool, in_thread, side_by_side


def test_a_pool_does_all_work_in_as_many_threads_as_it_may():
    pool, used = DaemonPool(3, "few"), set()

    def work(number):
        used.add(threading.current_thread().name)
        time.sleep(0.01)
        return number * number

    futures = [pool.submit(work, number) for number in range(30)]
    assert [future.result(30) for future in futures] == [number * number for number in range(30)]
    assert len(used) == 3
    assert all(name.startswith("few-") for name in used)


@pytest.mark.parametrize("error", [ValueError("own"), KeyboardInterrupt(), SystemExit(3)])
def test_what_work_raises_comes_out(error):
    def work():
        raise error

    pool = DaemonPool(1, "one")
    assert pool.submit(work).exception(30) is error
    assert pool.submit(len, "abc").result(30) == 3, "the thread goes on"


def test_shutdown_waits_for_nothing_and_begins_nothing():
    pool, go, begun = DaemonPool(1, "one"), threading.Event(), threading.Event()

    def first():
        begun.set()
        return go.wait(30)

    under_way, waiting = pool.submit(first), pool.submit(len, "abc")
    assert begun.wait(30)
    pool.shutdown()
    assert waiting.cancelled()
    assert not under_way.done()
    go.set()
    assert under_way.result(30)


def test_threads_end_with_their_pool_and_keep_nothing():
    class Kept:
        pass

    pool, kept = DaemonPool(2, "gone"), Kept()
    pool.submit(lambda thing: None, kept).result(30)
    ref = weakref.ref(kept)
    del kept
    deadline = time.monotonic() + 30
    while ref() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert ref() is None
    del pool
    while any(t.name.startswith("gone-") for t in threading.enumerate()) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert not any(thread.name.startswith("gone-") for thread in threading.enumerate())


def test_in_thread_has_the_callers_context_and_bounded_threads():
    variable = contextvars.ContextVar("variable", default="none")
    used = set()

    def work(number, *, factor):
        used.add(threading.current_thread().name)
        time.sleep(0.005)
        return variable.get(), number * factor

    async def main():
        variable.set("mine")
        return await asyncio.gather(*(in_thread(work, number, factor=2) for number in range(4 * MOST)))

    assert asyncio.run(main()) == [("mine", 2 * number) for number in range(4 * MOST)]
    assert len(used) <= MOST


def test_nested_loops_do_not_wait_for_each_other():
    async def inner():
        return await in_thread(lambda: 1)

    async def main():
        return sum(await asyncio.gather(*(in_thread(lambda: asyncio.run(inner())) for _ in range(3 * MOST))))

    assert asyncio.run(asyncio.wait_for(main(), 60)) == 3 * MOST


SCRIPT = """
import asyncio, time
from memorag_integrations.threads import MOST, DaemonPool, in_thread, side_by_side
async def main():
    task = asyncio.ensure_future(in_thread(time.sleep, 60))
    await asyncio.sleep(0.1)
    task.cancel()
DaemonPool(1, "slow").submit(time.sleep, 60)
asyncio.run(main())
print("ended")
"""


def test_the_process_ends_at_once():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


@pytest.mark.parametrize("threads", [1, 2, 50])
def test_side_by_side(threads):
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)
    assert side_by_side(lambda n: n * variable.get(), range(9), threads) == [7 * n for n in range(9)]
    assert side_by_side(len, [], threads) == []
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda n: 1 // n, [2, 1, 0], threads)
