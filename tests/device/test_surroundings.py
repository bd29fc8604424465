"""What is told of the system around us, in a namespace of its own; `ip` and `sysctl` act."""

from __future__ import annotations

import asyncio
import os
import time
from ipaddress import ip_address, ip_network

import pytest

from bmx7wg.device import surroundings
from bmx7wg.device.surroundings import SurroundingsWatch

from .nodes import inside, run, until

NAME = f"su{os.getpid()}"
OURS = "ours"


@pytest.fixture
def told(monkeypatch):
    """Runs a script with a watch and the list of what it told, within a new namespace."""

    def play(script, interval=0.05):
        monkeypatch.setattr(surroundings, "_INTERVAL", interval)

        async def played():
            said = []
            watch = SurroundingsWatch(said.append, device=OURS)
            await watch.start()
            try:
                await until(lambda: said, "the first")
                await script(watch, said)
            finally:
                await watch.stop()
            assert len(asyncio.all_tasks()) == 1

        run("ip", "netns", "add", NAME)
        try:
            for link in ("eth", OURS):
                ip("link", "add", link, "type", "veth", "peer", "name", f"{link}-far")
                ip("link", "set", link, "up", "addrgenmode", "none")
                ip("link", "set", f"{link}-far", "up", "addrgenmode", "none")
            with inside(NAME):
                asyncio.run(played())
        finally:
            run("ip", "netns", "delete", NAME)

    return play


def ip(*arguments):
    return run("ip", "-n", NAME, *arguments)


def networks(*texts):
    return {ip_network(text) for text in texts}


def test_addresses_come_and_go_and_ours_do_not_count(told):
    async def script(watch, said):
        assert said[0].addresses == said[0].connected == frozenset() == said[0].forwarding
        ip("address", "add", "fd77::1/16", "dev", OURS)
        ip("address", "add", "192.0.2.1/24", "dev", "eth")
        ip("address", "add", "2001:db8::1/64", "dev", "eth", "nodad")
        both = {ip_address("192.0.2.1"), ip_address("2001:db8::1")}
        await until(lambda: said[-1].addresses == both, "both addresses")
        assert said[-1].connected == networks("192.0.2.0/24", "2001:db8::/64")
        ip("address", "flush", "dev", "eth")
        await until(lambda: said[-1].addresses == frozenset(), "none")

    told(script)


def test_routes_of_the_tables_that_are_asked_for(told):
    async def script(watch, said):
        ip("route", "add", "default", "dev", "eth")
        ip("route", "add", "10.1.0.0/16", "dev", "eth", "table", "100")
        ip("route", "add", "blackhole", "10.2.0.0/16", "table", "100")
        ip("route", "add", "10.3.0.0/16", "dev", OURS, "table", "100")
        ip("-6", "route", "add", "2001:db8:1::/48", "dev", "eth", "table", "1000")
        assert said[-1].routes == {}
        watch.look_for(frozenset({100, 1000, 254, 5}))
        await until(lambda: said[-1].routes, "the tables")
        assert said[-1].routes == {
            100: networks("10.1.0.0/16"),
            1000: networks("2001:db8:1::/48"),
            254: networks("0.0.0.0/0"),
            5: frozenset(),
        }
        ip("route", "delete", "default", "dev", "eth")
        await until(lambda: not said[-1].routes[254], "it went")
        watch.look_for(frozenset())
        await until(lambda: said[-1].routes == {}, "nothing any more")

    told(script)


def test_a_link_that_goes_down_takes_its_ipv4_routes_without_an_event(told):
    async def script(watch, said):
        ip("route", "add", "10.1.0.0/16", "dev", "eth")
        watch.look_for(frozenset({254}))
        await until(lambda: said[-1].routes.get(254), "the route")
        ip("link", "set", "eth", "down")
        await until(lambda: not said[-1].routes[254], "its end")

    told(script)


def test_forwarding(told):
    async def script(watch, said):
        for family, version in (("ipv6", 6), ("ipv4", 4)):
            run("sysctl", "-qw", f"net.{family}.conf.all.forwarding=1")
            await until(lambda: version in said[-1].forwarding, family)
        assert said[-1].forwarding == {4, 6}
        run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        await until(lambda: said[-1].forwarding == {6}, "IPv4 is not any more")

    told(script)


def test_a_routing_daemon_is_read_seldom_and_not_without_end(told, tmp_path, monkeypatch):
    async def script(watch, said):
        lines = [f"route add 10.{n >> 8}.{n & 255}.0/24 dev eth\n" for n in range(600)]
        batch = tmp_path / "routes"
        batch.write_text("".join(lines) + "".join(lines).replace("add", "delete"))
        watch.look_for(frozenset({254}))
        await until(lambda: 254 in said[-1].routes, "the table")
        readings, begun = [], time.monotonic()
        monkeypatch.setattr(watch, "_read", lambda *which: readings.append(which) or said[-1])
        for _ in range(3):
            await asyncio.to_thread(ip, "-batch", str(batch))
        await until(lambda: readings, "a reading")
        assert len(readings) <= 1 + (time.monotonic() - begun) / 0.2

    told(script, interval=0.2)


def test_of_a_table_without_end_a_part_is_read(told, monkeypatch):
    warnings = []
    monkeypatch.setattr(surroundings.log, "warning", lambda text, *of: warnings.append(text % of))
    monkeypatch.setattr(surroundings, "MAX_TABLE_ROUTES", 2)

    async def script(watch, said):
        for number in range(4):
            ip("route", "add", f"10.{number}.0.0/16", "dev", "eth", "table", "100")
        watch.look_for(frozenset({100}))
        await until(lambda: said[-1].routes, "the table")
        assert said[-1].routes[100] == networks("10.0.0.0/16", "10.1.0.0/16")
        assert warnings == ["table 100: only 2 routes are looked at"]

    told(script)
