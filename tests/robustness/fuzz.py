"""What the fuzz tests of HTTP and of WebSocket share: a seeded random generator, and odd values.

The message of a failure has the seed and the bytes; `FUZZ_SEED=…` in the environment generates the
same bytes again.
"""

import json
import os
import random
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from realtime.client.sansio import client_id

# Texts that have broken parsers before: empty, huge, almost a number, half a character.
ODD_TEXTS = [
    *("", " ", "now", "null", "0", "-1", "1e999", "nan", "inf", "-inf", "1_0", "٣", "０", "0x10"),
    *("0-0", "abc-1", "abc-999999999999999", "abc-9999999999999999", "-", "--", "a-01", "a-1-1"),
    *("..", ".", "../..", "/", "//", "\\", "%", "%00", "\x00", "\x7f", "\r\n", "\n", "\t"),
    *("聊天室", "é", "é", "ॐ", "\u202e", "\ufeff", "\ufffe", "💬" * 20, "Ā" * 65),
    *("a" * 64, "a" * 65, "a" * 5000, "{}", "}", "rt:{a}:meta", "*", "?", "__proto__"),
    *("<script>", "'", '"', "`", "${x}", "%s%n", "=cmd", "a" * 32, "b.c_d-e"),
]
# Invalid UTF-8 after percent-decoding (RFC 3629 §3, §4).
BAD_ESCAPES = ["%ff", "%c0%80", "%ed%a0%80", "%f8%88%80%80%80", "%", "%zz", "%u0041", "%e2%82"]

# Of clients whose ids need one.
SECRETS = ["the-first-secret", "another secret é"]
# Names that look the same, have a number, or are as long as a name may be.
NAMES = [
    *("Fuzz", "fuzz", "Ｆｕｚｚ", "Fuzz (2)", "Fuzz (2) (2)", "Fuzz  (2)", "F\u200du\u200dzz"),
    *("聊天", "é", "e\u0301", "ﬁ", "(2)", "💬" * 16, "x" * 32, "\u1100\u1161", "İ", "ß", "ẞ"),
]


def new_seed() -> int:
    return int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))


class FuzzRandom(random.Random):
    """Random choices that a seed repeats."""

    def maybe(self, probability: float) -> bool:
        return self.random() < probability

    def some(self, make: Callable[[], Any], maximum: int) -> list[Any]:
        return [make() for _ in range(self.randint(0, maximum))]

    # --- text and JSON ---------------------------------------------------------------------------

    def text(self) -> str:
        if self.maybe(0.7):
            return self.choice(ODD_TEXTS)
        return "".join(chr(self._code_point()) for _ in range(self.randint(0, 40)))

    def _code_point(self) -> int:
        return self.choice(
            [self.randrange(0x80), self.randrange(0xD800), self.randrange(0xE000, 0x110000)]
        )

    def escaped(self) -> str:
        """A percent-encoded value, sometimes an invalid one."""
        return self.choice(BAD_ESCAPES) if self.maybe(0.2) else quote(self.text(), safe="")

    def value(self, depth: int = 0) -> Any:
        """A JSON value, or one that only Python accepts as JSON."""
        if depth < 3 and self.maybe(0.3):
            if self.maybe(0.5):
                return self.some(lambda: self.value(depth + 1), 4)
            return {self.text(): self.value(depth + 1) for _ in range(self.randint(0, 4))}
        numbers = [0, -1, 2**53, 2**53 + 1, 10**300, 0.1, 1e308, float("nan"), float("inf")]
        return self.choice([None, True, False, *numbers, self.text(), self.text(), self.text()])

    def message(self) -> bytes:
        """The body of a message: valid, or with an invalid field, or no JSON at all."""
        valid = {
            "text": self.text() or "x",
            "id": f"{self.getrandbits(32):08x}-0000-4000-8000-{self.getrandbits(48):012x}",
            "client": self.client(),
            "name": self.name(),
            "secret": self.choice(SECRETS),
            "via": "sse",
            "sent": self.choice([None, 0, 1.5, -(2**53)]),
        }
        fields = {name: value for name, value in valid.items() if name == "text" or self.maybe(0.8)}
        if self.maybe(0.4):
            fields[self.choice([*valid, self.text()])] = self.value()
        body = json.dumps(fields, ensure_ascii=self.maybe(0.5)).encode("utf-8", "surrogatepass")
        return self.mutated(body) if self.maybe(0.2) else self._odd_body(body)

    def _odd_body(self, body: bytes) -> bytes:
        if self.maybe(0.7):
            return body
        return self.choice(
            [
                b"",
                b"[" * 8000,
                b'{"a":' * 3000,
                b'{"text":' + b"[" * 15_000 + b"]" * 300 + b"}",
                b'{"text":"x","sent":' + b"9" * 5000 + b"}",
                b'{"text":"x","sent":1e400}',
                b'{"text":"x","sent":-NaN}',
                b'{"text":"\\ud800","name":"\\udfff"}',
                b'{"text":"a","text":"b","text":3}',
                b'{"text":"x"}{"text":"y"}',
                b"\xef\xbb\xbf" + body,
                body.decode("utf-8", "replace").encode("utf-16"),
                b"\x1f\x8b\x08\x00" + self.randbytes(30),
                b"\x00" * 100,
                self.randbytes(self.randint(1, 300)),
                b'{"text":"' + b"x" * 16_400 + b'"}',
                b"text=x&name=y",
            ]
        )

    def client(self) -> str:
        """A plain id, one that needs a secret, or one that only looks like it."""
        return self.choice([f"fuzz-{self.randrange(5)}", *map(client_id, SECRETS), "key-", "key-0"])

    def name(self) -> str:
        """A valid name, often one that looks like another."""
        return self.choice(NAMES)

    # --- bytes -----------------------------------------------------------------------------------

    def mutated(self, data: bytes) -> bytes:
        """Replace, insert, remove, repeat or cut a few parts."""
        result = bytearray(data)
        for _ in range(self.randint(1, 4)):
            at = self.randint(0, len(result))
            end = min(len(result), at + self.randint(1, 12))
            match self.randrange(5):
                case 0:
                    del result[at:end]
                case 1:
                    result[at:end] = self.randbytes(end - at)
                case 2:
                    result[at:at] = self._odd_bytes()
                case 3:
                    result += result[at:end] * 3
                case 4:
                    del result[at:]
        return bytes(result)

    def _odd_bytes(self) -> bytes:
        odd = [
            b"\0",
            b"\r",
            b"\n",
            b"\r\n",
            b"\r\n\r\n",
            b":",
            b" ",
            b"\t",
            b"\xff",
            b";",
            b",",
            b'"',
        ]
        return self.choice([*odd, self.randbytes(self.randint(1, 8))])
