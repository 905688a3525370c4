"""What a figure depends on more than on any code: the machine, and what runs on it."""

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


def machine() -> dict[str, Any]:
    """Tell what this machine is."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.+)$", file.read(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def versions() -> dict[str, str]:
    """Tell the versions of libraries and programs that matter, of those that are here."""
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
    """Ask a program for its version; nginx knows `-v` alone, and says it on stderr."""
    option = "-v" if path.endswith("nginx") else "--version"
    said = subprocess.run([path, option], capture_output=True, text=True, timeout=10)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    name = Path(path).name
    return f"{name} {found[0]}" if found else name
