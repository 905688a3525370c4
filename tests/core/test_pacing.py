"""A flush runs at once when idle, lets others run in between, and is followed by a pause."""

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from realtime.core.pacing import SLICE_SECONDS, PacedFlush, _cooldown, rotated
from tests.cases import each


class Work:
    """A flush of so many steps, each as long as a time slice; `log` has its steps."""

    def __init__(self, steps: int, flushes: int = 1) -> None:
        self.log: list[str] = []
        self._left = flushes
        self._count = steps
        self.pace = PacedFlush(self._steps, lambda: self._left > 0)

    def _steps(self) -> Iterator[None]:
        self._left -= 1
        for number in range(self._count):
            self.log.append(f"step {number}")
            time.sleep(SLICE_SECONDS)  # not asyncio.sleep: it is the work that blocks the loop
            yield

    async def finish(self) -> None:
        async with asyncio.timeout(10):
            while not self.pace.idle:
                await asyncio.sleep(0)


async def test_an_idle_one_starts_with_the_next_iteration_of_the_loop() -> None:
    work = Work(1)
    work.pace.run_soon()
    assert (work.log, work.pace.idle) == ([], False)
    await work.finish()
    assert work.log == ["step 0"]


async def test_requests_during_a_flush_or_its_pause_are_one_flush() -> None:
    work = Work(1, flushes=2)
    for _ in range(3):
        work.pace.run_soon()
    await work.finish()
    assert work.log == ["step 0", "step 0"]  # the second because it was still due


async def test_others_run_between_two_slices() -> None:
    work = Work(3)
    loop = asyncio.get_running_loop()

    def other() -> None:
        work.log.append("other")
        if not work.pace.idle:
            loop.call_soon(other)

    work.pace.run_soon()
    loop.call_soon(other)
    await work.finish()
    steps = [place for place, entry in enumerate(work.log) if entry != "other"]
    assert len(steps) == 3
    assert all("other" in work.log[a:b] for a, b in pairwise(steps))


async def test_a_flush_that_fails_does_not_prevent_the_next_one() -> None:
    def fail() -> Iterator[None]:
        raise ValueError("in the first step")
        yield  # a generator

    work = Work(1)
    with pytest.raises(ValueError, match="in the first step"):
        work.pace.run(fail())
    assert work.pace.idle
    work.pace.run_soon()
    await work.finish()
    assert work.log == ["step 0"]


@each(("spent", "pause"), [(0.001, 0.003), (0.01, 1 / 60), (0.1, 0.1)])
def test_the_pause_is_as_long_as_the_flush_or_up_to_one_frame(spent: float, pause: float) -> None:
    assert _cooldown(spent) == pause


def test_rotated_items_keep_their_cyclic_order() -> None:
    items = rotated([1, 2, 3, 4])
    start = items.index(1)
    assert items[start:] + items[:start] == [1, 2, 3, 4]
    assert rotated([]) == []
