"""What of a peer goes into the device: its key, what binds it to its node, its allowed IPs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from .identity import KEY_SIZE, NodeId, mesh_address
from .keys import preshared_key
from .model import DesiredPeer, Network, PeerState, StaticPeer
from .peers import Peer
from .prefixes import network
from .settings import Settings


class Roster:
    """The wanted peers, by public key, each with the one node that it stands for.

    The caller sees to it that no two nodes with one key are in it at a time.
    """

    def __init__(self, node_id: NodeId, settings: Settings) -> None:
        self._own_id = node_id
        self._settings = settings
        self._static = {peer.identity: peer for peer in settings.config.peers}
        self._wanted: dict[bytes, DesiredPeer] = {}
        self._holders: dict[bytes, NodeId] = {}
        self._keys: dict[NodeId, bytes] = {}
        self._prepared: dict[NodeId, DesiredPeer] = {}  # for the key that a peer will switch to
        self._carried: dict[NodeId, frozenset[Network]] = {}  # what is routed through a peer
        self._pair_keys: dict[NodeId, bytes] = {}  # preshared keys; each costs 20 µs to make
        self._unsettled: set[NodeId] = set()  # not put since the configuration changed
        #: Grows whenever `peers` is different from before.
        self.revision = 0

    def reconfigure(self, settings: Settings) -> None:
        """Use this from the next `put` of each peer on."""
        if settings.secret != self._settings.secret:
            self._pair_keys.clear()
        self._settings = settings
        self._static = {peer.identity: peer for peer in settings.config.peers}
        self._unsettled.update(self._keys)

    def put(self, peer: Peer) -> tuple[bytes, bool]:
        """Want this peer, as it is now.

        Returns the key that it had before, if it has another one now, else an empty one; and
        whether it is to be probed, because it moved or switched to a key that was prepared.
        """
        wanted = self._as_before(peer) or self._desired(peer)
        key, old = wanted.public_key, self.key_of(peer.node_id)
        prepared = self._prepared.get(peer.node_id)
        switched = prepared is not None and prepared.public_key == key
        gone = self._drop(peer.node_id) if old != key else b""
        self._prepare(peer, wanted)
        self._unsettled.discard(peer.node_id)
        before = self._wanted.get(key)
        if before == wanted and self._holders[key] == peer.node_id:
            return b"", False
        self._wanted[key] = wanted
        self._holders[key] = peer.node_id
        self._keys[peer.node_id] = key
        self.revision += 1
        moved = before is not None and before.endpoint != wanted.endpoint
        return gone, moved or switched

    def remove(self, node_id: NodeId) -> bytes:
        """Want this peer no more; returns the key that it had, empty if it had none."""
        self._unprepare(node_id)
        self._unsettled.discard(node_id)
        self._pair_keys.pop(node_id, None)
        return self._drop(node_id)

    def carry(self, node_id: NodeId, prefixes: frozenset[Network]) -> None:
        """These networks go through a peer from now on, whether it is wanted now or later."""
        before = self._carried.pop(node_id, frozenset())
        if prefixes:
            self._carried[node_id] = prefixes
        wanted = self.get(node_id)
        if wanted is not None and prefixes != before:
            left = set(wanted.allowed_ips) - (before - prefixes)
            self._wanted[wanted.public_key] = replace(wanted, allowed_ips=_sorted(left | prefixes))
            self.revision += 1

    def peers(self) -> dict[bytes, DesiredPeer]:
        """All of them, and the keys that some of them will switch to."""
        prepared = {peer.public_key: peer for peer in self._prepared.values()}
        return {**prepared, **self._wanted}

    def get(self, node_id: NodeId) -> DesiredPeer | None:
        return self._wanted.get(self.key_of(node_id))

    def switching(self, key: bytes) -> NodeId | None:
        """The node that announced that it will switch to *key*, if any did."""
        for node_id, peer in self._prepared.items():
            if peer.public_key == key:
                return node_id
        return None

    @property
    def expects_switches(self) -> bool:
        return bool(self._prepared)

    def holder(self, key: bytes) -> NodeId | None:
        return self._holders.get(key)

    def key_of(self, node_id: NodeId) -> bytes:
        """The key under which a node is wanted, empty if it is not."""
        return self._keys.get(node_id, b"")

    def address(self, node_id: NodeId) -> IPv6Address | None:
        """The mesh address of a peer; None for one that is added by hand and is no node."""
        static = self._static.get(node_id)
        return mesh_address(node_id) if static is None or static.node_id else None

    def _as_before(self, peer: Peer) -> DesiredPeer | None:
        """What is wanted of a peer already, if only what is shown of it changed: that is quick."""
        before = self.get(peer.node_id)
        if before is None or before.public_key != peer.public_key:
            return None
        if peer.node_id in self._unsettled:
            return None
        return before if before.endpoint == peer.endpoint else None

    def _desired(self, peer: Peer) -> DesiredPeer:
        static = self._static.get(peer.node_id) or StaticPeer(peer.public_key)
        address = self.address(peer.node_id)
        own = (network(address.packed, address.max_prefixlen),) if address else ()
        return DesiredPeer(
            public_key=peer.public_key,
            preshared_key=static.preshared_key or self._pair_key(peer.node_id),
            endpoint=peer.endpoint,
            allowed_ips=_sorted({*own, *static.allowed_ips, *self._carried.get(peer.node_id, ())}),
            keepalive=static.keepalive or self._settings.config.device.keepalive,
        )

    def _pair_key(self, node_id: NodeId) -> bytes:
        if self.address(node_id) is None:
            return bytes(KEY_SIZE)  # WireGuard's way to say that there is none
        if node_id not in self._pair_keys:
            pair_key = preshared_key(self._own_id, node_id, self._settings.secret)
            self._pair_keys[node_id] = pair_key
        return self._pair_keys[node_id]

    def _prepare(self, peer: Peer, wanted: DesiredPeer) -> None:
        """Have the key that a peer is about to switch to in the device before it does.

        Only for who proved to be the one it says: nobody else can make the device grow by it.
        """
        key = peer.announcement.next_key if peer.announcement and not peer.switched else b""
        if not key or peer.state is not PeerState.CONNECTED or key in self._wanted:
            self._unprepare(peer.node_id)
            return
        prepared = replace(wanted, public_key=key, allowed_ips=(), keepalive=0)
        if self._prepared.get(peer.node_id) != prepared:
            self._prepared[peer.node_id] = prepared
            self.revision += 1

    def _drop(self, node_id: NodeId) -> bytes:
        key = self._keys.pop(node_id, b"")
        if self._holders.get(key) != node_id:
            return b""
        del self._holders[key], self._wanted[key]
        self.revision += 1
        return key

    def _unprepare(self, node_id: NodeId) -> None:
        if self._prepared.pop(node_id, None) is not None:
            self.revision += 1


def _sorted(prefixes: set[Network]) -> tuple[Network, ...]:
    return tuple(sorted(prefixes, key=lambda prefix: (prefix.version, prefix)))
