"""Short polling, the client's half: a request every `interval`, whether or not there is news."""

import asyncio
from typing import Any

from realtime.client.base import PollClient


class ShortPollingClient(PollClient):
    """`interval` is the time between two requests, in seconds.

    After a response that was cut at its limit, the next request follows at once.
    """

    transport = "short_polling"

    def __init__(self, url: str, room: str, *, interval: float = 0.1, **options: Any) -> None:
        super().__init__(url, room, **options)
        self.interval = interval
        self._requested_at = float("-inf")

    async def _send_poll(self) -> None:
        now = asyncio.get_running_loop().time
        if not self._more:
            # Counted from the last request, so that a cancelled pause does not start again.
            await asyncio.sleep(self._requested_at + self.interval - now())
        await self._request()
        self._requested_at = now()
