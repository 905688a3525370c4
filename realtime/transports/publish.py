"""The way up for all transports but the two-way ones: one POST per message.

It may be repeated: a client that lost the answer sends the same `id` again, and is told the same
place in the log with 200 instead of 201.
"""

import json

from realtime.core.events import Draft, parse_room
from realtime.transports.exchange import Exchange


class Messages(Exchange):
    transport = "messages"
    methods = ("POST",)

    def prepare(self) -> None:
        self.check_request_origin()  # counted later: who sends it stands in the body

    async def post(self, room: str) -> None:
        draft = Draft.parse(self.request.body, parse_room(room), self.services.limits, via="post")
        self.count(draft.client)
        receipt = await self.services.publish(draft, self.stream.address)
        status = 201 if receipt.created else 200
        self.reply(status, json.dumps({"cursor": str(receipt.cursor), "id": receipt.id}).encode())
