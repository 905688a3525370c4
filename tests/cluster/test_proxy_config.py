"""What both configurations check: their workers, the site in front, and paths of files."""

import os
import re
from typing import Any

import pytest

from realtime.cluster.proxy_config import (
    MAX_OPEN_FILES,
    parse_worker,
    quoted_path,
    render,
    site_values,
)
from realtime.transports.affinity import worker_label
from tests.cases import each

SITE: dict[str, Any] = {
    "workers": ["127.0.0.1:6001"],
    "listen": 80,
    "routing": "any",
    "name": "_",
    "open_files": MAX_OPEN_FILES,
    "root_path": "",
}


def values(**changed: Any) -> dict[str, Any]:
    return site_values("nginx", **(SITE | changed))


@each(
    ("text", "worker"),
    [
        ("127.0.0.1:6001", ("127.0.0.1", 6001)),
        ("[fd00::2]:65535", ("fd00::2", 65535)),
        ("web-1.example.org:1", ("web-1.example.org", 1)),
    ],
)
def test_a_worker_has_a_host_and_a_port(text: str, worker: tuple[str, int]) -> None:
    assert parse_worker(text) == worker


@each(
    "text",
    [
        *("", "127.0.0.1", "127.0.0.1:", ":6001", "fd00::2", "fd00::2:6001", "[fd00::2]"),
        *("127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:6001\n", "a b:1", "a:1 b", "ü:1", "a:٣"),
    ],
)
def test_what_is_no_worker_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a worker: write HOST:PORT"):
        parse_worker(text)


@each(
    ("options", "message"),
    [
        ({"workers": []}, "at least one worker"),
        ({"workers": ["127.0.0.1:6001"] * 2}, "none of them twice"),
        ({"workers": ["web:6001"], "routing": "session"}, "web is a name"),
        ({"routing": "random"}, "random is not a routing"),
        ({"listen": 0}, "nginx cannot listen on 0"),
        ({"listen": "65536"}, "nginx cannot listen on 65536"),
        ({"listen": "80\n"}, "nginx cannot listen on"),
        ({"name": ""}, "is not a host name"),
        ({"name": "a b"}, "a b is not a host name"),
    ],
)
def test_what_cannot_be_a_site_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        values(**options)


def test_two_workers_with_the_same_label_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.cluster.proxy_config.worker_label", lambda host, port: "abcdef")
    with pytest.raises(ValueError, match="the same label"):
        values(workers=["127.0.0.1:6001", "127.0.0.1:6002"], routing="session")


def test_a_label_is_that_of_the_address_without_brackets() -> None:
    assert values(workers=["[fd00::2]:6001"])["labels"] == [worker_label("fd00::2", 6001)]


@each(
    ("worker", "proxy"),
    [
        ("127.0.0.1:6001", "127.0.0.1"),
        ("[::1]:6001", "::1"),
        ("10.0.0.2:6001", "ADDRESS-OF-NGINX"),
    ],
)
def test_it_names_the_address_that_the_workers_must_trust(worker: str, proxy: str) -> None:
    assert values(workers=[worker])["proxy"] == proxy


def test_it_names_the_other_options_of_the_workers() -> None:
    assert values()["options"] == ""
    options = values(name="chat.example.org", root_path="/chat")["options"]
    assert options == " --allow-host chat.example.org --root-path /chat"


@each(("open_files", "files"), [(64, 64), (MAX_OPEN_FILES + 1, MAX_OPEN_FILES)])
def test_a_process_gets_no_more_files_than_it_may_have(open_files: int, files: int) -> None:
    site = values(open_files=open_files)
    assert (site["files"], site["clients"]) == (files, files // 2)


def test_a_path_is_absolute_since_the_proxy_has_another_folder() -> None:
    assert quoted_path("a b/chain.pem", "nginx") == f"{os.getcwd()}/a b/chain.pem"


@each("path", ['a"b', "a$b", "a\\b", "a\nb", "a\0b"])
def test_a_path_that_quotes_do_not_hold_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="a meaning of its own to haproxy"):
        quoted_path(path, "haproxy")


@each("file", ["nginx.conf", "haproxy.cfg"])
def test_a_directive_leaves_no_line_behind(file: str) -> None:
    more = {"root": "", "everything": "/", "server_name": "_", "buffering": False}
    more |= {"session_part": 4, "request_seconds": "20", "buffer_bytes": 65536}
    text = render(file, **values(), **more, tls=None, redirect=False, read_seconds="75")
    assert "{%" not in text
    assert "{{" not in text
    assert "\n\n\n" not in text
