"""A Redis that answers and refuses: what is refused, why, and which rights docs/deploy.md lists."""

import asyncio
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest
from redis.asyncio import Redis

from realtime.brokers.redis import broker as module
from realtime.brokers.redis.broker import RedisBroker
from realtime.core.events import Cursor, Member
from realtime.errors import NoBroker
from realtime.limits import Limits
from tests.brokers.conftest import Process, Start, draft, eventually
from tests.brokers.private_redis import PrivateRedis
from tests.brokers.topologies import ClusterDeployment

DEPLOY = Path(__file__).parents[3] / "docs" / "deploy.md"
ADA = Member("ada", "Ada", "sse")


def documented_rights() -> list[str]:
    """Return the rights in the `ACL SETUSER` command of docs/deploy.md."""
    match = re.search(r"ACL SETUSER realtime on >PASSWORD (.*?)\n\n", DEPLOY.read_text(), re.DOTALL)
    assert match is not None
    return match[1].replace("\\\n", " ").split()


RIGHTS = documented_rights()
COMMANDS = [right for right in RIGHTS if right.startswith("+") and "|" not in right]


@pytest.fixture
async def admin(redis: PrivateRedis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url, decode_responses=True) as client:
        yield client


async def set_rights(admin: Redis, *rights: str) -> None:
    await admin.execute_command("ACL", "SETUSER", "realtime", "on", ">secret", *rights)


def url(redis: PrivateRedis) -> str:
    return redis.url.replace("//", "//realtime:secret@")


async def reason(broker: RedisBroker) -> str:
    """Return why the broker is not ready."""
    with pytest.raises(NoBroker) as caught:
        await broker.ping()
    return caught.value.message


async def use_everything(process: Process, room: str) -> None:
    broker = process.broker
    await process.listen(room)
    await broker.enter(room, ADA, "one")
    await broker.publish(draft(room))
    await broker.history(room, Cursor("", 0))
    await broker.leave(room, "ada", "one", 0)
    await broker.leave(room, "ada", None, 0)
    await broker.sweep(room)
    assert await broker.members(room) == []
    assert room in [one.room for one in await broker.rooms()]
    await broker.reset(room)
    await broker.report("worker", b"", 1)
    await broker.reports()
    broker.unlisten(room)
    await broker.ping()


async def test_the_documented_rights_are_enough(
    redis: PrivateRedis, start: Start, admin: Redis, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    await set_rights(admin, *RIGHTS)
    process = await start(RedisBroker(f"{url(redis)}?db=1", Limits()))
    await use_everything(process, room)
    assert await admin.execute_command("ACL", "LOG") == []
    assert caplog.records == []


async def test_the_documented_rights_are_enough_in_a_cluster(
    cluster: ClusterDeployment, start: Start, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    more = re.search(r"A Cluster also needs `(.*?)`", DEPLOY.read_text())
    assert more is not None
    for node in cluster.nodes:
        with node.admin as admin:
            admin.execute_command("ACL", "LOG", "RESET")
            rights = [*RIGHTS, *more[1].split()]
            admin.execute_command("ACL", "SETUSER", "realtime", "on", ">secret", *rights)
    url = cluster.url.replace("//", "//realtime:secret@")
    await use_everything(await start(RedisBroker(url, Limits())), room)
    for node in cluster.nodes:
        with node.admin as admin:
            assert admin.execute_command("ACL", "LOG") == []
    assert caplog.records == []


async def test_each_missing_right_is_named_by_readiness_and_once_in_the_log(
    redis: PrivateRedis, start: Start, admin: Redis, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Without the first two there is no connection at the start.  The others are used later: EVAL
    # only for a script that no process has loaded.
    rights = set(COMMANDS) - {"+ping", "+select", "+eval", "+unsubscribe"}

    async def check(right: str) -> str:
        user = right.removeprefix("+")
        acl = (*RIGHTS, "-" + user)
        await admin.execute_command("ACL", "SETUSER", user, "on", ">secret", *acl)
        process = await start(RedisBroker(redis.url.replace("//", f"//{user}:secret@"), Limits()))
        process.broker.listen(room)
        expected = f"Redis refuses {user.upper()}: the user needs the right {right} (ACL SETUSER)"

        async def is_named() -> bool:
            return expected in await reason(process.broker)

        await eventually(is_named)
        return expected

    expected = await asyncio.gather(*map(check, sorted(rights)))
    lines = [vars(record)["error"] for record in caplog.records if "error" in vars(record)]
    assert sorted(lines) == sorted(expected)


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        (["resetkeys", "~rt:*"], "Redis refuses EVALSHA: the user needs the rights ~rt:* ~{rt}:*"),
        (["resetkeys", "~{rt}:*"], "Redis refuses EVALSHA: the user needs the rights ~rt:*"),
        (["resetchannels", "&x"], "Redis refuses PUBLISH: the user needs the right &rt:*"),
        (["-@dangerous"], "Redis refuses INFO: the user needs the right +info"),
        (["-@scripting"], "Redis refuses EVALSHA: the user needs the right +evalsha"),
        (["-@write"], "Redis refuses SET: the user needs the right +set"),
    ],
)
async def test_a_user_with_too_few_rights_has_a_reason(
    redis: PrivateRedis, start: Start, admin: Redis, rights: list[str], expected: str
) -> None:
    await set_rights(admin, "allkeys", "allchannels", "+@all", *rights)
    process = await start(RedisBroker(url(redis), Limits()))
    assert expected in await reason(process.broker)
    await set_rights(admin, "allkeys", "allchannels", "+@all")
    await eventually(lambda: _is_ready(process.broker))
    await process.broker.publish(draft("lobby"))


async def _is_ready(broker: RedisBroker) -> bool:
    try:
        await broker.ping()
    except NoBroker:
        return False
    return True


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("maxmemory", "1", "Redis refuses SET: it is full"),
        ("min-replicas-to-write", "1", "Redis refuses SET: it has too few replicas"),
        ("replicaof", "127.0.0.1 1", "Redis refuses SET: it is a read-only replica"),
    ],
)
async def test_a_server_that_accepts_no_write_has_a_reason(
    redis: PrivateRedis,
    start: Start,
    admin: Redis,
    caplog: pytest.LogCaptureFixture,
    setting: str,
    value: str,
    expected: str,
) -> None:
    process = await start(RedisBroker(redis.url, Limits()))
    if setting == "replicaof":
        await admin.execute_command("REPLICAOF", *value.split())
    else:
        await admin.config_set(setting, value)
    assert expected in await reason(process.broker)
    for _ in range(3):
        with pytest.raises(NoBroker, match="The hub refuses the command"):
            await process.broker.publish(draft("lobby"))
    lines = [vars(record)["error"] for record in caplog.records if "error" in vars(record)]
    assert [line[: len(expected)] for line in lines] == [expected]


async def test_a_server_without_a_run_id_has_a_reason(
    redis: PrivateRedis, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some managed services report no run_id.
    text = module._CHECK.text.replace(b"run_id:", b"run_id_of_another_name:")
    monkeypatch.setattr(module, "_CHECK", module.Script(text))
    process = await start(RedisBroker(redis.url, Limits()))
    assert "Redis refuses INFO: the reply has no run_id" in await reason(process.broker)


def test_the_check_runs_every_command_of_the_scripts() -> None:
    used, checked = set[str](), set[str]()
    for file in files("realtime.brokers.redis").iterdir():
        if file.name.endswith(".lua"):
            calls = set(re.findall(r"(?:redis\.p?call|try)\('([A-Z]+)'", file.read_text()))
            if file.name == "check.lua":
                checked = calls
            else:
                used |= calls
    assert used <= checked
    documented = {right.removeprefix("+").upper() for right in COMMANDS}
    assert checked <= documented
