"""An event loop whose time the test moves, so that no test waits or needs a fast machine."""

import asyncio
from typing import Any, cast


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time the test moves; in addition, each call of `time` takes a microsecond.

    So a flush takes some time, and a cooldown follows it.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        self.now += 1e-6
        return self.now

    async def settle(self) -> None:
        """Run the loop until no callback is due."""
        for _ in range(2):
            for _ in range(1000):
                await asyncio.sleep(0)
                if not self._is_busy():
                    break
            else:
                raise AssertionError("the loop never becomes idle")
            self.now += 0.001

    def _is_busy(self) -> bool:
        loop = cast(Any, self)  # private attributes: asyncio has no public way to ask
        return bool(loop._ready) or any(timer._when <= self.now for timer in loop._scheduled[:1])

    async def pass_seconds(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += min(0.5 if seconds < 10 else 2.0, end - self.now)
            await self.settle()
