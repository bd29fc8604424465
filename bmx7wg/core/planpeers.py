"""The part of the plan that is about peers (plan.py): what to tell the device of each.

A device of thousands of peers is compared whenever one of them changes. So what was found alike is
not looked into again (planmemory.py), nor who owns its networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .identity import key_text
from .model import ActualPeer, DesiredPeer, Endpoint, Network
from .planmemory import Memory

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
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


PeerOperation = SetPeer | RemovePeer


def plan_peers(
    desired: Mapping[bytes, DesiredPeer],
    actual: Mapping[bytes, ActualPeer],
    now: int,
    memory: Memory,
) -> Iterator[PeerOperation]:
    """The operations on peers, in an order in which no network is without a peer.

    *memory* notes what is alike, and what is weighed; the rest is as `plan.plan` has it.
    """
    unlike = _unlike(desired, actual, memory)
    gone = actual.keys() - desired.keys()
    present = [key for key in unlike if key in actual]
    # Nobody else takes or holds a network that is on the move.
    owners = {network: key for key in (*present, *gone) for network in actual[key].allowed_ips}
    held = {key: set(actual[key].allowed_ips) for key in present}
    for key in unlike:
        peer, before = desired[key], actual.get(key)
        missing = peer.allowed_ips
        if owners:
            missing = tuple(network for network in missing if owners.get(network) != key)
        if before is None:
            replaces = _former_key(peer, owners, gone) if gone else None
            if replaces and _left(actual[replaces], owners, peer):
                replaces = None  # others are to take networks from it, or routes lead to it
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
            change = SetPeer(
                public_key=key,
                preshared_key=changed(peer.preshared_key, before.preshared_key),
                endpoint=peer.endpoint if memory.must_tell(peer, before, now) else None,
                keepalive=changed(peer.keepalive, before.keepalive),
                allowed_ips=missing,
            )
            if change != SetPeer(public_key=key):
                yield change
        if owners:
            for network in missing:
                held.get(owners.get(network, b""), set()).discard(network)
                owners[network] = key
    for key, networks in held.items():
        own = desired[key].allowed_ips
        if not networks <= set(own):
            yield SetPeer(public_key=key, allowed_ips=own, only_these=True)
    for key in actual if gone else ():
        if key in gone:
            yield RemovePeer(key)


def changed(wanted: _T, present: _T) -> _T | None:
    return wanted if wanted != present else None


def _unlike(
    desired: Mapping[bytes, DesiredPeer],
    actual: Mapping[bytes, ActualPeer],
    memory: Memory,
) -> list[bytes]:
    """The keys of the wanted peers that the device does not have as they should be."""
    found, alike = [], memory.alike
    for key, peer in desired.items():
        before = actual.get(key)
        pair = alike.get(key)
        if pair is not None and pair[0] is peer and pair[1] is before:
            continue
        if before is not None and memory.are_alike(peer, before):
            alike[key] = peer, before
        else:
            alike.pop(key, None)
            found.append(key)
    for key in alike.keys() - desired.keys():
        del alike[key]
    return found


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
