"""Identities, addresses and keys (design.md 2).

The only module of the core that touches cryptography. Nothing here is invented:
SHA-224 and HKDF-SHA256 (RFC 5869), Ed25519 (RFC 8032), X25519 (RFC 7748).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

_NODE_ID_TEXT: Final = re.compile(r"[0-9A-Fa-f]{56}")
_PSK_SALT: Final = b"bmx7-wg psk v1"

KEY_SIZE: Final = 32  # bytes of a WireGuard key, Ed25519 public key or preshared key
SIGNATURE_SIZE: Final = 64


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


def preshared_key(one: NodeId, other: NodeId, secret: bytes = b"") -> bytes:
    """The key (32 bytes) that binds a pair of node ids, the same at both ends.

    HKDF-SHA256 over the mesh secret (empty without one); see design.md 2.
    """
    # Imported here: only who has a peer pays for it, and start-up has none.
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = min(one, other) + max(one, other)
    kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_SIZE, salt=_PSK_SALT, info=bytes(info))
    return kdf.derive(secret)


def generate_private_key() -> bytes:
    """A new X25519 private key, 32 raw bytes, for WireGuard."""
    key = X25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )


def public_key(private: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a WireGuard private key."""
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


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


class SigningKey:
    """The Ed25519 key of a node without bmx7; signs its announcements on the link."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )

    @staticmethod
    def generate_seed() -> bytes:
        """A new private key, 32 raw bytes (the seed of RFC 8032)."""
        return Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.Raw,
            serialization.PrivateFormat.Raw,
            serialization.NoEncryption(),
        )

    @property
    def node_id(self) -> NodeId:
        return NodeId.of_public_key(self.public)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether *signature* (64 bytes) over *message* was made with the key of *public*."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
