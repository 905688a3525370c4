"""One process after the other is replaced, under load: nobody misses, sees twice or is missed."""

import signal

from benchmarks.clients import CLIENTS
from tests.brokers.private_redis import PrivateRedis
from tests.faults.conftest import Begin, until_status
from tests.faults.harness import Scene
from tests.faults.test_process_faults import comings_and_goings, members


async def test_a_rolling_restart_of_two_processes_is_not_noticed(
    redis: PrivateRedis, begin: Begin, room: str
) -> None:
    options = ("--drain-seconds", "1")
    running = [await begin(redis.url, *options) for _ in range(2)]
    async with Scene([server.url for server in running], room, members=True) as scene:
        people = len(scene.witnesses)
        async with scene.load():
            for _ in range(2):
                new = await begin(redis.url, *options)
                scene.urls.append(new.url)
                old = running.pop(0)
                await scene.more(40)
                old.stop(signal.SIGTERM)
                await until_status(old, "/readyz", 503)
                await old.ended()
                running.append(new)
            await scene.more(40)
        audit = await scene.audit()
        events = [witness.events for witness in scene.witnesses.values()]
        listed = await members(running[0], room)
    assert audit.clean, audit
    assert not audit.gaps, audit
    assert all(said == ["join"] for seen in events for said in comings_and_goings(seen).values()), (
        audit
    )
    assert len(listed) == people == 2 * len(CLIENTS)
