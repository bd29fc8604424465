"""The service on the bus: publish what changed, answer what is asked, stay there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from .. import __version__
from ..core.backoff import Backoff
from ..core.views import Changes, ManagerView, ServiceState, with_counters
from . import errors
from .connection import Connection
from .contract import load
from .controller import Controller
from .dispatch import Dispatcher
from .emitter import Emitter
from .errors import BusError, BusUnavailable, CallError
from .library import Incoming
from .names import (
    BUS,
    DEVICE,
    DEVICE_PATH,
    LOG_CONTROL,
    LOG_PATH,
    MANAGER,
    NAME,
    NETWORK,
    PEER,
    ROOT,
    network_path,
    peer_path,
)
from .tree import Tree
from .turns import Turns
from .verbs import Verbs
from .writer import BLOCK

_DO_NOT_QUEUE: Final = 4  # a flag of RequestName
_OWNER: Final = (1, 4)  # its answers: we own the name now, or did already

_BUS_SIGNALS: Final = ("NameLost", "NameOwnerChanged")

FIRST_RETRY: Final = 0.05  # s; a restarted bus is back in less than a second
LAST_RETRY: Final = 1.0  # s


class Bus:
    """The service's presence on the system bus, across restarts of the bus.

    *state* is told of every change: whether we are on the bus, and a sentence for people.
    """

    def __init__(self, controller: Controller, *, state: Callable[[bool, str], None]) -> None:
        self._state = state
        interfaces = load()
        self._tree = Tree(interfaces)
        self._tree.put(ROOT, MANAGER, _nothing_yet())
        self._tree.put(LOG_PATH, LOG_CONTROL, controller)
        self._turns = Turns(controller.refresh, self._has_room)
        self._verbs = Verbs(controller, self._tree)
        self._dispatcher = Dispatcher(interfaces, self._tree, self._turns, self._verbs, controller)
        self._connection: Connection | None = None
        self._emitter: Emitter | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, then take the name. Raises BusError: what is wrong and what to do."""
        connection = await self._connect()
        self._keeper = asyncio.get_running_loop().create_task(self._keep(connection))

    def publish(self, changes: Changes) -> None:
        """Show *changes*; who listens is told at the end of this turn of the loop."""
        for node_id in changes.gone:
            self._remove(peer_path(node_id))
        if changes.manager is not None:
            self._put(ROOT, MANAGER, changes.manager)
        if changes.device is not None:
            self._put(DEVICE_PATH, DEVICE, changes.device)
        for peer in changes.peers:
            self._put(peer_path(peer.node_id), PEER, peer)
        for node_id, read in changes.counted.items():
            path = peer_path(node_id)
            self._put(path, PEER, with_counters(self._tree.objects[path].view, read))
        for prefix in changes.networks_gone:
            self._remove(network_path(str(prefix)))
        for network in changes.networks:
            self._put(network_path(str(network.prefix)), NETWORK, network)

    async def close(self) -> None:
        """Give the name back, send what is queued, disconnect."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._verbs.close()
        await self._turns.close()
        connection, self._connection, self._emitter = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(CallError, BusUnavailable):
                await connection.call_bus("ReleaseName", "s", NAME)
            await connection.flush()
            connection.close()

    # -- publishing

    def _put(self, path: str, interface: str, view: object) -> None:
        changed = self._tree.put(path, interface, view)
        if self._emitter is None:
            return
        if changed is None:
            self._emitter.added(path)
        elif changed:
            self._emitter.changed(path, changed)

    def _remove(self, path: str) -> None:
        gone = self._tree.remove(path)
        if gone is not None and self._emitter is not None:
            self._emitter.removed(path, gone)

    def _has_room(self) -> bool:
        return self._connection is None or self._connection.backlog() < BLOCK

    # -- being there

    async def _connect(self) -> Connection:
        """A new connection that owns the name; nothing is left behind if it can't be had."""
        emitter: Emitter
        connection = Connection(
            on_call=self._dispatcher,
            on_signal=lambda signal: self._told_by_bus(connection, signal),
            wants_signal=lambda header: header.sender == BUS and header.member in _BUS_SIGNALS,
            on_caught_up=self._turns.serve,
            on_drained=lambda: self._drained(emitter),
        )
        emitter = Emitter(self._tree, connection)
        await connection.open()
        self._connection, self._emitter = connection, emitter
        try:
            await _take_name(connection)  # last: with the name we are found
        except BaseException:
            self._connection = self._emitter = None
            connection.close()
            raise
        self._state(True, f"on the bus as {NAME}")
        return connection

    def _told_by_bus(self, connection: Connection, signal: Incoming) -> None:
        member, values = signal.header.member, signal.body
        if member == "NameOwnerChanged":
            name, _, owner = values
            self._verbs.authority.name_owner_changed(name, owner)
        elif values == [NAME] and connection is self._connection:
            connection.close()

    def _drained(self, emitter: Emitter) -> None:
        emitter.drained()
        self._turns.drained()

    async def _keep(self, connection: Connection) -> None:
        """Come back whenever the connection ends."""
        while True:
            await connection.closed.wait()
            self._connection = self._emitter = None
            self._turns.disconnected()
            why = "the connection to the bus ended"
            self._state(False, why)
            backoff = Backoff(FIRST_RETRY, LAST_RETRY)
            while connection.closed.is_set():
                await asyncio.sleep(backoff())
                try:
                    connection = await self._connect()
                except BusError as error:
                    if str(error) != why:
                        why = str(error)
                        self._state(False, why)


async def _take_name(connection: Connection) -> None:
    try:
        (answer,) = await connection.call_bus("RequestName", "su", NAME, _DO_NOT_QUEUE)
    except CallError as error:
        if error.name == errors.ACCESS_DENIED:
            raise BusError(
                f"the bus does not let this user own {NAME}: it takes root and the policy file "
                f"/usr/share/dbus-1/system.d/{NAME}.conf ({error.text})"
            ) from None
        raise BusError(f"the bus does not give us {NAME}: {error.text}") from None
    if answer not in _OWNER:
        raise BusError(f"{NAME} is taken by {await _owner(connection)}; stop it first")


async def _owner(connection: Connection) -> str:
    """Who has our name, in words."""
    try:
        (pid,) = await connection.call_bus("GetConnectionUnixProcessID", "s", NAME)
    except CallError:
        return "another process"
    return f"another process (pid {pid})"


def _nothing_yet() -> ManagerView:
    return ManagerView(
        version=__version__,
        node_id="",
        node_name="",
        state=ServiceState.STARTING,
        problems=(),
        source="",
        source_state="",
    )
