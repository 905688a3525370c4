"""What a result says of the machine and of what ran on it."""

import os
import platform
import shutil
from importlib.metadata import version

import pytest

from benchmarks.method.machine import machine, versions


def test_the_machine_is_told() -> None:
    told = machine()
    assert told["cpu"]
    assert told["cores"] == len(os.sched_getaffinity(0))
    assert told["memory_bytes"] > 2**28
    assert told["python"] == platform.python_version()


def test_libraries_and_programs_are_told_with_their_versions() -> None:
    told = versions()
    assert told["tornado"] == version("tornado")
    for name in ("node", "nginx"):
        if shutil.which(name):
            program, number = told[name].split()
            assert program == name
            assert number.count(".") == 2


def test_what_is_not_here_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not {"node", "nginx"} & versions().keys()
