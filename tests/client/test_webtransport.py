"""The WebTransport client: what `/lab` offers, and what is not ours."""

import asyncio
import sys
from contextlib import ExitStack

import pytest

from realtime.client import BadResponse, Refused, connect, get_json
from realtime.client.webtransport import WebTransportClient
from tests.cases import each
from tests.client.test_connection import response, scripted, serving
from tests.conftest import Servers
from tests.ports import free_port
from tests.server_process import Server
from tests.transports.readers import SECONDS, say, take, texts


@each("offer", [{}, {"webtransport": {}}, {"webtransport": {"port": "x", "hashes": []}}, []])
async def test_an_offer_that_is_not_ours_is_an_error(offer: object) -> None:
    _, respond = scripted(response(200, offer))
    async with serving(respond) as server:
        with pytest.raises(BadResponse):
            await WebTransportClient(f"http://127.0.0.1:{server.port}", "r").open()


async def test_a_server_without_it_says_why_and_is_not_asked_again() -> None:
    _, respond = scripted(response(200, {"webtransport": {"reason": "port_in_use"}}))
    async with serving(respond) as server:
        url = f"http://127.0.0.1:{server.port}/r"
        with pytest.raises(Refused, match="port_in_use") as refused:
            async with connect(url, transport="webtransport", after="e-1"):
                pass
    assert refused.value.code == "no_webtransport"


async def test_without_aioquic_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "realtime.client.quic", raising=False)
    monkeypatch.setitem(sys.modules, "aioquic", None)
    monkeypatch.setitem(sys.modules, "aioquic.buffer", None)
    with pytest.raises(ImportError, match=r"realtime-transports\[webtransport\]"):
        await WebTransportClient("http://127.0.0.1:1", "r").open()


async def test_many_messages_may_wait_for_their_acknowledgements(server: Server, room: str) -> None:
    async with WebTransportClient(server.url, room) as client:
        receipts = await asyncio.gather(*(client.send(str(n)) for n in range(30)))
        events = await take(client, 30)
    assert sorted(e["cursor"] for e in events) == sorted(r["cursor"] for r in receipts)


async def test_after_a_restart_it_asks_for_the_new_certificate(servers: Servers, room: str) -> None:
    options = ("--hub", "memory", "--port", str(free_port()))
    with ExitStack() as stack:
        server = stack.enter_context(ExitStack())
        url = await asyncio.to_thread(server.enter_context, Server(*options))
        hashes = (await get_json(url.url, "/lab"))["webtransport"]["hashes"]
        address = f"{url.url}/{room}"
        async with connect(address, transport="webtransport", after="now") as one:
            await one.send("before")
            assert (await one.receive())["text"] == "before"
            server.close()
            again = await asyncio.to_thread(stack.enter_context, Server(*options))
            assert (await get_json(again.url, "/lab"))["webtransport"]["hashes"] != hashes
            async with asyncio.timeout(2 * SECONDS):
                assert (await one.receive())["kind"] == "gap"  # a memory that is new
                await one.send("after")
                assert (await one.receive())["text"] == "after"


async def test_one_task_reads_while_others_send(server: Server, room: str) -> None:
    async with WebTransportClient(server.url, room) as client:
        reading = asyncio.create_task(take(client, 5))
        await asyncio.gather(*(say(client, str(n)) for n in range(5)))
        assert sorted(texts(await reading)) == list("01234")
