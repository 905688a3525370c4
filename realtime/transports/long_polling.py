"""Long polling: the client asks once per answer, and the server waits with it (RFC 6202 §2).

A message goes out at once, if a question is waiting.  If it comes between an answer and the next
question it waits for that: up to three transits of the network instead of one.
"""

from realtime.errors import BadWait
from realtime.transports.exchange import Exchange
from realtime.transports.polling import PollResponse

# Below the 30 s after which the first proxies give up (RFC 6202 §5.5).
USUAL_WAIT_SECONDS = 25


class LongPolling(Exchange):
    transport = "long_polling"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room)
        seconds = self.number(
            "wait", USUAL_WAIT_SECONDS, self.services.limits.wait_seconds, BadWait
        )
        reader = await self.services.hub.read(subscription.room, subscription.after)
        async with self.visit(subscription, linger=self.services.limits.lease_seconds):
            answer = reader.poll(PollResponse)
            if not answer.events and not self.stream.closed():
                self.services.hub.check_open()  # nobody is let wait where the waiting is ended
                self.on_close(reader.cancel)
                await reader.wait(seconds, self.transport)
                answer = reader.poll(PollResponse)
            self.answer(answer)
