"""Progress of long work: a progress bar, a function of the caller, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .contracts import Progress


@contextmanager
def reporting(progress: bool | Progress | None) -> Iterator[Progress]:
    """A function (stage, done, total) that reports progress.

    Args:
        progress: True for a bar for each stage that takes more than a second, on standard error or in the notebook;
            False for none; or a function.
    """
    if not progress:
        yield silent
        return
    if progress is not True:
        yield progress
        return
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


def silent(stage: str, done: int, total: int) -> None:
    """Reports nothing."""
