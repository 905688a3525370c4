"""A private Redis whose wall clock a test can step, as an administrator or NTP does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers.private_redis import PrivateRedis
from tests.conftest import missing

_SOURCE = Path(__file__).with_name("stepped_clock.c")


class SteppedRedis(PrivateRedis):
    """Its clock is the real one, plus the seconds of the last `step`."""

    def __init__(self, *options: str) -> None:
        if sys.platform != "linux":
            pytest.skip("LD_PRELOAD is of Linux")
        compiler = shutil.which("gcc")
        if compiler is None:
            missing("gcc")
        super().__init__(*options)
        library = self._folder / "stepped_clock.so"
        self._offset = self._folder / "offset"
        self.step(0)
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)]
        subprocess.run(command, check=True)
        self._environment = os.environ | {
            "LD_PRELOAD": str(library),
            "CLOCK_OFFSET_FILE": str(self._offset),
        }

    def step(self, seconds: float) -> None:
        """Set the wall clock of this Redis to the real time plus `seconds`, at once."""
        with open(self._offset, "r+b" if self._offset.exists() else "w+b") as file:
            file.write(round(seconds * 1000).to_bytes(8, "little", signed=True))
