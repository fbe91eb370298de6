"""A gate: at most so many prompts are under way at once, whoever sends them: threads, or tasks of any event loop.

Whoever wants to send asks for a ticket and waits until it is admitted, in the order of asking. A ticket for several
prompts (a batch) is admitted when so many slots are free; later ones do not pass it, so it cannot starve.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, TimeoutError
from contextlib import asynccontextmanager, contextmanager

from ..errors import Cancelled, InputError

POLL = 0.05
"""Seconds between two looks at a cancel event."""


class PromptGate:
    """Slots for prompts under way.

    Args:
        limit: How many there are.

    Raises:
        InputError: For a limit that is not a whole number of at least 1.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InputError(f"together must be a whole number of at least 1, found {limit!r}.")
        self.limit = limit
        self._free = limit
        self._waiting: deque[Ticket] = deque()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[PromptGate], tuple[int]]:
        """Copies and pickles are gates of their own, with nobody in line."""
        return type(self), (self.limit,)

    def ticket(self, slots: int = 1) -> Ticket:
        """A ticket at the end of the line; it is to be given back by `Ticket.release`, admitted or not.

        Args:
            slots: Prompts that are sent with it, at most `limit`.
        """
        if not 1 <= slots <= self.limit:
            raise InputError(
                f"A gate of {self.limit} prompts cannot admit {slots} at once. Send them in smaller batches."
            )
        ticket = Ticket(self, slots)
        with self._lock:
            self._waiting.append(ticket)
            admitted = self._admit()
        _tell(admitted)
        return ticket

    @contextmanager
    def held(self, slots: int = 1) -> Iterator[None]:
        """So many slots, waited for and given back at the end."""
        ticket = self.ticket(slots)
        try:
            ticket.wait()
            yield
        finally:
            ticket.release()

    @asynccontextmanager
    async def aheld(self, slots: int = 1, cancel: threading.Event | None = None) -> AsyncIterator[None]:
        """`held` that lets the event loop go on meanwhile.

        Raises:
            Cancelled: When `cancel` was set before the slots were free.
        """
        ticket = self.ticket(slots)
        try:
            await ticket.wait_async(cancel)
            yield
        finally:
            ticket.release()

    def give_back(self, ticket: Ticket) -> None:
        """Free a ticket's slots, or its place in the line. The second time does nothing."""
        with self._lock:
            if ticket.returned:
                return
            ticket.returned = True
            if ticket.admitted:
                self._free += ticket.slots
            else:
                self._waiting.remove(ticket)
            admitted = self._admit()
        _tell(admitted)

    def _admit(self) -> list[Ticket]:
        """Take from the line, in its order, what the free slots admit. The lock is held."""
        admitted = []
        while self._waiting and self._waiting[0].slots <= self._free:
            ticket = self._waiting.popleft()
            self._free -= ticket.slots
            ticket.admitted = True
            admitted.append(ticket)
        return admitted


class Ticket:
    """A place in the line of a gate, later so many of its slots.

    Args:
        gate: Whose it is.
        slots: How many it stands for.
    """

    def __init__(self, gate: PromptGate, slots: int) -> None:
        self.slots = slots
        self.admitted = self.returned = False
        self.future: Future[None] = Future()
        """Done when the ticket is admitted."""
        self.future.set_running_or_notify_cancel()  # a waiting task that is cancelled must not cancel it: see `release`
        self._gate = gate

    def wait(self, cancel: threading.Event | None = None) -> None:
        """Wait in this thread until the ticket is admitted.

        Raises:
            Cancelled: When `cancel` was set.
        """
        while not self.future.done():
            check_cancel(cancel)
            try:
                self.future.result(None if cancel is None else POLL)
            except TimeoutError:
                continue
        check_cancel(cancel)

    async def wait_async(self, cancel: threading.Event | None = None) -> None:
        """`wait` that lets the event loop go on meanwhile."""
        if not self.future.done():
            admitted = asyncio.wrap_future(self.future)
            try:
                while not self.future.done():
                    check_cancel(cancel)
                    await asyncio.wait([admitted], timeout=None if cancel is None else POLL)
            finally:
                admitted.cancel()
        check_cancel(cancel)

    def release(self) -> None:
        """Give the slots back, or leave the line."""
        self._gate.give_back(self)


def check_cancel(cancel: threading.Event | None) -> None:
    """Raises Cancelled when `cancel` was set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled("Cancelled while a language model was asked; the memory is what it was.")


def _tell(tickets: list[Ticket]) -> None:
    """Wake whoever waits for these tickets, outside of the gate's lock: callbacks may ask for further ones."""
    for ticket in tickets:
        ticket.future.set_result(None)
