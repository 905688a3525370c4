"""``python -m realtime``, which prints how many blocks of memory Python has allocated on SIGUSR1.

Resident memory grows in pieces of a megabyte, at any time; this count is exact.  Every object of
Python has a block, and garbage is collected before they are counted.
"""

import gc
import signal
import sys

from realtime.cli.main import main


def print_allocated_blocks(*_: object) -> None:
    gc.collect()
    print(sys.getallocatedblocks(), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, print_allocated_blocks)
    sys.exit(main())
