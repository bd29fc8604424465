"""Networks carried between nodes: over hops, to the Internet, and over to the next gateway."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

from bmx7wg.core.limits import DEFAULT_DEVICE, DEFAULT_PORT
from bmx7wg.lab.internet import CLIENT, DOWNLOAD, GATEWAY, SERVER4, SERVER6, Internet, Traffic
from bmx7wg.lab.mesh import Mesh
from bmx7wg.lab.namespace import Namespace
from bmx7wg.lab.node import Node
from bmx7wg.lab.topology import lan, line
from bmx7wg.lab.waiting import wait_until

from ..discovery.bmx7_standin import Mesh as Bmx7Mesh
from .conftest import MakeMesh
from .test_nodes import CONNECT, heard, route_primary_addresses, sniff, wait_state

FAILOVER = 60.0  # s; a loaded machine. What it takes on an idle one, bench/networks measures.


def wait_gateway(node: Node, prefix: str, *names: str, timeout: float = FAILOVER) -> str:
    def there() -> str:
        found = node.gateway_of(prefix)
        return found if found in names else ""

    return wait_until(there, f"{prefix} of {node.name} with {names}", timeout=timeout)


# -- to the Internet --------------------------------------------------------------------------


class World:
    """A client and three gateways on one link; see lab/internet.py."""

    def __init__(self, mesh: Mesh, internet: Internet) -> None:
        self.mesh = mesh
        self.client, *self.gateways = mesh
        self.internet = internet
        self.client.configure(CLIENT)
        for gateway in self.gateways:
            gateway.configure(GATEWAY)
            internet.join(gateway)
        mesh.start()

    def in_use(self) -> Node:
        """The gateway that both default routes go through, once they do."""
        name = wait_gateway(self.client, "0.0.0.0/0", *self.mesh.nodes)
        wait_gateway(self.client, "::/0", *self.mesh.nodes)
        return self.mesh[name]

    def others(self, gateway: Node) -> list[str]:
        return [other.name for other in self.gateways if other is not gateway]


@pytest.fixture
def world(make_mesh: MakeMesh) -> Iterator[World]:
    with ExitStack() as stack:
        internet = stack.enter_context(Internet())
        yield World(make_mesh(lan(4)), internet)


def test_a_gateway_that_says_goodbye_is_left_at_once(world: World) -> None:
    with Traffic(world.client) as four, Traffic(world.client, SERVER6) as six:
        gateway = world.in_use()
        four.wait(FAILOVER)
        six.wait(FAILOVER)
        assert gateway.stop() == 0
        wait_gateway(world.client, "0.0.0.0/0", *world.others(gateway))
        wait_gateway(world.client, "::/0", *world.others(gateway))
        four.wait(FAILOVER)
        six.wait(FAILOVER)
        for server in (SERVER4, SERVER6):
            assert len(world.internet.download(world.client, server)) == DOWNLOAD


def cut(gateway: Node) -> None:
    gateway.link("down")


def kill(gateway: Node) -> None:
    gateway.kill()
    gateway.namespace.ip([f"link delete {DEFAULT_DEVICE}"])


def mute(gateway: Node) -> None:
    """Announcements go on, WireGuard's packets don't."""
    for rule in (
        "add table inet mute",
        "add chain inet mute in { type filter hook input priority 0; }",
        f"add rule inet mute in udp dport {DEFAULT_PORT} drop",
    ):
        assert gateway.exec(["nft", rule]).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("harm", [cut, kill, mute])
def test_a_gateway_that_falls_silent_is_left_and_not_taken_again(world: World, harm) -> None:
    with Traffic(world.client) as traffic:
        gateway = world.in_use()
        traffic.wait(FAILOVER)
        harm(gateway)
        chosen = wait_gateway(world.client, "0.0.0.0/0", *world.others(gateway))
        traffic.wait(FAILOVER)
        assert world.client.gateway_of("0.0.0.0/0") == chosen


@pytest.mark.slow
def test_a_gateway_that_becomes_slow_is_left(world: World) -> None:
    with Traffic(world.client, period=0.005) as traffic:
        gateway = world.in_use()
        traffic.wait(FAILOVER)
        shaped = "tc qdisc add dev eth0 root tbf rate 200kbit burst 2k latency 1s"
        assert gateway.exec(shaped.split()).returncode == 0
        wait_gateway(world.client, "0.0.0.0/0", *world.others(gateway))
        traffic.wait(FAILOVER)


def test_an_offer_goes_with_its_route(world: World) -> None:
    gateway = world.in_use()
    gateway.namespace.ip(["route delete 0.0.0.0/0", "route delete ::/0"])
    wait_gateway(world.client, "0.0.0.0/0", *world.others(gateway))
    wait_gateway(world.client, "::/0", *world.others(gateway))


def test_forwarding_that_somebody_switches_off_comes_back(world: World) -> None:
    gateway = world.in_use()
    with Traffic(world.client) as traffic:
        traffic.wait(FAILOVER)
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            assert gateway.exec(["sysctl", "-w", f"{name}=0"]).returncode == 0
            asked = ["sysctl", "-n", name]
            wait_until(lambda: gateway.exec(asked).stdout == "1\n", name, timeout=FAILOVER)
        traffic.wait(FAILOVER)


def test_stopping_leaves_no_route_no_rule_and_no_forwarding(world: World) -> None:
    gateway = world.in_use()
    for node in (world.client, gateway):
        assert node.stop() == 0
        for version in ("-4", "-6"):
            rules = node.exec(["ip", version, "rule"]).stdout
            assert "30077" not in rules and "30076" not in rules
            assert node.exec(["ip", version, "route", "show", "table", "77"]).stdout == ""
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        assert gateway.exec(["cat", f"/proc/sys/net/{name}"]).stdout == "0\n"


# -- networks of the ends of a line -----------------------------------------------------------

LAN = """
[discovery]
source = "bmx7"
[discovery.bmx7]
runtime-dir = "{runtime}"
[device]
forward = true
[[offer]]
network = "10.{number}.0.0/24"
bandwidth = 32000000
[[offer]]
network = "2001:db8:{number}::/64"
bandwidth = 32000000
[[search]]
network = "10.0.0.0/8"
[[search]]
network = "2001:db8::/32"
"""


HOSTS = ("10.1.0.2", "10.4.0.2", "2001:db8:1::2", "2001:db8:4::2")


def host_behind(node: Node, number: int) -> Namespace:
    """A machine in the network 10.number.0.0/24 of a node, which is its router."""
    host = Namespace.create(f"h{number}")
    host.ip(
        [
            f"link add name eth0 type veth peer name lan0 netns {node.namespace.pid}",
            "link set eth0 up",
            f"address add 10.{number}.0.2/24 dev eth0",
            f"address add 2001:db8:{number}::2/64 dev eth0 nodad",
        ]
    )
    node.namespace.ip(
        [
            "link set lan0 up",
            f"address add 10.{number}.0.1/24 dev lan0",
            f"address add 2001:db8:{number}::1/64 dev lan0 nodad",
        ]
    )
    host.ip(
        [
            f"route add default via 10.{number}.0.1",
            f"route add default via 2001:db8:{number}::1",
        ]
    )
    return host


#     h1 ── n1 ── n2 ── n3 ── n4 ── h4
def test_hosts_behind_the_ends_of_a_line_reach_each_other(
    make_mesh: MakeMesh, tmp_path: Path
) -> None:
    mesh = make_mesh(line(4))
    route_primary_addresses(mesh.topology, mesh.nodes)
    with ExitStack() as stack:
        bmx7 = stack.enter_context(Bmx7Mesh(tmp_path, pace=0.02))
        bmx7.line(*mesh.nodes)
        hosts = {}
        for number, (name, node) in enumerate(mesh.nodes.items(), 1):
            bmx7.start(name)
            config = LAN.format(number=number, runtime=bmx7.runtime(name))
            node.configure(config)
            if number in (1, 4):
                hosts[number] = host_behind(node, number)
                stack.callback(hosts[number].destroy)
        mesh.start()
        wait_gateway(mesh["n1"], "10.4.0.0/24", "n4", timeout=CONNECT)
        wait_gateway(mesh["n4"], "2001:db8:1::/64", "n1", timeout=CONNECT)
        wait_state(mesh["n1"], "n4", "connected", CONNECT)

        middle = sniff(mesh["n2"].namespace, "eth1")
        stack.callback(middle.close)
        heard(middle)
        for target in ("10.4.0.2", "2001:db8:4::2"):
            wait_until(lambda: pings(hosts[1], target), f"{target} from h1", timeout=CONNECT)
        packets = heard(middle)
        assert len(packets) > 2
        assert [packet for packet in packets if in_the_clear(packet)] == []

        # bmx7 in the middle restarts: bmx7 forgets nodes for a while, the tunnel does not.
        bmx7.end("n2", signal.SIGKILL)
        bmx7.start("n2")
        assert pings(hosts[1], "10.4.0.2")


def pings(host: Namespace, address: str) -> bool:
    command = host.command(["ping", "-c", "1", "-W", "2", address])
    return subprocess.run(command, capture_output=True).returncode == 0


def in_the_clear(packet: bytes) -> bool:
    """Whether a packet has an address of the hosts to read."""
    return any(ip_address(text).packed in packet for text in HOSTS)
