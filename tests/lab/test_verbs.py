"""What is asked for on the bus, seen on the wire."""

from __future__ import annotations

from bmx7wg.lab.node import Node
from bmx7wg.lab.topology import lan

from .conftest import MakeMesh
from .stream import Stream
from .test_nodes import CONNECT, peer_of, ping, wait_state

NAME, ROOT = "org.bmx7.WireGuard1", "/org/bmx7/WireGuard1"
MANAGER, PEER = f"{NAME}.Manager", f"{NAME}.Peer"


def path_of(node: Node, name: str) -> str:
    peer = peer_of(node, name)
    assert peer is not None
    return f"{ROOT}/peer/{peer.node_id.lower()}"


# n1 ── n2
def test_a_blocked_node_is_kept_out_even_by_a_new_start(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    path = path_of(n1, "n2")
    n1.bus.call(NAME, path, PEER, "Block")
    wait_state(n1, "n2", "blocked")
    n1.stop()
    n1.start()
    n1.wait_ready()
    assert wait_state(n1, "n2", "blocked").reason == "blocked by the administrator"
    n1.bus.call(NAME, path, PEER, "Unblock")
    wait_state(n1, "n2", "connected", timeout=CONNECT)
    ping(n1, n2)
    (round_trip,) = n1.bus.call(NAME, path, PEER, "Probe")
    assert 0 < round_trip < 5_000_000


# n1 ─┬─ n2 ─┬─ n3 ─┬─ n4
#     └──────┴──────┘
def test_a_new_key_costs_hardly_a_packet(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(4))
    nodes = list(mesh)
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    n1 = nodes[0]
    old = n1.status()["device"]["PublicKey"]
    with Stream(nodes[1], n1) as towards, Stream(n1, nodes[2]) as away:
        (new,) = n1.bus.call(NAME, ROOT, MANAGER, "RotateKey")
        towards.more(1000)
        away.more(1000)
        lost = towards.lost(), away.lost()
    assert new != old and n1.status()["device"]["PublicKey"] == new
    assert max(lost) <= 100, "packets of 1,000 a second"
    for other in nodes[1:]:
        peer = peer_of(other, "n1")
        assert peer is not None and peer.public_key == new
        ping(other, n1)
    mesh.wait_connected(timeout=CONNECT)
