"""For tests: a real haproxy with the configuration that we print."""

import re
from pathlib import Path

from realtime.cluster.haproxy_config import configuration
from tests.proxy_fixture import ReverseProxy


class HAProxy(ReverseProxy):
    """A haproxy; its options are those of `haproxy_config.configuration`."""

    name = "haproxy"
    file = "haproxy.cfg"

    def configuration(self, listen: str) -> str:
        return configuration(workers=self._workers, listen=listen, **self._options)

    def command(self, file: Path) -> list[str]:
        return ["-f", str(file)]

    def check_log(self, log: str) -> None:
        """Nothing is wrong with the configuration; that a worker is down is no error of haproxy."""
        assert not re.search(r"\[(ALERT|WARNING)\].* (config|parsing) ?[:\[]", log), log
