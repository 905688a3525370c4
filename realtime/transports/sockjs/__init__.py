"""sockjs-tornado 1.0.7, made fit to be exposed: subclasses of its router, session and handlers.

    urls = HardenedSockJSRouter(Echo, "/echo", {"origins": ["https://example.org"]}).urls

Any `SockJSConnection`, which is the package's own, works with it; its `on_open` and `on_message`
may also be coroutines.
Nothing of the package is changed, and nothing here knows of rooms.
"""

import re
import warnings

with warnings.catch_warnings():
    # Said once for each of its decorators, and once for a regular expression (from Python 3.12 on
    # as a SyntaxWarning): by name, so that whatever else it has to say is heard.
    warnings.filterwarnings("ignore", "@asynchronous is deprecated", DeprecationWarning)
    for _category in (DeprecationWarning, SyntaxWarning):
        warnings.filterwarnings("ignore", re.escape(r"invalid escape sequence '\W'"), _category)
        warnings.filterwarnings("ignore", r'"\\W" is an invalid escape sequence', _category)
    from sockjs.tornado import SockJSConnection

from realtime.transports.sockjs.router import HardenedSockJSRouter
from realtime.transports.sockjs.session import HardenedSession

__all__ = ["HardenedSession", "HardenedSockJSRouter", "SockJSConnection"]
