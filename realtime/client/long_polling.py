"""Long polling, the client's half: the next request follows each response, and the server waits."""

from typing import Any

from realtime.client.base import PollClient


class LongPollingClient(PollClient):
    """`wait` is how long the server may hold a request, in seconds."""

    transport = "long_polling"

    def __init__(self, url: str, room: str, *, wait: float = 25, **options: Any) -> None:
        super().__init__(url, room, **options)
        self.wait = wait

    async def _send_poll(self) -> None:
        # The first request only finds the current cursor.
        wait = 0 if self.cursor is None else self.wait
        await self._request(wait=f"{wait:g}")
