"""The value of ``--hub``: which broker it gives, with which label, and with which errors."""

from pathlib import Path

import pytest

from realtime.brokers.choose import HubError, choose
from realtime.brokers.memory import MemoryBroker
from realtime.brokers.redis.process import find_program
from realtime.limits import Limits
from tests.cases import each


async def test_auto_starts_a_private_redis_if_there_is_a_program() -> None:
    program = find_program()
    assert program is not None, "every test machine needs the valkey extra or a redis-server"
    choice = await choose("auto", Limits())
    assert choice.server is not None
    assert choice.label == f"{program.name.removesuffix('-server')}, spawned"
    await choice.broker.close()
    choice.server.close()


async def test_auto_falls_back_to_memory_and_gives_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.brokers.redis.process.find_program", lambda: None)
    choice = await choose("auto", Limits())
    assert isinstance(choice.broker, MemoryBroker)
    assert choice.label == "memory, no redis-server or valkey-server found"


async def test_auto_falls_back_to_memory_when_the_program_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "realtime.brokers.redis.process.find_program", lambda: tmp_path / "redis-server"
    )
    choice = await choose("auto", Limits())
    assert isinstance(choice.broker, MemoryBroker)
    assert choice.label.startswith("memory, redis-server cannot be started")


async def test_spawn_has_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.brokers.redis.process.find_program", lambda: None)
    with pytest.raises(HubError, match="no redis-server or valkey-server found"):
        await choose("spawn", Limits())


@each("hub", ["redis", "http://:secret@x", "", "memory "])
async def test_an_unknown_hub_is_an_error_that_shows_no_password(hub: str) -> None:
    with pytest.raises(HubError, match="must be auto, memory, spawn or an address") as caught:
        await choose(hub, Limits())
    assert "secret" not in str(caught.value)


@each(
    ("url", "label"),
    [
        ("redis://:secret@box:6379/1", "redis://box:6379/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("rediss://user:secret@box", "rediss://box"),
        ("redis://box?password=secret", "redis://box"),
        ("redis+sentinel://:secret@box,box:2/chat", "redis+sentinel://box,box:2/chat"),
        ("redis+cluster://user:secret@box,box:2", "redis+cluster://box,box:2"),
    ],
)
async def test_a_label_shows_no_password(url: str, label: str) -> None:
    choice = await choose(url, Limits())
    assert choice.label == label
    await choice.broker.close()
