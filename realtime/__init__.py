"""One chat room over nine transports, from short polling to WebTransport.

A room is a log with numbered events and a bounded history.  A reader is a cursor in it.  A
transport is one way to ask what came after a cursor.  Start reading in `core`: `events`, `room`,
`broadcaster`, `hub`.
"""

__version__ = "0.1.0"
