"""Reads the announcements that bmx7 received into the book of peers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ..core.announcement import AnnouncementError, decode
from ..core.identity import NodeId
from . import inotify
from .bmx7_files import (
    FRESH,
    FileRefused,
    is_fresh,
    is_ours,
    names,
    node_of,
    path_of,
    read_received,
)
from .bmx7_peers import PeerBook
from .inotify import Event
from .refusals import Refusals

_SLICE: Final = 256  # names between two looks at the rest of the loop


class Received:
    """The directory ``rcvdSms``. *unplaced* is called for a new node without endpoint."""

    def __init__(self, directory: str, book: PeerBook, unplaced: Callable[[], None]) -> None:
        self.own: NodeId | None = None  # whose files are only echoes
        self.refusals: Final = Refusals()
        self._directory = directory
        self._book = book
        self._unplaced = unplaced
        self._again: dict[NodeId, float] = {}  # when to read a file that made no sense

    def deadline(self) -> float:
        """When `reread` has something to do; infinite if never."""
        return min(self._again.values(), default=float("inf"))

    def reread(self, now: float) -> None:
        """Read again what may have been half written."""
        for node_id in [n for n, when in self._again.items() if when <= now]:
            self._read(node_id)

    async def scan(self) -> None:
        """Read all that is there, leaving the loop its turns; raises OSError."""
        begun = time.monotonic()
        present = set()
        for number, name in enumerate(names(self._directory)):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            node_id = self._sender(name)
            if node_id is not None:
                self._read(node_id)
                if node_id in self._book:
                    present.add(node_id)
        self._book.scanned(present, begun)

    def happened(self, event: Event) -> bool:
        """Something changed in the directory; whether it is a change of the book.

        A deletion may be the first half of a renewal, and a new file is empty.
        """
        node_id = self._sender(event.name)
        if node_id is None:
            return False
        if event.mask & (inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO):
            self._read(node_id)
        elif event.mask & inotify.IN_CREATE:
            self._book.created(node_id, time.monotonic())
        elif event.mask & (inotify.IN_DELETE | inotify.IN_MOVED_FROM):
            self._book.deleted(node_id, time.monotonic())
        return True

    def _sender(self, name: bytes) -> NodeId | None:
        """Whose announcement a file is; None for our own, others' files and rubbish."""
        if not is_ours(name):
            return None
        try:
            node_id = node_of(name)
        except FileRefused as refusal:
            self._refuse(f"file-{refusal.reason}", name)
            return None
        return None if node_id == self.own else node_id

    def _read(self, node_id: NodeId) -> None:
        path, now = path_of(self._directory, node_id), time.monotonic()
        self._again.pop(node_id, None)
        try:
            content = decode(read_received(path))
        except FileNotFoundError:
            self.refusals.counters["file-vanished"] += 1
            return
        except FileRefused as refusal:
            self._refuse(f"file-{refusal.reason}", str(node_id))
            return
        except AnnouncementError as refusal:
            if is_fresh(path):
                # It may be half of the next one, even if it was whole when we were told.
                self._again[node_id] = now + 2 * FRESH
            else:
                self._refuse(f"announcement-{refusal.reason}", str(node_id))
            return
        known = node_id in self._book
        if not self._book.heard(node_id, content, now):
            self._refuse("too-many-nodes", str(node_id))
        elif not known and self._book.lacks_endpoint(node_id):
            self._unplaced()

    def _refuse(self, reason: str, about: str | bytes) -> None:
        self.refusals.count(reason, about, time.monotonic())
