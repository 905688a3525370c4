"""Processes are replaced one after the other, under load: no message is lost, no member quits."""

import signal

from realtime.client import CLIENTS
from tests.brokers.private_redis import PrivateRedis
from tests.faults.conftest import Start, until_status
from tests.faults.harness import Scenario
from tests.faults.test_process_faults import joins_and_quits, members


async def test_readers_do_not_notice_a_rolling_restart_of_two_processes(
    redis: PrivateRedis, start_servers: Start, room: str
) -> None:
    # Started before the test, so that it does not wait for Python to load.
    *running, third, fourth = await start_servers(redis.url, 4, "--drain-seconds", "1")
    async with Scenario([server.url for server in running], room, members=True) as scenario:
        people = len(scenario.readers)
        async with scenario.load():
            for new in (third, fourth):
                scenario.urls.append(new.url)
                old = running.pop(0)
                await scenario.more(40)
                old.stop(signal.SIGTERM)
                await until_status(old.url, "/readyz", 503)
                await old.ended()
                running.append(new)
            await scenario.more(40)
        audit = await scenario.audit()
        events = [reader.events for reader in scenario.readers.values()]
        listed = await members(running[0], room)
    assert audit.clean, audit
    assert not audit.gaps, audit
    for seen in events:
        assert all(kinds == ["join"] for kinds in joins_and_quits(seen).values()), audit
    assert len(listed) == people == 2 * len(CLIENTS)
