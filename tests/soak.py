"""Faults at random, for as long as asked, and an audit after each round: ``make soak``.

    make soak SECONDS=600 SEED=7

Two servers, one Redis that writes to disk, and a bad line in between them.  Each round is a room of
its own, with members of every transport on both servers and people who speak all the while; a few
faults happen to it, and then everybody is asked what they were shown.  The seed, which is printed,
decides which faults come in which order; the machine decides in which moment.
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

from benchmarks.clients import request
from benchmarks.method.audit import Audit
from tests.brokers.private_redis import PrivateRedis
from tests.faults.harness import Scene
from tests.faults.redis_relay import RedisRelay
from tests.server_process import Server

# Messages that must be acknowledged between two faults: by then the one before has healed.
BETWEEN = 40
OPTIONS = ("--messages-per-second", "0", "--drain-seconds", "1")


class World:
    """What faults can happen to; each of them is a method, and its docstring is its name."""

    def __init__(self, redis: PrivateRedis, relay: RedisRelay, admin: Redis) -> None:
        self.servers: list[Server] = []
        self.scene: Scene
        self.excused: set[str] = set()
        self._redis = redis
        self._relay = relay
        self._admin = admin

    async def begin_server(self) -> Server:
        server = await asyncio.to_thread(Server("--hub", self._relay.url, *OPTIONS).__enter__)
        self.servers.append(server)
        return server

    async def end_servers(self) -> None:
        for server in self.servers:
            await asyncio.to_thread(server.__exit__)

    # --- the line --------------------------------------------------------------------------------

    async def kill_subscribers(self) -> None:
        """the hub ends every subscription"""
        await self._admin.client_kill_filter(_type="pubsub")

    async def cut_the_line(self) -> None:
        """every connection to the hub breaks"""
        await self._relay.cut()

    async def lose_announcements(self) -> None:
        """announcements are lost"""
        self._relay.drop_announcements()
        await self.scene.more(10)
        self._relay.drop_announcements(False)

    async def swallow_a_reply(self) -> None:
        """the reply to a publish is lost"""
        self._relay.swallow_reply(to=b'"text"')

    async def stall_subscribers(self) -> None:
        """subscribers are told nothing for a second"""
        self._relay.stall()
        await asyncio.sleep(1)
        self._relay.flow()

    # --- the hub ---------------------------------------------------------------------------------

    async def freeze(self) -> None:
        """the hub is frozen for two seconds"""
        self._redis.pause()
        await asyncio.sleep(2)
        self._redis.resume()

    async def restart(self) -> None:
        """the hub is killed and comes back with all it knew"""
        await asyncio.to_thread(self._redis.restart)

    async def forget(self) -> None:
        """the hub is killed and comes back with nothing"""
        self.excused |= await self.scene.acknowledged_until(self._redis.kill)
        self._redis.forget()
        await asyncio.to_thread(self._redis.start)

    # --- the servers -----------------------------------------------------------------------------

    async def kill_a_server(self) -> None:
        """a server is killed, and another one begun"""
        await self._replace(Server.kill)

    async def roll_a_server(self) -> None:
        """a server is told to stop, and another one begun"""
        await self._replace(lambda server: server.stop(signal.SIGTERM))

    async def _replace(self, stop: Callable[[Server], None]) -> None:
        self.scene.urls.append((await self.begin_server()).url)
        old = self.servers.pop(0)
        stop(old)
        await old.ended()
        await asyncio.to_thread(old.__exit__)
        self.scene.urls.remove(old.url)


Fault = Callable[[World], Awaitable[None]]
FAULTS: list[Fault] = [
    *(World.kill_subscribers, World.cut_the_line, World.lose_announcements),
    *(World.swallow_a_reply, World.stall_subscribers, World.freeze, World.restart),
    *(World.forget, World.kill_a_server, World.roll_a_server),
]


# Fault: for each time that it happened, seconds until all had heard what was said next.
Healing = dict[str, list[float]]


async def play(world: World, faults: Sequence[Fault], healing: Healing) -> Audit:
    """One round: a new room, these faults, and what everybody was shown."""
    world.excused = set()
    urls = [server.url for server in world.servers]
    async with Scene(urls, f"soak-{secrets.token_hex(4)}", members=True) as scene:
        world.scene = scene
        async with scene.load():
            for fault in faults:
                await scene.more(BETWEEN)
                await fault(world)
                over = time.monotonic()
                await scene.heard_by_all(await scene.speakers[0].say("after the fault"))
                healing.setdefault(name_of(fault), []).append(time.monotonic() - over)
            await scene.more(BETWEEN)
        return await scene.audit(world.excused)


def name_of(fault: Fault) -> str:
    return fault.__doc__ or ""


async def failures(server: Server) -> float:
    """How many of its own tasks have failed."""
    text = (await request(server.url, "GET", "/metrics")).body.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "realtime_task_failures_total"
    )


async def soak(seconds: float, seed: int) -> bool:
    """Play rounds until the time is up; says whether all of them were clean."""
    dice, ends = random.Random(seed), time.monotonic() + seconds
    totals: Counter[str] = Counter()
    healing: Healing = {}
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(PrivateRedis(append_only=True))
        relay = await stack.enter_async_context(RedisRelay(redis.path))
        admin = await stack.enter_async_context(Redis.from_url(redis.url))
        world = World(redis, relay, admin)
        stack.push_async_callback(world.end_servers)
        for _ in range(2):
            await world.begin_server()
        while time.monotonic() < ends:
            faults = dice.choices(FAULTS, k=dice.randint(2, 5))
            audit = await play(world, faults, healing)
            totals.update(rounds=1, faults=len(faults), acknowledged=audit.acknowledged)
            totals.update(gaps=audit.gaps.total())
            print(f"\nround {totals['rounds']}: " + "; ".join(map(name_of, faults)))
            print(audit, flush=True)
            if not audit.clean or any([await failures(server) for server in world.servers]):
                print(f"NOT CLEAN, in round {totals['rounds']} of seed {seed}")
                return False
    print_healing(healing)
    print(f"\nclean, seed {seed}: " + ", ".join(f"{n} {name}" for name, n in totals.items()))
    return True


def print_healing(healing: Healing) -> None:
    print("\ntimes  median   worst   seconds until all 12 readers had heard what was said next")
    for name, seconds in sorted(healing.items()):
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
    sys.exit(main())
