"""What is asked for on the bus, seen on the wire."""

from __future__ import annotations

import json
import signal
from typing import Any

from bmx7wg.lab.node import Node
from bmx7wg.lab.topology import lan
from bmx7wg.lab.waiting import wait_until

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


def bmx7_wg(node: Node, *args: str) -> str:
    """What the command prints in a node."""
    done = node.exec([*node.programs.client, *args])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# n1 ─┬─ n2 ─┬─ n3        n2 and n3 carry 10.3.0.0/24 for n1
#     └──────┘
def test_networks_are_offered_and_searched_by_hand(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(3))
    n1, n2, n3 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    assert bmx7_wg(n2, "offer", LAN, "--bandwidth", "32M").split()[-3:] == ["32", "Mbit/s", "yes"]
    told = bmx7_wg(n1, "search", "10.0.0.0/8", "--name", "lans", "--min-bandwidth", "10M")
    assert told.startswith("searches 10.0.0.0/8")
    wait_until(lambda: carried_by(n1) == "n2", "n2 to carry it", timeout=CONNECT, interval=0.3)
    n1.stop(), n2.stop()  # it is kept
    n1.start(), n2.start()
    n1.wait_ready(), n2.wait_ready()
    wait_until(
        lambda: carried_by(n1) == "n2", "n2 to carry it again", timeout=CONNECT, interval=0.3
    )
    assert f"{LAN} dev wgBmx7" in n1.exec(["ip", "route", "show", "table", "77"]).stdout
    assert f"\n  carries      {LAN}, " in bmx7_wg(n1, "peer", "n2")
    bmx7_wg(n3, "offer", LAN, "--bandwidth", "5M")
    wait_until(lambda: len(seen(n1)) == 2, "the offer of n3", timeout=CONNECT, interval=0.3)
    assert carried_by(n1) == "n2", "n3 offers less than is wanted"
    told = n1.namespace.path("/run/lab/told")
    with told.open("wb") as output:
        client, env = n1.programs.client, n1.programs.environment()
        monitor = n1.namespace.spawn([*client, "monitor"], env=env, stdout=output)
    wait_until(lambda: "1 network: 1 carried" in told.read_text(), "monitor", timeout=CONNECT)
    assert bmx7_wg(n2, "withdraw", LAN) == f"offers {LAN} no more\n"
    wait_until(lambda: carried_by(n1) == "n3", "n3 to carry it", timeout=CONNECT, interval=0.3)
    moved = f"{LAN}         moved from n2 to n3: "
    wait_until(lambda: moved in told.read_text(), "the switch", timeout=CONNECT)
    monitor.signal(signal.SIGINT)
    assert abs(monitor.wait(10)) == signal.SIGINT
    assert bmx7_wg(n1, "forget", "lans") == "searches lans no more\n"
    assert bmx7_wg(n1, "networks") == "0 networks\n"
    assert n1.exec(["ip", "route", "show", "table", "77"]).stdout == ""


LAN = "10.3.0.0/24"


def seen(node: Node) -> list[Any]:
    """The candidates for the LAN."""
    networks = json.loads(bmx7_wg(node, "networks", "--json"))["networks"]
    return [found for network in networks for found in network["Candidates"]]


def carried_by(node: Node) -> str:
    """Who carries the LAN, as a person is told."""
    rows = [line.split() for line in bmx7_wg(node, "networks").splitlines()]
    return "".join(row[1] for row in rows if row and row[0] == LAN)


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
