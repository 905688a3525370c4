"""Long polling: one request per response, which the server delays until it has news (RFC 6202 §2).

A message is sent at once if a request is waiting.  A message that arrives between a response and
the next request waits for that request: up to three transits of the network instead of one.
"""

import time

from realtime.errors import BadWait
from realtime.transports.exchange import Exchange
from realtime.transports.polling import PollResponse

# Below the 30 s after which the first proxies time out (RFC 6202 §5.5).
DEFAULT_WAIT_SECONDS = 25


class LongPolling(Exchange):
    transport = "long_polling"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room)
        self.negotiate_encoding()
        seconds = self.number(
            "wait", DEFAULT_WAIT_SECONDS, self.services.limits.wait_seconds, BadWait
        )
        reader = await self.services.hub.read(
            subscription.room, subscription.after, self.stream.address
        )
        async with self.tracked(subscription):
            answer = reader.poll(PollResponse)
            if not answer.events and not self.stream.closed() and not self.is_head:
                self.services.hub.check_open()  # nobody starts to wait while the server drains
                self.on_close(reader.cancel)
                self.check_reader_after_half_close()
                left = max(0.0, subscription.grant.expires - time.time())
                await reader.wait(min(seconds, left), self.transport)
                answer = reader.poll(PollResponse)
            if self.encoding is not None:
                answer = await self.compressed(answer)
            self.answer(answer)
