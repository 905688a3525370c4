"""What a figure depends on more than on any code: the machine, and what runs on it."""

import importlib.metadata
import os
import platform
import re
from typing import Any


def machine() -> dict[str, Any]:
    """Tell what this machine is."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": pages,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.+)$", file.read(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def versions() -> dict[str, str]:
    """Tell the versions of the libraries that matter."""
    names = ("tornado", "redis", "hiredis", "prometheus_client")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found
