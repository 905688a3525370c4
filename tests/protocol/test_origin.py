"""Which requests are allowed: to our own host names, and from pages of this server."""

import pytest

from realtime.errors import ForeignHost, ForeignOrigin
from realtime.protocol.origin import OriginPolicy, parse_host_name
from tests.cases import each

POLICY = OriginPolicy(["Chat.Example.", "box"])


@each(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "10.1.2.3:80",
        "[::1]",
        "[::1]:8000",
        "localhost:8000",
        "LOCALHOST",
        "a.localhost",
        "chat.example",
        "CHAT.example:99",
        "chat.example.",
        "box",
        None,
    ],
)
def test_our_own_names_are_allowed(host: str | None) -> None:
    POLICY.check_host(host)


@each(
    "host",
    [
        "evil.example",
        "2130706433",
        "127.1",
        "chat.example.evil",
        "localhost.evil",
        "127.0.0.1.evil",
        "",
        ":80",
        "[::1",
        "evil@localhost.x",
        "xlocalhost",
    ],
)
def test_other_names_are_rejected(host: str) -> None:
    with pytest.raises(ForeignHost):
        POLICY.check_host(host)


CHROME = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36"}
LAN = "192.168.1.5:8000"


@each(
    "fields",
    [
        {},
        {"User-Agent": "curl/8.5.0", "Accept": "*/*"},
        {"User-Agent": "python-requests/2.32", "Accept": "*/*", "Accept-Language": "en"},
        CHROME | {"Referer": f"http://{LAN}/demos/sse.html"},
        CHROME | {"Referer": f"http://{LAN}"},
        CHROME | {"Sec-Fetch-Site": "same-origin"},
        CHROME | {"Sec-Fetch-Site": "none", "Accept": "text/html"},
        CHROME | {"Origin": f"http://{LAN}"},
    ],
)
def test_our_pages_and_programs_may_join(fields: dict[str, str]) -> None:
    POLICY.check_joiner(LAN, fields)


@each(
    "fields",
    [
        CHROME,  # a page can leave out `Referer`
        CHROME | {"Accept": "text/event-stream"},  # `fetch` without CORS can choose it
        {"User-Agent": "Opera/9.80"},
        {"Accept": "image/avif,image/webp,*/*;q=0.8"},
        {"Accept": "text/css,*/*;q=0.1"},
        {"Referer": "http://evil.example/"},
        {"Referer": f"http://evil.example/http://{LAN}/"},
        {"Referer": f"http://{LAN}.evil.example/"},
        {"Referer": "http://192.168.1.5:8001/"},  # another program on this machine
        {"Referer": ""},
        CHROME | {"Sec-Fetch-Site": "same-site"},
        CHROME | {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_may_not_join(fields: dict[str, str]) -> None:
    with pytest.raises(ForeignOrigin):
        POLICY.check_joiner(LAN, fields)


def test_a_page_at_another_of_our_ports_may_join() -> None:
    origin_policy = OriginPolicy([])
    origin_policy.ports = frozenset({8000, 8001})
    origin_policy.check_joiner(LAN, CHROME | {"Referer": "http://192.168.1.5:8001/demos/"})


def test_only_the_same_three_values_are_allowed_from_the_cache() -> None:
    origin_policy = OriginPolicy(["box"])
    origin_policy.check("box", "http://box", None)
    origin_policy.check("box", "http://box", None)
    with pytest.raises(ForeignOrigin):
        origin_policy.check("box", "http://evil", None)
    with pytest.raises(ForeignHost):
        origin_policy.check("evil", "http://evil", None)
    with pytest.raises(ForeignOrigin):
        origin_policy.check("box", None, "cross-site")


def test_the_cache_of_allowed_values_is_bounded() -> None:
    origin_policy = OriginPolicy(["box"])
    for number in range(5000):
        origin_policy.check(f"{number}.localhost", None, None)
    origin_policy.check("x" * 500 + ".localhost", None, None)
    cache = origin_policy._allowed_cache
    assert len(cache) <= 1000
    assert max(len(value or "") for values in cache for value in values) < 500


@each(
    ("origin", "host", "site"),
    [
        ("http://box:8000", "box:8000", None),
        ("https://box", "box", "same-origin"),
        ("http://BOX:8000", "box:8000", None),
        ("http://box:8000", "BOX:8000", None),
        ("http://box", "box:80", None),
        ("http://box:80", "box", None),
        ("https://box", "box:443", None),
        ("https://box:443", "box", None),
        ("http://[::1]", "[::1]:80", None),
        (None, "box", None),
        (None, "box", "same-origin"),
        (None, "box", "none"),
    ],
)
def test_our_own_pages_are_allowed(origin: str | None, host: str, site: str | None) -> None:
    POLICY.check_origin(origin, host, site)


@each(
    ("origin", "host", "site"),
    [
        ("http://evil.example", "box", None),
        ("http://box:3000", "box:8000", None),
        ("http://box.evil", "box", None),
        ("https://box", "box:80", None),
        ("http://box:443", "box", None),
        ("http://box@evil", "evil", None),
        ("http://box/evil", "box", None),
        ("http://box:x", "box", None),
        ("null", "box", None),
        ("null", "null", None),
        ("", "", None),
        ("file://", "", None),
        ("ftp://box", "box", None),
        ("http://box", None, None),
        (None, "box", "cross-site"),
    ],
)
def test_pages_of_other_sites_are_rejected(
    origin: str | None, host: str | None, site: str | None
) -> None:
    with pytest.raises(ForeignOrigin):
        POLICY.check_origin(origin, host, site)


def test_our_other_ports_are_listed_under_a_host_name_that_is_safe_in_a_policy() -> None:
    origin_policy = OriginPolicy(["box"])
    assert origin_policy.own_origins("box:1") == []  # with one port there are none
    origin_policy.ports = frozenset({1, 2})
    assert origin_policy.own_origins("BOX:1") == ["box:1", "box:2"]
    for host in ("x; script-src * .localhost", "a'b.localhost", "[::1]:1", "", None):
        assert origin_policy.own_origins(host) == []


@each(
    ("origin", "port", "allowed"),
    [
        ("http://box:1", 1, True),
        ("http://box:1", 2, True),
        ("http://[::1]:2", 1, True),
        ("http://box:3", 3, True),  # a proxy may have the number of our port at another address
        ("http://box:3", 1, False),
        ("https://box", 1, False),
        ("null", 1, False),
    ],
)
def test_a_page_of_a_proxy_may_not_use_our_port(origin: str, port: int, allowed: bool) -> None:
    origin_policy = OriginPolicy(["box"])
    origin_policy.ports = frozenset({1, 2})
    assert origin_policy.may_use_port(origin, port) == allowed


@each(
    ("origin", "host", "allowed"),
    [
        ("http://box:1", "box:2", True),
        ("http://box:1", "box:1", False),  # its own page needs no permission
        ("http://box", "box:2", False),
        ("http://box:3", "box:2", False),
        ("http://evil:1", "box:2", False),
        ("http://box:1", "evil:2", False),
        ("ftp://box:1", "box:2", False),
        ("null", "box:2", False),
        (None, "box:2", False),
        ("http://[", "box:2", False),
    ],
)
def test_cors_allows_our_own_pages_at_another_port(
    origin: str | None, host: str, allowed: bool
) -> None:
    origin_policy = OriginPolicy(["box"])
    origin_policy.ports = frozenset({1, 2})
    assert origin_policy.cors_origin(origin, host) == (origin if allowed else None)


@each(
    ("origin", "host", "allowed"),
    [
        ("https://box", "box:444", True),
        ("https://box:444", "box", True),
        ("https://box", "box", False),
    ],
)
def test_lanes_over_https_have_its_default_port(origin: str, host: str, allowed: bool) -> None:
    origin_policy = OriginPolicy(["box"])
    origin_policy.ports = frozenset({443, 444})
    origin_policy.check_origin(origin, host, None)
    assert origin_policy.cors_origin(origin, host) == (origin if allowed else None)


# --- the option --allow-host ---------------------------------------------------------------------


@each(
    ("text", "name"),
    [
        ("Chat.Example.org.", "chat.example.org"),
        ("chat.example.org:8000", "chat.example.org"),
        ("https://chat.example.org:8000/demos/?x=1", "chat.example.org"),
        ("*.example.org", "*.example.org"),
        ("https://*.Example.org/", "*.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("straße.de", "xn--strae-oqa.de"),  # as browsers do; the standard of 2003 had "strasse"
        ("聊天室.中国", "xn--rssq1de89c.xn--fiqs8s"),
        ("聊天室。中国", "xn--rssq1de89c.xn--fiqs8s"),
        ("my_box", "my_box"),
        ("10.0.0.2:80", "10.0.0.2"),
        ("::1", "::1"),
        ("[::1]:80", "::1"),
    ],
)
def test_a_host_name_may_be_written_in_many_ways(text: str, name: str) -> None:
    assert parse_host_name(text) == name


@each(
    "text",
    [
        "",
        "*",
        "a.*.org",
        "*a.org",
        "a b",
        "a,b",
        "a..b",
        "-a",
        "a@b",
        "[::1",
        "a:x",
        "x" * 64,
        "a;b",
    ],
)
def test_what_is_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host name|stands only before"):
        parse_host_name(text)


def test_a_wildcard_allows_all_names_below_and_no_other() -> None:
    origin_policy = OriginPolicy(["*.example.org"])
    for host in ("a.example.org", "a.b.example.org:8000", "A.Example.org."):
        origin_policy.check_host(host)
    for host in ("example.org", "aexample.org", "a.example.org.evil", "*.evil"):
        with pytest.raises(ForeignHost):
            origin_policy.check_host(host)


def test_a_name_that_is_found_later_is_allowed_from_then_on() -> None:
    origin_policy = OriginPolicy([])
    with pytest.raises(ForeignHost):
        origin_policy.check("box.example.org", None, None)
    origin_policy.allow_name("Box.example.org")
    origin_policy.check("box.example.org", None, None)
