"""What is computed with keys (design.md 2).

The only module of the core that touches cryptography. Nothing here is invented:
HKDF-SHA256 (RFC 5869), Ed25519 (RFC 8032), X25519 (RFC 7748).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .identity import KEY_SIZE, NodeId

_PSK_SALT: Final = b"bmx7-wg psk v1"

SIGNATURE_SIZE: Final = 64  # bytes


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
