"""What the demo pages use: networks, room resets, QR codes, and requests between our ports."""

import asyncio
import re
from typing import Any

import pytest

from realtime import errors
from realtime.client import CLIENTS, Refused, get_json, post, request
from realtime.web.lab import KeyCheck
from tests.conftest import Servers
from tests.server_process import Server
from tests.transports.raw import Raw
from tests.transports.readers import reader, take, texts

KEY = "the lecturer knows"


@pytest.fixture(scope="module")
def lab(servers: Servers) -> Server:
    return servers.get("memory", "--lanes", "2", "--networks", "2", "--key", KEY)


async def ask(server: Server, method: str, path: str, **options: Any) -> Any:
    return await request(server.url, method, path, **options)


# --- network conditions --------------------------------------------------------------------------


async def test_a_network_is_leased_changed_and_released(lab: Server, room: str) -> None:
    lent = (await ask(lab, "POST", "/networks?network=rtt%3D20ms")).check(201).json()
    assert (lent["network"], lent["udp"]) == ("rtt=20ms", True)
    through = f"http://127.0.0.1:{lent['port']}"
    await post(through, room, text="hello")
    path = f"/networks/{lent['id']}"
    changed = (await ask(lab, "PUT", f"{path}?network=jitter%3D5ms")).check(200).json()
    assert changed == {**lent, "network": "jitter=5ms"}
    assert await get_json(lab.url, path) == changed
    assert (await ask(lab, "DELETE", path)).status == 204
    answer = await ask(lab, "GET", path)
    assert (answer.status, answer.json()["error"]["code"]) == (404, "no_network")


async def test_an_empty_pool_is_busy(lab: Server) -> None:
    lent = [(await ask(lab, "POST", "/networks")).check(201).json() for _ in range(2)]
    answer = await ask(lab, "POST", "/networks")
    assert (answer.status, answer.json()["error"]["code"]) == (503, "busy")
    assert answer.head.fields["retry-after"]
    for one in lent:
        await ask(lab, "DELETE", f"/networks/{one['id']}")


@pytest.mark.parametrize("text", ["rtt", "rtt=fast", "rtt=1", "flush=5ms", "a=b", "rtt=%F0"])
async def test_invalid_conditions_are_rejected(lab: Server, text: str) -> None:
    answer = await ask(lab, "POST", f"/networks?network={text}")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_network")


async def test_a_disconnected_network_recovers(lab: Server, room: str) -> None:
    lent = (await ask(lab, "POST", "/networks")).check(201).json()
    through = f"http://127.0.0.1:{lent['port']}"
    async with CLIENTS["sse"](through, room, after="now") as cut:
        assert (await ask(lab, "POST", f"/networks/{lent['id']}/unplug?seconds=0.1")).status == 204
        with pytest.raises((ConnectionError, Refused)):
            await cut.receive()
    for how in ("pause?seconds=61", "pause?seconds=-1", "unplug?seconds=x"):
        answer = await ask(lab, "POST", f"/networks/{lent['id']}/{how}")
        assert answer.json()["error"]["code"] == "bad_seconds"
    async with asyncio.timeout(10):
        while True:
            try:
                await post(through, room, text="back")
                break
            except ConnectionError:
                await asyncio.sleep(0.02)
    await ask(lab, "DELETE", f"/networks/{lent['id']}")


async def test_a_server_without_networks_leases_none(server: Server) -> None:
    assert (await get_json(server.url, "/lab"))["networks"] == 0
    answer = await ask(server, "POST", "/networks")
    assert answer.json()["error"]["code"] == "busy"
    assert "--networks" in answer.json()["error"]["message"]


# --- between our ports ---------------------------------------------------------------------------


async def test_a_page_at_an_ipv6_address_is_offered_only_its_own_port(lab: Server) -> None:
    """A Content-Security-Policy cannot name an IPv6 address, so others are out of its reach."""
    here = (await ask(lab, "GET", "/lab", headers={"Host": f"[::1]:{lab.port}"})).json()
    assert (here["lanes"], here["networks"]) == ([lab.port], 0)
    by_name = (await ask(lab, "GET", "/lab", headers={"Host": f"localhost:{lab.port}"})).json()
    assert (len(by_name["lanes"]), by_name["networks"]) == (2, 2)


async def lanes(lab: Server) -> tuple[int, int]:
    first, second = (await get_json(lab.url, "/lab"))["lanes"]
    return first, second


async def test_a_page_of_one_port_may_send_requests_to_another(lab: Server, room: str) -> None:
    first, second = await lanes(lab)
    there, page = f"http://127.0.0.1:{second}", {"Origin": f"http://127.0.0.1:{first}"}
    preflight = await request(there, "OPTIONS", f"/rooms/{room}/messages", headers=page)
    fields = preflight.head.fields
    assert preflight.status == 204
    assert fields["access-control-allow-origin"] == page["Origin"]
    assert fields["access-control-allow-methods"] == "POST"
    assert fields["access-control-allow-headers"] == "Content-Type, Authorization"
    said = await request(
        there, "POST", f"/rooms/{room}/messages", headers=page, body=b'{"text":"hi"}'
    )
    assert said.status == 201
    for path in (f"/rooms/{room}/short_polling", f"/rooms/{room}/short_polling?after=wrong"):
        answer = await request(there, "GET", path, headers=page)
        assert answer.head.fields["access-control-allow-origin"] == page["Origin"]
        assert answer.head.fields["access-control-expose-headers"] == "Retry-After"
        assert answer.head.fields["vary"] == "Origin"


async def test_a_same_origin_request_gets_no_cors_headers(lab: Server, room: str) -> None:
    page = {"Origin": lab.url}
    answer = await ask(lab, "GET", f"/rooms/{room}/short_polling", headers=page)
    assert (answer.status, "access-control-allow-origin" in answer.head.fields) == (200, False)
    preflight = await ask(lab, "OPTIONS", f"/rooms/{room}/messages", headers=page)
    assert preflight.json()["error"]["code"] == "bad_method"


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1:9", "http://127.0.0.2:{first}", "null", "http://["],
)
async def test_other_pages_stay_foreign(lab: Server, room: str, origin: str) -> None:
    first, second = await lanes(lab)
    headers = {"Origin": origin.format(first=first)}
    for method in ("GET", "OPTIONS"):
        answer = await request(
            f"http://127.0.0.1:{second}", method, f"/rooms/{room}/short_polling", headers=headers
        )
        assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in answer.head.fields


async def test_a_page_may_connect_to_all_our_ports_and_no_others(lab: Server) -> None:
    policy = (await ask(lab, "GET", "/")).head.fields["content-security-policy"]
    (connect,) = re.findall("connect-src ([^;]*);", policy)
    named = {int(port) for port in re.findall(r":(\d+)", connect)}
    first, second = await lanes(lab)
    assert {first, second} < named
    assert len(named) == 4  # and the two network emulators
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy  # the projector shows our pages


async def test_a_page_of_a_proxy_learns_that_webtransport_is_not_for_it(servers: Servers) -> None:
    """A browser names the page in `Referer`; what runs no pages needs no permission."""
    server = servers.get("memory", "--webtransport-port", "0")
    udp = (await get_json(server.url, "/lab"))["webtransport"]["port"]
    assert udp != server.port
    for page, offered in [(server.url, True), ("http://127.0.0.1:1/chat", False)]:
        fields = {"Referer": f"{page}/demos/lab.html"}
        answer = (await ask(server, "GET", "/lab", headers=fields)).json()["webtransport"]
        assert answer.get("port") == (udp if offered else None)
        assert answer.get("reason") == (None if offered else "behind_proxy")
    policy = (await ask(server, "GET", "/")).head.fields["content-security-policy"]
    assert f"https://127.0.0.1:{udp}" in policy


async def test_only_our_pages_may_embed_the_bridge_page(lab: Server, room: str) -> None:
    first, _ = await lanes(lab)
    paths = ("/demos/frame.html", f"/rooms/{room}/iframe_streaming")
    for path in paths:
        async with Raw(lab) as client:
            client.ask(path)
            head = await client.head()
        (policy,) = (line for line in head if line.startswith("Content-Security-Policy"))
        (ancestors,) = re.findall("frame-ancestors ([^;]*)", policy)
        assert ancestors.startswith("'self' ")
        assert f"127.0.0.1:{first}" in ancestors.split()
        assert "http://" not in ancestors.replace("127.0.0.1", "")


# --- for a class ---------------------------------------------------------------------------------


async def test_the_key_resets_a_room(servers: Servers, hub: str) -> None:
    one = servers.get(hub, "--key", KEY)
    other = one if hub == "memory" else servers.get(hub, "--key", KEY, copy=1)
    room = f"class-{hub}"
    member = reader(one, "sse", room, client="ada", name="Ada")
    listener = reader(other, "websocket", room)
    async with member as ada, listener as ben:
        await post(one.url, room, text="old")
        assert texts(await take(ada, 2)) == ["join", "old"]
        assert texts(await take(ben, 2)) == ["join", "old"]
        answer = await ask(one, "DELETE", f"/rooms/{room}?key={KEY.replace(' ', '%20')}")
        assert (answer.status, answer.body) == (204, b"")
        await post(one.url, room, text="new")
        for person in (ada, ben):
            gap, *events = await take(person, 3)
            assert (gap["kind"], gap["reason"]) == ("gap", "unknown")
            assert texts(events) == ["join", "new"]
    history = await get_json(one.url, f"/rooms/{room}/short_polling")
    assert "old" not in [event.get("text") for event in history["events"]]
    assert "new" in [event.get("text") for event in history["events"]]


async def test_an_empty_room_is_reset_too(servers: Servers, hub: str, room: str) -> None:
    server = servers.get(hub, "--key", KEY)
    await post(server.url, room, text="old")
    async with reader(server, "fetch_streaming", room) as listener:
        assert texts(await take(listener, 1)) == ["old"]
        await ask(server, "DELETE", f"/rooms/{room}?key={KEY.replace(' ', '%20')}")
        assert texts(await take(listener, 1)) == ["gap"]


def test_an_address_that_guesses_the_key_must_wait(caplog: pytest.LogCaptureFixture) -> None:
    check = KeyCheck("123456", wrong_per_minute=6).check
    for number in range(6):
        with pytest.raises(errors.BadKey):
            check(f"{number}", "192.0.2.1", 1000.0)
    for key in ("7", "123456"):  # the right key too, or a guess would still be answered
        with pytest.raises(errors.TooFast) as refused:
            check(key, "192.0.2.1", 1000.0)
        assert refused.value.retry_after == 10
    check("123456", "192.0.2.2", 1000.0)
    check("123456", "192.0.2.1", 1010.0)
    assert [record.address for record in caplog.records] == ["192.0.2.1"]  # type: ignore[attr-defined]


def test_nobody_locks_the_holder_of_a_long_key_out() -> None:
    check = KeyCheck("twelve chars", wrong_per_minute=1).check
    with pytest.raises(errors.BadKey):
        check("wrong", "192.0.2.1", 1000.0)
    with pytest.raises(errors.TooFast):
        check("wrong again", "192.0.2.1", 1000.0)
    check("twelve chars", "192.0.2.1", 1000.0)


async def test_too_many_wrong_keys_are_refused_with_retry_after(
    servers: Servers, room: str
) -> None:
    server = servers.get("memory", "--key", KEY, "--wrong-keys-per-minute", "1")
    first, second = [await ask(server, "DELETE", f"/rooms/{room}?key={n}") for n in range(2)]
    assert first.json()["error"]["code"] == "bad_key"
    assert (second.status, second.json()["error"]["code"]) == (429, "too_fast")
    assert 50 <= int(second.head.fields["retry-after"]) <= 60


@pytest.mark.parametrize("query", ["", "?key=", "?key=wrong", "?key=%E8%80%81", "?key=%FF"])
async def test_without_the_key_a_room_is_not_reset(lab: Server, room: str, query: str) -> None:
    await post(lab.url, room, text="stays")
    answer = await ask(lab, "DELETE", f"/rooms/{room}{query}")
    assert (answer.status, answer.json()["error"]["code"]) == (403, "bad_key")
    history = await get_json(lab.url, f"/rooms/{room}/short_polling")
    assert [event["text"] for event in history["events"]] == ["stays"]


async def test_a_qr_code_shows_our_url(servers: Servers) -> None:
    with Server("--hub", "memory", "--host", "0.0.0.0") as server:
        near = f"http://127.0.0.1:{server.port}"
        addresses = (await get_json(near, "/lab"))["addresses"]
        if not addresses:  # this machine has no network
            assert (await request(near, "GET", "/demos/qr.svg")).status == 404
            return
        answer = await request(near, "GET", "/demos/qr.svg?path=/demos/sse.html%3Froom%3Dgroup-1")
        other = await request(near, "GET", "/demos/qr.svg?path=/demos/sse.html%3Froom%3Dgroup-2")
        for wrong in ("demos", "//%0A", "/" + "x" * 200, "%20"):
            refused = await request(near, "GET", f"/demos/qr.svg?path={wrong}")
            assert refused.json()["error"]["code"] == "bad_path"
    assert answer.head.fields["content-type"] == "image/svg+xml"
    assert answer.body.startswith(b"<svg ")
    assert answer.body != other.body


async def test_a_server_on_loopback_has_no_qr_code(lab: Server) -> None:
    answer = await ask(lab, "GET", "/demos/qr.svg?path=/")
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")
