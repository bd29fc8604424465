#!/usr/bin/python3
"""Feed random and mutated input to what reads announcements: frames, payloads, the protocol.

    tests/fuzz/fuzz_link.py [--count N] [--seed N]

The corpus is tests/vectors/ and corpus/ beside this file, where each input that once found
something is kept. Any other exception than the parsers' own, a decoded announcement that does
not survive being encoded, or an input that takes long ends the run; the input is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from ipaddress import IPv6Address
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from bmx7wg.core import announcement, linkframe  # noqa: E402
from bmx7wg.core.keys import SigningKey  # noqa: E402
from bmx7wg.core.limits import MAX_PAYLOAD  # noqa: E402
from bmx7wg.core.linkframe import Flags, FrameError  # noqa: E402
from bmx7wg.core.linkproto import LinkProtocol  # noqa: E402
from bmx7wg.core.model import Announcement  # noqa: E402
from bmx7wg.core.sequence import Sequence  # noqa: E402

SLOW = 0.02  # s of processor time; usual are 0.00003, so this is not the machine's noise
TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"0", b"-1", b"1e999", b"NaN", b"null",
    b"true", b"\xff", b"\xc3", b"\x00", b"\\u0000", b"\\ud800", b'"v"', b'"v":1', b'"key"',
    b'"port"', b'"name"', b'"networks"', b'"endpoints"', b"0.0.0.0/0", b"::/0", b"[::1]:1",
    b"4294967296", b"18446744073709551616", b"b7wg", b"\x01", b"\x02", b"fe80::1%e0", b"1.2.3.4:5",
)  # fmt: skip


def corpus() -> tuple[list[bytes], list[bytes]]:
    """Payloads and frames to begin with."""
    vectors = HERE.parent / "vectors"
    payloads = [path.read_bytes() for path in sorted((HERE / "corpus").iterdir())]
    for part in json.loads((vectors / "announcements.json").read_text()).values():
        for vector in part.values():
            text = vector if isinstance(vector, str) else json.dumps(vector)
            payloads.append(text.encode("utf-8", "surrogatepass"))
    frames = [
        bytes.fromhex(vector["frame"])
        for part in json.loads((vectors / "linkframes.json").read_text()).values()
        for vector in part.values()
    ]
    return payloads, frames


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randint(0, len(data))
        end = min(len(data), at + rng.choice((0, 1, 1, 2, 4, 16, 64)))
        match rng.randrange(7):
            case 0:
                data = data[:at] + rng.choice(TOKENS) + data[end:]
            case 1:
                data = data[:at] + rng.randbytes(end - at) + data[end:]
            case 2:
                data = data[:at] + data[end:]
            case 3:
                data = data[:at] + data[at:end] * rng.choice((2, 3, 50)) + data[end:]
            case 4:
                other = rng.choice(others)
                data = data[:at] + other[rng.randint(0, len(other)) :]
            case 5 if data:
                changed = bytearray(data)
                changed[at % len(data)] ^= 1 << rng.randrange(8)
                data = bytes(changed)
            case _:
                data = data[:at] + rng.choice(TOKENS) * rng.choice((1, 10, 1000)) + data[end:]
    return data[:65_507]


def reworded(rng: random.Random) -> bytes:
    """An announcement with a member or two of another value: JSON, and wrong further in."""
    said: dict[str, object] = {
        "v": 1,
        "key": "fzi3kcLCzKWx8lsNI72dv6GWb8Xg+XbtvhmLx8F8/fI=",
        "port": 6277,
        "name": "n3",
        "networks": [["10.3.0.0/24", 32_000_000], ["2001:db8::/32", 36]],
        "endpoints": ["[2001:db8::3]:6277", "192.0.2.3:1"],
    }
    for _ in range(rng.choice((1, 1, 2))):
        member = rng.choice((*said, "other"))
        known = said.get(member)
        if isinstance(known, list) and known and rng.random() < 0.7:
            changed = list(known)
            changed[rng.randrange(len(known))] = value(rng)
            said[member] = changed * rng.choice((1, 1, 33))
        elif isinstance(known, str) and rng.random() < 0.5:
            at = rng.randrange(len(known) + 1)
            said[member] = known[:at] + rng.choice("0:.-/[%é\0") + known[at + rng.randrange(2) :]
        else:
            said[member] = value(rng)
    return json.dumps(said, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def value(rng: random.Random, depth: int = 0) -> object:
    plain = (
        None, True, 0, 1, -1, 36, 65_535, 65_536, 2**64, 1.0, 1e308, float("nan"), "", "a", "-",
        "0.0.0.0/0", "10.0.0.1/8", "::/0", "fe80::/10", "::ffff:1.2.3.4/128", "192.0.2.1:65536",
        "[fe80::1]:1", "[::]:1", "[::1%e0]:1", "A" * 64, "\ud800", "é", "192.0.2.1:1",
        "[2001:DB8:0::1]:1",
    )  # fmt: skip
    if depth < 4 and rng.random() < 0.3:
        items = [value(rng, depth + 1) for _ in range(rng.randrange(4))]
        return items if rng.random() < 0.7 else {str(n): item for n, item in enumerate(items)}
    return rng.choice(plain)


def check_payload(data: bytes) -> str:
    try:
        said = announcement.decode(data)
    except announcement.AnnouncementError as error:
        return error.reason
    if not isinstance(said, Announcement):
        return "incompatible"
    assert announcement.decode(announcement.encode(said)) == said
    return "payload"


def check_frame(data: bytes) -> str:
    try:
        frame = linkframe.decode(data)
    except FrameError as error:
        return error.reason
    assert frame.raw == data and len(frame.payload) <= MAX_PAYLOAD
    return "frame"


class Protocol:
    """A node that hears what is fuzzed, rightly signed half of the time."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.keys = [SigningKey(bytes([n] * 32)) for n in range(8)]
        own = SigningKey(bytes([9] * 32))
        self.protocol = LinkProtocol(own, rng, Sequence(0, lambda _: None))
        self.now = 0.0
        self.protocol.announce(Announcement(own.public), self.now)
        self.protocol.interface_up(1, "e0", self.now)

    def check(self, data: bytes) -> str:
        self.now += self.rng.choice((0.001, 0.1, 1.0))
        if self.rng.random() < 0.5:
            flags = self.rng.choice((Flags.NONE, Flags.NONE, Flags.SOLICIT, Flags.GOODBYE))
            sequence = int(self.now * 1000)
            data = linkframe.encode(flags, sequence, data[:MAX_PAYLOAD], self.rng.choice(self.keys))
        before = self.protocol.counters.total()
        source = IPv6Address(f"fe80::{self.rng.randrange(1, 5)}")
        self.protocol.datagram(1, source, 255, data, self.now, 0)
        self.protocol.timeout(self.now, 0)
        self.protocol.drain()
        due = self.protocol.next_timeout()
        assert due is not None and due > self.now
        return "heard" if self.protocol.counters.total() > before else "goodbye"


def fuzz(count: int, seed: int) -> Counter[str]:
    """Feed *count* inputs; what came of them. Raises AssertionError with the input."""
    rng = random.Random(seed)
    payloads, frames = corpus()
    protocol = Protocol(rng)
    outcomes: Counter[str] = Counter()
    for number in range(count):
        if number % 20 == 0:
            data, check = mutated(rng.choice(payloads), payloads, rng), protocol.check
        elif number % 20 == 1:
            data, check = rng.randbytes(rng.choice((0, 1, 50, 110, 5000))), check_frame
        elif number % 20 < 6:
            data, check = mutated(rng.choice(frames), frames, rng), check_frame
        elif number % 20 < 11:
            data, check = reworded(rng), check_payload
        else:
            data, check = mutated(rng.choice(payloads), payloads, rng), check_payload
        began = time.thread_time()
        try:
            outcomes[check(data)] += 1
            assert time.thread_time() - began < SLOW, "slow"
        except Exception as error:
            raise AssertionError(f"input {number} of seed {seed}: {data!r}") from error
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what reads announcements.")
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    options = parser.parse_args()
    began = time.monotonic()
    outcomes = fuzz(options.count, options.seed)
    seconds = time.monotonic() - began
    print(f"{options.count} inputs in {seconds:.0f} s:", dict(outcomes.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
