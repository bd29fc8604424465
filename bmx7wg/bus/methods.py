"""Which methods there are on which path.

What kind of object stands there is looked up in the table, what can be called on its kind was
worked out from the contract at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from ..core.identity import NodeId
from . import errors
from .contract import Interface, Method
from .errors import CallError
from .names import INTROSPECTABLE, MANAGER, OBJECT_MANAGER, PEER, PEER_STANDARD, PROPERTIES, peer_of
from .tree import Tree
from .views import PROPERTIES_OF
from .wire import Header

_OF_THE_ABSENT: Final = ("Block", "Unblock")  # who is kept out need not be there


class Found(NamedTuple):
    """A method that is there."""

    key: tuple[str, str]  # the names of the interface and of the method
    method: Method


class _Kind:
    """What objects have in common: their interfaces and methods."""

    def __init__(self, *interfaces: Interface) -> None:
        self.interfaces: Final = interfaces
        #: By interface and member; a call may leave out the interface, then the first has it.
        self.methods: Final[Mapping[tuple[str, str], Found]] = {
            (named, method.name): Found((interface.name, method.name), method)
            for interface in reversed(interfaces)
            for method in interface.methods.values()
            for named in (interface.name, "")
        }


class Methods:
    """Finds what is called."""

    def __init__(self, interfaces: Mapping[str, Interface], tree: Tree) -> None:
        self._tree = tree
        peer = interfaces[PEER_STANDARD]
        introspectable = interfaces[INTROSPECTABLE]
        on_objects = (interfaces[PROPERTIES], introspectable, peer)
        self._objects = {name: _Kind(interfaces[name], *on_objects) for name in PROPERTIES_OF}
        self._objects[MANAGER] = _Kind(interfaces[MANAGER], interfaces[OBJECT_MANAGER], *on_objects)
        self._between = _Kind(introspectable, peer)
        self._nothing = _Kind(peer)  # which the specification puts on any path
        methods = interfaces[PEER].methods
        blockable = replace(
            interfaces[PEER], methods={name: methods[name] for name in _OF_THE_ABSENT}
        )
        self._absent_peer = _Kind(blockable, peer)

    def interfaces(self, path: str) -> tuple[Interface, ...]:
        """What an object or a node between objects has."""
        return self._kind(path).interfaces

    def find(self, call: Header) -> Found:
        """The method that is called. Raises CallError."""
        kind = self._kind(call.path)
        found = kind.methods.get((call.interface, call.member))
        if found is None:
            raise self._missing(kind, call)
        if call.signature != found.method.arguments:
            text = (
                f"{call.member} takes arguments of the signature '{found.method.arguments}', "
                f"not '{call.signature}'."
            )
            raise CallError(errors.INVALID_ARGS, text)
        return found

    def _kind(self, path: str) -> _Kind:
        item = self._tree.objects.get(path)
        if item is not None:
            return self._objects[item.interface.name]
        if self._tree.has(path):
            return self._between
        try:
            NodeId(peer_of(path))
        except ValueError:
            return self._nothing
        return self._absent_peer

    def _missing(self, kind: _Kind, call: Header) -> CallError:
        if kind in (self._nothing, self._absent_peer):
            return CallError(errors.UNKNOWN_OBJECT, f"There is no object {call.path}.")
        if call.interface and all(call.interface != item.name for item in kind.interfaces):
            text = f"{call.path} has no interface {call.interface}."
            return CallError(errors.UNKNOWN_INTERFACE, text)
        text = f"{call.interface or call.path} has no method {call.member}."
        return CallError(errors.UNKNOWN_METHOD, text)
