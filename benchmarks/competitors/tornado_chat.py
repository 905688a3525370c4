"""A chat as Tornado's documentation teaches it: `write_message` to each client, and polls.

`/wait` answers when there is a message, `/read` at once.  One process without a message broker, as
most such programs are.

usage: python -m benchmarks.competitors.tornado_chat
"""

import asyncio
import json
from collections import defaultdict
from contextlib import suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class ChatRoom:
    """All messages, the open WebSockets, and the polls that wait for the next message."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.sockets: set[WebSocketHandler] = set()
        self.changed = asyncio.Condition()


ROOMS: dict[str, ChatRoom] = defaultdict(ChatRoom)


class PublishHandler(RequestHandler):
    async def post(self) -> None:
        room = ROOMS[self.get_query_argument("room")]
        room.messages.append(self.request.body)
        text = self.request.body.decode()
        for connection in room.sockets:
            connection.write_message(text)
        async with room.changed:
            room.changed.notify_all()
        self.write({})


class PollHandler(RequestHandler):
    """Returns the messages after `after`; without it, the position of a new reader."""

    def prepare(self) -> None:
        self.room = ROOMS[self.get_query_argument("room")]
        self.after = int(self.get_query_argument("after", str(len(self.room.messages))))

    def write_messages(self) -> None:
        messages = [json.loads(message) for message in self.room.messages[self.after :]]
        self.write({"messages": messages, "after": len(self.room.messages)})


class ShortPollHandler(PollHandler):
    def get(self) -> None:
        self.write_messages()


class LongPollHandler(PollHandler):
    async def get(self) -> None:
        # The first poll returns at once with the position.
        if self.get_query_argument("after", None) is not None:
            async with self.room.changed:
                await self.room.changed.wait_for(lambda: len(self.room.messages) > self.after)
        self.write_messages()


class ChatSocket(WebSocketHandler):
    def open(self) -> None:
        ROOMS[self.get_query_argument("room")].sockets.add(self)

    def on_close(self) -> None:
        ROOMS[self.get_query_argument("room")].sockets.discard(self)


class CompressedChatSocket(ChatSocket):
    """With permessage-deflate, as the documentation says: a compressor for each client."""

    def get_compression_options(self) -> dict[str, Any]:
        return {}


async def main() -> None:
    handlers = [
        ("/say", PublishHandler),
        ("/read", ShortPollHandler),
        ("/wait", LongPollHandler),
        ("/listen", ChatSocket),
        ("/listen_compressed", CompressedChatSocket),
    ]
    sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
    HTTPServer(Application(handlers)).add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    print(f"tornado: listening on http://127.0.0.1:{port}/ (no hub)", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
