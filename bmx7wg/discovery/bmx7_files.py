"""The small files that bmx7 floods: where they are, and how they are read and written.

Their content is signed by the node that wrote them, but anything may lie in the directory,
and vanish or change at any moment.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from typing import Final

from ..core.identity import NodeId
from ..core.limits import MAX_PAYLOAD

FILE: Final = "bmx7-wg"  # the name that every node's announcement has
FRESH: Final = 1.0  # s; a file written this short ago may not be whole yet
_MAX_JSON: Final = 64 * 1024  # bytes; json/status and the like have 1,000

_SUFFIX: Final = b":" + FILE.encode()
_ID_DIGITS: Final = 2 * NodeId.SIZE


class FileRefused(Exception):
    """A file is not what it should be; ``reason`` is a stable word to count by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Paths:
    """The runtime directory of a bmx7, and what is in it."""

    def __init__(self, runtime: str) -> None:
        self.runtime: Final = os.path.abspath(runtime)
        self.socket: Final = os.path.join(self.runtime, "sock")
        self.pid: Final = os.path.join(self.runtime, "pid")
        self.sms: Final = os.path.join(self.runtime, "sms")
        self.sent: Final = os.path.join(self.sms, "sendSms")
        self.received: Final = os.path.join(self.sms, "rcvdSms")
        self.status: Final = os.path.join(self.runtime, "json", "status")
        self.interfaces: Final = os.path.join(self.runtime, "json", "interfaces")
        self.originators: Final = os.path.join(self.runtime, "json", "originators")


def is_ours(name: bytes) -> bool:
    """Whether *name* claims to be an announcement; others' files are none of our business."""
    return name.endswith(_SUFFIX)


def node_of(name: bytes) -> NodeId:
    """The node that a file called ``NODEID:bmx7-wg`` is from; raises FileRefused ("name")."""
    text = name[: -len(_SUFFIX)]
    # Exactly as bmx7 writes it, so that one node can't have two files.
    if len(text) != _ID_DIGITS or text != text.upper():
        raise FileRefused("name")
    try:
        return NodeId.parse(text.decode("ascii"))
    except ValueError:
        raise FileRefused("name") from None


def path_of(directory: str, node_id: NodeId) -> str:
    return os.path.join(directory, f"{node_id}:{FILE}")


def read_received(path: str) -> bytes:
    """Read an announcement, at most 4096 bytes; never blocks, follows no link.

    Raises FileNotFoundError, or FileRefused with one of: link, type, size, unreadable.
    """
    return _read(path, MAX_PAYLOAD)


def read_json(path: str) -> bytes:
    """Read one of the json plugin's files; empty if there is none or it can't be read."""
    try:
        return _read(path, _MAX_JSON)
    except (OSError, FileRefused):
        return b""


def _read(path: str, limit: int) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileRefused("link" if error.errno == errno.ELOOP else "unreadable") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise FileRefused("type")
        data = b"" if found.st_size > limit else os.read(fd, limit + 1)
        if found.st_size > limit or len(data) > limit:
            raise FileRefused("size")
        return data
    except OSError:
        raise FileRefused("unreadable") from None
    finally:
        os.close(fd)


def is_fresh(path: str) -> bool:
    """Whether a file was written a moment ago, so that its writer may not have closed it yet."""
    try:
        return abs(time.time() - os.lstat(path).st_mtime) < FRESH
    except OSError:
        return False


def names(directory: str) -> Iterator[bytes]:
    """The names of a directory, read bit by bit; raises OSError."""
    with os.scandir(os.fsencode(directory)) as entries:
        for entry in entries:
            yield entry.name


def write_atomically(directory: str, payload: bytes) -> bool:
    """Put *payload* into the file that bmx7 announces; False if it was there already.

    bmx7 looks only at names that it was told to announce, so the temporary one is not sent.
    """
    path, temporary = os.path.join(directory, FILE), os.path.join(directory, f".{FILE}.new")
    try:
        if read_received(path) == payload:
            return False
    except (FileNotFoundError, FileRefused):
        pass
    remove(temporary)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "wb") as file:
        os.fchmod(fd, 0o644)  # whatever our umask: bmx7 is to read it
        file.write(payload)
        file.flush()
        os.fsync(fd)
    os.rename(temporary, path)
    return True


def remove(path: str) -> None:
    """Remove a file, which may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
