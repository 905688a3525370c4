"""Tickets: JSON Web Tokens that say who may do what, in which rooms, until when (RFC 7519).

    file ─▶ parse_keys ─▶ KeySet ── verify(token, limits, now) ─▶ Ticket, or BadTicket
                            └────── sign(claims) ─▶ token

A ticket is signed and not encrypted: anybody who has it can read and use it.  The issuer and the
server share a secret, or the issuer has a private key and the server the public one.  Pure: the
contents of files and the time are passed in.

PyJWT does the cryptography.  It is an optional dependency, imported where it is needed.
"""

import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

from realtime.core.access import Action, Grant
from realtime.core.events import parse_client, parse_name, parse_room
from realtime.errors import BadTicket, RealtimeError, TicketExpired
from realtime.limits import Limits

# What a signature may be made with.  A key has exactly one of them, by its type.
HS256, EDDSA, RS256 = "HS256", "EdDSA", "RS256"
# RFC 7518 §3.2: the secret has at least as many bits as the hash.  §3.3: 2048 bits or more.
_MIN_SECRET_BYTES = 32
_MIN_RSA_BITS = 2048
# A set has an old key and a new one.  A ticket without `kid` is compared with each of its type.
_MAX_KEYS = 16
_MAX_ROOMS = 64
# The end of the year 9999: later than any ticket, and still a time that a timer accepts.
_MAX_TIME = 253_402_300_799
# RFC 7515 §7.1 and §2: three parts of base64url without padding.  PyJWT also accepts padding: then
# one ticket would have many spellings, and fill the place of others whose verdicts are kept.
_COMPACT = re.compile(r"[\w-]*\.[\w-]*\.[\w-]*", re.ASCII)
_NO_TICKET = "This is not a ticket: a JSON Web Token in three parts."
# A file with a secret has one line.
_SECRET = re.compile(rb"[ -~]*")
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
# One key in JSON has members (RFC 7517 §4), a set of them has `keys` (§5).
_JSON_START = b"{"


class TicketsUnavailable(Exception):
    """PyJWT is not installed; the message says how to install it."""


def load_pyjwt() -> ModuleType:
    """Import PyJWT and check its algorithms; raises `TicketsUnavailable`."""
    try:
        import jwt
    except ImportError:
        raise TicketsUnavailable(
            "tickets need PyJWT: pip install 'realtime-transports[tickets]'"
        ) from None
    if not {HS256, EDDSA, RS256} <= set(jwt.algorithms.get_default_algorithms()):
        raise TicketsUnavailable(
            "tickets need the package `cryptography`: pip install 'realtime-transports[tickets]'"
        )
    return jwt


# --- the ticket --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token with the right signature grants, and from when on, in seconds since 1970."""

    grant: Grant
    not_before: float

    @classmethod
    def parse(cls, claims: Mapping[str, Any], limits: Limits) -> Self:
        """Check the claims of a token; raises `BadTicket`.

        The clocks of the issuer and of this server differ a little, so both times have a leeway.
        """
        leeway = limits.ticket_leeway_seconds
        try:
            grant = Grant(
                actions=_parse_actions(claims.get("actions")),
                rooms=_parse_rooms(claims.get("rooms")),
                client=_optional(parse_client, claims.get("sub")),
                name=_optional(lambda name: parse_name(name, limits), claims.get("name")),
                expires=_parse_time("exp", claims.get("exp")) + leeway,
            )
            return cls(grant, _parse_time("nbf", claims.get("nbf", 0)) - leeway)
        except RealtimeError as error:
            raise BadTicket(f"The claims of the ticket are not valid: {error.message}") from None

    def check_time(self, now: float) -> None:
        """Raise `TicketExpired` or `BadTicket` outside of the time in which the ticket is valid."""
        if now >= self.grant.expires:
            raise TicketExpired("The ticket has ended; get a new one, and go on from your cursor.")
        if now < self.not_before:
            raise BadTicket("The ticket is not valid yet; see its `nbf`.")


def _parse_actions(value: Any) -> frozenset[Action]:
    try:
        actions = frozenset(map(Action, value if isinstance(value, list) else []))
    except ValueError:
        actions = frozenset()
    if not actions:
        raise BadTicket(f"`actions` must be an array of some of {', '.join(Action)}.")
    return actions


def _parse_rooms(value: Any) -> tuple[str, ...]:
    rooms = value if isinstance(value, list) else []
    if not 1 <= len(rooms) <= _MAX_ROOMS or not all(isinstance(room, str) for room in rooms):
        raise BadTicket(f"`rooms` must be an array of 1 to {_MAX_ROOMS} names; * is a wildcard.")
    return tuple(map(_parse_pattern, rooms))


def _parse_pattern(pattern: str) -> str:
    """Check that a pattern is the name of a room, if a letter is in the place of each ``*``."""
    parse_room(pattern.replace("*", "x"))
    return unicodedata.normalize("NFC", pattern)


def _parse_time(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _MAX_TIME:  # also false for NaN
        raise BadTicket(f"`{name}` must be seconds since 1970.")
    return float(value)


def _optional(parse: Callable[[Any], str], value: Any) -> str | None:
    return None if value is None else parse(value)


# --- keys --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class TicketKey:
    """One key: what verifies, what signs if we have it, and its name in a key set (`kid`)."""

    algorithm: str
    id: str | None
    verifying: Any
    signing: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys by which a ticket may be signed."""

    keys: tuple[TicketKey, ...]

    def verify(self, token: str, limits: Limits) -> Ticket:
        """Return the ticket in `token`, whenever it is valid; raises `BadTicket`.

        The token names an algorithm, and that decides nothing: it must be the one of the key.
        With ``alg: none``, or HS256 and our public key as the secret, anybody could sign
        (RFC 8725 §2.1).
        """
        if len(token) > limits.ticket_bytes:
            raise BadTicket(f"A ticket has at most {limits.ticket_bytes} bytes.")
        if not _COMPACT.fullmatch(token):
            raise BadTicket(_NO_TICKET)
        import jwt  # installed, or `load_pyjwt` would have raised at the start

        try:
            header = jwt.get_unverified_header(token)
            for key in self._candidates(header):
                try:
                    claims = jwt.decode(
                        token, key.verifying, algorithms=[key.algorithm], options=_OUR_CHECKS
                    )
                except jwt.InvalidSignatureError:
                    continue
                return Ticket.parse(claims, limits)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            # Not `from` the cause, which can contain parts of the token.
            raise BadTicket(_NO_TICKET) from None
        raise BadTicket("No key of this server has signed this ticket.")

    def _candidates(self, header: Mapping[str, Any]) -> Iterable[TicketKey]:
        algorithm, id = header.get("alg"), header.get("kid")
        return [
            key
            for key in self.keys
            if key.algorithm == algorithm and (id is None or key.id is None or key.id == id)
        ]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Sign a ticket with the first key that can; raises `ValueError` if none can."""
        for key in self.keys:
            if key.signing is not None:
                header = {} if key.id is None else {"kid": key.id}
                jwt = load_pyjwt()
                try:
                    token: str = jwt.encode(
                        dict(claims), key.signing, algorithm=key.algorithm, headers=header
                    )
                except jwt.PyJWTError as error:
                    raise ValueError(f"the key cannot sign: {error}") from error
                return token
        raise ValueError("the file has public keys only; to sign, the private key is needed")


# Times are checked at each use, by `Ticket.check_time`.  PyJWT refuses a token that names an
# audience (`aud`): it was made for another service.
_OUR_CHECKS: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}


def parse_keys(data: bytes) -> KeySet:
    """Parse the content of a key file: a JWKS, keys in PEM, or a secret; raises `ValueError`."""
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.lstrip().startswith(_JSON_START):
        keys = list(_parse_jwks(data))
    elif b"-----BEGIN" in data:
        keys = [_parse_pem(match[0]) for match in _PEM.finditer(data)]
    else:
        keys = [_plain_secret(data.strip())]
    if not 1 <= len(keys) <= _MAX_KEYS:
        raise ValueError(f"a key file has 1 to {_MAX_KEYS} keys for {HS256}, {EDDSA} or {RS256}")
    return KeySet(tuple(keys))


def _plain_secret(secret: bytes) -> TicketKey:
    # A public key in a format that we do not know must not become a secret that everybody knows.
    if not _SECRET.fullmatch(secret) or secret.startswith((b"[", b"<", b"ssh-")):
        raise ValueError(
            "the file is no JWKS and has no keys in PEM; a secret is one line of printable ASCII"
        )
    return _secret_key(secret, None)


def _secret_key(secret: bytes, id: str | None) -> TicketKey:
    if len(secret) < _MIN_SECRET_BYTES:
        raise ValueError(
            f"a secret for {HS256} has at least {_MIN_SECRET_BYTES} bytes (RFC 7518 §3.2): "
            "`openssl rand -base64 48` makes one"
        )
    return TicketKey(HS256, id, secret, secret)


def _parse_pem(block: bytes) -> TicketKey:
    load_pyjwt()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        if b"PRIVATE KEY" in block.partition(b"\n")[0]:
            key: Any = serialization.load_pem_private_key(block, None)
        else:
            key = serialization.load_pem_public_key(block)
    except TypeError:
        raise ValueError("the private key has a password; write it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a PEM block is no public or private key of RSA or Ed25519") from None
    return _asymmetric_key(key, None)


def _asymmetric_key(key: Any, id: str | None) -> TicketKey:
    """Return a key of `cryptography`, private or public, with the algorithm of its type."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    private = key if hasattr(key, "public_key") else None
    public = key.public_key() if private is not None else key
    if isinstance(public, ed25519.Ed25519PublicKey):
        return TicketKey(EDDSA, id, public, private)
    if not isinstance(public, rsa.RSAPublicKey):
        raise ValueError("a key must be for RSA or Ed25519")
    if public.key_size < _MIN_RSA_BITS:
        raise ValueError(f"an RSA key has at least {_MIN_RSA_BITS} bits (RFC 7518 §3.3)")
    return TicketKey(RS256, id, public, private)


# --- JSON Web Key Sets -------------------------------------------------------------------------


def _parse_jwks(data: bytes) -> Iterable[TicketKey]:
    """Parse a key set, or one key.  RFC 7517 §5: keys of other types or uses are ignored."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("the key set is no JSON in UTF-8") from None
    entries: Sequence[Any] = value.get("keys", [value])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("`keys` of a key set must be an array of objects (RFC 7517 §5)")
    for entry in entries:
        if (key := _parse_jwk(entry)) is not None:
            yield key


def _parse_jwk(entry: Mapping[str, Any]) -> TicketKey | None:
    jwt, id = load_pyjwt(), entry.get("kid")
    kinds = {"oct": HS256, "OKP": EDDSA, "RSA": RS256}
    algorithm = kinds.get(str(entry.get("kty")))
    usable = (
        algorithm is not None
        and entry.get("alg", algorithm) == algorithm
        and entry.get("use", "sig") == "sig"
        and entry.get("crv", "Ed25519") == "Ed25519"
    )
    if not usable or algorithm is None:
        return None
    if not isinstance(id, str | None):
        raise ValueError("`kid` must be a string (RFC 7517 §4.5)")
    try:
        key = jwt.algorithms.get_default_algorithms()[algorithm].from_jwk(dict(entry))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise ValueError(f"the key {id or 'without kid'} is not valid (RFC 7518 §6)") from None
    return _secret_key(key, id) if algorithm == HS256 else _asymmetric_key(key, id)
