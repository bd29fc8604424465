"""For programs that use the service: the command line is the first of them.

Values are plain Python: no variants, no types of the library.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .connection import CALL_TIMEOUT, Connection
from .errors import NAME_HAS_NO_OWNER, SERVICE_UNKNOWN, BusUnavailable, CallError, ServiceNotRunning
from .library import Incoming
from .names import (
    BUS,
    DEVICE,
    MANAGER,
    NAME,
    NETWORK,
    OBJECT_MANAGER,
    PEER,
    PROPERTIES,
    ROOT,
    peer_path,
)
from .wire import Flag, Header

__all__ = [
    "DEVICE",
    "MANAGER",
    "NETWORK",
    "PEER",
    "ROOT",
    "Added",
    "Appeared",
    "BusUnavailable",
    "CallError",
    "Changed",
    "Client",
    "Event",
    "Removed",
    "ServiceNotRunning",
    "Vanished",
    "peer_path",
]

#: path → interface → property → value
Objects = dict[str, dict[str, dict[str, Any]]]

MAX_EVENTS: Final = 100_000  # that wait for a reader; beyond it he is too slow to be told


@dataclass(frozen=True)
class Added:
    """Interfaces that an object has now, with all their properties."""

    path: str
    interfaces: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Removed:
    """Interfaces that an object has no more; here every object has one of its own."""

    path: str
    interfaces: Sequence[str]


@dataclass(frozen=True)
class Changed:
    """Properties with their new values."""

    path: str
    interface: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Vanished:
    """The service left the bus; what was known of it is void."""


@dataclass(frozen=True)
class Appeared:
    """The service is (again) on the bus: read `Client.managed_objects` anew."""


Event = Added | Removed | Changed | Vanished | Appeared

_NAME_OWNER_CHANGED: Final = (
    f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{NAME}'"
)
_EVERYTHING: Final = f"type='signal',sender='{NAME}',path_namespace='{ROOT}'"


class Client:
    """A connection to the service. Use as ``async with await Client.connect() as client``."""

    def __init__(self) -> None:
        self._connection = Connection(
            on_signal=self._on_signal, wants_signal=self._wants, on_closed=self._on_closed
        )
        self._owner = ""
        self._followers: list[Following] = []

    @classmethod
    async def connect(cls, address: str | None = None) -> Client:
        """Connect to the bus and find the service, without starting it.

        Raises BusUnavailable or ServiceNotRunning.
        """
        client = cls()
        try:
            await client._connection.open(address)
            client._owner = await client._find_owner()
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        """Send what is queued and disconnect."""
        await self._connection.flush()
        self._connection.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def managed_objects(self) -> Objects:
        """All objects with all their properties, the Manager among them.

        Raises CallError, BusUnavailable, ServiceNotRunning.
        """
        objects, manager = await asyncio.gather(
            self.call(ROOT, OBJECT_MANAGER, "GetManagedObjects"),
            self.call(ROOT, PROPERTIES, "GetAll", "s", (MANAGER,)),
        )
        return {ROOT: {MANAGER: manager}, **objects}

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        args: Sequence[Any] = (),
        *,
        interactive: bool = False,
        timeout: float = CALL_TIMEOUT,
    ) -> Any:
        """Call a method; returns its value, None for none, a tuple for several.

        A variant among *args* is a pair (signature, value). With *interactive* the user may be
        asked for a password. Raises CallError, BusUnavailable, ServiceNotRunning.
        """
        flags = Flag.NO_AUTO_START
        if interactive:
            flags |= Flag.ALLOW_INTERACTIVE_AUTHORIZATION
        try:
            values = await self._connection.call(
                NAME, path, interface, member, signature, args, flags=flags, timeout=timeout
            )
        except CallError as error:
            if error.name in (SERVICE_UNKNOWN, NAME_HAS_NO_OWNER):
                raise ServiceNotRunning(f"{NAME} is not on the bus") from None
            raise
        return values[0] if len(values) == 1 else tuple(values) or None

    def follow(self) -> Following:
        """Events from now on: ``async for event in client.follow()``.

        Whoever follows first and then reads `managed_objects` misses nothing. Events from in
        between come too: they may tell what the objects say already, or a change of one that is
        gone again, which is to be ignored.
        """
        if not self._followers:
            self._connection.tell_bus("AddMatch", "s", _NAME_OWNER_CHANGED)
            self._connection.tell_bus("AddMatch", "s", _EVERYTHING)
        following = Following(self._connection)
        self._followers.append(following)
        return following

    async def _find_owner(self) -> str:
        try:
            (owner,) = await self._connection.call_bus("GetNameOwner", "s", NAME)
        except CallError as error:
            if error.name == NAME_HAS_NO_OWNER:
                raise ServiceNotRunning(f"{NAME} is not on the bus") from None
            raise BusUnavailable(error.text) from None
        return str(owner)

    # Others may send us what looks like a signal of the service; the bus stamps the sender.

    def _wants(self, header: Header) -> bool:
        return header.sender == self._owner or (
            header.sender == BUS and header.member == "NameOwnerChanged"
        )

    def _on_signal(self, signal: Incoming) -> None:
        try:
            event = self._event(signal)
        except (ValueError, TypeError):
            return  # not of our contract
        if event is not None:
            for following in self._followers:
                following.put(event)

    def _on_closed(self) -> None:
        for following in self._followers:
            following.ended()

    def _event(self, signal: Incoming) -> Event | None:
        header = signal.header
        if header.sender == BUS:
            name, _, owner = signal.body
            if name != NAME or owner == self._owner:
                return None
            self._owner = owner
            return Appeared() if owner else Vanished()
        match header.interface, header.member, header.signature:
            case "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as":
                interface, properties, _ = signal.body
                return Changed(header.path, interface, properties)
            case "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", "oa{sa{sv}}":
                path, interfaces = signal.body
                return Added(path, interfaces)
            case "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved", "oas":
                path, gone = signal.body
                return Removed(path, gone)
        return None


class Following:
    """The events of a client, in their order. Raises BusUnavailable when the bus is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: deque[Event] = deque()
        self._more = asyncio.Event()

    def put(self, event: Event) -> None:
        if len(self._events) >= MAX_EVENTS:
            self._connection.close()
        else:
            self._events.append(event)
            self._more.set()

    def ended(self) -> None:
        self._more.set()

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._connection.closed.is_set():
                raise BusUnavailable("the connection to the bus ended")
            self._more.clear()
            await self._more.wait()
        return self._events.popleft()
