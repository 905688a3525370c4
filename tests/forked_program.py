"""What the fork server of `forked_process` imports: all that a server can need."""

import gc
from contextlib import suppress

import realtime.brokers.redis.broker
import realtime.brokers.redis.process
import realtime.cli.main

with suppress(ImportError):
    import uvloop  # noqa: F401

with suppress(ImportError):
    import realtime.server.quic.listener  # noqa: F401

# The collector of a child would write to, and so copy, the memory that it shares with the others.
gc.freeze()
