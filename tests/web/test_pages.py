"""The pages as bytes: under a strict policy, and nothing outside their folder."""

import re
from typing import Any

import pytest

from realtime.client import request
from realtime.web import pages
from tests.cases import each


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/demos/sse.html", "text/html"),
        ("/demos/static/style.css", "text/css"),
        ("/demos/static/transports/sse.js", "text/javascript"),
    ],
)
async def test_a_page_has_a_strict_policy(server: Any, path: str, kind: str) -> None:
    answer = await request(server.url, "GET", path)
    assert answer.status == 200
    fields = answer.head.fields
    assert fields["content-type"].split(";")[0] == kind
    assert fields["content-security-policy"] == pages.CONTENT_SECURITY_POLICY
    assert "unsafe" not in pages.CONTENT_SECURITY_POLICY
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["referrer-policy"] == "same-origin"


async def test_an_unchanged_page_is_not_sent_again(server: Any) -> None:
    first = await request(server.url, "GET", "/")
    tag = {"If-None-Match": first.head.fields["etag"]}
    again = await request(server.url, "GET", "/", headers=tag)
    assert (again.status, again.body) == (304, b"")


async def test_range_is_ignored(server: Any) -> None:
    whole = await request(server.url, "GET", "/")
    for part in ("bytes=0-9", "bytes=5-2", "bytes=99999999-"):
        answer = await request(server.url, "GET", "/", headers={"Range": part})
        assert (answer.status, answer.body) == (200, whole.body)


@each(
    "path",
    [
        "/demos/static/../../setup.cfg",
        "/demos/static/%2e%2e/%2e%2e/setup.cfg",
        "/demos/static/..%2f..%2fsetup.cfg",
        "/demos/static//etc/passwd",
        "/demos/static/%00",
        "/demos/static/%2fetc%2fpasswd",
        "/demos/static/..%5c..%5csetup.cfg",
        "/demos/static/%252e%252e/%252e%252e/setup.cfg",
        "/demos/../setup.cfg",
        "/../setup.cfg",
        "//etc/passwd",
        "/demos/static/" + "../" * 20 + "etc/passwd",
        "/demos/static/" + "a" * 300,
        "/demos/static/transports/",
        "/demos/__init__.py",
        "/demos/static/",
        "/demos/nothing.html",
    ],
)
async def test_nothing_else_is_served(server: Any, path: str) -> None:
    answer = await request(server.url, "GET", path)
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")


async def test_other_sites_may_link_to_a_page(server: Any) -> None:
    answer = await request(server.url, "GET", "/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 200


async def test_an_unchanged_style_sheet_is_not_sent_again(server: Any) -> None:
    path = "/demos/static/style.css"
    first = await request(server.url, "GET", path)
    assert first.head.fields["cache-control"] == "no-cache"  # revalidate each time
    since = {"If-Modified-Since": first.head.fields["last-modified"]}
    again = await request(server.url, "GET", path, headers=since)
    assert (again.status, again.body) == (304, b"")


async def test_a_browser_keeps_the_files_of_a_page_until_they_have_another_version(
    server: Any,
) -> None:
    page = await request(server.url, "GET", "/demos/sse.html")
    assert page.head.fields["cache-control"] == "no-cache"
    folders = set(re.findall(rb'(?:src|href)="\.\./(demos[^/]*)/static/', page.body))
    assert len(folders) == 1
    folder = folders.pop().decode()
    assert folder in page.head.fields["etag"]  # it is sent again when only a file has changed
    for path in ("static/chat.js", "i18n/zh-Hans.json"):
        answer = await request(server.url, "GET", f"/{folder}/{path}")
        assert answer.head.fields["cache-control"] == "max-age=31536000, immutable"
        # During an update the worker that sent the page may have another version than this one.
        old = await request(server.url, "GET", f"/demos.0123456789abcdef/{path}")
        assert (old.status, old.body) == (200, answer.body)
        assert old.head.fields["cache-control"] == "no-cache"
    answer = await request(server.url, "GET", f"/{folder}/sse.html")
    assert answer.status == 404


async def test_an_old_etag_gets_the_whole_page(server: Any) -> None:
    answer = await request(server.url, "GET", "/", headers={"If-None-Match": '"old"'})
    assert answer.status == 200
    assert answer.body


async def test_the_first_page_has_two_urls(server: Any) -> None:
    bodies = [(await request(server.url, "GET", p)).body for p in ("/", "/demos/index.html")]
    assert bodies[0] == bodies[1]


async def test_a_foreign_host_gets_no_page(server: Any) -> None:
    answer = await request(server.url, "GET", "/", headers={"Host": "evil.example"})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "foreign_host")


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.8, *;q=0.1"])
async def test_a_page_is_compressed_for_a_client_that_accepts_it(
    server: Any, accepted: str
) -> None:
    plain = await request(server.url, "GET", "/")
    small = await request(server.url, "GET", "/", headers={"Accept-Encoding": accepted})
    assert small.head.fields["content-encoding"] == "gzip"
    assert small.body == plain.body
    for answer in (plain, small):
        assert answer.head.fields["vary"] == "Accept-Encoding"
    assert int(plain.head.fields["content-length"]) == len(plain.body)
    assert int(small.head.fields["content-length"]) < len(plain.body) / 2
    # A cache must not mix up the two.
    assert small.head.fields["etag"] != plain.head.fields["etag"]
    tag = {"If-None-Match": small.head.fields["etag"], "Accept-Encoding": accepted}
    again = await request(server.url, "GET", "/", headers=tag)
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("accepted", ["identity", "br", "gzip;q=0", "gzip ; q=0.0, br", "xgzip"])
async def test_a_page_is_not_compressed_for_another_client(server: Any, accepted: str) -> None:
    answer = await request(server.url, "GET", "/", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.head.fields
    assert answer.body.startswith(b"<!doctype html>")
