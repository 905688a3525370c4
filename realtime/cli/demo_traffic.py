"""``realtime talk``: demo traffic, so that a student who works alone has something to watch.

A few speakers hold a scripted conversation in a room.  Each message is a `POST` to the public API,
as a page would send it.
"""

import argparse
import asyncio
import itertools
import json
import math
import random
import re
import time
import uuid
from collections.abc import Iterator
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from realtime.cli.config import CommandError

HELP = "send a scripted conversation of a few speakers to a room"

# Name and text of each message; after the last one the script starts again.
SCRIPT = (
    ("Ada", "Is anybody here yet?"),
    ("阿明", "我在。你是用哪一种方式连上来的？"),
    ("Ada", "Long polling. I asked, and the server kept me waiting until you spoke."),
    ("Björn", "Then I come by a stream: one answer that never ends."),
    ("小惠", "我這邊是 WebSocket，你們說的每句話只多了幾個位元組的框頭。"),
    ("阿明", "我每秒问一次服务器，大多数时候它回答：没有新消息。"),
    ("Ada", "How many bytes did that silence cost you?"),
    ("阿明", "一问一答，几百个字节，什么也没学到。"),
    ("Björn", "And if your connection breaks, what do you miss?"),
    ("小惠", "什麼都不會漏：我記得自己讀到哪裡，回來時從那裡接著讀。"),
    ("Ada", "A cursor. The server remembers nothing about you, then?"),
    ("小惠", "對，它只記得房間最近說過的話。"),
    ("Björn", "So we can all come back at another server and go on reading."),
    ("阿明", "那要是我离开得太久呢？"),
    ("Ada", "Then it tells you that there is a gap. It never pretends."),
    ("小惠", "老實的系統，我喜歡。"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (%(default)s)")
    parser.add_argument("--room", default="lobby", help="the room (%(default)s)")
    parser.add_argument(
        "--rate", type=float, default=1.0, help="messages per second (%(default)s)", metavar="N"
    )
    parser.add_argument(
        "--count", type=int, help="stop after N messages (default: never)", metavar="N"
    )


async def run(options: argparse.Namespace) -> None:
    """Send `options.count` messages, or an endless stream of them; raises `CommandError`."""
    if not 0 < options.rate < math.inf:  # this also refuses NaN
        raise CommandError("--rate must be above 0")
    if options.count is not None and options.count < 0:
        raise CommandError("--count must not be negative")
    if not re.match(r"https?://[^/]", options.url):
        raise CommandError(
            f"--url {options.url} is not the address of a server; write one like "
            "http://127.0.0.1:8000"
        )
    client = AsyncHTTPClient()
    url = f"{options.url.rstrip('/')}/rooms/{quote(options.room, safe='')}/messages"
    for name, text in _lines(options.count):
        # People pause, and then two speak at once: exponential gaps with one mean.
        await asyncio.sleep(random.expovariate(options.rate))
        await _publish(client, url, name, text)


def _lines(count: int | None) -> Iterator[tuple[str, str]]:
    return itertools.islice(itertools.cycle(SCRIPT), count)


async def _publish(client: AsyncHTTPClient, url: str, name: str, text: str) -> None:
    """Publish one message, and repeat the request while the server is busy or limits our rate."""
    message = {
        "id": str(uuid.uuid4()),
        # The same client id in each run: a speaker who returns is the same member.
        "client": f"talk-{uuid.uuid5(uuid.NAMESPACE_URL, name).hex[:8]}",
        "name": name,
        "text": text,
        "via": "talk",
        "sent": round(time.time() * 1000),
    }
    while True:
        try:
            await client.fetch(url, method="POST", body=json.dumps(message))
            return
        except HTTPClientError as error:
            wait = error.response and error.response.headers.get("Retry-After")
            if not wait:
                raise CommandError(f"{url}: {error}") from error
            # The retry has the same id, so the message is in the log once however often we send it.
            await asyncio.sleep(float(wait))
        except (OSError, ValueError) as error:
            raise CommandError(f"{url}: {error}") from error
