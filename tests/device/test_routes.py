"""Routes, rules and IPv4 addresses of a device; `ip` is the witness, and those of others stay."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from bmx7wg.core.model import DesiredRoute, DesiredRule

from .nodes import connected, until

FOUR = ip_interface("10.99.0.1/24")
SPECIFIC = DesiredRule(4, 30076, 77, specific=True)
MARKED = DesiredRule(4, 30077, 77, mark=0x6277)
SIX = DesiredRule(6, 30077, 77)

# Of others, where ours are: in the same table, at the same priority, on the same device.
FOREIGN = [
    "route add 10.8.0.0/16 dev cable table 77 metric 1024",
    "route add 10.9.0.0/16 dev {} table 77 metric 1024 proto static",
    "-6 route add 2001:db8:9::/48 dev {} table 77 proto static",
    "rule add pref 30077 lookup 77 protocol static",
    "rule add pref 30077 not fwmark 0x6277 lookup 77",
    "-6 rule add pref 30077 lookup 77",
]


def routes(*texts, table=77, metric=1024):
    return tuple(DesiredRoute(ip_network(text), table, metric) for text in texts)


def shown(node, protocol="77"):
    """What `ip` shows of a protocol, as text that does not tell how it got there."""
    found = []
    for version in ("-4", "-6"):
        for route in json.loads(
            node.ip("-d", "-j", version, "route", "show", "table", "all", "proto", protocol)
        ):
            table, metric = route.get("table", "main"), route.get("metric", 0)
            found.append(f"{route['dst']} dev {route['dev']} table {table} metric {metric}")
        for line in node.ip("-d", version, "rule").splitlines():
            if line.endswith(f" proto {protocol}") or f" proto {protocol} " in line:
                words = line.replace("\t", " ").replace(" unicast", "").split(" proto ")
                found.append(f"{version} {words[0]}")
    return found


def all_of_others(node):
    return [
        [
            entry
            for entry in json.loads(node.ip("-d", "-j", *which))
            if entry.get("protocol") != "77"
        ]
        for which in (
            ("-4", "route", "show", "table", "77"),
            ("-6", "route", "show", "table", "77"),
            ("-4", "rule"),
            ("-6", "rule"),
        )
    ]


def test_all_of_it_stands_and_goes(scene):
    async def script(left, right):
        await left.open()
        wish = left.wanted(
            right.as_peer(right.endpoint("global", left), allowed_ips=(ip_network("0.0.0.0/0"),)),
            addresses=(ip_interface(f"{left.address}/16"), FOUR),
            routes=(
                *routes("0.0.0.0/0", "10.1.0.0/16", "2001:db8:1::/48"),
                *routes("::/0", table=1000, metric=0),
            ),
            rules=(SPECIFIC, MARKED, SIX),
        )
        applied = await left.device.apply(wish)
        assert applied.failures == ()
        assert shown(left) == [
            f"default dev {left.name} table 77 metric 1024",
            f"10.1.0.0/16 dev {left.name} table 77 metric 1024",
            "-4 30076: from all lookup 77 suppress_prefixlength 0",
            "-4 30077: not from all fwmark 0x6277 lookup 77",
            f"2001:db8:1::/48 dev {left.name} table 77 metric 1024",
            f"default dev {left.name} table 1000 metric 1024",
            "-6 30077: from all lookup 77",
        ]
        assert f"10.99.0.0/24 dev {left.name} proto kernel" in left.ip("route")
        assert (await left.device.apply(wish)).writes == 0
        actual = await left.device.read()
        assert set(actual.rules) == set(wish.rules) and len(actual.routes) == 4
        assert actual.own_addresses == set(wish.addresses)

        applied = await left.applied(routes=routes("10.1.0.0/16"), rules=(SIX,))
        assert applied.failures == ()
        assert shown(left) == [
            f"10.1.0.0/16 dev {left.name} table 77 metric 1024",
            "-6 30077: from all lookup 77",
        ]
        assert str(FOUR.ip) not in left.ip("address"), "an address of ours that is not wanted"
        await left.device.remove()
        assert shown(left) == []
        assert left.sentences == []

    scene(script)


def test_those_of_others_are_never_touched(scene):
    async def script(left, right):
        await left.open()
        await left.applied()
        left.ip("address", "add", "10.98.0.1/24", "dev", left.name)
        for line in FOREIGN:
            left.ip(*line.format(left.name).split())
        before = all_of_others(left)
        wish = left.wanted(
            addresses=(ip_interface(f"{left.address}/16"), FOUR),
            routes=routes("10.1.0.0/16", "10.8.0.0/16", "10.9.0.0/16", "2001:db8:9::/48"),
            rules=(SPECIFIC, MARKED, SIX),
        )
        applied = await left.device.apply(wish)
        refused = {failure.what: failure.why for failure in applied.failures}
        assert refused == {
            f"add route {prefix} table 77 metric 1024": "there is one of somebody else's"
            for prefix in ("10.8.0.0/16", "10.9.0.0/16", "2001:db8:9::/48")
        }
        assert all_of_others(left) == before
        await left.applied()
        assert shown(left) == [] and all_of_others(left) == before
        assert "10.98.0.1/24" in left.ip("address")

        await left.device.apply(wish)
        await left.device.remove()
        rules = all_of_others(left)[2:]
        assert shown(left) == [] and rules == before[2:]
        assert "10.8.0.0/16 dev cable" in left.ip("route", "show", "table", "77")

    scene(script)


def test_what_a_killed_one_left_is_found_and_cleared(scene):
    async def script(left, right):
        owner = subprocess.Popen(
            ["ip", "netns", "exec", left.name]
            + [sys.executable, "-m", "tests.device.owner", left.backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        wish = left.wanted(
            addresses=(ip_interface(f"{left.address}/16"), FOUR),
            routes=routes("10.1.0.0/16", "10.2.0.0/16"),
            rules=(MARKED, SIX),
        )
        owner.stdin.write(pickle.dumps(wish))
        owner.stdin.close()
        assert owner.stdout.readline() == b"ready\n"
        owner.kill()
        owner.wait()
        owner.stdout.close()
        assert len(shown(left)) == 4

        await left.open()
        assert (await left.device.apply(wish)).writes == 0, "adopted"
        await left.applied(routes=routes("10.2.0.0/16"), rules=(SIX,))
        assert shown(left) == [
            f"10.2.0.0/16 dev {left.name} table 77 metric 1024",
            "-6 30077: from all lookup 77",
        ]
        await left.device.close()
        left.ip("link", "delete", left.name)
        assert len(shown(left)) == 1, "a rule stays without its device"
        await left.open()
        assert (await left.applied(rules=(MARKED,))).failures == ()
        assert shown(left) == ["-4 30077: not from all fwmark 0x6277 lookup 77"]

    scene(script)


# What somebody does, and the sentence of the watch about it ({} is the device).
DISTURBANCES = {
    "route": (
        "ip route delete 10.1.0.0/16 table 77",
        "the route 10.1.0.0/16 table 77 metric 1024 was taken from {}",
    ),
    "IPv6 route": (
        "ip -6 route delete 2001:db8:1::/48 table 77",
        "the route 2001:db8:1::/48 table 77 metric 1024 was taken from {}",
    ),
    "flushed": (
        "ip route flush table 77",
        "the route 10.1.0.0/16 table 77 metric 1024 and 1 more was taken from {}",
    ),
    "rule": (
        "ip rule delete pref 30077",
        "the rule IPv4 pref 30077 not fwmark 0x6277 lookup 77 was taken away",
    ),
    "IPv6 rule": ("ip -6 rule delete pref 30077", "the rule IPv6 pref 30077 lookup 77 was taken"),
    "address": ("ip address delete 10.99.0.1/24 dev {}", "10.99.0.1/24 was taken from {}"),
    "connected": ("ip route delete 10.99.0.0/24 dev {}", "route to 10.99.0.0/24 was taken from {}"),
    "down": ("ip link set {} down", "{} was set down"),
    "down and up": ("ip link set {} down; ip link set {} up", "was taken from {}"),
    "renamed": ("ip link set {} down; ip link set {} name other; ip link set other up", "{} was "),
    "deleted": ("ip link delete {}", "{} was deleted"),
}


@pytest.mark.parametrize("what", DISTURBANCES)
def test_what_others_do_is_noticed_and_put_right(scene, what):
    command, sentence = (part.replace("{}", "$DEVICE") for part in DISTURBANCES[what])

    async def script(left, right):
        await left.open()
        await right.open()
        await connected(left, right)
        wish = left.wanted(
            right.as_peer(right.endpoint("global", left)),
            addresses=(ip_interface(f"{left.address}/16"), FOUR),
            routes=routes("10.1.0.0/16", "10.2.0.0/16", "2001:db8:1::/48"),
            rules=(MARKED, SIX),
        )
        await left.device.apply(wish)
        before = shown(left)
        assert left.sentences == [] and len(before) == 5
        left.exec("sh", "-c", command.replace("$DEVICE", left.name))
        expected = sentence.replace("$DEVICE", left.name)
        await until(lambda: any(expected in said for said in left.sentences), expected)

        applied = await left.device.apply(wish)
        assert applied.writes > 0 and applied.failures == ()
        assert sorted(shown(left)) == sorted(before)
        assert f"10.99.0.0/24 dev {left.name} proto kernel scope link src 10.99.0.1" in left.ip(
            "route"
        )
        assert (await left.device.apply(wish)).writes == 0

    scene(script)


def test_a_route_in_the_place_of_ours_is_noticed_and_left(scene):
    async def script(left, right):
        await left.open()
        wish = left.wanted(routes=routes("10.1.0.0/16"))
        await left.device.apply(wish)
        left.ip("route", "replace", "10.1.0.0/16", "dev", "cable", "table", "77", "metric", "1024")
        await until(lambda: left.sentences, "it was taken")
        (failure,) = (await left.device.apply(wish)).failures
        assert failure.why == "there is one of somebody else's"
        assert "10.1.0.0/16 dev cable" in left.ip("route", "show", "table", "77")
        assert len(left.sentences) == 1, "a failure is not said as a change of others"

    scene(script)


def test_a_prefix_moves_from_one_peer_to_another(scene):
    async def script(left, right):
        await left.open()
        other = replace(
            right.as_peer(right.endpoint("global", left)), public_key=b"C" * 32, allowed_ips=()
        )
        moving = (ip_network("10.1.0.0/16"),)
        here = right.as_peer(right.endpoint("global", left), allowed_ips=moving)
        first = left.wanted(here, other, routes=routes("10.1.0.0/16"), rules=(SIX,))
        await left.device.apply(first)
        gone = replace(here, allowed_ips=())
        there = replace(other, allowed_ips=moving)
        applied = await left.device.apply(
            replace(first, peers={p.public_key: p for p in (gone, there)})
        )
        assert applied.writes == 1 and applied.failures == ()
        _, peers = left.show()
        assert [fields[2] for fields in peers.values()].count("10.1.0.0/16") == 1

    scene(script)


def test_ipv4_inside_and_a_default_route_that_spares_the_tunnel_itself(scene):
    """Both ends have an IPv4 address; the left one sends all its IPv4 through the right one."""

    async def script(left, right):
        await left.open()
        await right.open()
        behind = "198.51.100.7"
        right.ip("address", "add", f"{behind}/32", "dev", "lo")
        everything = ip_network("0.0.0.0/0")
        for node, peer, allowed, more in (
            (left, right, (everything,), {"routes": routes("0.0.0.0/0"), "rules": (MARKED,)}),
            (right, left, (ip_network("10.99.0.1/32"),), {}),
        ):
            endpoint = peer.endpoint("ipv4", node)
            await node.applied(
                peer.as_peer(endpoint, allowed_ips=allowed),
                addresses=(
                    ip_interface(f"{node.address}/16"),
                    ip_interface(f"10.99.0.{node.number}/24"),
                ),
                **more,
            )
        ping = ("ping", "-n", "-c", "3", "-W", "5", behind)
        assert " 0% packet loss" in await asyncio.to_thread(left.exec, *ping, check=False)
        way = json.loads(left.ip("-j", "route", "get", behind))[0]
        assert way["dev"] == left.name and way["prefsrc"] == "10.99.0.1"

    scene(script)
