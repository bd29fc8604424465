"""From the device as it is to the device as it should be: an ordered list of operations.

Additions come before deletions, so nothing that stays is ever without its way. An allowed IP
given to another peer moves there by itself (it is one trie), so it is only ever deleted where
nobody else takes it. Each operation prints as a line for people, without secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from .model import ActualDevice, DesiredDevice, Endpoint, Interface, Network
from .planpeers import Alike, PeerOperation, changed, plan_peers

_NO_KEY: Final = bytes(32)


@dataclass(frozen=True)
class MakeDevice:
    """Make the device, or bring back to life what is left of it."""

    name: str

    def __str__(self) -> str:
        return f"make {self.name}"


@dataclass(frozen=True)
class Mark:
    """Mark the device as ours, and as one that gets no link-local address by itself."""

    def __str__(self) -> str:
        return "mark as ours"


@dataclass(frozen=True)
class Rename:
    """Takes the device down: its addresses and routes have to be added again."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"rename {self.old} to {self.new}"


@dataclass(frozen=True, kw_only=True)
class SetDevice:
    """What is None stays as it is."""

    private_key: bytes | None = field(default=None, repr=False)
    listen_port: int | None = None
    firewall_mark: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.private_key is not None:
            parts.append("private key")
        if self.listen_port is not None:
            parts.append(f"listen port {self.listen_port}")
        if self.firewall_mark is not None:
            parts.append(f"firewall mark {self.firewall_mark:#x}")
        return "set " + ", ".join(parts)


@dataclass(frozen=True)
class SetMtu:
    mtu: int

    def __str__(self) -> str:
        return f"set mtu {self.mtu}"


@dataclass(frozen=True)
class SetUp:
    def __str__(self) -> str:
        return "set up"


@dataclass(frozen=True)
class AddAddress:
    """The kernel adds the connected route with it."""

    address: Interface

    def __str__(self) -> str:
        return f"add address {self.address}"


@dataclass(frozen=True)
class RemoveAddress:
    address: Interface

    def __str__(self) -> str:
        return f"remove address {self.address}"


@dataclass(frozen=True)
class AddRoute:
    """Put back the connected route of an address that is there."""

    prefix: Network

    def __str__(self) -> str:
        return f"add route {self.prefix}"


WireGuardOperation = SetDevice | PeerOperation
LinkOperation = Mark | Rename | SetMtu | SetUp | AddAddress | RemoveAddress | AddRoute
Operation = MakeDevice | WireGuardOperation | LinkOperation


def plan(
    desired: DesiredDevice,
    actual: ActualDevice | None,
    sent: Mapping[bytes, Endpoint],
    now: int,
    alike: Alike | None = None,
) -> tuple[Operation, ...]:
    """The operations that lead from *actual* to *desired*; none if it is there already.

    *sent* are the endpoints last given to the device by this process, by public key; *now* is
    wall time in ns, as the handshakes in *actual* are. *alike* is a memory for the next plan of the
    same device (planpeers.py). An MTU of 0 is left alone.
    """
    peers = actual.peers if actual else {}
    operations: list[Operation] = []
    operations += _device(desired, actual)
    operations += plan_peers(desired.peers, peers, sent, now, {} if alike is None else alike)
    if actual:
        operations += (
            RemoveAddress(address)
            for address in actual.addresses
            if address not in desired.addresses and _is_extra(address, desired, actual)
        )
    return tuple(operations)


def _is_extra(address: Interface, desired: DesiredDevice, actual: ActualDevice) -> bool:
    """Whether an address is a former one of ours, or one that came by itself.

    An administrator may add others: a routing daemon on the device needs a link-local one.
    """
    if address.is_link_local and not actual.marked:
        return True
    return any(address.network == other.network for other in desired.addresses)


def _device(desired: DesiredDevice, actual: ActualDevice | None) -> Iterator[Operation]:
    if actual is None:
        yield MakeDevice(desired.name)
        yield SetDevice(
            private_key=desired.private_key,
            listen_port=desired.listen_port,
            firewall_mark=desired.firewall_mark,
        )
    else:
        if not actual.marked:
            yield Mark()
        if actual.name != desired.name:
            yield Rename(actual.name, desired.name)
        change = SetDevice(
            private_key=changed(_clamped(desired.private_key), _clamped(actual.private_key)),
            listen_port=changed(desired.listen_port, actual.listen_port),
            firewall_mark=changed(desired.firewall_mark, actual.firewall_mark),
        )
        if change != SetDevice():
            yield change
    if desired.mtu and (actual is None or desired.mtu != actual.mtu):
        yield SetMtu(desired.mtu)
    standing = actual is not None and actual.up and actual.name == desired.name
    if not standing:
        yield SetUp()
    for address in desired.addresses:
        if actual is None or not standing or address not in actual.addresses:
            yield AddAddress(address)
        elif address.network not in actual.routes:
            yield AddRoute(address.network)


def _clamped(key: bytes) -> bytes:
    """An X25519 private key as a device stores it (RFC 7748 5); no key at all stays that."""
    if len(key) != len(_NO_KEY) or key == _NO_KEY:
        return _NO_KEY
    return bytes([key[0] & 248]) + key[1:31] + bytes([key[31] & 127 | 64])
