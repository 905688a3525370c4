"""The machine and the software versions, on which every measured value depends."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from realtime.brokers.redis.process import find_program

_LIBRARIES = ("tornado", "redis", "hiredis", "prometheus_client")
_SOCKET_IO = (
    Path(__file__).parent.parent / "competitors" / "node_modules" / "socket.io" / "package.json"
)

# At the start: the comparisons pin their load generator to one core later.
_CORES = len(os.sched_getaffinity(0))


def machine() -> dict[str, Any]:
    """Return CPU, cores, memory, system and Python version of this machine."""
    return {
        "cpu": _cpu_name(),
        "cores": _CORES,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.+)$", file.read(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of the libraries and programs that are installed here."""
    found = {name: _library(name) for name in _LIBRARIES}
    if hub := find_program():
        found["hub"] = _program(str(hub))
    for name in ("node", "nginx"):
        if path := shutil.which(name):
            found[name] = _program(path)
    if _SOCKET_IO.exists():
        found["socket.io"] = json.loads(_SOCKET_IO.read_text())["version"]
    return found


def _library(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _program(path: str) -> str:
    """Return the version that a program prints; nginx has only `-v` and prints to stderr."""
    option = "-v" if path.endswith("nginx") else "--version"
    done = subprocess.run([path, option], capture_output=True, text=True, timeout=10)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    name = Path(path).name
    return f"{name} {found[0]}" if found else name
