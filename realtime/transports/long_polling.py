"""Long polling: the client asks once per answer, and the server waits with it (RFC 6202 §2).

A message goes out at once, if a question is waiting.  If it comes between an answer and the next
question it waits for that: up to three transits of the network instead of one.
"""

from realtime.errors import BadWait
from realtime.hub import Reader
from realtime.transports.base import Handler

# Below the 30 s after which the first proxies give up (RFC 6202 §5.5).
USUAL_WAIT_SECONDS = 25


class LongPolling(Handler):
    transport = "long_polling"
    reader: Reader | None = None

    async def get(self, room: str) -> None:
        question = self.question(room)
        seconds = self.number("wait", USUAL_WAIT_SECONDS, self.house.limits.wait_seconds, BadWait)
        self.reader = await self.house.hub.read(question.room, question.after)
        async with self.visit(question, linger=self.house.limits.lease_seconds):
            answer = self.reader.poll()
            if not answer.events and not self.stream.closed():
                self.house.hub.check_open()  # nobody is let wait where the waiting is ended
                await self.reader.wait(seconds)
                answer = self.reader.poll()
            self.answer(answer)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self.reader is not None:
            self.reader.cancel()
