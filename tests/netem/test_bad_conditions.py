"""Through bad network conditions no transport loses or duplicates a message."""

import pytest

from realtime.client import CLIENTS
from realtime.netem.conditions import NetworkConditions
from realtime.netem.proxy import Proxy
from tests.conftest import Servers
from tests.fake_server import until
from tests.transports.readers import reader, say, take, texts

CONDITIONS = "rtt=20ms,jitter=10ms,rate=500kB,stall=30ms/100ms,buffer=600,flush=9ms"


@pytest.mark.parametrize("transport", CLIENTS)
async def test_bad_conditions_lose_and_duplicate_nothing(
    servers: Servers, room: str, transport: str
) -> None:
    server = servers.get("memory", "--messages-per-second", "0")
    network = NetworkConditions.parse(CONDITIONS)
    said = [str(number) for number in range(10)]
    async with (
        Proxy("127.0.0.1", server.port, network, seed=1) as proxy,
        reader(proxy, transport, room) as client,
    ):
        await say(client, *said)
        assert texts(await take(client, 10)) == said
        # The proxy counts bytes when it reads them, and delivers them later.
        await until(
            lambda: (client.bytes_out, client.bytes_in) == (proxy.bytes_up, proxy.bytes_down)
        )
