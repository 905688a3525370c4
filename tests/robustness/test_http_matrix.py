"""HTTP as others speak it: each input, on each path through the server, must get the same answer.

    input ─┬▶ plain ──▶ server      the fast path, the general path, Tornado's handlers
           ├▶ TLS ────▶ server
           └▶ nginx ──▶ worker

One server of each kind; an input uses a connection of its own, or shares one with what follows it.
The sockets block, so that a half-close is the one of the operating system, in TLS as well.
"""

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

import pytest

from tests.cases import each
from tests.conftest import Servers
from tests.nginx_fixture import Fleet

# A timeout that only a failure reaches.
SECONDS = 10
WORD = b'{"text":"hello"}'
WAYS = ("plain", "tls", "nginx")
# One address for each path through the server, with a prefix of the body.
SHORT, LONG = "/rooms/{room}/short_polling", "/rooms/{room}/long_polling?wait=0"
STREAMS = {
    "/rooms/{room}/sse": b"id: ",
    "/rooms/{room}/fetch_streaming": b'{"kind":"say"',
    "/rooms/{room}/iframe_streaming": b"<script",
}
JSON_PATHS = (SHORT, LONG, "/rooms", "/rooms/{room}/members", "/healthz", "/readyz", "/wire")
OTHERS = ("/", "/demos/sse.html", "/favicon.ico", "/sockjs", "/sockjs/info", "/nothing")


@pytest.fixture(scope="module")
def fleet(servers: Servers) -> Iterator[Fleet]:
    with Fleet(servers.redis.url, "--messages-per-second", "0", count=1, routing="session") as one:
        yield one


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes


class Connection:
    """One connection, as a client with its own ideas of HTTP opens it."""

    def __init__(self, port: int, *, tls: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._secured: ssl.SSLObject | None = None
        self._buffer = b""
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._secured = context.wrap_bio(self._incoming, self._outgoing)
            self._with_tls(self._secured.do_handshake)

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        if self._secured is None:
            self.socket.sendall(data)
        else:
            self._with_tls(lambda: self._secured.write(data))  # type: ignore[union-attr]

    def half_close(self, *, notify: bool = False) -> None:
        """Send nothing more, but read on; `notify` the other side in TLS as well."""
        if notify and self._secured is not None:
            with suppress(ssl.SSLWantReadError):
                self._secured.unwrap()
            self._flush_tls()
        self.socket.shutdown(socket.SHUT_WR)

    def _with_tls(self, action: Callable[[], Any]) -> Any:
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self._flush_tls()
                if data := self.socket.recv(65_536):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush_tls()
                return result

    def _flush_tls(self) -> None:
        if data := self._outgoing.read():
            self.socket.sendall(data)

    def _receive(self) -> bytes:
        if self._secured is None:
            return self.socket.recv(65_536)
        try:
            return self._with_tls(lambda: self._secured.read(65_536))  # type: ignore
        except ssl.SSLError:  # the end of TCP without one of TLS
            return b""

    def until(self, end: bytes) -> bytes:
        """Read up to `end`, and `end` itself."""
        while end not in self._buffer:
            data = self._receive()
            assert data, f"the server closed after {self._buffer!r}"
            self._buffer += data
        found, _, self._buffer = self._buffer.partition(end)
        return found + end

    def rest(self) -> bytes:
        """Read until the server closes."""
        while data := self._receive():
            self._buffer += data
        return self._buffer

    def answer(self, method: str = "GET") -> Answer:
        """Read one response with a length or chunks, or without a body."""
        lines = self.until(b"\r\n\r\n").decode("latin1").split("\r\n")
        status = int(lines[0].split()[1])
        pairs = (line.partition(": ") for line in lines[1:])
        fields = {name.lower(): value for name, _, value in pairs if name}
        if method == "HEAD" or status in (100, 204, 304):
            return Answer(status, fields, b"")
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self._exactly(size + 2)[:-2]
            self.until(b"\r\n")
            return Answer(status, fields, body)
        return Answer(status, fields, self._exactly(int(fields["content-length"])))

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = self._receive()
            assert data, f"the server closed after {self._buffer!r}"
            self._buffer += data
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found


class World:
    """The server behind one way, and a room of its own for each test."""

    def __init__(self, servers: Servers, fleet: Fleet, way: str, room: str) -> None:
        self.way, self.room = way, room
        options = ("--messages-per-second", "0")
        self._port = {
            "plain": lambda: servers.get("memory", *options).port,
            "tls": lambda: servers.get("tls", *options).port,
            "nginx": lambda: fleet.port,
        }[way]()

    def open(self) -> Any:
        return closing(Connection(self._port, tls=self.way == "tls"))

    def request(
        self,
        method: str,
        path: str,
        *fields: str,
        body: bytes = b"",
        version: str = "1.1",
        host: str = "localhost",
    ) -> bytes:
        """Return the bytes; `Expect` and some other fields make it leave the fast path."""
        fields = (f"Host: {host}", *fields)
        if body and not any(field.startswith(("Transfer", "Content-L")) for field in fields):
            fields = (*fields, f"Content-Length: {len(body)}")
        lines = [f"{method} {path.format(room=self.room)} HTTP/{version}", *fields, "", ""]
        return "\r\n".join(lines).encode() + body

    def get(self, path: str, *fields: str, **options: Any) -> bytes:
        return self.request("GET", path, *fields, **options)

    def say(self, *fields: str, body: bytes = WORD, **options: Any) -> bytes:
        return self.request("POST", "/rooms/{room}/messages", *fields, body=body, **options)

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        with self.open() as one:
            one.send(data)
            found: Answer = one.answer(method)
            return found


@pytest.fixture
def world(servers: Servers, fleet: Fleet, way: str, room: str) -> World:
    return World(servers, fleet, way, room)


def is_kept(one: Connection, world: World) -> bool:
    """Whether another request is answered on the same connection."""
    one.send(world.get("/healthz"))
    return one.answer().status == 200


# --- a connection stays, or its end is announced -------------------------------------------------

ERRORS = [
    ("GET", "/nothing", (), 404),
    ("POST", "/nothing", (), 404),
    ("DELETE", SHORT, (), 405),
    ("POST", "/healthz", (), 405),
    ("GET", SHORT + "?after=x", (), 400),
    ("GET", SHORT, ("Origin: http://evil.example",), 403),
    ("POST", "/rooms/{room}/messages", ("Origin: http://evil.example",), 403),
    ("POST", "/rooms", ("Origin: http://evil.example",), 403),
    ("POST", "/sockjs/000/abcdefgh/xhr", ("Origin: http://evil.example",), 403),
    ("POST", "/sockjs/000/unknown0/xhr_send", (), 404),
    ("GET", "/rooms/{room}/websocket", (), 426),
    ("POST", "/socket.io/", (), 400),
    ("GET", "/demos/static/nothing.css", (), 404),
]


def test_an_error_leaves_the_connection_open(world: World) -> None:
    with world.open() as one:
        for method, path, fields, status in ERRORS:
            body = WORD if method == "POST" else b""
            one.send(world.request(method, path, *fields, body=body))
            answer = one.answer(method)
            assert (answer.status, answer.fields.get("connection")) in (
                (status, None),
                (status, "keep-alive"),
            ), (path, answer)
            assert answer.body.startswith(b'{"error"'), path
        assert is_kept(one, world)


def test_favicon_is_an_icon(world: World) -> None:
    answer = world.ask(world.get("/favicon.ico"))
    assert (answer.status, answer.fields["content-type"]) == (200, "image/svg+xml")


@each("path", [SHORT, "/healthz", "/sockjs/info"])
@each(
    ("field", "version"),
    [
        ("Connection: close", "1.1"),
        ("Connection: TE, close", "1.1"),
        ("Connection: foo,CLOSE", "1.1"),
        ("Accept: */*", "1.0"),
    ],
)
def test_a_requested_close_is_announced_and_done(
    world: World, path: str, field: str, version: str
) -> None:
    with world.open() as one:
        one.send(world.get(path, field, version=version))
        head = one.until(b"\r\n\r\n").lower()
        assert b"\r\nconnection: close\r\n" in head
        one.rest()  # it ends


@each("path", [SHORT, "/healthz", "/sockjs/info"])
@each(
    ("field", "version"),
    [("Connection: foo, keep-alive", "1.1"), ("Connection: keep-alive", "1.0")],
)
def test_a_requested_keep_alive_is_kept(world: World, path: str, field: str, version: str) -> None:
    with world.open() as one:
        one.send(world.get(path, field, version=version))
        assert one.answer().status == 200
        assert is_kept(one, world)


# --- half-close ----------------------------------------------------------------------------------


@each("path", [*JSON_PATHS, *OTHERS, "/metrics"])
@each("field", ["Accept: */*", "Expect: nothing"])
def test_a_request_with_a_half_close_is_answered(
    servers: Servers, room: str, path: str, field: str
) -> None:
    """nginx, unlike us, forwards no request of a client that has ended its side."""
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        with world.open() as one:
            one.send(world.get(path, field))
            one.half_close()
            assert one.answer().status == (404 if path == "/nothing" else 200)
            assert one.rest() == b""


@each("field", ["Accept: */*", "Transfer-Encoding: chunked"])
def test_a_message_with_a_half_close_is_acknowledged(
    servers: Servers, room: str, field: str
) -> None:
    body = b"10\r\n" + WORD + b"\r\n0\r\n\r\n" if "chunked" in field else WORD
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        with world.open() as one:
            one.send(world.say(field, body=body))
            one.half_close()
            assert one.answer().status == 201


@each("path", STREAMS)
@each("notify", [True, False])
def test_a_stream_with_a_half_close_goes_on(
    servers: Servers, room: str, path: str, notify: bool
) -> None:
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        with world.open() as one:
            one.send(world.get(path + "?after=now"))
            one.half_close(notify=notify)
            one.until(b"\r\n\r\n")
            assert world.ask(world.say()).status == 201
            one.until(b"hello")


def test_a_poll_with_a_half_close_waits_for_its_message(servers: Servers, room: str) -> None:
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        with world.open() as one:
            one.send(world.get(SHORT))
            cursor = json.loads(one.answer().body)["cursor"]
            one.send(world.get(f"/rooms/{{room}}/long_polling?after={cursor}"))
            one.half_close()
            assert world.ask(world.say()).status == 201
            assert b"hello" in one.answer().body


def test_pipelined_requests_before_a_half_close_are_all_answered(
    servers: Servers, room: str
) -> None:
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        with world.open() as one:
            one.send(world.get(SHORT) + world.say() + world.get("/healthz") + world.get("/nothing"))
            one.half_close()
            assert [one.answer().status for _ in range(4)] == [200, 201, 200, 404]


# --- bodies --------------------------------------------------------------------------------------

CHUNKED = "Transfer-Encoding: chunked"
BODIES = {
    "extensions": b'10;a=b;c="d"\r\n' + WORD + b"\r\n0;last\r\n\r\n",
    "an extension after a space": b"10 ;a\r\n" + WORD + b"\r\n0\r\n\r\n",
    "trailers": b"10\r\n" + WORD + b"\r\n0\r\nDigest: x\r\nX-A: b\r\n\r\n",
    "one byte in each chunk": b"".join(b"1\r\n%c\r\n" % byte for byte in WORD) + b"0\r\n\r\n",
    "leading zeros": b"0010\r\n" + WORD + b"\r\n000\r\n\r\n",
}


@each("body", BODIES.values(), ids=BODIES)
def test_a_chunked_body_is_read(world: World, body: bytes) -> None:
    with world.open() as one:
        one.send(world.say(CHUNKED, body=body))
        assert one.answer().status == 201
        one.send(world.request("POST", "/sockjs/000/unknown0/xhr_send", CHUNKED, body=body))
        assert one.answer().status == 404
        assert is_kept(one, world)


def test_ignored_parts_of_a_body_have_a_bound(servers: Servers, room: str) -> None:
    endless = b"10;" + b"a" * 70_000 + b"\r\n" + WORD + b"\r\n0\r\n\r\n"
    trailers = b"10\r\n" + WORD + b"\r\n0\r\n" + b"X-A: b\r\n" * 9000 + b"\r\n"
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        for body in (endless, trailers):
            answer = world.ask(world.say(CHUNKED, body=body))
            assert (answer.status, answer.fields["connection"]) == (431, "close")


@each("value", ["100-continue", "100-Continue"])
@each(
    ("path", "status"),
    [("/rooms/{room}/messages", 201), ("/sockjs/000/unknown0/xhr_send", 404), ("/healthz", 405)],
)
def test_100_continue_comes_before_the_body(
    world: World, value: str, path: str, status: int
) -> None:
    with world.open() as one:
        length = f"Content-Length: {len(WORD)}"
        one.send(world.request("POST", path, f"Expect: {value}", length))
        assert one.answer().status == 100
        one.send(WORD)
        assert one.answer().status == status


def test_a_refusal_before_100_continue_ends_the_connection(servers: Servers, room: str) -> None:
    world = World(servers, None, "plain", room)  # type: ignore[arg-type]
    for path in ("/nothing", "/rooms"):
        fields = ("Expect: 100-continue", "Origin: http://evil.example", "Content-Length: 9")
        answer = world.ask(world.request("POST", path, *fields))
        assert answer.status in (403, 404)
        assert answer.fields["connection"] == "close"


@each("path", ["/rooms/{room}/messages", "/healthz", "/sockjs/0/a/xhr"])
def test_http_1_0_with_a_transfer_coding_is_refused_and_closed(
    servers: Servers, room: str, path: str
) -> None:
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        with world.open() as one:
            one.send(world.request("POST", path, CHUNKED, version="1.0", body=BODIES["trailers"]))
            answer = one.answer()
            code = json.loads(answer.body)["error"]["code"]
            assert (answer.status, code) == (400, "bad_request")
            assert answer.fields["connection"] == "close"
            assert one.rest() == b""


def test_what_is_no_http_is_refused_at_once(servers: Servers, room: str) -> None:
    """A browser that wants https at an http port would else wait for our timeout."""
    world = World(servers, None, "plain", room)  # type: ignore[arg-type]
    hello = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), hello, server_hostname="a"
        ).do_handshake()
    for data in (hello.read(), b"\x00\x01", b"\x80\x2e\x01", b" GET / HTTP/1.1"):
        answer = world.ask(data)
        assert (answer.status, answer.fields["connection"]) == (400, "close")
        assert "date" in answer.fields


def test_too_many_header_fields_are_a_named_error(servers: Servers, room: str) -> None:
    world = World(servers, None, "plain", room)  # type: ignore[arg-type]
    fields = [f"X{number}: a" for number in range(299)]  # and Host
    for path in (SHORT, "/healthz"):
        assert world.ask(world.get(path, *fields)).status == 200
        answer = world.ask(world.get(path, *fields, "X: a"))
        code = json.loads(answer.body)["error"]["code"]
        assert (answer.status, code) == (431, "header_too_long")


def test_http_1_0_needs_no_host(world: World) -> None:
    for path in (SHORT, "/healthz", "/sockjs/info"):
        line = f"GET {path.format(room=world.room)} HTTP/1.0\r\n\r\n"
        assert world.ask(line.encode()).status == 200


# --- sizes ---------------------------------------------------------------------------------------


@each("size", [70_000, 2_000_000])
@each("path", [SHORT, "/healthz", "/sockjs/info"])
def test_a_request_that_is_too_long_is_a_named_error(
    servers: Servers, room: str, size: int, path: str
) -> None:
    too_long = {
        (414, "target_too_long"): lambda w: w.get(path + "?" + "a" * size),
        (431, "header_too_long"): lambda w: w.get(path, "X-A: " + "a" * size),
        (413, "too_long"): lambda w: w.request("POST", path, body=b"a" * max(size, 1_500_000)),
    }
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        for expected, make in too_long.items():
            answer = world.ask(make(world))
            code = json.loads(answer.body)["error"]["code"]
            assert ((answer.status, code), answer.fields["connection"]) == (expected, "close")


def test_nginx_reports_what_is_too_long_in_the_same_format(
    fleet: Fleet, servers: Servers, room: str
) -> None:
    world = World(servers, fleet, "nginx", room)
    for expected, data in {
        (414, "target_too_long"): world.get("/?" + "a" * 70_000),
        (431, "header_too_long"): world.get("/", "X-A: " + "a" * 70_000),
        (413, "too_long"): world.say(body=b"a" * 1_500_000),
    }.items():
        answer = world.ask(data)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == expected


# --- targets and methods -------------------------------------------------------------------------


@each("path", [*JSON_PATHS, *OTHERS[:-1], "/metrics"])
def test_head_is_get_without_the_body(world: World, path: str) -> None:
    if world.way == "nginx" and path == "/metrics":
        return  # not public
    with world.open() as one:
        one.send(world.get(path))
        got = one.answer()
        one.send(world.request("HEAD", path))
        head = one.answer("HEAD")
        one.send(world.request("HEAD", path, "Expect: nothing"))
        general = one.answer("HEAD")
        assert is_kept(one, world)
    for answer in (head, general):
        assert answer.status == got.status
        assert answer.fields["content-type"] == got.fields["content-type"]
        if path not in ("/wire", "/metrics", "/sockjs/info"):  # whose figures change
            assert answer.fields.get("content-length") == got.fields.get("content-length")


@each("path", STREAMS)
def test_head_of_a_stream_ends_and_joins_nobody(world: World, path: str) -> None:
    with world.open() as one:
        one.send(world.request("HEAD", path + "?client=me&name=me"))
        assert one.answer("HEAD").status == 200
        one.send(world.request("HEAD", "/rooms/{room}/long_polling?after=now&client=me&name=me"))
        assert one.answer("HEAD").status == 200
        one.send(world.get("/rooms/{room}/members"))
        assert json.loads(one.answer().body)["members"] == []


@each("path", [SHORT, "/rooms", "/healthz", "/sockjs/info", "/"])
def test_the_absolute_form_of_a_target_is_the_same_address(world: World, path: str) -> None:
    scheme = "https" if world.way == "tls" else "http"
    with world.open() as one:
        one.send(world.get(path))
        expected = one.answer()
        one.send(world.get(f"{scheme}://localhost{path}", host="localhost"))
        found = one.answer()
    assert (found.status, re.sub(rb'"entropy".*', b"", found.body)) == (
        expected.status,
        re.sub(rb'"entropy".*', b"", expected.body),
    )


def test_the_host_of_an_absolute_form_replaces_the_field(servers: Servers, room: str) -> None:
    world = World(servers, None, "plain", room)  # type: ignore[arg-type]
    assert world.ask(world.get(f"http://evil.example{SHORT}")).status == 403
    assert world.ask(world.get(f"http://localhost{SHORT}", host="evil.example")).status == 200


def test_options_of_the_whole_server(servers: Servers, room: str) -> None:
    for way in ("plain", "tls"):
        world = World(servers, None, way, room)  # type: ignore[arg-type]
        with world.open() as one:
            for target in ("*", "http://localhost"):
                one.send(world.request("OPTIONS", target))
                answer = one.answer()
                assert (answer.status, "GET" in answer.fields["allow"]) == (204, True)
            one.send(world.get("*"))
            assert one.answer().status == 400


# --- names ---------------------------------------------------------------------------------------


def test_default_ports_are_equal(world: World) -> None:
    scheme, port = ("https", 443) if world.way == "tls" else ("http", 80)
    for host, origin in (("localhost", f"localhost:{port}"), (f"localhost:{port}", "localhost")):
        for data in (
            world.say(f"Origin: {scheme}://{origin}", host=host),
            world.get("/sockjs/info", f"Origin: {scheme}://{origin}", host=host),
        ):
            assert world.ask(data).status in (200, 201)


def test_probes_are_answered_under_any_host_name_and_nothing_else_is(world: World) -> None:
    probes = ["/healthz", "/readyz", *(["/metrics"] if world.way != "nginx" else [])]
    for path in probes:
        assert world.ask(world.get(path, host="realtime.pods.example")).status == 200
        foreign = world.get(path, "Origin: http://evil.example", host="realtime.pods.example")
        assert world.ask(foreign).status == 403
    for path in (SHORT, "/rooms", "/wire", "/", "/sockjs/info"):
        assert world.ask(world.get(path, host="realtime.pods.example")).status == 403
