"""The response to a poll: its JSON, encoded once for all readers at the same cursor.

Both ways of polling send it: `short_polling` at once, `long_polling` as soon as it is not empty.

    reader.poll(PollResponse) ─▶ body ─▶ with_head(head): the same bytes for the same head
"""

from realtime.core.room import Page


class PollResponse:
    """One page of events as the body of a response; pass this class to `Reader.poll`."""

    __slots__ = ("_head", "_whole", "body", "events")

    def __init__(self, page: Page) -> None:
        self.events = len(page.events)
        self.body = b'{"cursor":"%b","events":[%b]%b}' % (
            str(page.cursor).encode(),
            b",".join(event.json for event in page.events),
            b',"more":true' if page.more else b"",
        )
        self._head = self._whole = b""

    def with_head(self, head: bytes) -> bytes:
        """Return the body after `head`: the same object for all requests with the same head.

        A copy per reader would cost memory for each connection that has not yet sent its bytes.
        """
        if head != self._head:
            self._head, self._whole = head, head + self.body
        return self._whole
