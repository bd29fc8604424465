"""The published table: which objects there are, and what they say.

An object has one interface of ours and holds the view that the core made of it. Its properties
are read from the view when somebody asks; marshalled they are kept until they change, so that
GetManagedObjects is a join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from .contract import Interface
from .names import ROOT
from .values import marshal
from .views import PROPERTIES_OF

_BELOW: Final = ROOT + "/"
_ENTRY: Final = "a{oa{sa{sv}}}"
_ENTRY_START: Final = 8  # bytes: the array's size, and padding up to its first entry


class Object:
    """One object of the table."""

    __slots__ = ("interface", "view", "fragment")

    def __init__(self, interface: Interface, view: object) -> None:
        self.interface: Final = interface
        self.view = view
        self.fragment = b""  # of GetManagedObjects; empty: to be made anew

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """These properties as plain values."""
        readers = PROPERTIES_OF[self.interface.name]
        return {name: readers[name](self.view) for name in names}

    def variants(self, names: Iterable[str] | None = None) -> dict[str, tuple[str, Any]]:
        """These properties, by default all, as `values.marshal` takes an a{sv}."""
        properties = self.interface.properties
        return {
            name: (properties[name].signature, value)
            for name, value in self.values(properties if names is None else names).items()
        }


class Tree:
    """Objects by path, and the nodes between them."""

    def __init__(self, interfaces: Mapping[str, Interface]) -> None:
        self._interfaces = interfaces
        self.objects: Final[dict[str, Object]] = {}
        self._children: dict[str, dict[str, None]] = {}  # in the order of their coming

    def put(self, path: str, interface: str, view: object) -> list[str] | None:
        """Publish an object or its new view.

        Returns the names of the properties that changed, None if the object is new.
        """
        present = self.objects.get(path)
        if present is None:
            self.objects[path] = Object(self._interfaces[interface], view)
            self._link(path)
            return None
        if present.view == view:
            return []
        readers = PROPERTIES_OF[interface]
        changed = [name for name, read in readers.items() if read(present.view) != read(view)]
        present.view = view
        present.fragment = b""
        return changed

    def remove(self, path: str) -> Object | None:
        """Take an object away; None if there was none."""
        gone = self.objects.pop(path, None)
        if gone is not None:
            self._unlink(path)
        return gone

    def children(self, path: str) -> Iterable[str] | None:
        """The names below *path*, None if neither it nor anything below it is there."""
        below = self._children.get(path)
        return () if below is None and path in self.objects else below

    def managed(self) -> Iterator[tuple[str, Object]]:
        """The objects that the ObjectManager tells of: all below it."""
        return ((path, item) for path, item in self.objects.items() if path.startswith(_BELOW))

    def fragment(self, path: str, item: Object) -> bytes:
        """One entry of a marshalled a{oa{sa{sv}}}."""
        if not item.fragment:
            entry = marshal(_ENTRY, ({path: {item.interface.name: item.variants()}},))
            item.fragment = bytes(entry[_ENTRY_START:])
        return item.fragment

    def managed_body(self) -> bytes:
        """The marshalled answer of GetManagedObjects."""
        parts = [b"", bytes(_ENTRY_START - 4)]  # the array's size goes first
        size = 0
        for path, item in self.managed():
            padding = bytes(-size & 7)
            fragment = self.fragment(path, item)
            parts += (padding, fragment)
            size += len(padding) + len(fragment)
        parts[0] = size.to_bytes(4, "little")
        return b"".join(parts)

    def _link(self, path: str) -> None:
        while path != "/":
            parent, _, name = path.rpartition("/")
            below = self._children.setdefault(parent or "/", {})
            if name in below:
                return
            below[name] = None
            path = parent or "/"

    def _unlink(self, path: str) -> None:
        while path != "/" and path not in self._children and path not in self.objects:
            parent, _, name = path.rpartition("/")
            path = parent or "/"
            del self._children[path][name]
            if not self._children[path]:
                del self._children[path]
