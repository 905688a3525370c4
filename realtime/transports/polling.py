"""The response to a poll: its JSON, encoded once for all readers at the same cursor.

Both ways of polling send it: `short_polling` at once, `long_polling` as soon as it is not empty.

    reader.poll(PollResponse) ─▶ body ─▶ with_head(head): the same bytes for the same head
"""

from copy import copy

from realtime.core.room import Page
from realtime.protocol.encodings import ContentEncoding


class PollResponse:
    """One page of events as the body of a response; pass this class to `Reader.poll`."""

    __slots__ = ("_encoded", "_head", "_whole", "body", "events", "fields")

    def __init__(self, page: Page) -> None:
        self.events = len(page.events)
        self.body = b'{"cursor":"%b","events":[%b]%b}' % (
            str(page.cursor).encode(),
            b",".join(event.json for event in page.events),
            b',"more":true' if page.more else b"",
        )
        self.fields: tuple[bytes, ...] = ()  # of its header
        self._encoded: dict[ContentEncoding, PollResponse] | None = None
        self._head = self._whole = b""

    def encoded(self, encoding: ContentEncoding) -> "PollResponse":
        """Return the response in this encoding, compressed once for all readers.

        A short body would become longer; it stays as it is, and says so.
        """
        encoded = self._encoded = self._encoded or {}
        if encoding not in encoded:
            response = encoded[encoding] = copy(self)
            response._encoded = None  # or each response would be a cycle for the garbage collector
            response._head = response._whole = b""
            body, response.fields = encoding.encode(self.body), (encoding.vary,)
            if len(body) < len(self.body):
                response.body, response.fields = body, encoding.fields
        return encoded[encoding]

    def with_head(self, head: bytes) -> bytes:
        """Return the body after `head`: the same object for all requests with the same head.

        A copy per reader would cost memory for each connection that has not yet sent its bytes.
        """
        if head != self._head:
            self._head, self._whole = head, head + self.body
        return self._whole
