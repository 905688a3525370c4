"""The faults of one server: its private Redis, its subscription to Redis, and its clients."""

from collections.abc import Callable

from realtime.core.hub import Hub
from realtime.errors import RealtimeError
from realtime.server.traffic import OTHER, TrafficStats
from realtime.web.faults import (
    Check,
    Control,
    FaultControls,
    Injected,
    OwnProcess,
    SystemState,
    do_nothing,
    freeze_and_kill,
)
from realtime.web.lab import KeyCheck

# Connections that carry no chat: the page itself uses them.
_NOT_CHAT = {OTHER, "pages", "operations"}
_NOT_OUR_REDIS = "This server did not start a Redis, so it touches none; --hub spawn starts one."


def server_faults(
    key_check: KeyCheck,
    hub: Hub,
    label: str,
    traffic: TrafficStats,
    redis: OwnProcess | None,
    drop_subscriptions: Callable[[], None] | None,
) -> FaultControls:
    """Build the controls of this process.

    `redis` is the private Redis that it started, if any; `drop_subscriptions` closes its pub/sub
    connections, if it has any.  `label` describes the hub.
    """

    async def is_hub_up() -> bool:
        try:
            await hub.check_broker()
        except RealtimeError:
            return False
        return True

    async def look() -> SystemState:
        system = SystemState(parts=[{"id": "server", "kind": "server", "state": "up"}])
        if drop_subscriptions is not None:
            up = "up" if await is_hub_up() else "down"
            state = "frozen" if faults.is_active("freeze", "redis") else up
            system.parts.append({"id": "redis", "kind": "redis", "label": label, "state": state})
            system.links.append({"from": "server", "to": "redis", "state": up})
        return system

    faults = FaultControls(key_check, look)
    faults.add(_close_clients(traffic))
    if redis is None:
        faults.refuse("redis", _NOT_OUR_REDIS)
    else:
        for control in freeze_and_kill("redis", redis, is_hub_up):
            faults.add(control)
    if drop_subscriptions is not None:
        faults.add(_close_pubsub(drop_subscriptions, is_hub_up))
    return faults


def _close_clients(traffic: TrafficStats) -> Control:
    """Return the fault that closes all chat connections; readers resume with their cursors."""

    async def begin(_: float) -> Injected:
        for stream in list(traffic.streams):
            if stream.transport not in _NOT_CHAT:
                stream.close()
        return Injected(do_nothing, _at_once)

    return Control("close", "clients", begin)


def _close_pubsub(drop: Callable[[], None], is_up: Check) -> Control:
    """Return the fault that closes the pub/sub connections to Redis."""

    async def begin(_: float) -> Injected:
        drop()
        return Injected(do_nothing, is_up)

    return Control("close", "pubsub", begin)


async def _at_once() -> bool:
    return True
