"""Short polling: the client asks every interval, and is answered at once, mostly with nothing.

The oldest way (a page that reloads itself, 1995), and the only one that needs nothing of anybody.
A message waits half an interval on average, and silence costs a whole request each time.
"""

from realtime.transports.exchange import Exchange
from realtime.transports.polling import PollResponse


class ShortPolling(Exchange):
    transport = "short_polling"

    async def get(self, room: str) -> None:
        subscription = self.parse_subscription(room)
        reader = await self.services.hub.read(subscription.room, subscription.after)
        async with self.visit(subscription, linger=self.services.limits.lease_seconds):
            self.answer(reader.poll(PollResponse))
