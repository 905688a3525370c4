"""What a lecturer needs to direct a class: the plan, commands to the pages, and their traffic.

The pages of a class follow the room ``ROOM.class``.  Nobody but the holder of the lecturer's key
can publish there, so a page obeys whatever it reads (see `Services.publish`).
"""

from dataclasses import replace

from realtime.core.events import Draft, is_lecturers_room, parse_room
from realtime.errors import BadKey, BadRoom
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.web.lab import Lab, LabBase
from realtime.web.plan import for_the_class


class PlanHandler(LabBase):
    """``/plan``: the steps of the lesson.

    Only with the lecturer's key does it have the notes and the expected answers.
    """

    def get(self) -> None:
        plan = for_the_class(self.lab.plan)
        if self.argument("key", BadKey) is not None:
            self.check_key()
            plan = self.lab.plan
        self.set_header("Content-Type", "application/json")
        self.finish(plan)


class CommandHandler(LabBase):
    """POST a message to the pages of a class; this needs the lecturer's key.

    The rate limits of clients do not apply: no student at the same address can use up the
    lecturer's share.
    """

    _body = b""

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self.services.limits.body_bytes:  # then `Draft.parse` rejects it
            self._body += chunk

    async def post(self, room: str) -> None:
        room = parse_room(room)
        grant = self.require_moderator(room)
        if not is_lecturers_room(room):
            raise BadRoom("The name of a room for commands ends in .class.")
        draft = Draft.parse(self._body, room, self.services.limits, via="lecturer")
        # The key directs a class, and makes nobody another client.
        secret = draft.secret or self.secret_of(draft.client)
        client, name = grant.identify(draft.client, draft.name, secret)
        draft = replace(draft, client=client, name=name)
        receipt = await self.services.hub.publish(draft)
        self.set_status(201)
        self.reply({"cursor": str(receipt.cursor), "id": receipt.id})


class ClassTrafficHandler(LabBase):
    """What each member of a room has cost: its counters of `/wire`, by transport.

    This needs the lecturer's key: it shows the traffic of everybody at once.  The members are those
    of the room, the counters those of this process.
    """

    def initialize(  # type: ignore[override]
        self, services: Services, lab: Lab, traffic: TrafficStats
    ) -> None:
        super().initialize(services, lab)
        self.traffic = traffic

    async def get(self, room: str) -> None:
        room = parse_room(room)
        self.require_moderator(room)
        async with self.turn():
            rows = self.services.limits.list_rows
            members = await self.services.presence.members(room, "", rows)
            reports = self.traffic.report_each([member.client for member in members])
            self.reply(
                {
                    "members": [
                        {"client": m.client, "name": m.name, "via": m.via, "traffic": report}
                        for m, report in zip(members, reports, strict=True)
                    ]
                }
            )
