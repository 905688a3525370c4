"""What others experience while a server is busy: small questions, asked when they are due.

Two of them: `/healthz`, which a load balancer asks and which needs nothing but a turn of the
server's loop; and a short poll that finds nothing new, which is what a student's page asks.
"""

import random
from collections.abc import Mapping

from benchmarks.clients.http import Response, Server
from benchmarks.clients.protocols import address
from benchmarks.load.generator import Crowd, Speaker, Words, evenly
from benchmarks.method import stats


def asking(server: Server, path: str) -> Words:
    """Say nothing, and ask for `path`: an answer of 200 is the receipt."""

    def receipt(response: Response, id: str, number: int) -> str:
        response.check(200)
        return id

    return Words(server, lambda id, number: server.request("GET", path, {}), receipt)


class Probes:
    """Both questions, each at a rate of its own phase, on connections that are kept."""

    def __init__(self, crowd: Crowd, url: str, room: str) -> None:
        server = Server(url)
        self._asking: Mapping[str, Speaker] = {
            "health": crowd.speaker(asking(server, "/healthz")),
            "poll": crowd.speaker(asking(server, address("short_polling", room, "now"))),
        }

    def plan(self, start: float, rate: float, seconds: float, chance: random.Random) -> None:
        count = max(round(rate * seconds), 1)
        for speaker in self._asking.values():
            speaker.plan(evenly(start, rate, count, chance))

    @property
    def quiet(self) -> bool:
        return all(speaker.quiet for speaker in self._asking.values())

    @property
    def unanswered(self) -> int:
        return sum(len(one.due) - len(one.answered) for one in self._asking.values())

    @property
    def late(self) -> list[float]:
        return [seconds for speaker in self._asking.values() for seconds in speaker.late]

    def figures(self) -> dict[str, float | None]:
        """Give p50 and p99 of both, in ms from when they were due."""
        return {
            f"{name}_{key}": stats.percentile(took, percent) if took else None
            for name, speaker in self._asking.items()
            for took in [sorted(_took(speaker))]
            for key, percent in (("p50", 50), ("p99", 99))
        }


def _took(speaker: Speaker) -> list[float]:
    return [1000 * (when - speaker.due[id]) for id, when in speaker.answered.items()]
