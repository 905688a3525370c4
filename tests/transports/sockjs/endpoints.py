"""The endpoints that the SockJS protocol's own test suite requests, on our router.

python -m tests.transports.sockjs.endpoints 8081
SOCKJS_URL=http://localhost:8081 python sockjs-protocol.py
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tornado.web import Application

from realtime.transports.sockjs import HardenedSockJSRouter, SockJSConnection

# As the suite requires: short responses, every transport, every origin.
OPTIONS: Mapping[str, Any] = {"response_limit": 4096, "disabled_transports": [], "origins": "*"}
ENDPOINTS: Mapping[str, Mapping[str, Any]] = {
    "echo": {},
    "disabled_websocket_echo": {"disabled_transports": ["websocket"]},
    "cookie_needed_echo": {"jsessionid": True},
    "close": {},
}


class Echo(SockJSConnection):  # type: ignore[misc]
    def on_message(self, message: str) -> None:
        self.send(message)


class Close(SockJSConnection):  # type: ignore[misc]
    def on_open(self, request: Any) -> None:
        self.close()

    def on_message(self, message: str) -> None:
        raise AssertionError(message)


def routers() -> Sequence[HardenedSockJSRouter]:
    return [
        HardenedSockJSRouter(Close if name == "close" else Echo, f"/{name}", {**OPTIONS, **more})
        for name, more in ENDPOINTS.items()
    ]


async def main(port: int) -> None:
    Application([url for router in routers() for url in router.urls]).listen(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
