"""What a result contains about the machine and its software."""

import os
import platform
import shutil
from importlib.metadata import version

import pytest

from benchmarks.method.machine import machine, versions

pytestmark = pytest.mark.unhurried


def test_the_machine_is_described() -> None:
    found = machine()
    assert found["cpu"]
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["memory_bytes"] > 2**28
    assert found["python"] == platform.python_version()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes")
def test_a_pinned_load_generator_does_not_change_the_number_of_cores() -> None:
    before = os.sched_getaffinity(0)
    cores = machine()["cores"]
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine()["cores"] == cores
    finally:
        os.sched_setaffinity(0, before)


def test_libraries_and_programs_have_their_versions() -> None:
    found = versions()
    assert found["tornado"] == version("tornado")
    for name in ("node", "nginx"):
        if shutil.which(name):
            program, number = found[name].split()
            assert program == name
            assert number.count(".") == 2


def test_a_program_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not {"node", "nginx"} & versions().keys()
