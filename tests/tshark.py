"""tshark, the Wireshark of the command line: it says what it finds in a capture file."""

import shutil
import subprocess
from pathlib import Path

from tests.conftest import missing

# Off by default, since network cards compute checksums after a real capture.
_CHECKSUMS = ("-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE")
# What a packet must not have; 0 is a wrong checksum, and `flags` are lost or repeated segments.
_FAULTS = (
    "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || tcp.analysis.flags"
    ' || _ws.expert.severity >= "Warning"'
)
# As the comment of each file says: each chunk of a stream when it arrives, and JSON in frames.
LIVE = (
    *("-o", "http.desegment_body:FALSE", "-o", "http.dechunk_body:FALSE"),
    *("-o", "websocket.text_type:As json"),
)


def tshark(file: Path, *options: str) -> str:
    """Run tshark on a file, without `Decode as` or any setting of a user."""
    return _run("tshark", "-n", "-r", str(file), *_CHECKSUMS, *options)


def editcap(*arguments: str) -> None:
    """Run the tool that comes with tshark and writes capture files."""
    _run("editcap", *arguments)


def _run(program: str, *arguments: str) -> str:
    path = shutil.which(program)
    if path is None:
        missing("tshark")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def faults(file: Path) -> str:
    """The packets that tshark finds malformed, out of order, suspect, or with a wrong checksum."""
    return "".join(tshark(file, *options, "-Y", _FAULTS) for options in ((), LIVE))


def fields(file: Path, *names: str, only: str = "", live: bool = False) -> list[list[str]]:
    """The values of these fields in each packet; several values are joined with a comma.

    `live` uses the settings that a lesson about streams needs.
    """
    listed = [part for name in names for part in ("-e", name)]
    chosen = [*(LIVE if live else ()), *(["-Y", only] if only else [])]
    lines = tshark(file, *chosen, "-T", "fields", *listed).splitlines()
    return [line.split("\t") for line in lines]
