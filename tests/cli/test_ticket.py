"""`realtime ticket` prints a ticket that a server accepts."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from realtime.core.access import Action
from realtime.limits import Limits
from realtime.protocol.tickets import parse_keys
from tests.cli.command_line import run
from tests.ticket_keys import SECRET, ed25519_key, private_pem, public_pem, rsa_key


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret.txt"
    path.write_bytes(SECRET)
    return str(path)


def test_it_prints_a_ticket_with_these_claims(secret: str) -> None:
    who = ("--client", "ada", "--name", "Ada", "--minutes", "60")
    result = run("ticket", "--key", secret, "--rooms", "lobby, lab-*", "--actions", "read", *who)
    grant = parse_keys(SECRET).verify(result.stdout.removesuffix("\n"), Limits()).grant
    assert (grant.rooms, grant.actions) == (("lobby", "lab-*"), {Action.READ})
    assert (grant.client, grant.name) == ("ada", "Ada")
    assert 0 <= time.time() + 3600 + Limits().ticket_leeway_seconds - grant.expires < 60


@pytest.mark.parametrize("key", [rsa_key, ed25519_key], ids=["RS256", "EdDSA"])
def test_a_private_key_signs_what_its_public_key_verifies(key: Any, tmp_path: Path) -> None:
    path = tmp_path / "private.pem"
    path.write_bytes(private_pem(key()))
    token = run("ticket", "--key", str(path)).stdout.strip()
    grant = parse_keys(public_pem(key())).verify(token, Limits()).grant
    assert (grant.rooms, grant.actions) == (("*",), {Action.READ, Action.SPEAK})
    assert jwt.decode(token, options={"verify_signature": False}).keys() == {
        *("rooms", "actions", "iat", "exp")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--client", "not an id"), "`client` must be"),
        (("--actions", "read,write"), "`actions` must be"),
        (("--rooms", ","), "`rooms` must be"),
        (("--name", ""), "`name` must be"),
    ],
)
def test_it_prints_no_ticket_that_a_server_would_refuse(
    secret: str, arguments: tuple[str, ...], message: str
) -> None:
    result = run("ticket", "--key", secret, *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert message in result.stderr


@pytest.mark.parametrize("content", [None, b"short", b"-----BEGIN PUBLIC KEY-----"])
def test_a_key_file_that_cannot_sign_is_one_line_and_exit_1(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    result = run("ticket", "--key", str(path))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "ticket --key: " in result.stderr
