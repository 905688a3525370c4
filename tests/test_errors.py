"""Every error has one code, one HTTP status and one close code."""

import json

from realtime import errors
from realtime.errors import RealtimeError

ALL = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not RealtimeError
]
KINDS = [kind for kind in ALL if issubclass(kind, RealtimeError)]


def make(kind: type[RealtimeError]) -> RealtimeError:
    return kind("Do this instead.")


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


def test_the_body_has_the_documented_shape() -> None:
    assert json.loads(errors.BadText("Say something.").json) == {
        "error": {"code": "bad_text", "message": "Say something."}
    }


def test_a_close_code_is_one_that_a_server_may_send() -> None:
    assert all(4000 <= make(k).close_code < 5000 or k is errors.GoingAway for k in KINDS)
    assert make(errors.GoingAway).close_code == 1012


def test_a_close_reason_fits_into_a_control_frame() -> None:
    assert all(len(kind.code) <= 123 for kind in KINDS)  # RFC 6455 §5.5


def test_an_error_that_can_be_retried_has_retry_after() -> None:
    assert errors.NoBroker().retry_after is not None
