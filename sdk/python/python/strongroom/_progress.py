"""How far long work is: a callable, or tqdm's bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Union

#: `None` or `False`: say nothing. `True`: a bar, where tqdm is installed. Otherwise called now and then
#: with (bytes done, bytes in all) on the thread that asked; an exception of it stops the work.
Progress = Union[None, bool, Callable[[int, int], object]]


@contextmanager
def reporting(progress: Progress, what: str) -> Iterator[Callable[[int, int], object] | None]:
    """What the native part is to call."""
    if progress is not True:
        yield progress or None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield None
        return
    bars: list[Any] = []

    def report(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, desc=what, unit="B", unit_scale=True, unit_divisor=1024))
        bars[0].update(done - bars[0].n)

    try:
        yield report
    finally:
        for bar in bars:
            bar.close()
