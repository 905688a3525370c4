"""What a lecturer needs to direct a class: the plan, commands to the pages, and their traffic.

The pages of a class follow the room ``ROOM.class``.  Nobody but the holder of the lecturer's key
can publish there, so a page obeys whatever it reads (see `Services.publish`).
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient

from realtime.core.events import LECTURER, Draft, parse_room
from realtime.errors import BadKey, NotFound
from realtime.server.traffic import TrafficStats
from realtime.transports.base import Services
from realtime.web.lab import Lab, LabBase
from realtime.web.plan import for_the_class

# Seconds that another worker of the cluster has to respond: the projector reads once a second.
_PEER_SECONDS = 2.0

# The counters of each client, by transport.
Rows = dict[str, Mapping[str, Mapping[str, int]]]


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
    """POST a message as the lecturer, with `via` lecturer; this needs the lecturer's key.

    In ``ROOM.class`` it is a command to the pages of a class; in their room, a message of an
    experiment.  No rule of the room and no rate limit of clients applies: no student at the same
    address can use up the lecturer's share.
    """

    _body = b""

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self.services.limits.body_bytes:  # then `Draft.parse` rejects it
            self._body += chunk

    async def post(self, room: str) -> None:
        room = parse_room(room)
        grant = self.require_moderator(room)
        draft = Draft.parse(self._body, room, self.services.limits, via=LECTURER)
        # The key directs a class, and makes nobody another client.
        secret = draft.secret or self.secret_of(draft.client)
        client, name = grant.identify(draft.client, draft.name, secret)
        draft = replace(draft, client=client, name=name, via=LECTURER)
        receipt = await self.services.hub.publish(draft)
        self.set_status(201)
        self.reply({"cursor": str(receipt.cursor), "id": receipt.id})


class ClassTrafficHandler(LabBase):
    """What each member of a room has cost: its counters of `/wire`, by transport.

    This needs the lecturer's key: it shows the traffic of everybody at once.  Behind a cluster the
    requests of a member reach several workers, so the counters are the sums over all workers of
    this cluster; `silent` is how many of the others did not respond.  With ``?here=1`` they are
    those of this process.
    """

    def initialize(  # type: ignore[override]
        self, services: Services, lab: Lab, traffic: TrafficStats
    ) -> None:
        super().initialize(services, lab)
        self.traffic = traffic

    async def get(self, room: str) -> None:
        room = parse_room(room)
        self.require_moderator(room)
        others: list[Rows | None] = []
        if self.argument("here", NotFound) is None:
            urls = await self.lab.peers()
            others = await asyncio.gather(*(self._ask(url, room) for url in urls))
        async with self.turn():
            rows = self.services.limits.list_rows
            members = await self.services.presence.members(room, "", rows)
            own = self.traffic.report_each([member.client for member in members])
        found = [rows for rows in others if rows is not None]
        self.reply(
            {
                "members": [
                    {"client": m.client, "name": m.name, "via": m.via}
                    | {"traffic": add_counters([row, *(rows.get(m.client, {}) for rows in found)])}
                    for m, row in zip(members, own, strict=True)
                ],
                "silent": len(others) - len(found),
            }
        )

    async def _ask(self, url: str, room: str) -> Rows | None:
        """Return the counters of the members at another worker; None if it does not respond."""
        query = urlencode({"key": self.lab.key, "here": 1})
        path = f"class/{quote(room, safe='')}/traffic"
        try:
            response = await AsyncHTTPClient().fetch(
                f"{url}{path}?{query}",
                connect_timeout=_PEER_SECONDS,
                request_timeout=_PEER_SECONDS,
                validate_cert=False,  # the certificate has the public name, not this address
            )
        except Exception:  # any of Tornado's: there was no response
            return None
        members = json.loads(response.body)["members"]
        return {member["client"]: member["traffic"] for member in members}


def add_counters(reports: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, Counter[str]]:
    """Add up the counters by transport of one client at several processes."""
    sums: dict[str, Counter[str]] = {}
    for report in reports:
        for transport, row in report.items():
            sums.setdefault(transport, Counter()).update(row)
    return sums
