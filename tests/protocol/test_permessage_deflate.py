"""permessage-deflate: which offers we agree to, and messages that need no other message."""

import pytest

from realtime.protocol.permessage_deflate import accepts_offer, deflated_text_frame, inflate
from realtime.protocol.websocket_frames import TOO_BIG, Violation, text_frame
from tests.cases import each


@each(
    ("field", "accepted"),
    [
        ("permessage-deflate; client_max_window_bits", True),  # Chromium
        ("permessage-deflate", True),  # Firefox
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
        ('permessage-deflate;client_max_window_bits="10"', True),
        ("x-webkit-deflate-frame, permessage-deflate", True),
        # A second offer, for a server that cannot agree to the first (RFC 7692 §5.1).
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=10", False),
        ("permessage-deflate; client_max_window_bits=16", False),
        ("permessage-deflate; client_max_window_bits=", False),
        ("permessage-deflate; server_no_context_takeover=1", False),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", False),
        ("permessage-deflate; unknown", False),
        ("permessage-deflate;", False),
        ("permessage-bzip2", False),
        ("", False),
    ],
)
def test_only_a_valid_offer_without_a_smaller_window_is_agreed_to(
    field: str, accepted: bool
) -> None:
    assert accepts_offer(field) == accepted


def test_the_compressed_frame_is_that_of_the_rfc() -> None:
    # RFC 7692 §7.2.3.1 compresses "Hello"; it would not be shorter, so ours is longer.
    text = b"Hello" * 5
    frame = deflated_text_frame(text)
    assert (frame[0], frame[1]) == (0xC1, len(frame) - 2)
    assert inflate(frame[2:], len(text)) == text
    assert inflate(bytes.fromhex("f248cdc9c90700"), 5) == b"Hello"
    # §7.2.3.4: a block with BFINAL.
    assert inflate(bytes.fromhex("f348cdc9c9070000"), 5) == b"Hello"


def test_a_text_that_would_become_longer_is_sent_as_it_is() -> None:
    assert deflated_text_frame(b"Hello") == text_frame(b"Hello")


def test_inflating_stops_at_the_limit() -> None:
    text = b"x" * 10_000
    payload = deflated_text_frame(text)[2:]
    assert inflate(payload, 10_000) == text
    with pytest.raises(Violation) as violation:
        inflate(payload, 9_999)
    assert violation.value.code == TOO_BIG
