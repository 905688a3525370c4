"""The certificates: browsers accept them by their hashes, and each is replaced in time."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from realtime.server.quic.certificate import Certificates, make_certificate
from tests.cases import each

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_browser_accepts_it_by_its_hash() -> None:
    """W3C WebTransport §6.8: at most 14 days, and no RSA key; Chromium wants P-256."""
    made = make_certificate(START)
    certificate = made.certificate
    valid = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert valid <= 14 * DAY
    key = certificate.public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    assert isinstance(key.curve, SECP256R1)
    der = certificate.public_bytes(Encoding.DER)
    assert base64.b64decode(made.hash) == hashlib.sha256(der).digest()


def test_a_client_whose_clock_is_slow_accepts_it() -> None:
    assert make_certificate(START).certificate.not_valid_before_utc <= START - DAY


def test_a_page_can_connect_for_a_day_after_it_has_asked_for_the_hashes() -> None:
    certificates = Certificates(START)
    listed, used = [], []
    for hour in range(40 * 24):
        now = START + hour * timedelta(hours=1)
        listed.append(certificates.hashes(now))
        current = certificates.current(now)
        used.append(current.hash)
        # A certificate in use has a day left: a connection may start long after the handshake.
        assert current.certificate.not_valid_after_utc >= now + DAY
        for earlier in listed[-24:]:
            assert current.hash in earlier
    assert len(set(used)) > 3
    assert {len(hashes) for hashes in listed} == {1, 2}


@each("days", [8, 9, 30, 400])
def test_a_server_that_nobody_asked_for_long_has_a_valid_certificate(days: int) -> None:
    certificates, now = Certificates(START), START + days * DAY
    current = certificates.current(now).certificate
    assert current.not_valid_before_utc <= now < current.not_valid_after_utc
