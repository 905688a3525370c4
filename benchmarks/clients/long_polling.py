"""Long polling, the client's half: ask at once after each answer, and let the server wait."""

from typing import Any

from benchmarks.clients.base import PollClient


class LongPolling(PollClient):
    """`wait` is how long the server may keep a question, in seconds."""

    transport = "long_polling"

    def __init__(self, url: str, room: str, *, wait: float = 25, **options: Any) -> None:
        super().__init__(url, room, **options)
        self.wait = wait

    async def _ask(self) -> None:
        # The first question only finds out where this reader stands.
        wait = 0 if self.cursor is None else self.wait
        await self._polls.begin("GET", self._path(wait=f"{wait:g}"))
