"""Capture files: tshark reads them without a complaint, and the pages write the same bytes."""

import base64
from pathlib import Path

import pytest

from tests import tshark
from tests.capture_files import CASES, all_cases, records_of, written
from tests.demos import node

# How a page turns what the tap sends into records (see tap.js), and these into a file.
WRITE = """({ writePcapng }, cases) => cases.map((records) => {
  const decoded = records.map(({ data, ...record }) => (
    data === undefined ? record : { ...record, bytes: Uint8Array.from(Buffer.from(data, "base64")) }
  ));
  return Buffer.from(writePcapng(decoded)).toString("base64");
})"""
READ = """({ readPcapng }, file) => readPcapng(Uint8Array.from(Buffer.from(file, "base64")))"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captures") / "cases.pcapng"
    path.write_bytes(all_cases())
    return path


def test_the_pages_write_the_same_bytes() -> None:
    cases = [records_of(case) for case in CASES]
    theirs = node.evaluate("wire/pcapng.js", WRITE, cases)
    assert [base64.b64decode(one) for one in theirs] == [written(records) for records in cases]


def test_tshark_finds_no_fault(file: Path) -> None:
    assert tshark.faults(file) == ""
    # The checksums were looked at.
    status = tshark.fields(file, "tcp.checksum.status", "ip.checksum.status", only="tcp")
    assert {tuple(row) for row in status} == {("1", "1")}


def test_tshark_knows_what_is_in_the_file(file: Path) -> None:
    rows = tshark.fields(
        file, "frame.interface_name", "tcp.srcport", "http.response.code", "websocket.opcode"
    )
    assert ["short_polling", "80", "200", ""] in rows
    assert ["websocket", "80", "101", ""] in rows
    assert ["websocket", "40003", "", "1"] in rows  # a masked frame of connection 20003
    assert ["websocket", "40003", "", "8"] in rows
    assert ["e-1"] in tshark.fields(file, "json.value.string", only="json")
    ends = tshark.fields(file, "tcp.stream", only="tcp.flags.fin == 1 && tcp.srcport == 80")
    assert len(ends) == 2


def test_comments_and_directions_are_in_the_file(file: Path) -> None:
    comments = [row[0] for row in tshark.fields(file, "frame.comment", only="frame.comment")]
    assert "長輪詢,second" in comments
    assert "700 bytes before this packet are missing" in comments
    assert comments[0] == "connection 1, short_polling: this handshake is synthesised"
    directions = tshark.fields(
        file, "frame.packet_flags_direction", only="tcp.len > 0 && tcp.dstport == 80"
    )
    assert {row[0] for row in directions} == {"0x00000001"}


def test_wireshark_writes_the_file_again_and_a_page_reads_it(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pcapng"
    # Packet 1 is a handshake, and 14 to 17 are the segments of a body.
    comments = ["-a", "1:my handshake", "-a", "16:my segment", "-a", "17:my last segment"]
    tshark.editcap(*comments, str(file), str(again))
    assert tshark.faults(again) == ""
    data = base64.b64encode(again.read_bytes()).decode()
    records = node.evaluate("wire/pcapng_reader.js", READ, data)
    kept = [record["comments"] for record in records if "comments" in record]
    assert kept[0] == ["my handshake"]
    assert ["my segment", "my last segment"] in kept
    assert ["長輪詢", "second"] in kept


def test_quic_is_sizes_and_plain_bytes(file: Path) -> None:
    rows = tshark.fields(
        file, "frame.len", "frame.cap_len", "udp.length", only="udp && !exported_pdu"
    )
    assert rows == [["1228", "28", "1208"], ["28", "28", "8"]]
    assert ["say"] in tshark.fields(file, "json.value.string", only="exported_pdu && json")
