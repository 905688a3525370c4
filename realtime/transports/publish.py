"""Publishing for all one-way transports: one POST per message.

The request can be repeated.  A client that lost the response sends the same `id` again, and
receives the same cursor with 200 instead of 201.
"""

import json

from realtime import errors
from realtime.core.events import parse_room
from realtime.transports.base import SECRET_FIELD, Sender
from realtime.transports.exchange import Exchange


class Messages(Exchange):
    transport = "messages"
    methods = ("POST",)

    def prepare(self) -> None:
        self.check_request_origin()  # counted later: the client id is in the body

    async def post(self, room: str) -> None:
        stream, room = self.stream, parse_room(room)
        connection = None if stream.shared else str(stream.connection_id)
        sender = Sender(stream.address, connection, self.admit(), self._secret())
        draft = sender.parse(self.request.body, room, self.services.limits, via="post")
        self.count(draft.client)
        receipt = await self.services.publish(draft, sender)
        status = 201 if receipt.created else 200
        self.reply(status, json.dumps({"cursor": str(receipt.cursor), "id": receipt.id}).encode())

    def _secret(self) -> str | None:
        """The secret outside of the body; a page has it in the query, like all its secrets."""
        return self.argument("secret", errors.WrongSecret) or self.request.fields.get(SECRET_FIELD)
