"""The state directory: what must outlive the service (keys, the sequence of announcements).

Everything is written whole: a temporary file, fsync, rename, fsync of the directory. A key that
can't be read is an error and never a reason for a new one: the key is the node's identity.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..core.identity import key_text, parse_key
from ..core.keys import SigningKey, generate_private_key

WIREGUARD_KEY: Final = "wireguard.key"
NODE_KEY: Final = "node.key"
SEQUENCE: Final = "sequence"
_MAX_SIZE: Final = 4 * 1024 * 1024  # bytes; 10,000 peers added by hand are half of it
_MAX_SECRET: Final = 4096  # bytes


class StoreError(Exception):
    """The state directory can't be used; the text says which file, why and what to do."""


class Store:
    """The files of one node, in a directory of mode 0700 that only root reads."""

    def __init__(self, directory: Path) -> None:
        """Use *directory*, making it if need be; StoreError if it can't be."""
        self.directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_IMODE(directory.stat().st_mode) & 0o077:
                directory.chmod(0o700)
        except OSError as error:
            raise StoreError(f"state directory {directory}: {error.strerror}") from error

    def wireguard_key(self) -> bytes:
        """The WireGuard private key (32 bytes), made at the first call."""
        return self._key(WIREGUARD_KEY, generate_private_key)

    def save_wireguard_key(self, key: bytes) -> None:
        self.write(WIREGUARD_KEY, key_text(key).encode() + b"\n")

    def signing_key(self) -> SigningKey:
        """The Ed25519 key that is this node's identity without bmx7, made at the first call."""
        return SigningKey(self._key(NODE_KEY, SigningKey.generate_seed))

    def sequence(self) -> int:
        """The last sequence that may have been used; 0 if none was."""
        content = self.read(SEQUENCE)
        if content is None:
            return 0
        text = content.decode("ascii", "replace").strip()
        # Wrong, it is still no reason not to start: the clock gives a sequence as well.
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0

    def save_sequence(self, sequence: int) -> None:
        self.write(SEQUENCE, f"{sequence}\n".encode())

    def write(self, name: str, content: bytes) -> None:
        """Replace a file (mode 0600), durably or not at all."""
        path = self.directory / name
        temporary = self.directory / f".{name}.new"
        try:
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.rename(temporary, path)
            self._sync_directory()
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise StoreError(f"{path}: can't be written: {error.strerror}") from error

    def _key(self, name: str, generate: Callable[[], bytes]) -> bytes:
        content = self.read(name)
        if content is None:
            key = generate()
            self.write(name, key_text(key).encode() + b"\n")
            return key
        try:
            return parse_key(content.decode("ascii", "replace").strip())
        except ValueError:
            raise StoreError(
                f"{self.directory / name}: {len(content)} bytes that are not a key (44 characters "
                "of base64 are needed); put it back from a backup, or delete it to give this "
                "node a new key"
            ) from None

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if there is none."""
        path = self.directory / name
        try:
            with open(path, "rb", opener=_open_plain) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise StoreError(f"{path}: not a regular file")
                return file.read(_MAX_SIZE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: can't be read: {error.strerror}") from error

    def _sync_directory(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_secret(path: str) -> bytes:
    """The mesh secret: the file's content without white space around it; empty for no path.

    StoreError if it can't be read, is empty or is longer than 4096 bytes.
    """
    if not path:
        return b""
    try:
        with open(path, "rb", opener=_open_plain) as file:
            secret = file.read(_MAX_SECRET + 1)
    except OSError as error:
        raise StoreError(f"trust.secret-file {path}: {error.strerror}") from error
    if len(secret) > _MAX_SECRET or not secret.strip():
        raise StoreError(f"trust.secret-file {path}: needs 1 to {_MAX_SECRET} bytes of secret")
    return secret.strip()


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
