"""Random faults for a given time, with an audit after each round: ``make soak``.

    make soak SECONDS=600 SEED=7

Two servers, one Redis that writes to disk, and a relay between them.  Each round uses a new room,
with members of every transport on both servers and publishers that never stop.  A few faults occur,
and then the audit compares what each reader received.  The seed, which is printed, determines the
faults and their order; their exact timing depends on the machine.
"""

import argparse
import asyncio
import random
import secrets
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from benchmarks.method.audit import Audit
from realtime.cli import stdio
from realtime.client import request
from tests.brokers.private_redis import PrivateRedis
from tests.faults.harness import Scenario
from tests.faults.redis_relay import RedisRelay
from tests.server_process import Server

# Messages that must be acknowledged between two faults: by then the servers have recovered.
MESSAGES_BETWEEN = 40
OPTIONS = ("--messages-per-second", "0", "--drain-seconds", "1")


class Testbed:
    """The servers, the relay and the hub.  Each fault is a method; its docstring is its name."""

    def __init__(self, redis: PrivateRedis, relay: RedisRelay, admin: Redis) -> None:
        self.servers: list[Server] = []
        self.scenario: Scenario
        self.excused: set[str] = set()
        self._redis = redis
        self._relay = relay
        self._admin = admin

    async def start_server(self) -> Server:
        server = await asyncio.to_thread(Server("--hub", self._relay.url, *OPTIONS).__enter__)
        self.servers.append(server)
        return server

    async def stop_servers(self) -> None:
        for server in self.servers:
            await asyncio.to_thread(server.__exit__)

    # --- the network -----------------------------------------------------------------------------

    async def kill_subscribers(self) -> None:
        """the hub closes every subscription"""
        await self._admin.client_kill_filter(_type="pubsub")

    async def cut_connections(self) -> None:
        """every connection to the hub breaks"""
        await self._relay.cut()

    async def drop_announcements(self) -> None:
        """announcements are lost"""
        self._relay.drop_announcements()
        await self.scenario.more(10)
        self._relay.drop_announcements(False)

    async def drop_a_reply(self) -> None:
        """the reply to a publish is lost"""
        self._relay.drop_reply(to=b'"text"')

    async def stall_subscribers(self) -> None:
        """subscribers receive nothing for a second"""
        self._relay.stall()
        await asyncio.sleep(1)
        self._relay.resume()

    # --- the hub ---------------------------------------------------------------------------------

    async def freeze(self) -> None:
        """the hub is frozen for two seconds"""
        self._redis.pause()
        await asyncio.sleep(2)
        self._redis.resume()

    async def restart(self) -> None:
        """the hub is killed and restarts with all its data"""
        await asyncio.to_thread(self._redis.restart)

    async def lose_data(self) -> None:
        """the hub is killed and restarts without its data"""
        self.excused |= await self.scenario.acknowledged_until(self._redis.kill)
        self._redis.delete_data()
        await asyncio.to_thread(self._redis.start)

    # --- the servers -----------------------------------------------------------------------------

    async def kill_a_server(self) -> None:
        """a server is killed and replaced"""
        await self._replace(Server.kill)

    async def stop_a_server(self) -> None:
        """a server is stopped by SIGTERM and replaced"""
        await self._replace(lambda server: server.stop(signal.SIGTERM))

    async def _replace(self, stop: Callable[[Server], None]) -> None:
        self.scenario.urls.append((await self.start_server()).url)
        old = self.servers.pop(0)
        stop(old)
        await old.ended()
        await asyncio.to_thread(old.__exit__)
        self.scenario.urls.remove(old.url)


Fault = Callable[[Testbed], Awaitable[None]]
FAULTS: list[Fault] = [
    *(Testbed.kill_subscribers, Testbed.cut_connections, Testbed.drop_announcements),
    *(Testbed.drop_a_reply, Testbed.stall_subscribers, Testbed.freeze, Testbed.restart),
    *(Testbed.lose_data, Testbed.kill_a_server, Testbed.stop_a_server),
]


# Name of a fault: for each occurrence, the seconds until every reader had the next message.
RecoveryTimes = dict[str, list[float]]


async def run_round(testbed: Testbed, faults: Sequence[Fault], recovery: RecoveryTimes) -> Audit:
    """Run one round: a new room, these faults, and the audit of all readers."""
    testbed.excused = set()
    urls = [server.url for server in testbed.servers]
    async with Scenario(urls, f"soak-{secrets.token_hex(4)}", members=True) as scenario:
        testbed.scenario = scenario
        async with scenario.load():
            for fault in faults:
                await scenario.more(MESSAGES_BETWEEN)
                await fault(testbed)
                ended = time.monotonic()
                await scenario.received_by_all(
                    await scenario.publishers[0].publish("after the fault")
                )
                recovery.setdefault(name_of(fault), []).append(time.monotonic() - ended)
            await scenario.more(MESSAGES_BETWEEN)
        return await scenario.audit(testbed.excused)


def name_of(fault: Fault) -> str:
    return fault.__doc__ or ""


async def failures(server: Server) -> float:
    """Return how many tasks of the server have failed."""
    text = (await request(server.url, "GET", "/metrics")).body.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "realtime_task_failures_total"
    )


async def soak(seconds: float, seed: int) -> bool:
    """Run rounds until the time is up; return whether all of them were clean."""
    generator, deadline = random.Random(seed), time.monotonic() + seconds
    totals: Counter[str] = Counter()
    recovery: RecoveryTimes = {}
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(PrivateRedis(append_only=True))
        relay = await stack.enter_async_context(RedisRelay(redis.path))
        admin = await stack.enter_async_context(Redis.from_url(redis.url))
        testbed = Testbed(redis, relay, admin)
        stack.push_async_callback(testbed.stop_servers)
        for _ in range(2):
            await testbed.start_server()
        while time.monotonic() < deadline:
            faults = generator.choices(FAULTS, k=generator.randint(2, 5))
            audit = await run_round(testbed, faults, recovery)
            totals.update(rounds=1, faults=len(faults), acknowledged=audit.acknowledged)
            totals.update(gaps=audit.gaps.total())
            print(f"\nround {totals['rounds']}: " + "; ".join(map(name_of, faults)))
            print(audit, flush=True)
            if not audit.clean or any([await failures(server) for server in testbed.servers]):
                print(f"NOT CLEAN, in round {totals['rounds']} of seed {seed}")
                return False
    print_recovery(recovery)
    print(f"\nclean, seed {seed}: " + ", ".join(f"{n} {name}" for name, n in totals.items()))
    return True


def print_recovery(recovery: RecoveryTimes) -> None:
    print("\ntimes  median   worst   seconds until all readers received the next message")
    for name, seconds in sorted(recovery.items()):
        median, worst = statistics.median(seconds), max(seconds)
        print(f"{len(seconds):5}  {median:6.2f}  {worst:6.2f}   {name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    return 0 if asyncio.run(soak(options.seconds, seed)) else 1


if __name__ == "__main__":
    sys.exit(stdio.run(main))
