"""``realtime worker``: a server whose whole configuration comes as JSON on standard input.

`realtime cluster` starts its workers like this.  Other users of the machine can read a command
line, and child processes inherit an environment; only the worker can read this pipe.
"""

from typing import TextIO

from realtime.cli.config import CommandError
from realtime.server.config import ServerConfig


def read_config(stdin: TextIO) -> ServerConfig:
    """Read the configuration up to the end of the input; raises `CommandError`."""
    try:
        return ServerConfig.from_json(stdin.read())
    except ValueError as error:
        raise CommandError(
            f"worker: {error}; `realtime cluster` starts workers, and sends it on standard input"
        ) from error
