"""One room chat, told to browsers in every way the web ever found.

A room is a numbered log with a short memory, a reader is a cursor in it, and a transport is one
way of asking what came after a cursor.  Start reading at `core`: `events`, `room`, `broadcaster`,
`hub`.
"""

__version__ = "0.1.0"
