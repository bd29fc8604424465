"""Keeps the device as the mesh wants it: applies, looks, repairs, tries again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv6Address

from ..core.backoff import Backoff
from ..core.identity import NodeId, key_text
from ..core.keys import public_key
from ..core.mesh import Mesh
from ..core.model import Applied, DesiredDevice
from ..core.views import DeviceView
from ..device.base import Device, DeviceError
from . import journal
from .meter import Meter
from .repairs import Repairs

log = logging.getLogger("bmx7wg.device")

RETRY_FIRST, RETRY_LAST = 0.5, 30.0  # s between attempts at what failed
APPLY_SHARE = 0.0002  # s between two applies for each peer, all of which are compared in one
CHECK = 60.0  # s between looks for what no event tells of: peers, keys, the port
SHOWN_FAILURES = 3  # of those of one attempt, in a sentence for people


class DeviceKeeper:
    """Gives the mesh's desired state to the device, one call at a time.

    *opener* gives the device (device/base.py), *problem* takes what is wrong as a sentence,
    empty when nothing is, and *wake* is called when `tend` has something new to do.
    """

    def __init__(
        self,
        opener: Callable[[], Awaitable[Device]],
        problem: Callable[[str], None],
        wake: Callable[[], None],
    ) -> None:
        self._open, self._problem, self._wake = opener, problem, wake
        self._device: Device | None = None
        self._meter = Meter(self.measure)
        self._lock = asyncio.Lock()
        self._revision = -1  # of the mesh, as applied last
        self._repairs = Repairs(time.monotonic())
        self._failures = ""
        self._check_at: float | None = None
        self._rest_until = float("-inf")  # from applying what changes all the time
        self._waiting = False  # whether something is to be applied after that
        self._backoff = Backoff(RETRY_FIRST, RETRY_LAST)
        self._due: float | None = None  # when to try again what failed; None if nothing did
        #: What was reached last, without its peers; None while there is no device.
        self.applied: Applied | None = None
        #: The same for those who look.
        self.view: DeviceView | None = None

    @property
    def tried(self) -> bool:
        """Whether there was an attempt, successful or not."""
        return self.applied is not None or self._due is not None

    @property
    def disturbed(self) -> bool:
        """Whether something is known that is to be put right."""
        return self._repairs.pending

    def next_timeout(self) -> float | None:
        """When `tend` has something to do by itself (monotonic seconds)."""
        if self.applied is None:
            return self._due
        rest = self._rest_until if self._waiting else None
        times = (self._due, self._repairs.next_timeout(), self._check_at, rest)
        return min((when for when in times if when is not None), default=None)

    def touched(self, sentence: str) -> None:
        """Something was done to the device by somebody else: see to it."""
        self._repairs.noticed(sentence, time.monotonic())
        self._tell()
        self._wake()

    def look_again(self) -> None:
        """See whether the device is as it should be, in the next turn; try again what failed."""
        self._check_at = time.monotonic()
        if self._due is not None:
            self._due = self._check_at
        self._wake()

    async def tend(self, mesh: Mesh, *, urgent: bool) -> None:
        """Do what is due: bring the device up to date, read its counters, probe peers.

        While peers come and go all the time, the device is not compared each time, unless *urgent*.
        """
        mesh.advance(time.monotonic())
        if urgent:
            self._rest_until = float("-inf")
        if self._must_apply(mesh):
            await self._apply(mesh)
        look = mesh.next_look()
        if look is not None and time.monotonic() >= look:
            await self.look(mesh)
        if self._device is not None and self.applied is not None:
            for address in mesh.due_probes(time.monotonic()):
                self._device.probe(address)
        for node_id, way, patience in mesh.due_measurements(time.monotonic()):
            self._meter.probe(way, patience, partial(self._measured, mesh, node_id))

    async def look(self, mesh: Mesh) -> None:
        """Read the counters and handshakes."""
        async with self._lock:
            if self._device is None or self.applied is None:
                return
            try:
                read = await self._device.statistics()
            except DeviceError as error:
                self.touched(str(error))
                read = {}
        mesh.statistics(read, time.monotonic(), time.time_ns())

    def _measured(self, mesh: Mesh, node_id: NodeId, round_trip: float | None) -> None:
        mesh.probed(node_id, round_trip, time.monotonic())
        self._wake()

    async def measure(self, address: IPv6Address) -> float:
        """Seconds to a mesh address and back; TimeoutError without an answer or a device."""
        if self._device is None:
            raise TimeoutError("there is no device")
        return await self._device.measure(address)

    async def end(self, *, remove: bool) -> None:
        """Let go of the device; take it away, or leave it to the next one as it is."""
        await self._meter.close()
        async with self._lock:
            if self._device is None:
                return
            try:
                if remove:
                    await self._device.remove()
            except DeviceError as error:
                log.error("not removed: %s", error)
            await self._device.close()

    def _must_apply(self, mesh: Mesh) -> bool:
        now = time.monotonic()
        self._repairs.advance(now)
        self._tell()
        due = self._due is not None and now >= self._due
        if self._due is not None and self.applied is None:
            return due  # there is no device: not before its time, whatever changed
        check = self._check_at is not None and now >= self._check_at
        if due or check or self._repairs.due(now):
            return True
        self._waiting = mesh.revision != self._revision
        return self._waiting and now >= self._rest_until

    async def _apply(self, mesh: Mesh) -> None:
        async with self._lock:
            expected = self._repairs.pending or self._due is not None
            self._repairs.begun(time.monotonic())
            try:
                if self._device is None:
                    await self._begin(mesh)
                revision, desired = mesh.revision, mesh.desired()
                assert self._device is not None
                applied = await self._device.apply(desired)
            except DeviceError as error:
                self._failed(mesh, str(error))
                return
            except Exception:
                # A mistake of ours, but no reason to end and take the tunnels down.
                log.exception("unexpected error; trying again")
                self._failed(mesh, "unexpected error; see the journal")
                return
        if applied.writes and revision == self._revision and not expected:
            extra = journal.fields(journal.DEVICE_REPAIRED)
            log.warning("put right without an event: %s", "; ".join(applied.done), extra=extra)
        self.applied = replace(applied, peers=frozenset(), added=frozenset())  # thousands
        self._revision = revision
        self._check_at = time.monotonic() + CHECK
        self._rest_until = time.monotonic() + APPLY_SHARE * len(applied.peers)
        self._waiting = False
        self.view = _view(self._device.backend, desired, applied)
        mesh.applied(applied, time.monotonic())
        whys = [f"{failure.what}: {failure.why}" for failure in applied.failures]
        more = len(whys) - SHOWN_FAILURES
        told = whys[:SHOWN_FAILURES] + ([f"and {more} more"] if more > 0 else [])
        self._failures = "; ".join(told)
        self._tell()
        if whys:
            self._try_again()
        else:
            self._backoff.reset()
            self._due = None

    async def _begin(self, mesh: Mesh) -> None:
        """Open the device, and keep the peers of one that is there already."""
        device = await self._open()
        try:
            actual = await device.read()
        except DeviceError:
            await device.close()
            raise
        device.watch(self.touched)
        self._device = device
        if actual is not None:
            mesh.adopt(actual, time.monotonic())

    def _failed(self, mesh: Mesh, sentence: str) -> None:
        self._failures = sentence
        self._tell()
        self.applied = self.view = self._check_at = None
        mesh.device_lost(time.monotonic())
        self._try_again()

    def _try_again(self) -> None:
        self._due = time.monotonic() + self._backoff()

    def _tell(self) -> None:
        self._problem("; ".join(filter(None, (self._repairs.problem, self._failures))))


def _view(backend: str, desired: DesiredDevice, applied: Applied) -> DeviceView:
    return DeviceView(
        name=desired.name,
        index=applied.index,
        backend=backend,
        public_key=key_text(public_key(desired.private_key)),
        listen_port=applied.listen_port,
        firewall_mark=desired.firewall_mark,
        mtu=applied.mtu,
        addresses=tuple(str(address) for address in desired.addresses),
    )
