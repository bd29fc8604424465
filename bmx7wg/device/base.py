"""What the service asks of a device; both backends answer it, and the fake of the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address
from typing import Protocol

from ..core.model import ActualDevice, Applied, DesiredDevice, PeerStatistics


class DeviceError(Exception):
    """The device can't be made or reached; the text says what, why and what to do."""


class Device(Protocol):
    """One WireGuard device, owned by this service.

    Given the whole desired state, it reads what is there and sends the difference, additions
    first. Applying the same state twice sends nothing the second time. Blocking work is done off
    the event loop; calls are made one at a time by the service.
    """

    backend: str  # "kernel" | "userspace"

    async def apply(self, desired: DesiredDevice) -> Applied:
        """Bring the device to the desired state, making it if need be.

        What could not be reached is in ``failures``; the rest stands. Raises DeviceError
        when there is no device afterwards.
        """

    async def read(self) -> ActualDevice | None:
        """The device as it is, None if there is none."""

    async def statistics(self) -> Mapping[bytes, PeerStatistics]:
        """Handshakes and counters by public key; cheap. DeviceError if the device is gone."""

    def probe(self, address: IPv6Address) -> None:
        """Send one datagram to a mesh address, so that WireGuard begins a handshake.

        What can't be sent is counted. Two ends that begin within one round trip spoil it for each
        other: both have become responders, refuse the answers, and try again only after 5 s.
        """

    async def measure(self, address: IPv6Address) -> float:
        """Seconds to a mesh address and back; TimeoutError if nothing comes back."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call *changed* with a sentence for people, on the loop, whenever something of the
        device, its addresses, routes or underlay was changed by somebody else or died.

        The answer to it is `apply`, which puts right what is wrong. Each sentence is said once
        until then.
        """

    async def remove(self) -> None:
        """Take away the device and everything that came with it. Not an error without one."""

    async def close(self) -> None:
        """Let go of the device, which stays as it is."""


class SurroundingsSource(Protocol):
    """Tells of the addresses and routes of the rest of the system (surroundings.py)."""

    async def start(self) -> None:
        ...

    def look_for(self, tables: frozenset[int]) -> None:
        """Tell of the routes in these tables from now on."""

    async def stop(self) -> None:
        ...
