"""From the device as it is to the device as it should be: an ordered list of operations.

Additions come before deletions, so nothing that stays is ever without its way. An allowed IP
given to another peer moves there by itself (it is one trie), so it is only ever deleted where
nobody else takes it. Each operation prints as a line for people, without secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from .identity import key_text
from .limits import CONNECTED_FOR
from .model import (
    ActualDevice,
    ActualPeer,
    DesiredDevice,
    DesiredPeer,
    Endpoint,
    Interface,
    Network,
)

_T = TypeVar("_T")

_NO_KEY: Final = bytes(32)
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True)
class MakeDevice:
    """Make the device, or bring back to life what is left of it."""

    name: str

    def __str__(self) -> str:
        return f"make {self.name}"


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


@dataclass(frozen=True, kw_only=True)
class SetPeer:
    """Add a peer, or change of one what is not None.

    *allowed_ips* are added to those that it has, or replace them if *only_these*. The peer
    *replaces*, the former key of the same node, is removed in the same transaction.
    """

    public_key: bytes
    new: bool = False
    replaces: bytes | None = None
    preshared_key: bytes | None = field(default=None, repr=False)
    endpoint: Endpoint | None = None
    keepalive: int | None = None
    allowed_ips: tuple[Network, ...] = ()
    only_these: bool = False

    def __str__(self) -> str:
        parts = []
        if self.preshared_key is not None:
            parts.append("preshared key")
        if self.endpoint is not None:
            parts.append(f"endpoint {self.endpoint}")
        if self.keepalive is not None:
            parts.append(f"keepalive {self.keepalive}")
        if self.allowed_ips or self.only_these:
            names = " ".join(str(network) for network in self.allowed_ips) or "nothing"
            parts.append(f"allow {'only ' if self.only_these else ''}{names}")
        key = key_text(self.public_key)
        if self.replaces is not None:
            what = f"replace peer {key_text(self.replaces)} by {key}"
        else:
            what = f"{'add' if self.new else 'change'} peer {key}"
        return f"{what}: {', '.join(parts)}"


@dataclass(frozen=True)
class RemovePeer:
    public_key: bytes

    def __str__(self) -> str:
        return f"remove peer {key_text(self.public_key)}"


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


PeerOperation = SetPeer | RemovePeer
WireGuardOperation = SetDevice | PeerOperation
LinkOperation = Rename | SetMtu | SetUp | AddAddress | RemoveAddress | AddRoute
Operation = MakeDevice | WireGuardOperation | LinkOperation


def plan(
    desired: DesiredDevice,
    actual: ActualDevice | None,
    sent: Mapping[bytes, Endpoint],
    now: int,
) -> tuple[Operation, ...]:
    """The operations that lead from *actual* to *desired*; none if it is there already.

    *sent* are the endpoints last given to the device by this process, by public key; *now* is
    wall time in ns, as the handshakes in *actual* are. An MTU of 0 is left alone.
    """
    peers = actual.peers if actual else {}
    owners = {network: key for key, peer in peers.items() for network in peer.allowed_ips}
    operations: list[Operation] = []
    operations += _device(desired, actual)
    operations += _peers(desired, peers, owners, sent, now)
    if actual:
        operations += (
            RemoveAddress(address)
            for address in actual.addresses
            if address not in desired.addresses
            and any(address.network == other.network for other in desired.addresses)
        )
    return tuple(operations)


def needs_endpoint(peer: DesiredPeer, actual: ActualPeer, sent: Endpoint | None, now: int) -> bool:
    """Whether the device has to be told the endpoint of a peer that it has.

    Peers roam and WireGuard follows them, so what it has learnt is only overruled when there is
    something newer: an endpoint that differs from the one that we gave it, or, for a peer that
    we found in the device, no handshake within 180 s. wireguard-go does not tell the scope of a
    link-local address; then it may be the right one, and the same rule decides.
    """
    if peer.endpoint is None or peer.endpoint == actual.endpoint:
        return False
    if actual.endpoint is None:
        return True
    if sent is not None:
        return peer.endpoint != sent
    return now - actual.last_handshake > CONNECTED_FOR * _NANOSECONDS


def _device(desired: DesiredDevice, actual: ActualDevice | None) -> Iterator[Operation]:
    if actual is None:
        yield MakeDevice(desired.name)
        yield SetDevice(
            private_key=desired.private_key,
            listen_port=desired.listen_port,
            firewall_mark=desired.firewall_mark,
        )
    else:
        if actual.name != desired.name:
            yield Rename(actual.name, desired.name)
        change = SetDevice(
            private_key=_changed(_clamped(desired.private_key), _clamped(actual.private_key)),
            listen_port=_changed(desired.listen_port, actual.listen_port),
            firewall_mark=_changed(desired.firewall_mark, actual.firewall_mark),
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


def _peers(
    desired: DesiredDevice,
    actual: Mapping[bytes, ActualPeer],
    owners: dict[Network, bytes],
    sent: Mapping[bytes, Endpoint],
    now: int,
) -> Iterator[PeerOperation]:
    gone = {key for key in actual if key not in desired.peers}
    held: dict[bytes, set[Network]] = {
        key: set(peer.allowed_ips) for key, peer in actual.items() if key in desired.peers
    }
    wanted = {network for peer in desired.peers.values() for network in peer.allowed_ips}
    for key, peer in desired.peers.items():
        before = actual.get(key)
        missing = tuple(network for network in peer.allowed_ips if owners.get(network) != key)
        if before is None:
            replaces = _former_key(peer, owners, gone)
            if replaces and not wanted.isdisjoint(_left(actual[replaces], owners, peer)):
                replaces = None  # others are still to take networks from it
            gone.discard(replaces or b"")
            yield SetPeer(
                public_key=key,
                new=True,
                replaces=replaces,
                preshared_key=peer.preshared_key,
                endpoint=peer.endpoint,
                keepalive=peer.keepalive or None,
                allowed_ips=missing,
            )
        else:
            told = needs_endpoint(peer, before, sent.get(key), now)
            change = SetPeer(
                public_key=key,
                preshared_key=_changed(peer.preshared_key, before.preshared_key),
                endpoint=peer.endpoint if told else None,
                keepalive=_changed(peer.keepalive, before.keepalive),
                allowed_ips=missing,
            )
            if change != SetPeer(public_key=key):
                yield change
        for network in missing:
            held.get(owners.get(network, b""), set()).discard(network)
            owners[network] = key
    for key, networks in held.items():
        own = desired.peers[key].allowed_ips
        if not networks <= set(own):
            yield SetPeer(public_key=key, allowed_ips=own, only_these=True)
    for key in actual:
        if key in gone:
            yield RemovePeer(key)


def _former_key(
    peer: DesiredPeer, owners: Mapping[Network, bytes], gone: set[bytes]
) -> bytes | None:
    """The public key that held the node's own address until now, if it is not wanted any more."""
    for network in peer.allowed_ips:
        if network.prefixlen == network.max_prefixlen and owners.get(network) in gone:
            return owners[network]
    return None


def _left(
    former: ActualPeer, owners: Mapping[Network, bytes], successor: DesiredPeer
) -> set[Network]:
    """What *former* would still hold if *successor* took its networks."""
    held = {n for n in former.allowed_ips if owners.get(n) == former.public_key}
    return held - set(successor.allowed_ips)


def _changed(wanted: _T, present: _T) -> _T | None:
    return wanted if wanted != present else None


def _clamped(key: bytes) -> bytes:
    """An X25519 private key as a device stores it (RFC 7748 5); no key at all stays that."""
    if len(key) != len(_NO_KEY) or key == _NO_KEY:
        return _NO_KEY
    return bytes([key[0] & 248]) + key[1:31] + bytes([key[31] & 127 | 64])
