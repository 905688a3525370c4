"""Nginx with `proxy_buffering on`, as it is by default: streams say that they are not to be held.

They say it by ``X-Accel-Buffering: no``; polls and WebSockets have no need to.
"""

import pytest

from tests.transports.test_promises import (  # noqa: F401 - pytest runs what has a name here
    test_after_now_starts_from_here,
    test_readers_of_all_transports_hear_all_that_was_acknowledged_once_in_one_order,
    test_the_acknowledged_cursor_is_the_place_in_that_order,
)


@pytest.fixture
def hub() -> str:
    return "buffering"
