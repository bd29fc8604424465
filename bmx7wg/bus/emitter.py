"""Signals: what changed since the last turn of the loop, told once and in order.

Values are read when a signal is made, not when the change was noted: however often something
changes, or however slowly the bus takes it, what waits is at most one note per object.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from .connection import Connection
from .library import TURN
from .names import OBJECT_MANAGER, PROPERTIES, ROOT
from .tree import Object, Tree
from .values import marshal

_log = logging.getLogger(__name__)

MAX_BACKLOG: Final = 64 * 1024  # bytes queued beyond which signals wait, and answers don't


class _Note:
    """What is to be told of one path."""

    __slots__ = ("removed", "changed")

    def __init__(self) -> None:
        self.removed: str = ""  # the interface of an object that was told of and went
        self.changed: dict[str, None] | None = {}  # None: what is there now is new


class Emitter:
    """Tells the listeners of one connection what happens in the tree."""

    def __init__(self, tree: Tree, connection: Connection) -> None:
        self._tree = tree
        self._connection = connection
        self._notes: dict[str, _Note] = {}
        self._scheduled = False

    def added(self, path: str) -> None:
        self._note(path).changed = None

    def changed(self, path: str, names: Iterable[str]) -> None:
        note = self._note(path)
        if note.changed is not None:
            note.changed |= dict.fromkeys(names)

    def removed(self, path: str, gone: Object) -> None:
        note = self._note(path)
        if note.changed is None and not note.removed:
            del self._notes[path]  # nobody heard of it yet
        elif not note.removed:
            note.removed = gone.interface.name

    def flush(self) -> None:
        """Tell what is noted, as far as a turn and the bus allow; the rest follows."""
        loop = asyncio.get_running_loop()
        self._scheduled = False
        until = loop.time() + TURN
        while self._notes and self._connection.backlog() < MAX_BACKLOG:
            path = next(iter(self._notes))
            try:
                self._tell(path, self._notes.pop(path))
            except Exception:
                _log.exception("%s could not be told of", path)
            if loop.time() > until:
                self._schedule()
                return

    def drained(self) -> None:
        """The connection has room again."""
        if self._notes:
            self._schedule()

    def _note(self, path: str) -> _Note:
        self._schedule()
        return self._notes.setdefault(path, _Note())

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _tell(self, path: str, note: _Note) -> None:
        if note.removed:
            body = marshal("oas", (path, (note.removed,)))
            self._connection.signal(ROOT, OBJECT_MANAGER, "InterfacesRemoved", "oas", body)
        item = self._tree.objects.get(path)
        if item is None:
            return
        if note.changed is None:
            # It will change soon, and nobody may ever ask for it.
            body = item.encoder.added(path, item.view)
            self._connection.signal(ROOT, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", body)
        elif note.changed:
            self._tell_changed(path, item, note.changed)

    def _tell_changed(self, path: str, item: Object, names: Iterable[str]) -> None:
        properties = item.interface.properties
        changed = [name for name in names if properties[name].emits == "true"]
        invalid = [name for name in names if properties[name].emits == "invalidates"]
        if changed or invalid:
            body = item.encoder.changed(item.view, changed, invalid)
            self._connection.signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)
