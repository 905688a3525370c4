"""A chat as Tornado's documentation teaches it: `write_message` to each, and polls.

`/wait` answers when there is something, `/read` at once.

One process and no hub, as most such programs are.

usage: python -m benchmarks.competitors.tornado_chat
"""

import asyncio
import json
from collections import defaultdict
from contextlib import suppress

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class Room:
    """Everything that was said, whoever listens on a WebSocket, and who waits for more."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.sockets: set[WebSocketHandler] = set()
        self.news = asyncio.Condition()


ROOMS: dict[str, Room] = defaultdict(Room)


class Say(RequestHandler):
    async def post(self) -> None:
        room = ROOMS[self.get_query_argument("room")]
        room.messages.append(self.request.body)
        text = self.request.body.decode()
        for connection in room.sockets:
            connection.write_message(text)
        async with room.news:
            room.news.notify_all()
        self.write({})


class Reading(RequestHandler):
    """Tells what came after `after`; without it, where a reader stands who begins now."""

    def prepare(self) -> None:
        self.room = ROOMS[self.get_query_argument("room")]
        self.after = int(self.get_query_argument("after", str(len(self.room.messages))))

    def tell(self) -> None:
        messages = [json.loads(message) for message in self.room.messages[self.after :]]
        self.write({"messages": messages, "after": len(self.room.messages)})


class Read(Reading):
    def get(self) -> None:
        self.tell()


class Wait(Reading):
    async def get(self) -> None:
        # Whoever begins is told at once where he stands.
        if self.get_query_argument("after", None) is not None:
            async with self.room.news:
                await self.room.news.wait_for(lambda: len(self.room.messages) > self.after)
        self.tell()


class Listen(WebSocketHandler):
    def open(self) -> None:
        ROOMS[self.get_query_argument("room")].sockets.add(self)

    def on_close(self) -> None:
        ROOMS[self.get_query_argument("room")].sockets.discard(self)


async def main() -> None:
    handlers = [("/say", Say), ("/read", Read), ("/wait", Wait), ("/listen", Listen)]
    sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
    HTTPServer(Application(handlers)).add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    print(f"tornado: listening on http://127.0.0.1:{port}/ (no hub)", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
