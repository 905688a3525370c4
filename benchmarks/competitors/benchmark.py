"""A question about several systems: what the scripts that compare them have in common."""

from collections.abc import Mapping
from typing import ClassVar

from benchmarks.competitors.system import (
    GENERATOR_CORES,
    SERVER_CORES,
    System,
    pinned_to,
    start_redis,
)
from benchmarks.method.runner import Benchmark
from benchmarks.method.testbed import TestbedError


class SystemsBenchmark(Benchmark):
    """A benchmark that starts each system itself, over one Redis, on other cores than its own."""

    systems: ClassVar[Mapping[str, type[System]]]

    def start_redis(self) -> None:
        if self.options.url:
            raise TestbedError("--url: this benchmark starts every system itself, also ours")
        self.stack.enter_context(pinned_to(GENERATOR_CORES))
        with pinned_to(SERVER_CORES):
            self.redis = start_redis(self.stack)

    def available_peers(self) -> list[str]:
        """Return the systems of ``--peers`` that can be started; a note names the others."""
        missing = {name: self.systems[name].missing() for name in self.options.peers}
        self.notes += [
            f"!!! {name} is not measured, it needs {part}" for name, part in missing.items() if part
        ]
        return [name for name, part in missing.items() if part is None]
