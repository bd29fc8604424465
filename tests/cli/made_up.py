"""A mesh that nobody has: what the service would show of it, for any number of peers."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from bmx7wg.cli.view import Snapshot
from bmx7wg.core.identity import NodeId, mesh_address
from bmx7wg.core.model import Origin, PeerState
from bmx7wg.core.views import DeviceView, ManagerView, NetworkView, PeerView, ServiceState


def node_id(name: str) -> NodeId:
    return NodeId(hashlib.sha224(name.encode()).digest())


def key(name: str) -> str:
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


def manager(**changes: Any) -> ManagerView:
    own = node_id("n1")
    values: dict[str, Any] = {
        "version": "0.1.0",
        "node_id": str(own),
        "node_name": "n1",
        "state": ServiceState.RUNNING,
        "problems": (),
        "source": "link",
        "source_state": "ready",
    }
    return ManagerView(**{**values, **changes})


def device(**changes: Any) -> DeviceView:
    values: dict[str, Any] = {
        "name": "wgBmx7",
        "index": 7,
        "backend": "userspace",
        "public_key": key("n1"),
        "listen_port": 6277,
        "firewall_mark": 0x6277,
        "mtu": 1420,
        "addresses": (f"{mesh_address(node_id('n1'))}/16",),
    }
    return DeviceView(**{**values, **changes})


def peer(name: str, /, **changes: Any) -> PeerView:
    """A connected peer that shook hands 70 s ago."""
    own = node_id(name)
    values: dict[str, Any] = {
        "node_id": own,
        "name": name,
        "origin": Origin.LINK,
        "state": PeerState.CONNECTED,
        "reason": "",
        "public_key": key(name),
        "endpoint": f"[fe80::5054:ff:fe{own[0]:02x}:{own.hex()[2:6]}%eth0]:6277",
        "address": str(mesh_address(own)),
        "allowed_ips": (f"{mesh_address(own)}/128",),
        "offers": (),
        "metric": 0,
        "hops": 0,
        "last_handshake": int((time.time() - 70) * 1e6),
        "rx_bytes": 123_456,
        "tx_bytes": 7_654_321,
    }
    return PeerView(**{**values, **changes})


def network(prefix: str, *candidates: str, **changes: Any) -> NetworkView:
    """A network that the first of *candidates* has carried for 70 s; each is worth less."""
    rates = [32_000_000 // number for number in range(1, len(candidates) + 1)]
    values: dict[str, Any] = {
        "prefix": ip_network(prefix),
        "gateway": node_id(candidates[0]) if candidates else None,
        "candidates": tuple(
            (node_id(name), rate, "worse" if number else "")
            for number, (name, rate) in enumerate(zip(candidates, rates))
        ),
        "table": 77,
        "metric": 1024,
        "since": int((time.time() - 70) * 1e6) if candidates else 0,
        "reason": f"the best of {len(candidates)}",
    }
    return NetworkView(**{**values, **changes})


def silent(name: str, state: PeerState, reason: str = "") -> PeerView:
    """A peer that never shook hands."""
    return peer(name, state=state, reason=reason, last_handshake=0, rx_bytes=0, tx_bytes=0)


def peers(count: int) -> list[PeerView]:
    """n2, n3, …: of twenty, one each is idle, lost, in conflict and not yet configured."""
    odd = {
        4: lambda name: peer(name, state=PeerState.IDLE, last_handshake=1),
        7: lambda name: peer(name, state=PeerState.LOST, reason="expired"),
        11: lambda name: silent(name, PeerState.CONFLICT, "announces the key of n2"),
        13: lambda name: silent(name, PeerState.CONFIGURED),
    }
    return [odd.get(number % 20, peer)(f"n{number}") for number in range(2, count + 2)]


def properties(view: Any) -> Mapping[str, Any]:
    """A view as the properties that a client of the bus reads."""
    from bmx7wg.bus.names import DEVICE, MANAGER, NETWORK, PEER
    from bmx7wg.bus.views import PROPERTIES_OF

    kinds = {ManagerView: MANAGER, DeviceView: DEVICE, PeerView: PEER, NetworkView: NETWORK}
    readers = PROPERTIES_OF[kinds[type(view)]]
    return {name: _plain(read(view)) for name, read in readers.items()}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def snapshot(
    views: list[PeerView],
    *,
    of: ManagerView | None = None,
    on: DeviceView | None = None,
    networks: tuple[NetworkView, ...] = (),
) -> Snapshot:
    """What a client makes of these views."""
    from bmx7wg.bus.names import (
        DEVICE,
        DEVICE_PATH,
        MANAGER,
        NETWORK,
        PEER,
        ROOT,
        network_path,
        peer_path,
    )

    return Snapshot.of(
        {
            ROOT: {MANAGER: properties(of or manager())},
            DEVICE_PATH: {DEVICE: properties(on or device())},
            **{peer_path(view.node_id): {PEER: properties(view)} for view in views},
            **{network_path(str(n.prefix)): {NETWORK: properties(n)} for n in networks},
        }
    )
