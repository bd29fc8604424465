"""The published table: which objects there are, and what they say.

An object has one interface of ours and holds the view that the core made of it. Its properties
are read from the view when somebody asks; marshalled they are kept until they change, so that
GetManagedObjects is a join. New counters are written into what is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from .contract import Interface
from .encoder import Encoder
from .names import ROOT
from .views import PROPERTIES_OF

_BELOW: Final = ROOT + "/"


class Object:
    """One object of the table."""

    __slots__ = ("interface", "encoder", "view", "entry", "counted")

    def __init__(self, interface: Interface, encoder: Encoder, view: Any) -> None:
        self.interface: Final = interface
        self.encoder: Final = encoder
        self.view = view
        self.entry: bytearray | None = None  # of GetManagedObjects; None: to be made anew
        self.counted = True  # whether the entry has the view's counters

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
        self._encoders = {name: Encoder(interfaces[name]) for name in PROPERTIES_OF}
        self.objects: Final[dict[str, Object]] = {}
        self._below: Counter[str] = Counter()  # how many objects there are below each path

    def put(self, path: str, interface: str, view: object) -> list[str] | None:
        """Publish an object or its new view.

        Returns the names of the properties that changed, None if the object is new.
        """
        present = self.objects.get(path)
        if present is None:
            self.objects[path] = Object(
                self._interfaces[interface], self._encoders[interface], view
            )
            self._below.update(_above(path))
            return None
        if present.view == view:
            return []
        changed = present.encoder.differences(present.view, view)
        present.view = view
        if present.encoder.counters.keys() >= set(changed):
            present.counted = False
        else:
            present.entry = None
        return changed

    def remove(self, path: str) -> Object | None:
        """Take an object away; None if there was none."""
        gone = self.objects.pop(path, None)
        if gone is not None:
            self._below.subtract(_above(path))
            self._below = +self._below  # without those that are 0
        return gone

    def has(self, path: str) -> bool:
        """Whether *path*, or anything below it, is there."""
        return path in self.objects or path in self._below

    def children(self, path: str) -> Iterable[str]:
        """The names below *path*, in the order of their coming."""
        if path not in self._below:
            return ()
        begin = path.removesuffix("/") + "/"
        below = (other for other in self.objects if other.startswith(begin))
        return dict.fromkeys(other[len(begin) :].partition("/")[0] for other in below)

    def managed(self) -> Iterator[tuple[str, Object]]:
        """The objects that the ObjectManager tells of: all below it."""
        return ((path, item) for path, item in self.objects.items() if path.startswith(_BELOW))

    def entry(self, path: str, item: Object) -> bytearray:
        """The object in GetManagedObjects."""
        if item.entry is None:
            item.entry = item.encoder.added(path, item.view)
        elif not item.counted:
            item.encoder.set_counters(item.entry, item.view)
        item.counted = True
        return item.entry

    def prepare(self) -> Iterator[None]:
        """Make the entries of all objects, one between two results."""
        for path, item in list(self.managed()):
            if item.entry is None or not item.counted:
                self.entry(path, item)
                yield

    def managed_body(self) -> bytes:
        """The marshalled answer of GetManagedObjects."""
        parts: list[bytes | bytearray] = [b"", bytes(4)]  # the array's size goes first
        size = 0
        for path, item in self.managed():
            entry = self.entry(path, item)
            padding = -size & 7
            if padding:
                parts.append(bytes(padding))
            parts.append(entry)
            size += padding + len(entry)
        parts[0] = size.to_bytes(4, "little")
        return b"".join(parts)


def _above(path: str) -> Iterator[str]:
    """The paths above *path*."""
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        yield path
