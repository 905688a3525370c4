"""An event loop whose time is moved by hand, so that nothing waits and nothing depends on haste."""

import asyncio
from typing import Any, cast


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time is moved by hand, but that every look at it takes a moment.

    So a flush has taken some time, and the next one has to rest.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        self.now += 1e-6
        return self.now

    async def settle(self) -> None:
        """Let all happen that can happen now."""
        for _ in range(2):
            for _ in range(1000):
                await asyncio.sleep(0)
                if not self._is_busy():
                    break
            else:
                raise AssertionError("it never comes to rest")
            self.now += 0.001

    def _is_busy(self) -> bool:
        loop = cast(Any, self)  # what a loop has to do is its own affair, but who else knows it?
        return bool(loop._ready) or any(timer._when <= self.now for timer in loop._scheduled[:1])

    async def pass_seconds(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += min(0.5 if seconds < 10 else 2.0, end - self.now)
            await self.settle()
