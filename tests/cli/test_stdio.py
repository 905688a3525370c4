"""Standard streams that are closed, broken or full, and encodings that lack characters."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.clients import get_json
from tests.cluster_fixture import SECONDS
from tests.ports import free_port
from tests.server_process import PROGRAM, ROOT, Server


def run(*arguments: str, **options: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "realtime", *arguments]
    return subprocess.run(command, capture_output=True, cwd=ROOT, env={**os.environ, **options})


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
async def test_a_server_runs_with_closed_standard_streams(closed: Sequence[int]) -> None:
    """libuv aborts a process whose connection has the number of a standard stream."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "realtime", "--hub", "memory", "--port", str(port)],
        cwd=ROOT,
        preexec_fn=lambda: [os.close(number) for number in closed],
    )
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    assert (await get_json(f"http://127.0.0.1:{port}", "/healthz"))["hub"]
                    break
                except ConnectionError:
                    assert process.poll() is None
                    await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, SECONDS) == 0
    finally:
        process.kill()
        process.wait()


async def test_a_log_and_an_output_that_nobody_reads_any_more_do_not_stop_a_server() -> None:
    with Server("--hub", "memory", "--drain-seconds", "0", program=PROGRAM) as server:
        assert server.process.stderr is not None
        assert server.process.stdout is not None
        server.process.stderr.close()
        server.process.stdout.close()
        server.process.stderr = server.process.stdout = None
        server.stop(signal.SIGHUP)  # which it logs
        await server.ended()
    assert server.process.returncode == 0


@pytest.mark.parametrize(
    "program",
    [
        ("realtime", "nginx"),
        ("benchmarks", "--help"),
        ("benchmarks.report", "benchmarks/reference/latency.json", "--out", "FOLDER"),
        ("benchmarks.compare", *["benchmarks/reference/latency.json"] * 2),
    ],
)
def test_a_program_whose_reader_has_ended_ends_without_an_error(
    program: Sequence[str], tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", *program]
    command = [str(tmp_path) if word == "FOLDER" else word for word in command]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


def test_the_help_can_be_printed_in_an_encoding_that_lacks_its_characters() -> None:
    result = run("--help", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"redis://\\u2026" in result.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line_and_exit_1() -> None:
    command = [sys.executable, "-m", "realtime", "--help"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT)
    message = b"realtime: [Errno 28] No space left on device\n"
    assert (result.returncode, result.stderr) == (1, message)
