"""A device on each backend, between two namespaces; `wg` and `ip` are the witnesses."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

import pytest

from bmx7wg.core.identity import key_text
from bmx7wg.core.keys import generate_private_key, public_key
from bmx7wg.core.model import DesiredPeer, Failure
from bmx7wg.device import uapi
from bmx7wg.device.backend import MAKING
from bmx7wg.device.base import DeviceError
from bmx7wg.device.choose import open_device
from bmx7wg.rtnetlink import Rtnetlink

from .nodes import PRESHARED, connected, inside, plug_in, probed, run, until

ONLY_KERNEL = pytest.param("kernel", marks=pytest.mark.kernel)


@pytest.mark.parametrize("kind", ["global", "link-local", "ipv4"])
def test_two_nodes_reach_each_other(scene, kind):
    async def script(left, right):
        await left.open()
        await right.open()
        await connected(left, right, kind)
        assert right.pings(left)
        assert left.sentences == right.sentences == []

    scene(script)


def test_what_is_applied_is_what_the_tools_show(scene):
    async def script(left, right):
        await left.open()
        peer = right.as_peer(right.endpoint("ipv4", left), keepalive=25)
        applied = await left.applied(peer)

        device, peers = left.show()
        assert device[2:] == ["6277", "0x6277"] and device[1] == key_text(left.key)
        preshared, endpoint, networks, *_, keepalive = peers[key_text(right.key)]
        assert preshared == key_text(PRESHARED)
        assert (endpoint, networks, keepalive) == ("192.0.2.2:6277", "fd77::2/128", "25")

        link = left.link()
        assert "UP" in link["flags"] and link["mtu"] == 1420 and link["ifalias"] == "bmx7-wg"
        (address,) = left.addresses(left.name)
        assert (address["local"], address["prefixlen"]) == ("fd77::1", 16)
        assert address.get("nodad") and not address.get("tentative")
        assert f"fd77::/16 dev {left.name} proto kernel" in left.ip("-6", "route")

        assert applied.index == link["ifindex"] and applied.listen_port == 6277
        assert applied.mtu == 1420 and applied.failures == ()
        assert applied.peers == applied.added == {right.key}

    scene(script)


def test_the_same_again_writes_nothing(scene):
    async def script(left, right):
        await left.open()
        peer = right.as_peer(right.endpoint("link-local", left), keepalive=25)
        assert (await left.applied(peer)).writes > 0
        again = await left.applied(peer)
        assert again.writes == 0 and again.peers == {right.key} and again.added == frozenset()

    scene(script)


def test_peers_change_in_place(scene):
    async def script(left, right):
        await left.open()
        before = right.as_peer(right.endpoint("global", left), keepalive=25)
        await left.applied(before)
        after = right.as_peer(
            right.endpoint("ipv4", left),
            preshared_key=b"Q" * 32,
            allowed_ips=(IPv4Network("10.3.0.0/24"), *before.allowed_ips),
        )
        assert (await left.applied(after)).writes == 1
        _, peers = left.show()
        preshared, endpoint, networks, *_, keepalive = peers[key_text(right.key)]
        assert preshared == key_text(b"Q" * 32)
        assert (endpoint, keepalive) == ("192.0.2.2:6277", "off")
        assert set(networks.split(",")) == {"10.3.0.0/24", "fd77::2/128"}

        await left.applied(right.as_peer(after.endpoint, preshared_key=b"Q" * 32))
        assert left.show()[1][key_text(right.key)][2] == "fd77::2/128"
        assert (await left.applied()).peers == frozenset()
        assert left.show()[1] == {}

    scene(script)


def test_a_new_key_takes_over_the_address(scene):
    async def script(left, right):
        await left.open()
        await right.open()
        await connected(left, right)
        right.private = generate_private_key()
        applied = await left.applied(right.as_peer(right.endpoint("global", left)))
        assert applied.writes == 1 and applied.added == applied.peers == {right.key}
        await right.applied(left.as_peer(left.endpoint("global", right)))
        await probed(right, left)
        assert left.pings(right)
        assert list(left.show()[1]) == [key_text(right.key)]

    scene(script)


def test_many_peers_and_networks_are_written_and_read_whole(scene):
    async def script(left, right):
        await left.open()
        wide = tuple(IPv6Network((0x20010DB8 << 96 | n << 64, 64)) for n in range(2000))
        peers = [
            DesiredPeer(
                public_key((n << 99).to_bytes(32, "big")), PRESHARED, None, (IPv6Network(n),)
            )
            for n in range(1, 300)
        ]
        peers.append(right.as_peer(right.endpoint("global", left), allowed_ips=wide))
        applied = await left.applied(*peers)
        assert len(applied.peers) == 300 and applied.failures == ()
        _, shown = left.show()
        assert len(shown) == 300
        assert len(shown[key_text(right.key)][2].split(",")) == 2000
        actual = await left.device.read()
        assert {k: set(p.allowed_ips) for k, p in actual.peers.items()} == {
            p.public_key: set(p.allowed_ips) for p in peers
        }
        assert (await left.applied(*peers)).writes == 0
        assert (await left.device.statistics()).keys() == applied.peers
        moved = [replace(peers[0], allowed_ips=wide[:1500]), *peers[1:-1]]
        assert (await left.applied(*moved)).failures == ()
        assert len(left.show()[1][key_text(peers[0].public_key)][2].split(",")) == 1500

    scene(script)


def test_statistics_are_those_of_wg(scene):
    async def script(left, right):
        await left.open()
        await right.open()
        await connected(left, right)
        counted = (await left.device.statistics())[right.key]
        shown = left.show()[1][key_text(right.key)]
        assert counted.last_handshake // 10**9 == int(shown[3]) > 0
        assert (counted.rx_bytes, counted.tx_bytes) == (int(shown[4]), int(shown[5]))
        assert counted.endpoint == right.endpoint("global", left)

    scene(script)


def test_a_busy_port_is_told_and_another_taken(scene):
    async def script(left, right):
        with inside(left.name):
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            other.bind(("0.0.0.0", 6277))
            device = await left.open()
            applied = await device.apply(left.wanted())
        assert applied.listen_port not in (0, 6277)
        (failure,) = applied.failures
        assert isinstance(failure, Failure) and failure.what == "listen port 6277"
        assert left.show()[0][2] == str(applied.listen_port)
        assert (await left.applied()).writes == 0
        other.close()
        assert (await left.applied()).listen_port == 6277, "once it is free, it is ours"

    scene(script)


def test_the_mtu_is_what_the_underlay_allows(scene):
    async def script(left, right):
        await left.open()
        for underlay, expected in ((1500, 1420), (1400, 1320), (1340, 1280)):
            left.ip("link", "set", "cable", "mtu", str(underlay))
            assert (await left.applied()).mtu == left.link()["mtu"] == expected
        left.ip("link", "set", "cable", "mtu", "1460")
        assert (await left.applied(underlay=())).mtu == 1380, "of all that may carry"
        left.ip("link", "set", "cable", "down")
        assert (await left.applied(underlay=())).mtu == 1420, "of none"
        assert (await left.applied(mtu=1300)).mtu == left.link()["mtu"] == 1300

    scene(script)


def test_remove_leaves_nothing(scene):
    async def script(left, right):
        await left.open()
        await left.applied(right.as_peer(right.endpoint("global", left)))
        await left.device.remove()
        assert left.name not in left.ip("link", "show")
        assert left.process_ids() == []
        assert not os.path.exists(f"/var/run/wireguard/{left.name}.sock")
        await left.device.remove()
        assert await left.device.read() is None
        assert left.sentences == []

    scene(script)


def test_close_leaves_all_and_the_next_one_writes_nothing(scene):
    async def script(left, right):
        await left.open()
        await right.open()
        await connected(left, right)
        index = left.link()["ifindex"]
        await left.device.close()
        assert left.pings(right)
        await left.open()
        applied = await left.applied(right.as_peer(right.endpoint("global", left)))
        assert applied.writes == 0 and applied.index == index and applied.added == frozenset()
        assert applied.peers == {right.key}
        assert left.pings(right)

    scene(script)


def test_the_tunnel_outlives_its_killed_owner(scene):
    async def script(left, right):
        await right.open()
        owner = subprocess.Popen(
            ["ip", "netns", "exec", left.name]
            + [sys.executable, "-m", "tests.device.owner", left.backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        owner.stdin.write(pickle.dumps(left.wanted(right.as_peer(right.endpoint("global", left)))))
        owner.stdin.close()
        assert owner.stdout.readline() == b"ready\n"
        await right.applied(left.as_peer(left.endpoint("global", right)))
        await probed(right, left)

        stream = subprocess.Popen(
            ["ip", "netns", "exec", right.name]
            + ["ping", "-6", "-n", "-i", "0.01", "-c", "60", "-W", "5", str(left.address)],
            stdout=subprocess.PIPE,
            text=True,
        )
        owner.kill()
        owner.wait()
        owner.stdout.close()
        await left.open()
        applied = await left.applied(right.as_peer(right.endpoint("global", left)))
        assert applied.writes == 0 and applied.peers == {right.key}
        told, _ = await asyncio.to_thread(stream.communicate)
        assert " 0% packet loss" in told, told  # whole: which one was lost, and when

    scene(script)


@pytest.mark.parametrize("backend", [ONLY_KERNEL], indirect=True)
def test_a_device_whose_maker_was_killed_half_way_is_ours(scene):
    async def script(left, right):
        with inside(left.name):
            route = Rtnetlink()
        with route:
            route.add_link(left.name, "wireguard", group=MAKING)
        index = left.link()["ifindex"]
        await left.open(backend="auto")
        assert (await left.applied()).index == index
        assert left.link()["ifalias"] == "bmx7-wg" and left.link()["group"] == "default"
        assert (await left.applied()).writes == 0

    scene(script)


class TestNotOurs:
    def test_not_wireguard(self, scene):
        async def script(left, right):
            left.ip("link", "add", left.name, "type", "bridge")
            before = left.link()
            for backend in ("auto", left.backend):
                with pytest.raises(DeviceError, match="bridge.*somebody else.*ip link delete"):
                    await left.open(backend=backend)
            assert left.link() == before

        scene(script)

    def test_without_our_mark(self, scene, backend):
        """As wg-quick and NetworkManager make them."""

        async def script(left, right):
            if backend == "userspace":
                left.ip("tuntap", "add", "mode", "tun", "dev", left.name)
            else:
                left.ip("link", "add", left.name, "type", "wireguard")
                left.exec("wg", "set", left.name, "listen-port", "6277")
            before = left.link()
            for chosen in ("auto", left.backend):
                with pytest.raises(DeviceError, match="somebody else"):
                    await left.open(backend=chosen)
            assert left.link() == before and left.process_ids() == []

        scene(script)

    def test_made_by_somebody_else_meanwhile(self, scene):
        async def script(left, right):
            await left.open()
            left.ip("link", "add", left.name, "type", "bridge")
            with pytest.raises(DeviceError, match="somebody else"):
                await left.applied()
            await left.device.remove()
            assert left.link()["linkinfo"]["info_kind"] == "bridge"

        scene(script)

    def test_a_second_process(self, scene):
        async def script(left, right):
            await left.open()
            for _ in range(200):  # more than wait in the queue of a socket
                with inside(left.name), pytest.raises(DeviceError, match="another process"):
                    await open_device(left.backend, left.name)
                await asyncio.sleep(0)

        scene(script)

    def test_a_lock_in_the_hands_of_any_user_is_none(self, scene):
        async def script(left, right):
            take = (
                "import os, socket, sys; os.setuid(65534);"
                "taken = socket.socket(socket.AF_UNIX);"
                f"taken.bind('\\0bmx7-wg/{left.name}'); taken.listen();"
                "print('taken', flush=True); sys.stdin.read()"
            )
            user = subprocess.Popen(
                ["ip", "netns", "exec", left.name, sys.executable, "-c", take],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert user.stdout.readline() == b"taken\n"
            await left.open()
            assert (await left.applied()).failures == ()
            user.communicate()

        scene(script)


# What somebody does, the sentence of the watch about it ({} is the device).
DISTURBANCES = {
    "deleted": ("ip link delete {}", "{} was deleted"),
    "down": ("ip link set {} down", "{} was set down"),
    "renamed": ("ip link set {} down; ip link set {} name other; ip link set other up", "{} was "),
    "address": ("ip address delete fd77::1/16 dev {}", "fd77::1/16 was taken from {}"),
    "flushed": ("ip address flush dev {}", "fd77::1/16 was taken from {}"),
    "route": ("ip -6 route delete fd77::/16 dev {}", "route to fd77::/16 was taken from {}"),
    "mtu": ("ip link set {} mtu 1300", "the MTU of {} was changed to 1300"),
    "alias": ("ip link set {} alias ''", "the alias bmx7-wg was taken from {}"),
    "another alias": ("ip link set {} alias mine", "the alias bmx7-wg was taken from {}"),
    "address mode": ("ip link set {} addrgenmode eui64", "{} was told to get a link-local"),
    "link-local address": (
        "echo 0 >/proc/sys/net/ipv6/conf/{}/addr_gen_mode",
        "{} was told to get a link-local",
    ),
    "moved": ("ip link set {} netns elsewhere", "{} was deleted, or moved"),
    "underlay mtu": ("ip link set cable mtu 1400", "the underlay allows an MTU of 1320 now"),
}


@pytest.fixture
def away():
    """A network namespace that is nobody's."""
    name = f"away{os.getpid()}"
    run("ip", "netns", "add", name)
    yield name
    run("ip", "netns", "delete", name)


@pytest.mark.parametrize("what", DISTURBANCES)
def test_what_others_do_is_noticed_and_put_right(scene, away, what):
    command, sentence = (part.replace("{}", "$DEVICE") for part in DISTURBANCES[what])

    async def script(left, right):
        await left.open()
        await right.open()
        await connected(left, right)
        assert left.sentences == []
        left.exec("sh", "-c", command.replace("$DEVICE", left.name).replace("elsewhere", away))
        expected = sentence.replace("$DEVICE", left.name)
        await until(lambda: any(expected in said for said in left.sentences), expected)
        assert "wireguard-go has ended" not in left.sentences, "with its link it does"

        applied = await left.applied(right.as_peer(right.endpoint("global", left)))
        assert applied.writes > 0 and applied.failures == ()
        assert left.link()["mtu"] == applied.mtu
        assert left.link()["ifalias"] == "bmx7-wg"
        assert not [a for a in left.addresses(left.name) if a["scope"] == "link"]
        if right.key in applied.added:
            await probed(left, right)  # made anew, it does not know its session any more
        assert left.pings(right)
        assert (await left.applied(right.as_peer(right.endpoint("global", left)))).writes == 0

    scene(script)


def test_an_underlay_interface_made_anew_is_noticed(scene):
    async def script(left, right):
        await left.open()
        await right.open()
        await connected(left, right, "link-local")
        left.ip("link", "delete", "cable")
        plug_in(left, right, "index", "77")
        expected = "the underlay interface cable was made anew"
        await until(lambda: expected in left.sentences, expected)
        for one, other in ((left, right), (right, left)):
            applied = await one.applied(other.as_peer(other.endpoint("link-local", one)))
            assert applied.writes == 1
        assert left.pings(right)

    scene(script)


def test_own_changes_are_not_noticed(scene):
    async def script(left, right):
        await left.open()
        for mtu in (1400, 1300):
            await left.applied(mtu=mtu, addresses=(IPv6Interface("fd77::9/16"),))
            await left.applied(mtu=mtu)
        left.ip("link", "set", left.name, "mtu", "1350")
        await until(lambda: left.sentences, "a change by others")
        assert left.sentences == [f"the MTU of {left.name} was changed to 1350"]

    scene(script)


def stopped(process):
    tasks = Path(f"/proc/{process}/task").iterdir()
    return all((t / "stat").read_text().rpartition(") ")[2][0] == "T" for t in tasks)


@pytest.mark.parametrize("backend", ["userspace"])
class TestWireguardGo:
    """What only a process can do: die."""

    def test_killed_it_is_back_on_the_same_link(self, scene):
        async def script(left, right):
            await left.open()
            await right.open()
            await connected(left, right)
            link = left.link()
            (process,) = left.process_ids()
            os.kill(process, signal.SIGKILL)
            await until(lambda: left.sentences, "notice of the death")
            assert left.sentences == ["wireguard-go has ended"]
            assert left.link()["ifindex"] == link["ifindex"] and left.addresses(left.name)
            assert f"fd77::/16 dev {left.name}" in left.ip("-6", "route")

            peer = right.as_peer(right.endpoint("global", left))
            applied = await left.applied(peer)
            assert applied.index == link["ifindex"] and applied.added == {right.key}
            await probed(left, right)
            assert left.pings(right)
            assert left.process_ids() != [process] and len(left.process_ids()) == 1
            assert (await left.applied(peer)).writes == 0

        scene(script)

    def test_killed_while_it_is_adopted(self, scene):
        async def script(left, right):
            await left.open()
            await right.open()
            await connected(left, right)
            index = left.link()["ifindex"]
            await left.device.close()
            await left.open()
            peer = right.as_peer(right.endpoint("global", left))
            await left.applied(peer)
            (process,) = left.process_ids()
            os.kill(process, signal.SIGKILL)
            await until(lambda: "wireguard-go has ended" in left.sentences, "notice of the death")
            assert (await left.applied(peer)).index == index
            await probed(left, right)
            assert left.pings(right)

        scene(script)

    def test_killed_while_nobody_looked(self, scene):
        """The link stands, the socket is stale."""

        async def script(left, right):
            await left.open()
            await right.open()
            await connected(left, right)
            index = left.link()["ifindex"]
            await left.device.close()
            (process,) = left.process_ids()
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            assert os.path.exists(f"/var/run/wireguard/{left.name}.sock")
            await left.open(backend="auto")
            applied = await left.applied(right.as_peer(right.endpoint("global", left)))
            assert applied.index == index and applied.added == {right.key}
            await probed(left, right)
            assert left.pings(right)

        scene(script)

    def test_killed_and_its_link_renamed(self, scene):
        async def script(left, right):
            await left.open()
            await right.open()
            await connected(left, right)
            index = left.link()["ifindex"]
            (process,) = left.process_ids()
            os.kill(process, signal.SIGKILL)
            left.exec("sh", "-c", DISTURBANCES["renamed"][0].replace("{}", left.name))
            await until(lambda: len(left.sentences) >= 2, "both are noticed")
            peer = right.as_peer(right.endpoint("global", left))
            applied = await left.applied(peer)
            assert applied.index == left.link()["ifindex"] == index
            await probed(left, right)
            assert left.pings(right)
            assert (await left.applied(peer)).writes == 0

        scene(script)

    def test_busy_it_is_left_alone(self, scene, monkeypatch):
        """No answer in time is an error; another process in its place would know no session."""

        async def script(left, right):
            await left.open()
            await right.open()
            await connected(left, right)
            peer = right.as_peer(right.endpoint("global", left))
            (process,) = left.process_ids()
            os.kill(process, signal.SIGSTOP)
            try:
                await until(lambda: stopped(process), "all its threads to stop")
                await left.device.close()
                with monkeypatch.context() as impatient:
                    impatient.setattr(uapi, "TIMEOUT", 0.1)
                    await left.open()
                    with pytest.raises(DeviceError):
                        await left.applied(peer)
                    with pytest.raises(DeviceError):
                        await left.device.statistics()
            finally:
                os.kill(process, signal.SIGCONT)
            assert (await left.applied(peer)).writes == 0
            assert left.process_ids() == [process] and left.pings(right)

        scene(script)

    def test_a_refused_peer_is_told_and_the_others_stand(self, scene):
        async def script(left, right):
            await left.open()
            good = right.as_peer(right.endpoint("global", left))
            bad = DesiredPeer(b"B" * 32, b"too short", None, ())
            also = DesiredPeer(b"C" * 32, PRESHARED, None, ())
            applied = await left.applied(good, bad, also)
            assert [failure.what for failure in applied.failures] == [f"peer {key_text(b'B' * 32)}"]
            assert applied.peers == applied.added == {right.key, b"C" * 32}

        scene(script)

    def test_somebody_elses_wireguard_go(self, scene):
        async def script(left, right):
            left.exec("wireguard-go", left.name)
            (process,) = left.process_ids()
            with pytest.raises(DeviceError, match="somebody else"):
                await left.open()
            assert left.process_ids() == [process] and left.show()

        scene(script)


@pytest.mark.parametrize("backend", ["userspace"])
def test_the_kernel_is_preferred_and_all_remedies_are_named(scene, monkeypatch, kernel_wireguard):
    """Without wireguard-go: the kernel if it can, else what to do about either."""

    async def script(left, right):
        with monkeypatch.context() as without:
            without.setenv("PATH", "/nowhere")
            if kernel_wireguard:
                assert (await left.open(backend="auto")).backend == "kernel"
                return
            for backend in ("auto", "kernel", "userspace"):
                with pytest.raises(DeviceError) as refused:
                    await left.open(backend=backend)
                said = str(refused.value)
                assert ("apt install linux-image-amd64" in said) == (backend != "userspace")
                assert ("apt install wireguard-go" in said) == (backend != "kernel")

    scene(script)
