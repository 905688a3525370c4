"""Replies on a two-way connection: each call gets its own, whatever the order."""

import asyncio
import gc
import logging

import pytest

from realtime.client.http import Closed, Refused
from realtime.client.replies import PendingReplies


def error(id: str | None) -> dict[str, object]:
    return {"kind": "error", "id": id, "code": "bad_text", "message": "no", "retry_after": 2.0}


async def test_each_acknowledgement_goes_to_the_message_with_its_id() -> None:
    replies = PendingReplies()
    one, two = replies.add(b'{"id":"1"}'), replies.add(b'{"id":"2"}')
    replies.resolve({"kind": "ack", "id": "2", "cursor": "e-1"})
    assert not one.reply.done()
    assert two.reply.result() == {"cursor": "e-1", "id": "2"}


async def test_an_error_without_an_id_answers_the_oldest_message() -> None:
    replies = PendingReplies()
    one, two = replies.add(b"no JSON"), replies.add(b'{"id":"2"}')
    replies.resolve(error(None))
    refused = one.reply.exception()
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code, refused.retry_after) == (None, "bad_text", 2.0)
    assert not two.reply.done()


async def test_a_reply_that_nobody_waits_for_is_dropped() -> None:
    replies = PendingReplies()
    pending = replies.add(b'{"id":"1"}')
    replies.remove(pending)
    replies.resolve({"kind": "ack", "id": "1", "cursor": "e-1"})
    assert not pending.reply.done()


async def test_at_the_end_each_learns_why_and_asyncio_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    replies = PendingReplies()
    pending = [replies.add(b"{}") for _ in range(3)]
    replies.fail(Closed(1012, "going_away"))
    with pytest.raises(Closed) as closed:
        await pending[0].reply
    assert (closed.value.code, closed.value.reason) == (1012, "going_away")
    for one in pending:
        replies.remove(one)
    del pending, one, closed
    gc.collect()
    await asyncio.sleep(0)
    assert not caplog.records
