"""Objects of one interface to bytes: what never changes is marshalled once, at the start.

An entry of GetManagedObjects begins at a multiple of eight bytes, so it is the body of
InterfacesAdded byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from .contract import Interface
from .values import PADDING, marshal, pad, writer
from .views import PROPERTIES_OF

_NUMBERS: Final = "tx"  # types of eight bytes whose value can be exchanged in place
_LENGTH: Final = struct.Struct("<I")


class Encoder:
    """Marshals the views of an interface."""

    def __init__(self, interface: Interface) -> None:
        self._name = marshal("s", (interface.name,))
        self._readers = PROPERTIES_OF[interface.name]
        self._properties = {
            item.name: (_start(item.name, item.signature), writer(item.signature), read)
            for item, read in zip(interface.properties.values(), self._readers.values())
        }
        self._variable = {
            item.name: self._readers[item.name]
            for item in interface.properties.values()
            if item.emits != "const"
        }
        #: Properties at the end that signals never tell of: where they are, from the end on.
        self.counters: Final[dict[str, int]] = {}
        size = 0
        for item in reversed(interface.properties.values()):
            if item.emits != "false" or item.signature not in _NUMBERS:
                break
            size += 8
            self.counters[item.name] = size
            size += len(self._properties[item.name][0])

    def differences(self, old: object, new: object) -> list[str]:
        """The names of the properties that are not the same in two views of one object."""
        return [name for name, read in self._variable.items() if read(old) != read(new)]

    def added(self, path: str, view: object) -> bytearray:
        """The body of InterfacesAdded, oa{sa{sv}}."""
        out = marshal("o", (path,))
        interfaces = _begin(out)
        out += self._name
        properties = _begin(out)
        for start, write, read in self._properties.values():
            out += PADDING[-len(out) & 7] + start
            write(out, read(view))
        _end(out, properties)
        _end(out, interfaces)
        return out

    def properties(self, path: str, added: bytearray) -> bytes:
        """The body of GetAll's answer, a{sv}, out of a result of `added`."""
        interfaces = len(path) + 5 + 3 & ~3
        name = interfaces + 4 + 7 & ~7
        properties = name + len(self._name) + 3 & ~3
        first = properties + 4 + 7 & ~7
        return b"%b\0\0\0\0%b" % (added[properties : properties + 4], added[first:])

    def changed(self, view: object, names: Iterable[str], invalid: Iterable[str]) -> bytearray:
        """The body of PropertiesChanged, sa{sv}as."""
        out = bytearray(self._name)
        properties = _begin(out)
        for name in names:
            start, write, read = self._properties[name]
            out += PADDING[-len(out) & 7] + start
            write(out, read(view))
        _end(out, properties)
        writer("as")(out, invalid)
        return out

    def set_counters(self, added: bytearray, view: object) -> None:
        """Bring the counters in a result of `added` up to date."""
        for name, at in self.counters.items():
            struct.pack_into("<Q", added, len(added) - at, self._readers[name](view))


def _start(name: str, signature: str) -> bytes:
    """What comes before the value in an entry of an a{sv}, up to the value's alignment."""
    out = marshal("sg", (name, signature))
    pad(out, 8 if signature[0] in "(txd" else 1)
    return bytes(out)


def _begin(out: bytearray) -> int:
    """Begin an array of dictionary entries, at a multiple of eight; where its size goes."""
    pad(out, 4)
    at = len(out)
    out += b"\0\0\0\0"
    pad(out, 8)
    return at


def _end(out: bytearray, at: int) -> None:
    """Write the size of the array that `_begin` began, without the padding before its entries."""
    _LENGTH.pack_into(out, at, len(out) - (at + 4 + 7 & ~7))
