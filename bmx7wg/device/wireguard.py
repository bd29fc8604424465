"""A WireGuard device on either backend: read, plan, carry out, watch."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Final, TypeVar

from ..core.identity import key_text
from ..core.model import ActualDevice, Applied, DesiredDevice, Failure, PeerStatistics
from ..core.operations import (
    AddRoute,
    AddRule,
    LinkOperation,
    MakeDevice,
    Operation,
    RemoveRoute,
    RemoveRule,
    Rename,
    RouteOperation,
    SetDevice,
)
from ..core.plan import plan
from ..core.planmemory import Memory
from ..core.planpeers import PeerOperation, RemovePeer, SetPeer
from ..ports import free_port
from ..rtnetlink import Link, Rtnetlink
from .backend import Backend, is_marked, is_ours
from .base import DeviceError
from .forwarding import Forwarding
from .links import Links, Standing, underlay_mtu
from .lock import Lock
from .paths import Paths
from .probe import Prober
from .routes import Routes
from .watch import Watch

_LET_GO: Final = 0.5  # s for a killed process to let go of its port

_T = TypeVar("_T")

_SHOWN: Final = 3  # operations that are told as text


class WireGuardDevice:
    """The device of `base.Device`; see there for what each call promises.

    Everything that blocks runs in one thread, one call after the other. The fields below are
    of that thread, except where a comment says so.
    """

    def __init__(
        self,
        name: str,
        *,
        thread: Executor,
        route: Rtnetlink,
        backend: Backend,
        forwarding: Forwarding,
        lock: Lock,
    ) -> None:
        self.backend = backend.name
        self._backend = backend
        self._name = name
        self._route = route
        self._links = Links(route)
        self._paths = Paths(route)
        self._routes = Routes(route)
        self._forwarding = forwarding
        self._index = 0
        self._port = 0  # that was reached last
        self._memory = Memory()
        self._wanted: DesiredDevice | None = None
        self._standing: Standing | None = None
        self._forwarded: frozenset[int] = frozenset()
        # of the loop
        self._thread = thread
        self._lock = lock
        self._prober = Prober()
        self._watch: Watch | None = None

    async def apply(self, desired: DesiredDevice) -> Applied:
        moved = self._watch.moved if self._watch is not None else None
        applied, pulse = await self._run(lambda: self._apply(desired, moved))
        self._prober.open()  # not before: who makes it would slow down the start
        if self._watch is not None:
            self._watch.tables = frozenset(route.table for route in desired.routes)
            self._watch.settled(applied.index, pulse)
        elif pulse is not None:
            os.close(pulse)
        return applied

    async def read(self) -> ActualDevice | None:
        return await self._run(self._read)

    async def statistics(self) -> Mapping[bytes, PeerStatistics]:
        return await self._run(self._statistics)

    def probe(self, address: IPv6Address) -> None:
        self._prober.send(address, self._index)

    async def measure(self, address: IPv6Address) -> float:
        return await self._prober.measure(address, self._index)

    def watch(self, changed: Callable[[str], None]) -> None:
        self._watch = Watch(lambda ended: self._run(lambda: self._deviations(ended)), changed)

    async def remove(self) -> None:
        if self._watch is not None:
            self._watch.settled(0, None)
        await self._run(self._remove)

    async def close(self) -> None:
        if self._watch is not None:
            await self._watch.close()
            self._watch = None
        await self._run(self._close)
        self._thread.shutdown()
        await self._prober.close()
        self._lock.close()

    async def _run(self, call: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except OSError as error:
            raise DeviceError(f"{self._name}: {error.strerror or error}") from error

    # -- in the thread -------------------------------------------------------------------------

    def _find(self) -> Link | None:
        """The device's link, if there is one; DeviceError if it is somebody else's."""
        link = self._links.find(self._name, self._index, self._backend.link_kind)
        if link is None:
            return None
        if not self._is_ours(link):
            raise DeviceError(not_ours(link))
        return link

    def _is_ours(self, link: Link) -> bool:
        """By its mark; one that was ours stays it if somebody takes the mark away."""
        known = link.index == self._index or is_ours(link)
        return link.kind == self._backend.link_kind and known

    def _read(self) -> ActualDevice | None:
        link = self._find()
        settings = self._backend.read(link.index) if link else None
        if link is None or settings is None:
            return None
        self._index = link.index
        addresses = self._links.addresses(link.index)
        return ActualDevice(
            name=link.name,
            index=link.index,
            up=link.up,
            mtu=link.mtu,
            private_key=settings.private_key,
            listen_port=settings.listen_port,
            firewall_mark=settings.firewall_mark,
            addresses=tuple(addresses),
            peers=settings.peers,
            connected=self._links.connected(link.index),
            own_addresses=frozenset(a for a, own in addresses.items() if own),
            routes=self._routes.routes(link.index),
            rules=self._routes.rules(),
            marked=is_marked(link),
        )

    def _statistics(self) -> Mapping[bytes, PeerStatistics]:
        settings = self._backend.read(self._index)
        if settings is None:
            raise DeviceError(f"{self._name}: nobody works on it any more")
        return settings.peers

    def _apply(
        self, desired: DesiredDevice, moved: tuple[int, int] | None
    ) -> tuple[Applied, int | None]:
        actual = self._read()
        if actual is None and self._index:
            self._abandon(moved)
        if actual is None:
            self._routes.remove(keep=desired)
            self._memory.forget()
        underlay = self._links.underlay(desired, actual.index if actual else 0)
        mtu = desired.mtu or underlay_mtu(underlay, self._path_mtu(desired, actual))
        # What worked on it and was killed may hold the port a little longer than its socket.
        patience = _LET_GO if self._port == desired.listen_port else 0.0
        port = free_port(desired.listen_port, actual.listen_port if actual else 0, patience)
        goal = replace(desired, mtu=mtu, listen_port=port)

        operations = plan(goal, actual, time.time_ns(), self._memory)
        failures = self._carry_out(operations) + self._forward(desired.forward)
        self._port = port
        if port != desired.listen_port:
            what = f"listen port {desired.listen_port}"
            failures.append(Failure(what, f"in use by another program; {port} is used instead"))

        refused = {failure.what for failure in failures}
        done = [
            operation
            for operation in operations
            if isinstance(operation, SetPeer)
            and not (refused and _peer_name(operation.public_key) in refused)
        ]
        found = actual.peers if actual else {}
        added = frozenset(operation.public_key for operation in done if operation.new)
        told = {o.public_key: o.endpoint for o in done if o.endpoint is not None}
        self._memory.settled(desired.peers, found, told)
        self._routes.settle(desired, failures)
        self._wanted = replace(desired, peers={})
        self._standing = Standing(desired.name, self._index, mtu, desired.addresses, underlay)
        applied = Applied(
            index=self._index,
            listen_port=port,
            mtu=mtu,
            peers=added | (found.keys() & desired.peers.keys()),
            added=added,
            writes=len(operations),
            done=tuple(str(operation) for operation in operations[:_SHOWN]),
            failures=tuple(failures),
        )
        return applied, self._backend.pulse()

    def _path_mtu(self, desired: DesiredDevice, actual: ActualDevice | None) -> int:
        """Of the ways to all peers that are not on a link of ours, 0 without any."""
        wanted, found = desired.peers, actual.peers if actual else {}
        endpoints = [peer.endpoint for peer in wanted.values()]
        endpoints += [peer.endpoint for key, peer in found.items() if key in wanted]  # they roam
        addresses = (endpoint.address for endpoint in endpoints if endpoint is not None)
        return self._paths.smallest(
            (address for address in addresses if not address.is_link_local),
            mark=desired.firewall_mark,
            own=self._index,
            now=time.monotonic(),
        )

    def _carry_out(self, operations: Sequence[Operation]) -> list[Failure]:
        """In order; peers in a row all at once, and routes, so that they can be batched."""
        failures: list[Failure] = []
        peers: list[PeerOperation] = []
        routes: list[RouteOperation] = []
        for operation in operations:
            if isinstance(operation, (SetPeer, RemovePeer)):
                failures += self._set_routes(routes)
                peers.append(operation)
            elif isinstance(operation, (AddRoute, RemoveRoute, AddRule, RemoveRule)):
                failures += self._set_peers(peers)
                routes.append(operation)
            else:
                failures += self._set_peers(peers) + self._set_routes(routes)
                failures += self._perform(operation)
        return failures + self._set_peers(peers) + self._set_routes(routes)

    def _perform(self, operation: MakeDevice | SetDevice | LinkOperation) -> list[Failure]:
        if isinstance(operation, MakeDevice):
            self._make()
        elif isinstance(operation, SetDevice):
            self._backend.set_device(self._index, operation)
        else:
            try:
                self._links.perform(self._index, operation)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise
                return [Failure(str(operation), error.strerror or str(error))]
        return []

    def _set_peers(self, operations: list[PeerOperation]) -> list[Failure]:
        """All of them, and empty the list."""
        if not operations:
            return []
        refused = self._backend.set_peers(self._index, tuple(operations))
        operations.clear()
        return [Failure(_peer_name(key), why) for key, why in refused.items()]

    def _set_routes(self, operations: list[RouteOperation]) -> list[Failure]:
        """All of them, and empty the list."""
        if not operations:
            return []
        failures = self._routes.perform(self._index, operations)
        operations.clear()
        return failures

    def _forward(self, on: bool) -> list[Failure]:
        failures = []
        try:
            self._forwarding.switch(on)
        except OSError as error:
            failures.append(Failure("forwarding", error.strerror or str(error)))
        self._forwarded = self._route.forwarding() if on else frozenset()
        return failures

    def _make(self) -> None:
        left = self._find()
        if left is not None and left.name != self._name:
            self._links.perform(left.index, Rename(left.name, self._name))
        self._backend.make()
        link = self._route.link(self._name)
        if link is None:
            raise DeviceError(f"{self._name} went away while it was made")
        self._index = link.index

    def _deviations(self, ended: bool) -> list[str]:
        """What others changed; *ended* is whether wireguard-go has."""
        if self._standing is None or self._wanted is None:
            return []
        links = list(self._links.deviations(self._standing, self._wanted))
        if ended and self._route.link(self._standing.index) is not None:  # it ends with its link
            links.append("wireguard-go has ended")
        # What was done to the link took routes along.
        found = links or list(self._routes.deviations(self._name, self._standing.index))
        for version in sorted(self._forwarded - self._route.forwarding()):
            found.append(f"forwarding of IPv{version} was switched off")
        return found

    def _abandon(self, moved: tuple[int, int] | None) -> None:
        """Our link is gone. One in another namespace keeps its port in this one."""
        if self._route.link(self._index) is not None:
            return  # only what worked on it has ended
        if moved is not None:
            namespace, index = moved
            with suppress(OSError):  # its namespace may be gone too, or be closed to us
                self._route.delete_link(index, namespace=namespace)
        self._backend.abandon()
        self._index = 0

    def _remove(self) -> None:
        self._routes.remove()
        link = self._links.find(self._name, self._index, self._backend.link_kind)
        if link is not None and self._is_ours(link):
            self._backend.remove(link.index)
        self._standing = None
        self._memory.forget()
        self._index = 0
        self._forwarding.switch(False)

    def _close(self) -> None:
        self._backend.close()
        self._route.close()


def not_ours(link: Link) -> str:
    what = f"a device of kind {link.kind}" if link.kind else "a device"
    return (
        f"{link.name} is {what} that somebody else made; it is left alone. "
        f"Remove it (ip link delete {link.name}) or set another name in [device]"
    )


def _peer_name(key: bytes) -> str:
    return f"peer {key_text(key)}"
