"""sockjs-tornado 1.0.7, made safe for a public address by subclasses of its classes.

    urls = HardenedSockJSRouter(Echo, "/echo", {"origins": ["https://example.org"]}).urls

`SockJSConnection` is the package's own class; every subclass of it works, and its `on_open` and
`on_message` may also be coroutines.

    transport             the rooms of this server over SockJS: start reading here
    router                URLs, admission, limits
    session               one client's queue and state
    handlers              what all requests have in common; info and iframe
    http_transports       polls, streams, and the requests that carry messages
    websocket_transports  WebSocket, with SockJS frames or without
    interfaces            what these need from one another
    framing               frames and envelopes: pure functions

Nothing in the package is changed.  Only `transport` depends on rooms.
"""

import re
import warnings

with warnings.catch_warnings():
    # The package raises a warning per decorator, and one for a regular expression (a SyntaxWarning
    # since Python 3.12).  We ignore these by their text, so that any other warning is shown.
    warnings.filterwarnings("ignore", "@asynchronous is deprecated", DeprecationWarning)
    for _category in (DeprecationWarning, SyntaxWarning):
        warnings.filterwarnings("ignore", re.escape(r"invalid escape sequence '\W'"), _category)
        warnings.filterwarnings("ignore", r'"\\W" is an invalid escape sequence', _category)
    from sockjs.tornado import SockJSConnection

from realtime.transports.sockjs.router import HardenedSockJSRouter
from realtime.transports.sockjs.session import HardenedSession

__all__ = ["HardenedSession", "HardenedSockJSRouter", "SockJSConnection"]
