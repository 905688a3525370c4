"""The way up for all transports but the two-way ones: one POST per message.

It may be repeated: a client that lost the answer sends the same `id` again, and is told the same
place in the log with 200 instead of 201.
"""

import json

from realtime.events import Draft, parse_room
from realtime.transports.base import Handler, House


class Messages(Handler):
    transport = "messages"

    def initialize(self, house: House) -> None:
        super().initialize(house)
        self.body = bytearray()

    def prepare(self) -> None:
        # Counted later: who sends it stands in the body.
        self.check_door()
        self.check_length()
        self.part_if_closing()

    def data_received(self, chunk: bytes) -> None:
        if len(self.body) <= self.house.limits.body_bytes:
            self.body += chunk

    async def post(self, room: str) -> None:
        draft = Draft.parse(bytes(self.body), parse_room(room), self.house.limits, via="post")
        self.count(draft.client)
        receipt = await self.say(draft)
        self.set_status(201 if receipt.fresh else 200)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"cursor": str(receipt.cursor), "id": receipt.id}))
