"""Publishing for all one-way transports: one POST per message.

The request can be repeated.  A client that lost the response sends the same `id` again, and
receives the same cursor with 200 instead of 201.
"""

import json

from realtime.core.events import Draft, parse_room
from realtime.transports.exchange import Exchange


class Messages(Exchange):
    transport = "messages"
    methods = ("POST",)

    def prepare(self) -> None:
        self.check_request_origin()  # counted later: the client id is in the body

    async def post(self, room: str) -> None:
        draft = Draft.parse(self.request.body, parse_room(room), self.services.limits, via="post")
        self.count(draft.client)
        stream = self.stream
        connection = None if stream.shared else str(stream.connection_id)
        receipt = await self.services.publish(draft, stream.address, connection)
        status = 201 if receipt.created else 200
        self.reply(status, json.dumps({"cursor": str(receipt.cursor), "id": receipt.id}).encode())
