"""The certificates of the QUIC listener, which browsers recognize by their hashes.

A page names the hash of a certificate that no authority has signed, and its browser accepts it for
this one session (`serverCertificateHashes`).  Such a certificate has a P-256 key and is valid for
at most 14 days (W3C WebTransport §6.8).  So a server that runs for longer replaces it:

    day 0                 8         9          12
    first   ├── in use ─────────────┤  (ends)   ┊
    second                ├ listed ─┼── in use ─────────────┤

The hash of the next one is listed a day before it is in use: a page that has asked for the hashes
can connect for as long.  Pure: the time is passed in.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# The clock of a student's machine can be a day behind.
_VALID_BEFORE = timedelta(days=1)
_VALID_AFTER = timedelta(days=12)
# How old a certificate is when the next one is made, and when that is in use.
_NEXT_AT, _REPLACED_AT = timedelta(days=8), timedelta(days=9)


@dataclass(frozen=True)
class Certificate:
    """A certificate, its key, and when it was made."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    made_at: datetime

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of its DER encoding, in base64, as a page passes it on."""
        encoded = self.certificate.public_bytes(serialization.Encoding.DER)
        return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


def make_certificate(now: datetime) -> Certificate:
    """Make a certificate that browsers accept by its hash; this takes about a millisecond."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "realtime")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID_BEFORE)
        .not_valid_after(now + _VALID_AFTER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(certificate, key, now)


class Certificates:
    """The certificate in use, and the next one as soon as its hash must be listed."""

    def __init__(self, now: datetime) -> None:
        self._current = make_certificate(now)
        self._next: Certificate | None = None

    def current(self, now: datetime) -> Certificate:
        """Return the certificate for a connection that starts now."""
        self._renew(now)
        return self._current

    def hashes(self, now: datetime) -> Sequence[str]:
        """Return the hashes that a page must accept from now on, for a day."""
        self._renew(now)
        return [self._current.hash, *([self._next.hash] if self._next else [])]

    def _renew(self, now: datetime) -> None:
        age = now - self._current.made_at
        if self._next is None and age >= _NEXT_AT:
            self._next = make_certificate(now)
        if self._next is not None and age >= _REPLACED_AT:
            self._current, self._next = self._next, None
