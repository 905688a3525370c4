"""The request that opens a session: an extended CONNECT (RFC 9220), in the fields of HTTP/3."""

import re
from collections.abc import Iterable

from tornado.httputil import HTTPHeaders, HTTPInputError

from realtime.errors import BadMethod, BadRequest, NotFound
from realtime.transports.webtransport import SessionRequest, WebTransport

_PATH = re.compile(rf"/rooms/([^/]+)/{WebTransport.transport}", re.ASCII)
# The second is what drafts after the 14th call it.
_PROTOCOLS = ("webtransport", "webtransport-h3")


def parse_request(fields: Iterable[tuple[bytes, bytes]], root_path: str = "") -> SessionRequest:
    """Parse the header section of a request; raises a named error if it opens no session.

    aioquic has checked that `:method` and `:authority` are there, and each of them once.
    """
    pseudo, headers = {}, HTTPHeaders()
    try:
        for name, value in fields:
            if name.startswith(b":"):
                pseudo[name] = value.decode("latin1")
            elif name != b"host":  # RFC 9114 §4.3.1: `:authority` says the same
                headers.add(name.decode("latin1"), value.decode("latin1"))
        headers.add("Host", pseudo[b":authority"])
    except HTTPInputError as error:
        raise BadRequest("A header field is not valid HTTP.") from error
    target = pseudo.get(b":path", "")
    match = _PATH.fullmatch(target.partition("?")[0].removeprefix(root_path))
    if match is None:
        raise NotFound("Over HTTP/3 there are only sessions, at /rooms/ROOM/webtransport.")
    if pseudo[b":method"] != "CONNECT" or pseudo.get(b":protocol") not in _PROTOCOLS:
        raise BadMethod("Connect with WebTransport here: CONNECT with `:protocol` webtransport.")
    return SessionRequest(match[1], target, headers)
