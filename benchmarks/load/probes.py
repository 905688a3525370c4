"""What others experience while a server is busy: small requests, sent when they are due.

Two of them: `/healthz`, which a load balancer requests and which needs one turn of the server's
event loop; and a short poll without news, which is what a student's page sends.
"""

import random
from collections.abc import Mapping

from benchmarks.load.generator import (
    LoadGenerator,
    OpenLoopSender,
    RequestSpec,
    constant_arrivals,
)
from benchmarks.method import stats
from realtime.client.http import Endpoint, Response
from realtime.client.sansio import room_path


def get_request(endpoint: Endpoint, path: str) -> RequestSpec:
    """Publish nothing and GET `path`: a 200 is the acknowledgement."""

    def parse_cursor(response: Response, id: str, number: int) -> str:
        response.check(200)
        return id

    request = endpoint.build_request("GET", path, {})
    return RequestSpec(endpoint, lambda id, number: request, parse_cursor)


class Probes:
    """Both requests, each at a rate with its own phase, on persistent connections."""

    def __init__(self, load: LoadGenerator, url: str, room: str) -> None:
        endpoint = Endpoint(url)
        poll = room_path("short_polling", room, after="now")
        self._senders: Mapping[str, OpenLoopSender] = {
            "health": load.open_loop_sender(get_request(endpoint, "/healthz")),
            "poll": load.open_loop_sender(get_request(endpoint, poll)),
        }

    def schedule(self, start: float, rate: float, seconds: float, rng: random.Random) -> None:
        count = max(round(rate * seconds), 1)
        for sender in self._senders.values():
            sender.schedule(constant_arrivals(start, rate, count, rng))

    @property
    def all_answered(self) -> bool:
        return all(sender.all_answered for sender in self._senders.values())

    @property
    def unanswered(self) -> int:
        return sum(len(one.due) - len(one.answered) for one in self._senders.values())

    @property
    def late(self) -> list[float]:
        return [seconds for sender in self._senders.values() for seconds in sender.late]

    def figures(self) -> dict[str, float | None]:
        """Return p50 and p99 of both, in ms from when they were due."""
        return {
            f"{name}_{key}": stats.percentile(times, percent) if times else None
            for name, sender in self._senders.items()
            for times in [sorted(_response_times(sender))]
            for key, percent in (("p50", 50), ("p99", 99))
        }


def _response_times(sender: OpenLoopSender) -> list[float]:
    return [1000 * (when - sender.due[id]) for id, when in sender.answered.items()]
