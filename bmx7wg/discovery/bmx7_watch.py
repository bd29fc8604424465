"""Watches directories that may come, go and be made anew, together with those above them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from . import inotify
from .inotify import Event, Inotify

_GONE = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_UNMOUNT | inotify.IN_IGNORED
_ENTRIES = (
    inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO
)  # fmt: skip
_MASK = _ENTRIES | inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_CLOSE_WRITE


class DirectoryWatch:
    """Keeps watches on *directories*; where one is missing, on the nearest one above it.

    *happened* gets the events inside the directories, with the path of the directory;
    *changed* is called when one of them came or went, or when events were lost: then `renew`.
    """

    def __init__(
        self,
        directories: Iterable[str],
        *,
        happened: Callable[[str, Event], None],
        changed: Callable[[], None],
    ) -> None:
        self._wanted = tuple(directories)
        self._on_the_way = {os.fsencode(p) for d in self._wanted for p in _upwards(d)}
        self._happened = happened
        self._changed = changed
        self._watches: dict[int, str] = {}
        self._new: set[str] = set()
        self._inotify = Inotify(self._events)

    def renew(self) -> set[str]:
        """Watch what is there now; the directories that are other ones than the last time.

        Raises OSError for a directory that is there and can't be watched.
        """
        for directory in self._wanted:
            self._ensure(directory)
        new, self._new = self._new, set()
        return new

    def watches(self, directory: str) -> bool:
        """Whether the directory is there and watched."""
        return directory in self._watches.values()

    def close(self) -> None:
        self._inotify.close()

    def _ensure(self, path: str) -> bool:
        if self._add(path):
            return True
        # The parent first, then the child again: it may have been made in between.
        parent = os.path.dirname(path)
        return parent != path and self._ensure(parent) and self._add(path)

    def _add(self, path: str) -> bool:
        try:
            watch = self._inotify.add(path, _MASK)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if self._watches.get(watch) != path:
            self._watches[watch] = path
            self._new.add(path)
        return True

    def _events(self, events: list[Event]) -> None:
        changed = False
        for event in events:
            path = self._watches.get(event.watch)
            if event.mask & inotify.IN_Q_OVERFLOW:
                # What was lost may have been the end of a directory: begin anew.
                for watch in self._watches:
                    self._inotify.remove(watch)
                self._watches.clear()
                changed = True
            elif path is None:
                continue
            elif event.mask & _GONE:
                if not event.mask & (inotify.IN_IGNORED | inotify.IN_UNMOUNT):
                    self._inotify.remove(event.watch)
                del self._watches[event.watch]
                changed = True
            else:
                if event.mask & _ENTRIES and _join(path, event.name) in self._on_the_way:
                    changed = True
                self._happened(path, event)
        if changed:
            self._changed()


def _upwards(path: str) -> Iterable[str]:
    while path != os.path.dirname(path):
        yield path
        path = os.path.dirname(path)


def _join(path: str, name: bytes) -> bytes:
    return os.path.join(os.fsencode(path), name)
