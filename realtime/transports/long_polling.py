"""Long polling: one request per response, which the server delays until it has news (RFC 6202 §2).

A message is sent at once if a request is waiting.  A message that arrives between a response and
the next request waits for that request: up to three transits of the network instead of one.
"""

from realtime.errors import BadWait
from realtime.transports.polling import Poll, PollResponse

# Below the 30 s after which the first proxies time out (RFC 6202 §5.5).
DEFAULT_WAIT_SECONDS = 25


class LongPolling(Poll):
    transport = "long_polling"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room)
        self.negotiate_encoding()
        self.wait_seconds = self.number(
            "wait", DEFAULT_WAIT_SECONDS, self.services.limits.wait_seconds, BadWait
        )
        reader = await self.services.read(subscription, self.stream.address)
        async with self.tracked(subscription, reader):
            self.subscription = subscription
            answer = reader.poll(PollResponse)
            if not answer.events and not self.stream.closed() and not self.is_head:
                self.services.hub.check_open()  # nobody starts to wait while the server drains
                self.on_close(reader.cancel)
                self.check_reader_after_half_close()
                await reader.wait(self.seconds_to_wait(subscription), self.transport)
                answer = reader.poll(PollResponse)
            if self.encoding is not None:
                answer = await self.compressed(answer)
            self.answer(answer)
