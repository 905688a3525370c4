"""The pages: files of the `demos` folder, under a policy that lets nothing else run."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from realtime.transports.base import House
from realtime.transports.handler import Handler

# Scripts, styles and connections of our own, and not a word of inline code.  What others said can
# then not become code, even if a page once showed it wrongly.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def folder() -> Path:
    """Where the pages are: inside the installed package, or beside it in a bare checkout."""
    try:
        return Path(str(files("realtime.demos")))
    except ModuleNotFoundError:
        return Path(__file__).parent.parent / "demos"


class Pages(Handler, StaticFileHandler):
    transport = "pages"

    def initialize(self, house: House, path: str) -> None:  # type: ignore[override]
        Handler.initialize(self, house)
        StaticFileHandler.initialize(self, path, default_filename="index.html")

    def prepare(self) -> None:
        super().prepare()
        # A page is small: it is sent whole, whatever part of it is asked for (RFC 9110 §14.2).
        self.request.headers.pop("Range", None)

    def check_door(self) -> None:
        # A link on a page of another site may lead here, so only the name is checked.
        self.house.gate.check_host(self.request.headers.get("Host"))

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")  # ask each time, and be told 304
        self.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.set_header("Referrer-Policy", "no-referrer")

    def compute_etag(self) -> Any:
        return StaticFileHandler.compute_etag(self)
