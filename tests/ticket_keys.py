"""Keys and tickets for the tests, signed without the code under test, as an attacker would."""

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

SECRET = b"a secret of the tests, with more than 32 bytes"


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """One for all tests of a process: it takes a tenth of a second to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def jwks(**keys: Any) -> bytes:
    """Return a key set with the public keys of these, by their `kid`; bytes are a secret."""
    entries = []
    for kid, key in keys.items():
        if isinstance(key, bytes):
            entry = {"kty": "oct", "k": base64url(key)}
        elif isinstance(key, rsa.RSAPrivateKey):
            entry = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
        else:
            entry = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
        entries.append({**entry, "kid": kid})
    return json.dumps({"keys": entries}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a ticket for an hour; None removes one."""
    usual = {"rooms": ["*"], "actions": ["read", "speak"], "exp": int(time.time()) + 3600}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def ticket(**changes: Any) -> str:
    """Sign a ticket with `SECRET`."""
    return jwt.encode(claims(**changes), SECRET, algorithm="HS256")


def forged(header: dict[str, Any], payload: Any, secret: bytes | None) -> str:
    """Sign by hand: any header, any payload; without a secret, the signature is empty."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode()]
    signed = b".".join(base64url(part).encode() for part in parts)
    digest = hmac.digest(secret, signed, hashlib.sha256) if secret is not None else b""
    return f"{signed.decode()}.{base64url(digest)}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
