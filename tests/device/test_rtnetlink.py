"""Links, addresses, routes and events, in a namespace of their own; `ip` is the witness."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from bmx7wg.netlink import NetlinkError, Overrun, attributes, messages
from bmx7wg.rtnetlink import (
    IFF_LOOPBACK,
    Address,
    Events,
    Forwarding,
    Group,
    Link,
    Route,
    Rtnetlink,
    Rule,
    add_route,
    add_rule,
    delete_route,
    delete_rule,
)

from .nodes import inside, run

NAME = f"rt{os.getpid()}"


@pytest.fixture
def route():
    """Requests in a new namespace with a pair of links, one and two, both up."""
    run("ip", "netns", "add", NAME)
    try:
        ip("link", "add", "one", "type", "veth", "peer", "name", "two")
        ip("link", "set", "two", "up")
        with inside(NAME):
            with Rtnetlink() as route:
                yield route
    finally:
        run("ip", "netns", "delete", NAME)


def ip(*arguments):
    return run("ip", "-n", NAME, *arguments)


def shown(*arguments):
    return json.loads(ip("-d", "-j", *arguments))


def gathered(events, seconds=5.0):
    """All events until none came for a moment; at least one has to come."""
    found = []
    while select.select([events], [], [], 0.2 if found else seconds)[0]:
        found += events.get()
    assert found
    return found


def test_links(route):
    links = {link.name: link for link in route.links()}
    assert links.keys() == {"lo", "one", "two"}
    assert links["lo"].flags & IFF_LOOPBACK and links["lo"].hardware_type == 772
    (two,) = shown("link", "show", "two")
    expected = Link(two["ifindex"], "two", links["two"].flags, 1500, "veth", 1, link_local=True)
    assert links["two"] == expected
    assert links["two"].up and not links["one"].up and not links["two"].carrier
    assert route.link("two") == route.link(two["ifindex"]) == links["two"]
    assert route.link("none") is None and route.link(9999) is None


def test_a_link_is_changed(route):
    index = route.link("one").index
    route.change_link(index, mtu=1400, name="uno", alias="ours", no_link_local=True)
    route.change_link(index, up=True)
    (link,) = shown("link", "show", "uno")
    assert (link["mtu"], link["ifalias"], link["inet6_addr_gen_mode"]) == (1400, "ours", "none")
    assert "UP" in link["flags"] and route.link("uno").alias == "ours"
    assert route.link("uno").carrier
    assert route.addresses(index) == [], "not even a link-local one"
    route.change_link(index, up=False)
    assert not route.link(index).up
    route.delete_link(index)
    assert [link.name for link in route.links()] == ["lo"]


def test_a_group_is_set_in_the_message_that_makes_a_link(route):
    events = Events(Group.LINK)
    route.add_link("three", "bridge", group=7)
    first = gathered(events)[0].subject
    events.close()
    assert (first.name, first.group, first.alias) == ("three", 7, "")
    route.change_link(first.index, alias="ours", group=0)
    assert route.link("three").group == 0


def test_a_moved_link_can_be_deleted_where_it_is(route):
    other = f"{NAME}other"
    run("ip", "netns", "add", other)
    try:
        events = Events(Group.LINK)
        ip("link", "set", "one", "netns", other)
        (gone,) = [event for event in gathered(events) if event.gone]
        events.close()
        assert gone.subject.name == "one" and gone.moved is not None
        assert "one" in run("ip", "-n", other, "link")
        number, index = gone.moved
        route.delete_link(index, namespace=number)
        assert "one" not in run("ip", "-n", other, "link")
    finally:
        run("ip", "netns", "delete", other)


def test_errors_say_what_the_kernel_says(route):
    with pytest.raises(NetlinkError, match="minimum") as refused:
        route.change_link(route.link("one").index, mtu=10)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(NetlinkError) as refused:
        route.add_link("three", "no-such-kind")
    assert refused.value.errno == errno.EOPNOTSUPP


@pytest.mark.parametrize("text", ["fd77::1/16", "192.0.2.1/24"])
def test_addresses_and_routes(route, text):
    interface = ip_interface(text)
    index = route.link("one").index
    route.change_link(index, up=True, no_link_local=True)
    route.add_address(index, interface)
    (address,) = route.addresses(index)
    assert address.interface == interface and address.usable
    assert [a for a in route.addresses() if a.index == index] == [address]
    connected = [r for r in route.routes(index, version=interface.version)]
    assert [r.destination for r in connected] == [interface.network]
    with pytest.raises(NetlinkError) as refused:
        route.add_address(index, interface)
    assert refused.value.errno == errno.EEXIST

    route.delete_route(connected[0])
    assert route.routes(index, version=interface.version) == []
    route.add_route(connected[0])
    assert route.routes(index, version=interface.version) == connected
    assert f"{interface.network} dev one proto kernel" in ip(f"-{interface.version}", "route")
    route.delete_address(index, interface)
    assert route.addresses(index) == []
    assert route.routes(index, version=interface.version) == [], "it was the kernel's own again"


def test_a_gateway_and_a_metric(route):
    index = route.link("one").index
    route.change_link(index, up=True)
    route.add_address(index, ip_interface("2001:db8::1/64"))
    way = Route(ip_network("2001:db8:5::/48"), index, metric=7, gateway="2001:db8::2")
    route.add_route(way)
    assert way in route.routes() and way in route.routes(index)
    assert "2001:db8:5::/48 via 2001:db8::2 dev one proto static metric 7" in ip("-6", "route")


def test_events(route):
    with inside(NAME):
        events = Events(*Group)
    try:
        assert events.get() == []
        ip("link", "set", "one", "up")
        ip("address", "add", "2001:db8::1/64", "dev", "one", "nodad")
        ip("-6", "route", "add", "2001:db8:5::/48", "dev", "one")
        ip("address", "delete", "2001:db8::1/64", "dev", "one")
        ip("link", "delete", "one")
        found = gathered(events)
        index = next(e.subject.index for e in found if getattr(e.subject, "name", "") == "one")
        address = Address(index, ip_interface("2001:db8::1/64"))
        told = [
            (event.subject.interface, event.gone)
            for event in found
            if isinstance(event.subject, Address) and event.subject.interface == address.interface
        ]
        assert told == [(address.interface, False), (address.interface, True)]
        routes = {e.subject.destination for e in found if isinstance(e.subject, Route)}
        assert ip_network("2001:db8::/64") in routes, "a connected one"
        assert ip_network("2001:db8:5::/48") not in routes, "a routing daemon's"
        last = [e.gone for e in found if isinstance(e.subject, Link) and e.subject.name == "one"]
        assert last[0] is False and last[-1] is True
    finally:
        events.close()


def test_lost_events_are_told(route):
    with inside(NAME):
        events = Events(Group.LINK)
    try:
        for _ in range(400):  # each some 1 KB; the buffer has 200
            route.change_link(route.link("one").index, up=True)
            route.change_link(route.link("one").index, up=False)
        with pytest.raises(Overrun):
            while events.get():
                pass
    finally:
        events.close()


def test_only_the_kernel_is_listened_to(route):
    with inside(NAME):
        events = Events(Group.LINK)
        forger = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        forger.bind((0, 0))
        watched = next(
            int(line.split()[2])
            for line in open("/proc/thread-self/net/netlink").readlines()[1:]
            if line.split()[1] == "0" and line.split()[3] == "00000001"
        )
    try:
        body = bytes(16)
        message = (16 + len(body)).to_bytes(4, sys.byteorder) + b"\x10\0" + bytes(10) + body
        forger.sendto(message, (watched, 0))
        assert events.get() == []
        ip("link", "set", "one", "mtu", "1300")
        assert {e.subject.name for e in gathered(events)} == {"one"}
    finally:
        forger.close()
        events.close()


def test_broken_messages_raise_and_do_not_loop():
    assert list(messages(b"")) == list(attributes(b"")) == []
    for data in (bytes(16), (99).to_bytes(4, sys.byteorder) + bytes(12)):
        with pytest.raises(NetlinkError):
            list(messages(data))
    for data in (bytes(4), (99).to_bytes(2, sys.byteorder) + bytes(2)):
        with pytest.raises(NetlinkError):
            list(attributes(data))


def test_little_of_pyroute2_is_loaded():
    """It takes most of the start otherwise; and what is loaded must not spoil a full import."""
    code = (
        "import sys, bmx7wg.rtnetlink\n"
        "light = sum(m.startswith('pyroute2') for m in sys.modules)\n"
        "assert 'pyroute2' not in sys.modules and light < 40, light\n"
        "import pyroute2\n"
        "pyroute2.IPRoute().close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ROUTES = [
    Route(ip_network("10.1.0.0/16"), 0, 77, protocol=77, metric=1024),
    Route(ip_network("10.1.0.0/16"), 0, 77, protocol=77, metric=9),
    Route(ip_network("0.0.0.0/0"), 0, 1000, protocol=77),
    Route(ip_network("2001:db8::/32"), 0, 77, protocol=77, metric=1024),
    Route(ip_network("::/0"), 0, 100_000, protocol=77, metric=7),
]


def test_routes_of_any_table_many_at_a_time(route):
    index = route.link("two").index
    routes = [replace(which, index=index) for which in ROUTES]
    ip("route", "add", "10.1.0.0/16", "dev", "two", "table", "77", "metric", "5")
    assert route.batch([add_route(which) for which in routes]) == {}
    found = [
        which
        for version in (4, 6)
        for which in route.routes(index, version=version, table=0, protocol=77)
    ]
    assert sorted(found, key=str) == sorted(routes, key=str)
    listed = ip("route", "show", "table", "77")
    assert "10.1.0.0/16 dev two proto 77 scope link metric 9" in listed
    assert "default dev two table 100000 proto 77 metric 7" in ip(
        "-6", "route", "show", "table", "all"
    )
    assert route.routes(version=4, table=12345) == []

    refused = route.batch([add_route(routes[0]), delete_route(routes[1]), delete_route(routes[1])])
    assert {number: error.errno for number, error in refused.items()} == {
        0: errno.EEXIST,
        2: errno.ESRCH,
    }
    somebody_elses = replace(routes[0], metric=5)
    assert route.batch([delete_route(somebody_elses)])[0].errno == errno.ESRCH
    left = {line["metric"] for line in shown("route", "show", "table", "77")}
    assert left == {5, 1024}


def test_a_thousand_routes_and_as_many_refusals(route):
    index = route.link("two").index
    many = [Route(ip_network(f"10.{n >> 8}.{n & 255}.0/24"), index, 77, 77) for n in range(1000)]
    assert route.batch([add_route(which) for which in many]) == {}
    assert len(route.routes(version=4, table=77)) == 1000
    assert len(route.routes(version=4, table=77, most=10)) == 10
    refused = route.batch([add_route(which) for which in many])
    assert refused.keys() == set(range(1000))
    assert {error.errno for error in refused.values()} == {errno.EEXIST}


@pytest.mark.parametrize("version", [4, 6])
def test_rules(route, version):
    before = shown(f"-{version}", "rule")
    rules = [
        Rule(version, 30077, 77, mark=0x6277, inverted=True, protocol=77),
        Rule(version, 30077, 77, suppress=0, protocol=77),
        Rule(version, 30078, 100_000, protocol=77),
    ]
    ip(f"-{version}", "rule", "add", "pref", "30077", "lookup", "77", "protocol", "4")
    ip(
        f"-{version}",
        "rule",
        "add",
        "pref",
        "30077",
        "ipproto",
        "tcp",
        "lookup",
        "77",
        "protocol",
        "77",
    )
    foreign = [rule for rule in shown(f"-{version}", "rule") if rule not in before]
    assert len(foreign) == 2
    assert route.batch([add_rule(rule) for rule in rules]) == {}
    assert {rule for rule in route.rules(version) if rule.protocol == 77} == set(rules)
    text = ip(f"-{version}", "rule")
    assert "30077:\tnot from all fwmark 0x6277 lookup 77 proto 77" in text
    assert "30077:\tfrom all lookup 77 suppress_prefixlength 0 proto 77" in text
    refused = route.batch([add_rule(rules[1]), *map(delete_rule, rules), delete_rule(rules[2])])
    assert {number: error.errno for number, error in refused.items()} == {
        0: errno.EEXIST,
        4: errno.ENOENT,
    }
    assert [rule for rule in shown(f"-{version}", "rule") if rule not in before] == foreign


def test_events_of_rules_and_of_routes_in_the_place_of_others(route):
    route.change_link(route.link("one").index, up=True)
    with inside(NAME):
        events = Events(Group.IPV4_ROUTE, Group.IPV4_RULE, protocols=(77,))
    try:
        for protocol in ("77", "static"):
            ip("route", "replace", "10.5.0.0/16", "dev", "one", "protocol", protocol)
        ip("route", "add", "10.6.0.0/16", "dev", "one", "protocol", "static")
        ip("rule", "add", "pref", "77", "lookup", "77", "protocol", "77")
        ip("rule", "delete", "pref", "77")
        found = [(event.subject, event.gone) for event in gathered(events)]
        index = route.link("one").index
        assert found == [
            (Route(ip_network("10.5.0.0/16"), index, protocol=77), False),
            (Route(ip_network("10.5.0.0/16"), index), False),
            (Rule(4, 77, 77, protocol=77), False),
            (Rule(4, 77, 77, protocol=77), True),
        ]
    finally:
        events.close()


@pytest.mark.parametrize("version, name", [(4, "ipv4"), (6, "ipv6")])
def test_forwarding(route, version, name):
    with inside(NAME):
        events = Events(Group.IPV4_NETCONF, Group.IPV6_NETCONF)
    try:
        before = route.forwarding()
        assert version not in before
        for on, versions in ((1, before | {version}), (0, before)):
            setting = f"net.{name}.conf.all.forwarding={on}"
            run("ip", "netns", "exec", NAME, "sysctl", "-qw", setting)
            assert route.forwarding() == versions
            assert Forwarding(version, bool(on)) in [e.subject for e in gathered(events)]
    finally:
        events.close()


def test_an_address_says_who_added_it(route):
    index = route.link("one").index
    ip("address", "add", "192.0.2.9/24", "dev", "one")
    for text in ("192.0.2.1/24", "2001:db8::1/64"):
        route.add_address(index, ip_interface(text), protocol=77)
    told = {str(a.interface): a.protocol for a in route.addresses(index)}
    assert told == {"192.0.2.9/24": 0, "192.0.2.1/24": 77, "2001:db8::1/64": 77}
