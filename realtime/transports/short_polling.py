"""Short polling: the client sends a request every interval, and most responses are empty.

The oldest transport (a page that reloads itself, 1995), and the only one that needs no support from
anything in between.  A message waits half an interval on average, and each idle interval costs a
whole request.
"""

from realtime.transports.polling import Poll, PollResponse


class ShortPolling(Poll):
    transport = "short_polling"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room)
        self.negotiate_encoding()
        reader = await self.services.read(subscription, self.stream.address)
        async with self.tracked(subscription, reader):
            self.subscription = subscription
            response = reader.poll(PollResponse)
            if self.encoding is not None:
                response = await self.compressed(response)
            self.answer(response)
