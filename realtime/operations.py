"""Rooms and people, and what an operator asks: is it alive, is it ready, what crossed the wire."""

import json
from typing import Any

from realtime import __version__
from realtime.errors import BadClient, NotFound
from realtime.events import parse_client, parse_room
from realtime.transports.base import Handler, House
from realtime.wire import Ledger


class Operation(Handler):
    """A small JSON answer."""

    transport = "operations"

    def reply(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(value, ensure_ascii=False))


class Rooms(Operation):
    async def get(self) -> None:
        rooms = await self.house.presence.rooms()
        rows = [{"room": r.room, "members": r.members, "top": r.top} for r in rooms]
        self.reply({"rooms": rows})


class Members(Operation):
    async def get(self, room: str) -> None:
        members = await self.house.presence.members(parse_room(room))
        rows = [{"client": m.client, "name": m.name, "via": m.via} for m in members]
        self.reply({"room": room, "members": rows})


class OneMember(Operation):
    async def delete(self, room: str, client: str) -> None:
        await self.house.presence.leave(parse_room(room), parse_client(client))
        self.set_status(204)
        self.clear_header("Content-Type")


class Health(Operation):
    """The process answers; which hub it uses, and why, is at the foot of every page."""

    def initialize(self, house: House, hub: str) -> None:  # type: ignore[override]
        super().initialize(house)
        self.hub = hub

    def get(self) -> None:
        self.reply({"status": "ok", "hub": self.hub, "version": __version__})


class Readiness(Operation):
    async def get(self) -> None:
        await self.house.hub.check_ready()
        self.reply({"status": "ready"})


class Wire(Operation):
    def initialize(self, house: House, ledger: Ledger) -> None:  # type: ignore[override]
        super().initialize(house)
        self.ledger = ledger

    def get(self) -> None:
        client = self.argument("client", BadClient)
        self.reply({"transports": self.ledger.report(client and parse_client(client))})


class Nothing(Operation):
    """Every other address."""

    def prepare(self) -> None:
        super().prepare()
        raise NotFound("There is nothing at this address; see the table in the README.")
