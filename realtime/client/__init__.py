"""A client for a room, by any transport: `connect`.  docs/clients.md is its manual.

    async for event in connect("ws://127.0.0.1:8000/lobby"):
        print(event)

`connection.py` reconnects, resumes and repeats nothing.  Below it is one client per transport, the
reverse of the server's file of the same name; each is one connection.  The benchmarks and the
promise tests use these, so we measure what we test.  Parsing is in protocols without sockets
(sansio.py), which the load generator uses too.

All of it is written from the wire contract alone and shares no code with the server: where the two
agree, the contract is complete.
"""

from realtime.client.base import Client
from realtime.client.clients import ALL_CLIENTS, CLIENTS
from realtime.client.connection import ResumingConnection, Ticket, connect
from realtime.client.http import BadResponse, ByteCount, Closed, Refused, get_json, post, request
from realtime.client.sansio import Event

__all__ = [
    "ALL_CLIENTS",
    "CLIENTS",
    "BadResponse",
    "ByteCount",
    "Client",
    "Closed",
    "Event",
    "Refused",
    "ResumingConnection",
    "Ticket",
    "connect",
    "get_json",
    "post",
    "request",
]
