"""The promises of one server also hold for several workers behind nginx: the same tests.

Left out are the tests of a single process: its rate limits, its traffic statistics, its shutdown.
"""

import pytest

from tests.transports import test_promises

PROMISES = (
    "test_a_cursor_beyond_the_top_is_told_that_the_log_was_rewound",
    "test_a_cursor_that_left_the_window_is_told_how_much_it_missed",
    "test_a_member_that_is_gone_has_quit_once",
    "test_a_message_that_is_sent_twice_is_said_once",
    "test_a_method_that_an_address_does_not_take_is_refused_by_name",
    "test_a_page_of_another_site_is_refused",
    "test_a_page_of_our_own_is_not",
    "test_a_reader_that_was_cut_resumes_by_its_cursor_without_a_hole_or_a_double",
    "test_a_reader_with_a_name_is_a_member_and_its_join_is_told_once",
    "test_a_reload_within_the_grace_is_no_quit_and_join",
    "test_a_room_may_be_called_in_any_script",
    "test_after_now_starts_from_here",
    "test_an_event_has_exactly_the_fields_of_the_contract",
    "test_hard_texts_arrive_unchanged",
    "test_readers_of_all_transports_hear_all_that_was_acknowledged_once_in_one_order",
    "test_the_acknowledged_cursor_is_the_place_in_that_order",
    "test_without_a_cursor_the_last_50_events_come_first",
)
# pytest collects what has a name in this module; a name that is gone fails here.
globals().update({name: getattr(test_promises, name) for name in PROMISES})


@pytest.fixture
def hub() -> str:
    return "nginx"
