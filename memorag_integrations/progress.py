"""Progress of long work: a progress bar, a function of the caller, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .contracts import Progress
from .errors import InputError


@contextmanager
def reporting(progress: bool | Progress | None) -> Iterator[Progress]:
    """A function (stage, done, total) that reports progress.

    Args:
        progress: True for a bar for each stage that takes more than a second, on standard error or in the notebook;
            False for none; or a function. What the function raises ends the work and comes out unchanged.

    Raises:
        InputError: For anything else.
    """
    if not progress:
        yield silent
        return
    if progress is not True:
        if not callable(progress):
            raise InputError(f"progress must be True, False or a function (stage, done, total), found {progress!r}.")
        try:
            yield _Callback(progress)
        except _CallbackRaised as raised:
            error = raised.error
        else:
            return
        raise error  # unchanged: it is the caller's own
    bars: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        from tqdm.auto import tqdm

        if stage in bars and done < bars[stage].n:  # the stage begins again, with the next of several texts
            bars.pop(stage).close()
        if stage not in bars:
            bars[stage] = tqdm(total=total, desc=stage, delay=1)
        bar = bars[stage]
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


class _CallbackRaised(BaseException):
    """Carries what a caller's function raised past everything that catches the exceptions of models."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True)
class _Callback:
    progress: Progress

    def __call__(self, stage: str, done: int, total: int) -> None:
        try:
            self.progress(stage, done, total)
        except Exception as error:
            raise _CallbackRaised(error) from None


def silent(stage: str, done: int, total: int) -> None:
    """Reports nothing."""
