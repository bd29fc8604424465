#!/usr/bin/python3
"""Writes identity.json: node ids and their addresses, pairs of nodes and their preshared keys.

Made with nothing of bmx7wg: hashlib and hmac alone (RFC 5869 written out), so that the program's
own code can't be wrong in the same way. The first three ids are those of a real bmx7 mesh.
"""

import hashlib
import hmac
import ipaddress
import json
from pathlib import Path

REAL = (
    "54BF9F2348D362BE9CE6D64D35B078F2E3B8DF28DB7B50C6986F6BF0",
    "AB80F73F1802609826F09AD62A5C9F39037C959438D6301AE67C7977",
    "65A6FE5555E8383919FEE93925BEB019448C3355800DB178D4C2DFF4",
)
EDGES = ("00" * 28, "FF" * 28, "00" * 13 + "01" + "00" * 14, "FF" * 14 + "00" * 14)
MADE = tuple(hashlib.sha224(b"node %d" % n).hexdigest().upper() for n in range(5))


def address(node_id: str) -> str:
    groups = ["fd77"] + [node_id[i : i + 4] for i in range(0, 28, 4)]
    return str(ipaddress.IPv6Address(":".join(groups)))


def preshared(one: str, other: str, secret: bytes) -> str:
    low, high = sorted((bytes.fromhex(one), bytes.fromhex(other)))
    extracted = hmac.digest(b"bmx7-wg psk v1", secret, "sha256")
    return hmac.digest(extracted, low + high + b"\x01", "sha256").hex()


pairs = [
    (REAL[0], REAL[1], b""),
    (REAL[1], REAL[0], b""),
    (REAL[0], REAL[2], b""),
    (REAL[1], REAL[2], b"a mesh secret"),
    (EDGES[0], EDGES[1], b"\x00" * 32),
    (MADE[0], MADE[1], b"x" * 4096),
]
Path(__file__).with_name("identity.json").write_text(
    json.dumps(
        {
            "addresses": {node: address(node) for node in (*REAL, *EDGES, *MADE)},
            "preshared_keys": [
                {"one": a, "other": b, "secret": s.hex(), "key": preshared(a, b, s)}
                for a, b, s in pairs
            ],
        },
        indent=1,
    )
    + "\n"
)
