"""A gate admits at most its limit, in the order of asking, and loses no slot by a cancel or an error."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memorag_integrations.clues import Completion, Usage
from memorag_integrations.errors import Cancelled, InputError, LLMError
from memorag_integrations.llms.gate import PromptGate
from memorag_integrations.llms.scheduling import aask, ask

from ..scripted import ScriptedLLM


def free(gate: PromptGate) -> int:
    """Slots that can be had at once."""
    tickets = [gate.ticket() for _ in range(gate.limit)]
    try:
        return sum(ticket.future.done() for ticket in tickets)
    finally:
        for ticket in tickets:
            ticket.release()


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "2", None])
def test_a_limit_is_a_count(limit: object) -> None:
    with pytest.raises(InputError, match="together"):
        PromptGate(limit)  # type: ignore[arg-type]


def test_the_line_is_first_come_first_served_and_a_batch_is_not_passed() -> None:
    gate = PromptGate(3)
    one, two = gate.ticket(2), gate.ticket(1)
    batch, late = gate.ticket(3), gate.ticket(1)
    assert [ticket.admitted for ticket in (one, two, batch, late)] == [True, True, False, False]
    two.release()
    assert not late.admitted, "a free slot is kept for the batch before it"
    one.release()
    assert batch.admitted
    assert not late.admitted
    batch.release()
    batch.release()
    assert late.admitted
    late.release()
    assert free(gate) == 3


def test_whoever_leaves_the_line_lets_the_next_one_pass() -> None:
    gate = PromptGate(2)
    first, batch, last = gate.ticket(1), gate.ticket(2), gate.ticket(1)
    assert not last.admitted
    batch.release()
    assert last.admitted
    for ticket in (first, last):
        ticket.release()
    assert free(gate) == 2


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(InputError, match="smaller batches"):
        PromptGate(2).ticket(3)


def test_a_waiting_thread_hears_of_a_cancel() -> None:
    gate, cancel = PromptGate(1), threading.Event()
    with gate.held():
        threading.Timer(0.05, cancel.set).start()
        ticket = gate.ticket()
        with pytest.raises(Cancelled):
            ticket.wait(cancel)
        ticket.release()
    assert free(gate) == 1


async def test_waiting_tasks_that_are_cancelled_leave_the_line() -> None:
    gate = PromptGate(1)

    async def hold() -> None:
        async with gate.aheld():
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(hold()) for _ in range(5)]
    await asyncio.sleep(0.01)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert not free(gate)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert free(gate) == 1


def test_threads_and_tasks_of_several_event_loops_share_it() -> None:
    gate, lock = PromptGate(3), threading.Lock()
    now = most = passed = 0

    def count(step: int) -> None:
        nonlocal now, most, passed
        with lock:
            now += step
            most = max(most, now)
            passed += step > 0

    def in_threads(_: int) -> None:
        for slots in (1, 2, 3, 1):
            with gate.held(slots):
                count(slots)
                time.sleep(0.001)
                count(-slots)

    async def in_tasks() -> None:
        async def one(slots: int) -> None:
            async with gate.aheld(slots):
                count(slots)
                await asyncio.sleep(0.001)
                count(-slots)

        await asyncio.gather(*(one(slots) for slots in (1, 2, 3, 1, 1)))

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(in_threads, i) for i in range(4)]
        work += [pool.submit(lambda: asyncio.run(in_tasks())) for _ in range(4)]
        for one in work:
            one.result(timeout=30)
    assert most == 3
    assert passed == 4 * 4 + 4 * 5
    assert free(gate) == 3


def test_a_loop_that_ends_while_a_task_waits_costs_no_slot() -> None:
    gate = PromptGate(1)

    async def wait() -> None:
        async with gate.aheld():
            pass

    async def give_up() -> None:
        await asyncio.wait_for(wait(), 0.05)

    with gate.held(), pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert free(gate) == 1
    asyncio.run(wait())
    assert free(gate) == 1


class Counting(ScriptedLLM):
    """Says which prompts it was sent, and fails at those that say so."""

    def __init__(self, seconds: float = 0.02) -> None:
        super().__init__(self._answer, seconds=seconds)

    def _answer(self, prompt: str) -> str:
        if "fail" in prompt:
            raise ConnectionError("the server went away")
        return prompt


def send(way: str, llm: ScriptedLLM, chains: list[list[str]], **how: Any) -> None:
    if way == "sync":
        ask(llm, chains, max_tokens=None, **how)
    else:
        asyncio.run(aask(llm, chains, max_tokens=None, **how))


CHAINS = [[f"{chain} {step}" for step in range(3)] for chain in range(6)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_calls_that_share_a_gate_keep_its_limit_together(limit: int) -> None:
    gate, llm = PromptGate(limit), Counting()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(ask, llm, CHAINS, max_tokens=None, gate=gate) for _ in range(2)]
        calls += [pool.submit(lambda: asyncio.run(aask(llm, CHAINS, max_tokens=None, gate=gate))) for _ in range(2)]
        for call in calls:
            assert [[one.text for one in chain] for chain in call.result(timeout=60)] == CHAINS
    assert llm.most_under_way == limit
    assert len(llm.prompts) == 4 * 18
    assert free(gate) == limit


def test_a_short_call_is_not_kept_waiting_by_a_long_one() -> None:
    """A call has no more prompts in line than the gate has slots."""
    gate, llm = PromptGate(2), Counting()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(ask, llm, [[f"long {i}"] for i in range(40)], max_tokens=None, gate=gate)
        while len(llm.prompts) < 4:
            time.sleep(0.001)
        ask(llm, [["short 1"], ["short 2"]], max_tokens=None, gate=gate)
        asyncio.run(aask(llm, [["short 3"], ["short 4"]], max_tokens=None, gate=gate))
        assert not long.done()
        assert len(llm.prompts) < 30
        long.result(timeout=30)


@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_failed_call_sends_nothing_that_was_waiting(limit: int, way: str) -> None:
    for _ in range(10):
        gate, llm = PromptGate(limit), Counting(seconds=0.001)
        chains = [["fail"], *([f"later {i}"] for i in range(20))]
        with pytest.raises(LLMError, match="went away"):
            send(way, llm, chains, gate=gate)
        sent = len(llm.prompts)
        assert sent < len(chains) - limit, "those sent with the one that failed, and those they made room for before"
        time.sleep(0.01)
        assert len(llm.prompts) == sent
        assert free(gate) == limit


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_cancelled_call_sends_nothing_that_was_waiting(way: str) -> None:
    gate, llm, cancel = PromptGate(2), Counting(), threading.Event()
    chains = [[f"{i}"] for i in range(5)]
    with gate.held(2):  # another call has all slots
        threading.Timer(0.05, cancel.set).start()
        with pytest.raises(Cancelled):
            send(way, llm, chains, gate=gate, cancel=cancel)
    time.sleep(0.05)
    assert not llm.prompts
    assert free(gate) == 2


@pytest.mark.parametrize("chains", [1, 3])
def test_a_prompt_that_nobody_waits_for_keeps_its_slot_until_the_model_is_done(chains: int) -> None:
    gate, llm, cancel = PromptGate(2), Counting(seconds=0.3), threading.Event()
    threading.Timer(0.05, cancel.set).start()
    with pytest.raises(Cancelled):
        ask(llm, [[f"{i}"] for i in range(chains)], max_tokens=None, gate=gate, cancel=cancel)
    assert llm.under_way == min(chains, 2)
    assert free(gate) == 2 - llm.under_way
    ask(llm, [[f"then {i}"] for i in range(3)], max_tokens=None, gate=gate)
    assert llm.most_under_way == 2
    assert free(gate) == 2


class Batching(Counting):
    sizes: list[int]

    def complete_batch(self, prompts: list[str], *, max_tokens: int | None = None) -> list[Completion]:
        with self._lock:
            self.under_way += len(prompts)
            self.most_under_way = max(self.most_under_way, self.under_way)
        time.sleep(self.seconds)
        with self._lock:
            self.under_way -= len(prompts)
        return [Completion(self._answer(prompt), Usage(calls=1)) for prompt in prompts]


def test_a_batch_counts_each_of_its_prompts() -> None:
    gate, llm = PromptGate(3), Batching(seconds=0.005)
    with ThreadPoolExecutor(3) as pool:
        calls = [
            pool.submit(ask, llm, CHAINS, max_tokens=None, gate=gate, batch=batch) for batch in (True, False, True)
        ]
        for call in calls:
            assert [[one.text for one in chain] for chain in call.result(timeout=60)] == CHAINS
    assert llm.most_under_way == 3
    with pytest.raises(LLMError, match="went away"):
        ask(llm, [["a"], ["fail"], ["b"], ["c"]], max_tokens=None, gate=gate, batch=True)
    assert free(gate) == 3


def test_an_error_of_who_takes_the_answers_ends_the_call() -> None:
    gate, llm = PromptGate(2), Counting()

    def refuse(chain: int, completion: Completion) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        ask(llm, [[f"{i}"] for i in range(10)], max_tokens=None, gate=gate, arrived=refuse)
    time.sleep(0.05)
    assert len(llm.prompts) == 2
    assert free(gate) == 2
