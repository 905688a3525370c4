"""The keys of tickets are read again when their file changes."""

import logging
import os
from pathlib import Path

import pytest

from realtime.server.key_file import CHECK_SECONDS, KeyFile

OLD, NEW = b"o" * 32, b"n" * 32


def secrets_of(file: KeyFile, check: int) -> list[bytes]:
    """Return the secrets at the time of this check."""
    return [key.verifying for key in file.keys(check * CHECK_SECONDS).keys]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes(OLD)
    return path


def test_a_file_that_is_written_again_is_read_again(path: Path) -> None:
    file = KeyFile(str(path))
    assert secrets_of(file, 1) == [OLD]
    path.write_bytes(NEW)
    os.utime(path, ns=(0, 0))  # the clock of a file system may be coarse
    assert secrets_of(file, 2) == [NEW]


def test_a_file_that_is_replaced_is_read_again_whatever_its_time(path: Path) -> None:
    file, status = KeyFile(str(path)), path.stat()
    other = path.with_name("other")
    other.write_bytes(NEW)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)
    assert secrets_of(file, 1) == [NEW]


def test_between_two_checks_the_file_is_not_looked_at(path: Path) -> None:
    file = KeyFile(str(path))
    keys = file.keys(0)
    path.write_bytes(NEW + NEW)
    assert file.keys(CHECK_SECONDS / 2) is keys


@pytest.mark.parametrize("damage", ["removed", "emptied", "too large", "a folder"])
def test_a_file_that_cannot_be_read_keeps_the_old_keys_and_logs_once(
    path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    file = KeyFile(str(path))
    if damage in ("removed", "a folder"):
        path.unlink()
    if damage == "a folder":
        path.mkdir()
    if damage in ("emptied", "too large"):
        path.write_bytes(b"x" * 70_000 if damage == "too large" else b"")
    with caplog.at_level(logging.INFO):
        assert [secrets_of(file, check) for check in (1, 2, 3)] == 3 * [[OLD]]
    (record,) = caplog.records
    assert "the old ones stay" in record.getMessage()
    if damage == "a folder":
        path.rmdir()
    path.write_bytes(NEW)
    assert secrets_of(file, 4) == [NEW]


def test_a_server_does_not_start_without_keys(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        KeyFile(str(tmp_path / "missing"))
