"""Tickets are verified by the type of our key, whatever the token says about itself."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from realtime.core.access import Action, Grant
from realtime.errors import BadTicket, NoTicket, RealtimeError, TicketExpired
from realtime.limits import Limits
from realtime.protocol.tickets import KeySet, Ticket, parse_keys
from tests.cases import each
from tests.ticket_keys import (
    SECRET,
    base64url,
    claims,
    ed25519_key,
    forged,
    jwks,
    private_pem,
    public_pem,
    rsa_key,
    ticket,
)

LIMITS = Limits()


def verify(token: str, keys: bytes = SECRET) -> Ticket:
    return parse_keys(keys).verify(token, LIMITS)


# --- signatures ----------------------------------------------------------------------------------


def test_a_secret_signs_and_verifies() -> None:
    end = int(time.time()) + 60
    token = ticket(rooms=["lobby", "class-*"], sub="ada", name="Ada", exp=end, nbf=end - 90)
    leeway = LIMITS.ticket_leeway_seconds
    actions = frozenset({Action.READ, Action.SPEAK})
    grant = Grant(actions, ("lobby", "class-*"), "ada", "Ada", end + leeway)
    assert verify(token, SECRET + b"\n") == Ticket(grant, end - 90 - leeway)


@each(("key", "algorithm"), [(rsa_key, "RS256"), (ed25519_key, "EdDSA")], ids=["RS256", "EdDSA"])
def test_a_private_key_signs_and_its_public_key_verifies(key: Any, algorithm: str) -> None:
    token = parse_keys(private_pem(key())).sign(claims(sub="ada"))
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    for file in (public_pem(key()), private_pem(key()), jwks(one=key())):
        assert verify(token, file).grant.client == "ada"


def test_a_file_can_hold_the_old_key_and_the_new_one() -> None:
    file = public_pem(rsa_key()) + b"\n" + public_pem(ed25519_key())
    for key in (rsa_key(), ed25519_key()):
        assert verify(parse_keys(private_pem(key)).sign(claims()), file)


def test_a_key_set_has_its_keys_by_name() -> None:
    file = jwks(old=b"o" * 32, new=b"n" * 32)
    for kid, secret in (("old", b"o" * 32), ("new", b"n" * 32), (None, b"n" * 32)):
        token = jwt.encode(claims(), secret, "HS256", headers={"kid": kid} if kid else {})
        assert verify(token, file)


def test_a_key_set_may_have_keys_for_other_uses() -> None:
    elliptic = jwt.algorithms.ECAlgorithm.to_jwk(
        ec.generate_private_key(ec.SECP256R1()).public_key()
    )
    value = json.loads(jwks(ours=SECRET))
    other = {"kty": "oct", "k": base64url(b"x" * 32), "use": "enc", "kid": "other"}
    value["keys"] += [json.loads(elliptic), other]
    keys = parse_keys(json.dumps(value).encode())
    assert [key.id for key in keys.keys] == ["ours"]


def test_one_key_in_json_needs_no_set() -> None:
    (entry,) = json.loads(jwks(one=SECRET))["keys"]
    assert verify(ticket(), json.dumps(entry).encode())


def rs256(payload: Any = None, **header: Any) -> str:
    return jwt.encode(payload or claims(), rsa_key(), "RS256", headers=header)


ATTACKS = {
    "another secret": lambda: jwt.encode(claims(), b"x" * 32, "HS256"),
    "another key": lambda: jwt.encode(claims(), rsa.generate_private_key(65537, 2048), "RS256"),
    "no algorithm": lambda: forged({"alg": "none"}, claims(), None),
    "none in capitals": lambda: forged({"alg": "NONE"}, claims(), None),
    "no signature": lambda: forged({"alg": "RS256"}, claims(), None),
    # The public key is known to everybody: as an HMAC secret it would sign anything.
    "our public key as the secret": lambda: forged(
        {"alg": "HS256"}, claims(), public_pem(rsa_key())
    ),
    "its last line break removed": lambda: forged(
        {"alg": "HS256"}, claims(), public_pem(rsa_key()).strip()
    ),
    "a stronger algorithm": lambda: jwt.encode(claims(), rsa_key(), "RS512"),
    "an unknown key name": lambda: rs256(kid="unknown"),
    "a file as the key name": lambda: rs256(kid="/dev/null"),
    "a number as the key name": lambda: forged({"alg": "RS256", "kid": 1}, claims(), None),
    "its own key in the header": lambda: forged(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": base64url(b"x" * 32)}}, claims(), b"x" * 32
    ),
    "an extension that we do not know": lambda: rs256(crit=["exp"]),
    "an unencoded payload": lambda: forged({"alg": "RS256", "b64": False}, claims(), None),
    "changed claims": lambda: _with_claims(rs256(), claims(actions=["moderate"])),
    "a fourth part": lambda: rs256() + ".x",
    "padding, which makes another spelling": lambda: rs256() + "==",
    "two parts": lambda: rs256().rpartition(".")[0],
    "an empty token": lambda: "",
    "no base64": lambda: "é.é.é",
    "no JSON": lambda: ".".join([base64url(b"["), base64url(b"{}"), ""]),
    "a header that is no object": lambda: ".".join([base64url(b"[]"), base64url(b"{}"), ""]),
    "a deep header": lambda: ".".join([base64url(b"[" * 2500), "e30", ""]),
    "too long": lambda: rs256(claims(padding="x" * 5000)),
    "for another service": lambda: rs256(claims(aud="shop")),
}


def _with_claims(token: str, payload: Any) -> str:
    header, _, signature = token.split(".")
    return ".".join([header, base64url(json.dumps(payload).encode()), signature])


@each("attack", ATTACKS)
def test_a_token_that_no_key_of_ours_has_signed_is_refused(attack: str) -> None:
    token = ATTACKS[attack]()
    with pytest.raises(BadTicket) as refused:
        verify(token, jwks(ours=rsa_key()))
    assert refused.value.__cause__ is None  # which could quote the token
    assert not token or token not in refused.value.message


def test_the_public_key_is_no_secret_even_where_a_secret_is_used_too() -> None:
    """Algorithm confusion needs a server that takes the algorithm from the token."""
    file = jwks(shared=SECRET, public=rsa_key())
    for kid in ("shared", "public"):
        token = forged({"alg": "HS256", "kid": kid}, claims(), public_pem(rsa_key()))
        with pytest.raises(BadTicket):
            verify(token, file)


# --- claims --------------------------------------------------------------------------------------


@each(
    "change",
    [
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": -1},
        {"exp": 1e300},
        {"nbf": "now"},
        {"rooms": None},
        {"rooms": []},
        {"rooms": "lobby"},
        {"rooms": [""]},
        {"rooms": [1]},
        {"rooms": ["x" * 65]},
        {"rooms": ["lobby?"]},
        {"rooms": ["[a-z]"]},
        {"rooms": ["lobby", "the hall"]},
        {"rooms": ["x"] * 65},
        {"actions": None},
        {"actions": []},
        {"actions": ["read", "write"]},
        {"actions": [["read"]]},
        {"actions": {"read": True}},
        {"sub": 7},
        {"sub": "not an id"},
        {"name": "\u202eadA"},
        {"name": 7},
    ],
    ids=str,
)
def test_a_signed_token_with_other_claims_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadTicket):
        verify(forged({"alg": "HS256"}, {**claims(), **change}, SECRET))


def test_a_payload_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadTicket):
        verify(forged({"alg": "HS256"}, [], SECRET))


def test_a_ticket_has_a_first_and_a_last_second() -> None:
    one, leeway = verify(ticket(nbf=1000, exp=2000)), LIMITS.ticket_leeway_seconds
    for now in (1000 - leeway, 1000, 1999, 2000 + leeway - 0.1):
        one.check_time(now)
    for now, error in ((999 - leeway, BadTicket), (2000 + leeway, TicketExpired)):
        with pytest.raises(error):
            one.check_time(now)


def test_a_room_in_a_ticket_has_the_name_that_it_has_in_a_url() -> None:
    (pattern,) = verify(ticket(rooms=["cafe\u0301-*"])).grant.rooms
    assert pattern == "café-*"


# --- key files -----------------------------------------------------------------------------------


@each(
    ("file", "reason"),
    [
        (b"", "at least 32 bytes"),
        (b"short", "at least 32 bytes"),
        # Text that is public elsewhere must not become a secret.
        (b'[{"kty":"oct"}]' + 32 * b" ", "no JWKS"),
        (b"<!DOCTYPE" + 40 * b"x", "no JWKS"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA a@b", "no JWKS"),
        ("-----BEGIN PUBLIC KEY-----".encode("utf-16"), "no JWKS"),
        (b"{", "no JSON"),
        (b'{"keys": {}}', "array of objects"),
        (b'{"keys": []}', "1 to 16 keys"),
        (b'{"keys": [{"kty": "EC"}]}', "1 to 16 keys"),
        (b'{"keys": [{"kty": "oct"}]}', "not valid"),
        (b'{"keys": [{"kty": "oct", "k": "YWJj"}]}', "at least 32 bytes"),
        (b'{"keys": [{"kty": "oct", "k": 7, "kid": 7}]}', "`kid`"),
        (b"-----BEGIN PUBLIC KEY-----\nYWJj\n-----END PUBLIC KEY-----", "RSA or Ed25519"),
        (b"-----BEGIN PUBLIC KEY-----\n", "1 to 16 keys"),
    ],
    ids=str,
)
def test_a_file_without_usable_keys_is_an_error_that_says_why(file: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_keys(file)


def test_weak_and_other_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    for key, reason in ((weak, "2048 bits"), (ec.generate_private_key(ec.SECP256R1()), "RSA or")):
        with pytest.raises(ValueError, match=reason):
            parse_keys(public_pem(key))


def test_public_keys_do_not_sign() -> None:
    with pytest.raises(ValueError, match="private key"):
        parse_keys(public_pem(rsa_key())).sign(claims())


def test_a_key_set_is_no_text_that_shows_its_secrets() -> None:
    assert SECRET.decode() not in repr(parse_keys(SECRET))
    assert isinstance(parse_keys(SECRET), KeySet)


def test_an_error_about_a_ticket_is_a_401() -> None:
    for kind in (NoTicket, BadTicket, TicketExpired):
        error: RealtimeError = kind("…")
        assert error.status == 401
        assert dict(error.headers)["WWW-Authenticate"].startswith("Bearer")
