"""The options that `realtime nginx` and `realtime haproxy` share."""

import argparse
import os

import pytest

from realtime.cli.proxy_options import add_site, add_workers, listen_of, workers_of
from tests.cases import each


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_workers(parser, "haproxy")
    add_site(parser).add_argument("--tls")
    return parser.parse_args(arguments)


@each(
    ("arguments", "workers"),
    [
        (["--workers", "2"], ["127.0.0.1:6001", "127.0.0.1:6002"]),
        (["--workers", "1", "--base-port", "7001"], ["127.0.0.1:7001"]),
        (["--worker", "[::1]:6001", "--worker", "web:1"], ["[::1]:6001", "web:1"]),
        (["--workers", "1", "--worker", "10.0.0.2:1"], ["127.0.0.1:6001", "10.0.0.2:1"]),
    ],
)
def test_the_workers_of_this_machine_come_first(arguments: list[str], workers: list[str]) -> None:
    assert list(workers_of(parse(*arguments))) == workers


def test_without_an_option_there_is_a_worker_for_each_core() -> None:
    assert len(list(workers_of(parse()))) == os.cpu_count()


@each(
    ("arguments", "listen"),
    [
        ([], 80),
        (["--tls", "site.pem"], 443),
        (["--tls", "site.pem", "--listen", "8443"], "8443"),
        (["--listen", "[::1]:8080"], "[::1]:8080"),
    ],
)
def test_it_listens_on_the_port_of_its_scheme_or_on_the_one_given(
    arguments: list[str], listen: str | int
) -> None:
    assert listen_of(parse(*arguments)) == listen


def test_the_root_path_has_no_slash_at_its_end() -> None:
    assert parse("--root-path", "/chat/").root_path == "/chat"


@each(
    ("arguments", "message"),
    [
        (["--workers", "0"], "must be a whole number above 0"),
        (["--base-port", "no"], "must be a whole number above 0"),
        (["--worker", "somewhere"], "somewhere is not the address of a worker"),
        (["--routing", "luck"], "invalid choice: 'luck'"),
        (["--root-path", "chat"], "chat is no path below which a server can be"),
    ],
)
def test_a_bad_value_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(argparse.ArgumentError, match=message):
        parse(*arguments)
