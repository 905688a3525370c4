"""Short polling, the client's half: ask every `interval`, whether anything happened or not."""

import asyncio
from typing import Any

from benchmarks.clients.base import PollClient


class ShortPolling(PollClient):
    """`interval` is from one question to the next, in seconds; a cut answer is asked on at once."""

    transport = "short_polling"

    def __init__(self, url: str, room: str, *, interval: float = 0.1, **options: Any) -> None:
        super().__init__(url, room, **options)
        self.interval = interval
        self._asked = float("-inf")

    async def _ask(self) -> None:
        now = asyncio.get_running_loop().time
        if not self._more:
            # Counted from the last question, so that a pause which was cancelled is not begun anew.
            await asyncio.sleep(self._asked + self.interval - now())
        await self._polls.begin("GET", self._path())
        self._asked = now()
