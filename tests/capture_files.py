"""The cases of capture files, for both languages that write them."""

import base64
import json
from typing import Any

from realtime.protocol.pcapng import PcapngWriter
from tests.demos import node
from tests.server_process import ROOT

# The page in one file, with the parts from the disk instead of a server.
SINGLE_FILE = """async ({ singleFile }, capture) => {
  const { readFile } = await import("node:fs/promises");
  const load = (path) => readFile(`demos/${path}`, "utf8");
  return singleFile(load, "lesson", Uint8Array.from(Buffer.from(capture, "base64")));
}"""
CASES = json.loads((ROOT / "tests/protocol/pcapng_cases.json").read_text("utf-8"))


def records_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a case, as a tap sends them: its `text` is bytes in ISO 8859-1, repeated."""
    records = []
    for fields in case["records"]:
        record = {name: value for name, value in fields.items() if name not in ("text", "repeat")}
        if "text" in fields:
            data = fields["text"].encode("latin-1") * fields.get("repeat", 1)
            record["data"] = base64.b64encode(data).decode()
        records.append(record)
    return records


def written(records: list[dict[str, Any]]) -> bytes:
    writer = PcapngWriter()
    return writer.start() + b"".join(writer.encode(record) for record in records)


def single_file(capture: bytes) -> str:
    """The HTML file that a page makes of a capture."""
    encoded = base64.b64encode(capture).decode()
    page = node.evaluate("wire/single_file.js", SINGLE_FILE, encoded)
    assert isinstance(page, str)
    return page


def all_cases() -> bytes:
    """All cases in one file: their connections differ."""
    return written([record for case in CASES for record in records_of(case)])
