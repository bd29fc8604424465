"""Whole nodes: real services on real buses, WireGuard over real links.

``BMX7WG_PROGRAMS=installed`` runs the same against the installed package.
"""

from __future__ import annotations

import signal
import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path

from bmx7wg.core import announcement, linkframe
from bmx7wg.core.identity import mesh_address, parse_key
from bmx7wg.core.keys import SigningKey
from bmx7wg.core.limits import DEFAULT_DEVICE, DEFAULT_PORT, LINK_GROUP, LINK_PORT
from bmx7wg.core.model import Announcement
from bmx7wg.lab.namespace import Namespace
from bmx7wg.lab.node import CONFIG_DIR, STATE_DIR, Node, Peer
from bmx7wg.lab.ping import Pinger
from bmx7wg.lab.topology import Topology, lan, line
from bmx7wg.lab.waiting import wait_until

from ..discovery.bmx7_standin import Mesh as Bmx7Mesh
from ..discovery.bmx7_standin import node_id_of, primary_of
from .conftest import MakeMesh

CONNECT = 30.0  # s; a loaded machine and one retry of WireGuard
PROMPT = 10.0  # s; what happens at an event
INITIATION, RESPONSE = 1, 2  # WireGuard's messages; data is 4


def address_of(node: Node) -> IPv6Address:
    address = node.mesh_address()
    assert address, f"{node.name} has no mesh address"
    return address


def ping(node: Node, *others: Node, timeout: float = PROMPT) -> None:
    with Pinger(node.namespace) as pinger:
        pinger.round_trips([address_of(other) for other in others], timeout=timeout)


def peer_of(node: Node, name: str) -> Peer | None:
    return next((peer for peer in node.peers() if peer.name == name), None)


def wait_state(node: Node, name: str, state: str, timeout: float = PROMPT) -> Peer:
    def there() -> Peer | None:
        peer = peer_of(node, name)
        return peer if peer and peer.state == state else None

    return wait_until(there, f"state {state} of {name} at {node.name}", timeout=timeout)


def sniff(namespace: Namespace, interface: str) -> socket.socket:
    """Hears all that passes an interface, both ways."""
    everything = 0x0003  # ETH_P_ALL

    def open_() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(everything))
        raw.bind((interface, everything))
        raw.setblocking(False)
        return raw

    return namespace.in_network(open_)


def heard(raw: socket.socket) -> list[bytes]:
    packets = []
    try:
        while True:
            packets.append(raw.recv(65536))
    except BlockingIOError:
        return packets


def wireguard_type(packet: bytes) -> int | None:
    """The type of a WireGuard message over IPv6 and Ethernet; None for anything else."""
    ethernet, ipv6, udp = 14, 40, 8
    if packet[12:14] != b"\x86\xdd" or packet[ethernet + 6] != socket.IPPROTO_UDP:
        return None
    (port,) = struct.unpack_from("!H", packet, ethernet + ipv6 + 2)
    return packet[ethernet + ipv6 + udp] if port == DEFAULT_PORT else None


# n1 ── n2
def test_two_nodes_meet_and_nobody_else_can_read_them(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    text = b"nobody else can read this"
    with sniff(n1.namespace, "eth0") as underlay, sniff(n1.namespace, DEFAULT_DEVICE) as inside:
        ping(n1, n2)
        with n1.namespace.in_network(
            lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        ) as clear:
            clear.sendto(text, (str(address_of(n2)), 9))
        inner: list[bytes] = []
        outer: list[bytes] = []

        def both() -> bool:
            inner.extend(heard(inside))
            outer.extend(heard(underlay))
            return any(text in packet for packet in inner) and len(outer) >= 3

        wait_until(both, "packets on both sides of the tunnel", timeout=PROMPT)
        outer.extend(heard(underlay))
    ends = [address_of(node).packed for node in mesh]
    for packet in outer:
        assert text not in packet
        assert not any(address in packet for address in ends)


#  n1  n2  n3  n4  n5
#   └───┴───┼───┴───┘
def test_five_nodes_are_all_connected_with_each_other(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(5))
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    for node in mesh:
        ping(node, *(other for other in mesh if other is not node))
    status = mesh["n1"].status()
    assert {peer["State"] for peer in status["peers"]} == {"connected"}
    assert len(status["peers"]) == 4
    assert "4 peers: 4 connected" in mesh["n1"].said("STATUS")
    addresses = {address_of(node) for node in mesh}
    assert len(addresses) == 5


# n1 ── n2 ── n3
def test_only_neighbours_find_each_other_on_links(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(line(3))
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)  # n1 with n2 and nobody else, n2 with both
    ping(mesh["n2"], mesh["n1"], mesh["n3"])


# n1 ── n2
def test_sigterm_says_goodbye_and_leaves_nothing(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    assert n2.stop() == 0
    assert wait_state(n1, "n2", "lost").reason == "goodbye"
    links = n2.exec(["ip", "-brief", "link"]).stdout
    assert DEFAULT_DEVICE not in links
    assert set(n2.namespace.processes().values()) == {"dbus-daemon"}
    assert "fd77" not in n2.exec(["ip", "-6", "route", "show", "table", "all"]).stdout


# n1 ── n2
def test_a_killed_node_comes_back_as_itself(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    before = address_of(n2), peer_of(n1, "n2")
    n2.crash()
    assert n2.mesh_address() is None
    n2.start()
    n2.wait_ready()
    ping(n1, n2)
    wait_state(n1, "n2", "connected")
    after = address_of(n2), peer_of(n1, "n2")
    assert before == after


# n1 ── n2
def test_a_killed_service_comes_back_as_itself(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    address = address_of(n2)
    assert n2.kill() == -signal.SIGKILL
    n2.start()
    n2.wait_ready()
    assert address_of(n2) == address
    ping(n1, n2)
    n2.wait_connected({"n1"}, PROMPT)


# n1 ─ ✗ ─ n2
def test_a_link_that_was_down_carries_again(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    n2.link("down")
    wait_until(
        lambda: n2.namespace.address("eth0", "fe80") is None, "loss of the address", timeout=PROMPT
    )
    with Pinger(n1.namespace) as pinger:
        pinger.send(address_of(n2))
        assert pinger.receive() is None
    n2.link("up")
    ping(n1, n2)
    ping(n2, n1)


# n1 ── n2, each with another mesh secret
def test_another_secret_is_another_mesh(make_mesh: MakeMesh, tmp_path: Path) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    secret_of(n1, "one")
    secret_of(n2, "other")
    messages: list[int] = []
    with sniff(n1.namespace, "eth0") as underlay, Pinger(n1.namespace) as pinger:
        mesh.start()
        wait_state(n1, "n2", "configured")
        wait_state(n2, "n1", "configured")

        def answered() -> bool:
            pinger.send(address_of(n2))
            messages.extend(filter(None, map(wireguard_type, heard(underlay))))
            return RESPONSE in messages

        # The secret takes part in the handshake's last step only, so n2 does answer.
        wait_until(answered, "answered handshake", timeout=PROMPT)
        assert pinger.receive() is None
        messages.extend(filter(None, map(wireguard_type, heard(underlay))))
    assert set(messages) == {INITIATION, RESPONSE}  # no data
    assert not n1.connected() and not n2.connected()
    # With the same secret they are of one mesh.
    secret_of(n2, "one")
    assert n2.stop() == 0
    n2.start()
    n2.wait_ready()
    mesh.wait_connected(timeout=CONNECT)


def secret_of(node: Node, secret: str) -> None:
    path = f"{CONFIG_DIR}/secret"
    node.namespace.path(path).write_text(secret)
    node.namespace.path(path).chmod(0o600)
    node.configure(f'[trust]\nsecret-file = "{path}"\n')


#   n1    n2    n3, which says that n2's key is its own
#    └─────┼─────┘
def test_who_announces_the_key_of_another_gets_no_session(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(3))
    n1, n2, n3 = mesh
    for node in (n1, n2):
        node.start()
    for node in (n1, n2):
        node.wait_ready()
    n1.wait_connected({"n2"}, CONNECT)
    n2.wait_connected({"n1"}, CONNECT)
    stolen = peer_of(n1, "n2")
    assert stolen

    forger = SigningKey(bytes(range(32)))
    payload = announcement.encode(Announcement(parse_key(stolen.public_key), 6277, "forger"))
    frame = linkframe.encode(linkframe.Flags.NONE, 1 << 62, payload, forger)
    with n3.namespace.in_network(
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    ) as sender:
        (index,) = struct.unpack("@I", interface_index(n3, "eth0"))
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sender.sendto(frame, (LINK_GROUP, LINK_PORT, 0, index))
        peer = wait_state(n1, "forger", "conflict")
    assert peer.reason
    device = n1.exec(["wg", "show", DEFAULT_DEVICE, "allowed-ips"]).stdout
    assert str(mesh_address(forger.node_id)) not in device
    assert str(address_of(n2)) in device
    ping(n1, n2)


#  n1 ── n2 ── n3, joined by bmx7: n1 and n3 reach each other over n2 only
def test_bmx7_tells_of_nodes_beyond_the_link(make_mesh: MakeMesh, tmp_path: Path) -> None:
    mesh = make_mesh(line(3))
    route_primary_addresses(mesh.topology, mesh.nodes)
    with Bmx7Mesh(tmp_path, pace=0.02) as bmx7:
        bmx7.line(*mesh.nodes)
        for name, node in mesh.nodes.items():
            bmx7.start(name)
            node.configure(
                f'[discovery]\nsource = "bmx7"\n[discovery.bmx7]\n'
                f'runtime-dir = "{bmx7.runtime(name)}"\n'
            )
        mesh.start()
        for name, node in mesh.nodes.items():
            node.wait_connected(set(mesh.nodes) - {name}, CONNECT)
        ping(mesh["n1"], mesh["n3"])
        n3 = peer_of(mesh["n1"], "n3")
        assert n3 and n3.endpoint == f"[{primary_of(node_id_of('n3'))}]:6277"
        assert n3.node_id == node_id_of("n3")

        # Routing is bmx7's; that it restarts tears nothing down.
        bmx7.end("n2", signal.SIGKILL)
        bmx7.start("n2")
        ping(mesh["n1"], mesh["n3"], mesh["n2"])

        assert mesh["n3"].stop() == 0
        wait_state(mesh["n1"], "n3", "lost")


def route_primary_addresses(topology: Topology, nodes: dict[str, Node]) -> None:
    """What bmx7 does in the kernel of a line: an address on each node, routes to all others."""
    order = list(topology.nodes)
    primary = {name: primary_of(node_id_of(name)) for name in order}
    for position, name in enumerate(order):
        node = nodes[name]
        node.exec(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"])
        lines = [f"address add {primary[name]}/128 dev lo nodad"]
        for other_position, other in enumerate(order):
            up = other_position > position
            if other != name:
                via = nodes[order[position + (1 if up else -1)]]
                hop = via.namespace.address("eth0" if up else "eth1", "fe80")
                interface = "eth1" if up else "eth0"
                lines.append(
                    f"route add {primary[other]}/128 via {hop} dev {interface} src {primary[name]}"
                )
        node.namespace.ip(lines)


# n1 ── n2, whose bus is killed and started again
def test_the_bus_may_die(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    n2.bus.kill()
    ping(n1, n2)
    ping(n2, n1)
    n2.bus.start()
    n2.wait_connected({"n1"}, PROMPT)  # asked on the bus, so the name is taken again
    assert n2.service and n2.service.running
    assert n2.state() == "running"


# n1 ── n2, whose device is taken away
def test_a_device_that_dies_is_made_again(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    before = address_of(n2)
    index = n2.status()["device"]["InterfaceIndex"]
    n2.namespace.ip([f"link delete {DEFAULT_DEVICE}"])

    def again() -> bool:
        device = n2.status()["device"]
        return bool(n2.mesh_address() and device["InterfaceIndex"] not in (0, index))

    wait_until(again, "device made anew", timeout=PROMPT)
    assert address_of(n2) == before
    ping(n1, n2)
    ping(n2, n1)
    wait_until(lambda: n2.state() == "running", "state running", timeout=PROMPT)


# n1
def test_a_reload_of_a_broken_file_changes_nothing(make_mesh: MakeMesh) -> None:
    (node,) = make_mesh(lan(1), config='[node]\nname = "first"\n')
    node.start()
    node.wait_ready()
    assert node.service
    node.configure('[node]\nname = "second"\nnonsense = 1\n')
    node.service.signal(signal.SIGHUP)
    wait_until(lambda: "nonsense" in node.log(), "complaint in the log", timeout=PROMPT)
    assert node.status()["manager"]["NodeName"] == "first"
    assert node.service.running and node.state() in ("running", "degraded")
    assert node.stop() == 0
    node.start()
    assert node.service.wait(PROMPT) == 78  # EX_CONFIG: it does not start with it


# n1
def test_a_truncated_key_is_an_error_and_not_a_new_identity(make_mesh: MakeMesh) -> None:
    (node,) = make_mesh(lan(1))
    node.start()
    node.wait_ready()
    assert node.stop() == 0
    state = node.namespace.path(STATE_DIR)
    keys = sorted(path for path in state.iterdir() if path.suffix == ".key")
    assert [path.name for path in keys] == ["node.key", "wireguard.key"]
    for key in keys:
        whole = key.read_bytes()
        key.write_bytes(whole[:20])
        before = node.log()
        node.start()
        assert node.service and node.service.wait(PROMPT) == 1
        said = node.log().removeprefix(before)
        assert f"{STATE_DIR}/{key.name}" in said and "not a key" in said
        assert "Traceback" not in said and whole.decode().strip() not in said
        assert key.read_bytes() == whole[:20]
        key.write_bytes(whole)
    node.start()
    node.wait_ready()


def interface_index(node: Node, interface: str) -> bytes:
    return struct.pack("@I", int(node.exec(["cat", f"/sys/class/net/{interface}/ifindex"]).stdout))
