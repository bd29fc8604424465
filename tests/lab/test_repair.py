"""What others do to the device of a running service, and how it is put right."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bmx7wg.core.limits import DEFAULT_DEVICE
from bmx7wg.lab.node import Node
from bmx7wg.lab.topology import lan
from bmx7wg.lab.waiting import wait_until

from .conftest import MakeMesh
from .stream import Stream
from .test_nodes import CONNECT, PROMPT, address_of, ping

#: What is done, as a script in which $D is the device and $A its address, and what is said of it.
DISTURBANCES = {
    "deleted": ("ip link delete $D", "was deleted"),
    "down": ("ip link set $D down", "was set down"),
    "renamed": ("ip link set $D down; ip link set $D name other", "was "),
    "address": ("ip address delete $A/16 dev $D", "was taken from"),
    "alias": ("ip link set $D alias ''", "was taken from"),
}


def shell(node: Node, script: str) -> None:
    done = node.exec(["sh", "-ec", f"D={DEFAULT_DEVICE} A={node.mesh_address()}; {script}"])
    assert done.returncode == 0, done.stderr


# n1 ── n2
def test_it_is_put_right_and_said(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    address = address_of(n2)
    ping(n1, n2)
    for script, said in DISTURBANCES.values():
        log = n2.log()
        shell(n2, script)
        begun = time.monotonic()

        def done() -> bool:
            return "solved: " in n2.log()[len(log) :] and n2.mesh_address() == address

        wait_until(done, f"repair after {script}", timeout=PROMPT)
        print(f"{script}: put right after {time.monotonic() - begun:.3f} s")
        assert said in n2.log()[len(log) :]
        ping(n1, n2)
        ping(n2, n1)
    wait_until(lambda: n2.state() == "running", "state running", timeout=PROMPT)


# n1 ── n2
def test_a_cable_made_anew_has_other_indexes(make_mesh: MakeMesh) -> None:
    """Link-local endpoints name the interface by its index.

    WireGuard begins anew by itself after 15 s; nobody should have to wait for that.
    """
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    peer = f"peer name eth0 index 78 netns {n2.namespace.pid}"
    cable = f"link add name eth0 index 77 type veth {peer}"
    n1.namespace.ip(["link delete eth0", cable, "link set eth0 up"])
    begun = time.monotonic()
    n2.link("up")
    ping(n1, n2)
    print(f"a new cable: ping after {time.monotonic() - begun:.3f} s")
    ping(n2, n1)
    wait_until(lambda: n1.state() == n2.state() == "running", "state running", timeout=PROMPT)


# n1 ── n2
def test_what_has_no_event_is_put_right_when_somebody_asks(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(lan(2))
    n1, n2 = mesh
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    (peer,) = n2.peers()
    for change in (
        f"peer {peer.public_key} remove",
        f"peer {peer.public_key} allowed-ips ''",
        "listen-port 7000",
        "fwmark 0x1",
    ):
        log = n2.log()
        shell(n2, f"wg set $D {change}")
        done = n2.exec([*n2.programs.client, "sync"])
        assert done.returncode == 0, done.stderr
        assert "put right without an event" in n2.log()[len(log) :]
        ping(n1, n2)
        ping(n2, n1)


# n1 ── n2
@pytest.mark.parametrize("killed", [0, 1], ids=["the sender's", "the receiver's"])
def test_wireguard_go_is_killed(make_mesh: MakeMesh, killed: int) -> None:
    mesh = make_mesh(lan(2))
    nodes = list(mesh)
    mesh.start()
    mesh.wait_connected(timeout=CONNECT)
    node = nodes[killed]
    found = [p for p, name in node.namespace.processes().items() if name == "wireguard-go"]
    if not found:
        assert nodes[0].status()["device"]["Backend"] == "kernel"
        return
    with Stream(*nodes) as stream:
        stream.more(100)
        os.kill(found[0], signal.SIGKILL)
        stream.more(200)
        lost = stream.lost()
    print(f"wireguard-go killed: {lost} of 1,000 a second lost")
    assert 0 < lost < 10_000
    wait_until(lambda: node.state() == "running", "state running", timeout=PROMPT)
    assert "wireguard-go has ended" in node.log()
