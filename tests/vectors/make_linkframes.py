#!/usr/bin/python3
"""Writes linkframes.json: frames of the link, good and bad, as bytes.

Made with nothing of bmx7wg: the layout is written out here once more.
"""

import hashlib
import json
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEED = hashlib.sha256(b"a node").digest()
KEY = "fzi3kcLCzKWx8lsNI72dv6GWb8Xg+XbtvhmLx8F8/fI="
ANNOUNCEMENT = '{"v":1,"key":"%s","port":6277,"name":"n3"}' % KEY
START = struct.pack("!4sB", b"b7wg", 1)


def public(seed: bytes) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def frame(
    flags: int, sequence: int, payload: str, seed: bytes = SEED, start: bytes = START
) -> bytes:
    signed = start + struct.pack("!B32sQ", flags, public(seed), sequence) + payload.encode()
    return signed + Ed25519PrivateKey.from_private_bytes(seed).sign(signed)


def good(flags: int, sequence: int, payload: str, seed: bytes = SEED) -> dict[str, object]:
    return {
        "seed": seed.hex(),
        "node_id": hashlib.sha224(public(seed)).hexdigest().upper(),
        "flags": flags,
        "sequence": sequence,
        "payload": payload,
        "frame": frame(flags, sequence, payload, seed).hex(),
    }


def bad(reason: str, data: bytes) -> dict[str, str]:
    return {"reason": reason, "frame": data.hex()}


WHOLE = frame(0, 1_700_000_000_000_000, ANNOUNCEMENT)
OTHER = public(hashlib.sha256(b"another node").digest())

VECTORS = {
    "good": {
        "announcement": good(0, 1_700_000_000_000_000, ANNOUNCEMENT),
        "solicit": good(1, 1_700_000_000_000_001, ANNOUNCEMENT),
        "goodbye": good(2, 1_700_000_000_000_002, ""),
        "first sequence": good(0, 0, ANNOUNCEMENT),
        "last sequence": good(0, 2**64 - 1, ANNOUNCEMENT),
        "longest payload": good(0, 5, " " * 4096),
        "seed of zeros": good(0, 6, ANNOUNCEMENT, bytes(32)),
    },
    "bad": {
        "empty": bad("magic", b""),
        "other magic": bad("magic", b"bmx7" + WHOLE[4:]),
        "text": bad("magic", b"GET / HTTP/1.1\r\n\r\n"),
        "magic alone": bad("version", b"b7wg"),
        "version 0": bad("version", frame(0, 5, ANNOUNCEMENT, start=b"b7wg\x00")),
        "version 2": bad("version", frame(0, 5, ANNOUNCEMENT, start=b"b7wg\x02")),
        "header alone": bad("short", WHOLE[:46]),
        "one byte short": bad("short", frame(0, 5, "")[:-1]),
        "payload of 4097": bad("long", frame(0, 5, " " * 4097)),
        "changed payload": bad("signature", WHOLE.replace(b"6277", b"6278")),
        "changed sequence": bad("signature", WHOLE[:45] + b"\x01" + WHOLE[46:]),
        "changed flags": bad("signature", WHOLE[:5] + b"\x02" + WHOLE[6:]),
        "another's key": bad("signature", WHOLE[:6] + OTHER + WHOLE[38:]),
        "signature of zeros": bad("signature", WHOLE[:-64] + bytes(64)),
        "key of zeros": bad("signature", WHOLE[:6] + bytes(32) + WHOLE[38:]),
        "byte appended": bad("signature", WHOLE + b"\x00"),
        "byte removed": bad("signature", WHOLE[:-1]),
    },
}

Path(__file__).with_name("linkframes.json").write_text(json.dumps(VECTORS, indent=1) + "\n")
