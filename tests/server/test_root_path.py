"""`--root-path /chat`: a server below a path of a proxy, which may remove that path or not."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw


@pytest.fixture
def server(servers: Servers) -> Iterator[Server]:
    return servers.get("memory", "--root-path", "/chat/")


async def status_of(server: Server, target: str) -> tuple[str, list[str]]:
    async with Raw(server) as raw:
        raw.ask(target)
        first, *fields = await raw.head()
        return first.split(" ", 1)[1], fields


@pytest.mark.parametrize(
    "target",
    ["/rooms/r/short_polling", "/rooms/r/sse", "/rooms", "/demos/sse.html", "/sockjs/info"],
)
@pytest.mark.parametrize("below", ["", "/chat"])
async def test_an_address_is_valid_with_the_path_and_without(
    server: Server, below: str, target: str
) -> None:
    assert (await status_of(server, below + target))[0] == "200 OK"


@pytest.mark.parametrize("target", ["/chats/rooms", "/chatrooms", "/chat/chat/rooms", "/x/chat"])
async def test_a_path_that_only_resembles_it_is_not_removed(server: Server, target: str) -> None:
    assert (await status_of(server, target))[0] == "404 Not Found"


@pytest.mark.parametrize("target", ["/chat", "/chat/", "/"])
async def test_the_first_page_is_where_its_links_are_right(server: Server, target: str) -> None:
    status, fields = await status_of(server, f"{target}?room=r")
    assert status == "302 Found"
    assert "Location: /chat/demos/?room=r" in fields
    assert (await status_of(server, "/chat/demos/?room=r"))[0] == "200 OK"


async def test_a_request_may_be_cut_within_the_path(server: Server) -> None:
    request = b"\r\nGET /chat/rooms HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with Raw(server) as raw:
        for end in range(len(request)):
            raw.send(request[end : end + 1])
            await asyncio.sleep(0)
        assert (await raw.head())[0] == "HTTP/1.1 200 OK"
