"""Identities, addresses, and the text of keys (design.md 2).

What is computed with keys is in keys.py: the library for it takes a fifth of the start of those
who want no more than this, such as the command line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from typing import Final

_NODE_ID_TEXT: Final = re.compile(r"[0-9A-Fa-f]{56}")

KEY_SIZE: Final = 32  # bytes of a WireGuard key, Ed25519 public key or preshared key


class NodeId(bytes):
    """A node's identity: 28 bytes, SHA-224 of its public key.

    Text is 56 hexadecimal digits, printed in upper case as bmx7 does.
    """

    __slots__ = ()  # there are several of each peer

    SIZE: Final = 28

    def __new__(cls, raw: bytes) -> NodeId:
        if len(raw) != cls.SIZE:
            raise ValueError(f"a node id has {cls.SIZE} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> NodeId:
        """Read 56 hexadecimal digits; ValueError says what else was found."""
        if not _NODE_ID_TEXT.fullmatch(text):
            raise ValueError("a node id is 56 hexadecimal digits")
        return cls(bytes.fromhex(text))

    @classmethod
    def of_public_key(cls, raw: bytes) -> NodeId:
        """SHA-224 of a raw public key; of the Ed25519 key, it is the id of a node without bmx7."""
        return cls(hashlib.sha224(raw).digest())

    def __str__(self) -> str:
        return self.hex().upper()

    def __repr__(self) -> str:
        return f"NodeId({self})"


def mesh_address(node_id: NodeId) -> ipaddress.IPv6Address:
    """The node's address in the mesh: ``fd77::/16`` and the first 14 bytes of its id."""
    return ipaddress.IPv6Address(b"\xfd\x77" + node_id[:14])


def key_text(raw: bytes) -> str:
    """A key in WireGuard's notation: base64, 44 characters."""
    return base64.b64encode(raw).decode("ascii")


def parse_key(text: str) -> bytes:
    """Read a key in WireGuard's notation; ValueError unless it is the one canonical form."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    if len(raw) != KEY_SIZE or key_text(raw) != text:
        raise ValueError("a key is 44 characters of base64 for 32 bytes")
    return raw
