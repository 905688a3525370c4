"""For tests: a real Caddy with the configuration of docs/deploy.md."""

import os
import re
from pathlib import Path

from tests.proxy_fixture import ReverseProxy
from tests.server_process import ROOT

_DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")
# It needs no file outside of its folder, no port of its own, and no certificate of a CA.  It would
# wait for all streams before it ends.
_GLOBAL = """{
    grace_period 100ms
    admin off
    auto_https disable_redirects
    skip_install_trust
}
"""


def documented() -> str:
    """The configuration in the docs."""
    match = re.search(r"^    chat\.example\.org \{\n(?:    .*\n)*?    \}\n", _DEPLOY, re.M)
    assert match
    return re.sub("^    ", "", match[0], flags=re.M)


class Caddy(ReverseProxy):
    """A Caddy; its only option is `tls`, the files of a certificate and of its key."""

    name = "caddy"
    file = "Caddyfile"

    def configuration(self, listen: str) -> str:
        tls = self._options.get("tls")
        scheme = "https" if tls else "http"
        site = f"{scheme}://{listen} {{\n    bind 127.0.0.1\n"
        if tls:
            site += f"    tls {tls[0]} {tls[1]}\n"
        text = documented().replace("chat.example.org {\n", site)
        text = re.sub(r"reverse_proxy [^{]*\{", f"reverse_proxy {' '.join(self._workers)} {{", text)
        return _GLOBAL + text

    def command(self, file: Path) -> list[str]:
        return ["run", "--adapter", "caddyfile", "--config", str(file)]

    def environment(self, folder: Path) -> dict[str, str]:
        """Keep what it stores in its folder."""
        places = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        return os.environ | {place: str(folder) for place in places}

    def check_log(self, log: str) -> None:
        """Caddy does not start if anything is wrong with the configuration; requests may fail."""
        assert "panic" not in log, log
