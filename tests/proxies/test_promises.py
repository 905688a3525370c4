"""The promises of one server also hold for several workers behind a proxy: the same tests.

Left out are the tests of a single process: its rate limits, its traffic statistics, its shutdown.
"""

import pytest

from realtime.client import CLIENTS
from tests.proxies.conftest import KINDS
from tests.transports import test_promises

PROMISES = (
    "test_a_cursor_beyond_the_top_receives_a_gap_that_says_rewound",
    "test_a_cursor_outside_of_the_window_receives_the_number_of_missed_events",
    "test_a_member_that_disconnects_quits_once",
    "test_a_message_that_is_sent_twice_is_published_once",
    "test_a_method_that_an_address_does_not_accept_is_a_named_error",
    "test_a_page_of_another_site_is_rejected",
    "test_a_page_of_our_own_is_accepted",
    "test_a_disconnected_reader_resumes_by_its_cursor_without_loss_or_duplicates",
    "test_a_reader_with_a_name_is_a_member_and_joins_once",
    "test_a_reload_within_the_grace_period_is_no_quit_and_join",
    "test_a_room_name_can_use_any_script",
    "test_after_now_starts_from_here",
    "test_an_event_has_exactly_the_fields_of_the_contract",
    "test_hard_texts_arrive_unchanged",
    "test_readers_of_all_transports_receive_every_message_once_in_one_order",
    "test_the_acknowledged_cursor_is_the_position_in_that_order",
    "test_without_a_cursor_the_last_50_events_come_first",
)
# pytest collects what has a name in this module; a name that is gone fails here.
globals().update({name: getattr(test_promises, name) for name in PROMISES})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test with the transports that go through a proxy.

    WebTransport goes past it to the port of a worker, so it has no promise of its own here.  A
    worker knows the port of a proxy only in a cluster with `--nginx`: tests/cluster has that.
    """
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "transport" in metafunc.fixturenames and not any("transport" in names for names in given):
        metafunc.parametrize("transport", CLIENTS)


@pytest.fixture(params=list(KINDS))
def hub(request: pytest.FixtureRequest) -> str:
    return str(request.param)
