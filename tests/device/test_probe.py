"""Echo requests, and the datagrams in their place, to a kernel on a cable."""

from __future__ import annotations

import asyncio
import os
from ipaddress import IPv6Address

import pytest

from bmx7wg import sockets
from bmx7wg.device.probe import Prober

from .nodes import inside, run, until

HERE, THERE = f"p{os.getpid()}", f"q{os.getpid()}"
ADDRESS, ABSENT, BEYOND = map(IPv6Address, ("fd88::2", "fd88::3", "fd99::1"))
RETRANSMISSION = "/proc/sys/net/ipv6/neigh/cable/retrans_time_ms"
GROUPS = "/proc/sys/net/ipv4/ping_group_range"
COUNTERS = ("nstat", "-asz", "Icmp6InEchos", "Udp6NoPorts")


@pytest.fixture(params=["0 0", "1 0"], ids=["icmp", "udp"])
def index(request):
    """Of the cable to a kernel at ADDRESS; groups may send echo requests, or may not."""
    for name in (HERE, THERE):
        run("ip", "netns", "add", name)
    try:
        run(
            *("ip", "-n", HERE, "link", "add", "cable", "type", "veth"),
            *("peer", "name", "cable", "netns", THERE),
        )
        for number, name in enumerate((HERE, THERE), 1):
            for interface in ("lo", "cable"):
                run("ip", "-n", name, "link", "set", interface, "up")
            run("ip", "-n", name, "address", "add", f"fd88::{number}/64", "dev", "cable", "nodad")
        for path, text in ((GROUPS, request.param), (RETRANSMISSION, "20")):
            run("ip", "netns", "exec", HERE, "sh", "-c", f"echo {text} >{path}")
        yield int(run("ip", "netns", "exec", HERE, "cat", "/sys/class/net/cable/ifindex"))
    finally:
        for name in (HERE, THERE):
            run("ip", "netns", "delete", name)


def prober():
    with inside(HERE):
        return Prober()


def seen():
    """How many have come to the kernel at the far end."""
    shown = run("ip", "netns", "exec", THERE, *COUNTERS).splitlines()[1:]
    return sum(int(line.split()[1]) for line in shown)


def test_the_round_trip_is_measured_again_and_again(index, run_async):
    async def main():
        probes = prober()
        for _ in range(5):
            assert 0 < await probes.measure(ADDRESS, index) < 5
        await probes.close()

    run_async(main())


def test_whoever_does_not_answer_holds_up_nobody(index, run_async):
    async def main():
        probes = prober()
        absent = asyncio.create_task(probes.measure(ABSENT, index))
        with pytest.raises(TimeoutError, match="unreachable"):
            await probes.measure(BEYOND, index)
        assert 0 < await probes.measure(ADDRESS, index) < 5
        with pytest.raises(TimeoutError, match="No route"):  # said by the kernel, not by a clock
            await absent
        assert not probes._asked
        await probes.close()

    run_async(main())


def test_errors_of_earlier_ones_are_not_taken_for_those_of_later_ones(index, run_async):
    async def main():
        probes = prober()
        for _ in range(3):
            probes.send(ABSENT, index)
        await asyncio.sleep(0)
        for number in range(1, 21):
            probes.send(BEYOND, index)
            probes.send(ADDRESS, index)
            await until(lambda: seen() >= number, f"{number} at the far end")
        await probes.close()

    run_async(main())


def test_a_wrong_interface_is_an_error_at_once(index, run_async):
    async def main():
        probes = prober()
        with pytest.raises(TimeoutError, match="."):
            async with asyncio.timeout(3):
                await probes.measure(ADDRESS, 9999)
        await probes.close()

    run_async(main())


def test_what_is_sent_before_there_is_a_socket_is_sent_then(
    index, run_async, monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr(sockets, "allowed", lambda: False)
    monkeypatch.setattr(sockets, "PATH", str(tmp_path / "nobody"))
    monkeypatch.setattr("bmx7wg.device.probe._AGAIN", 0.01)

    async def main():
        before = seen()
        probes = prober()
        probes.open()
        probes.send(ADDRESS, index)
        measured = asyncio.create_task(probes.measure(ADDRESS, index))
        await until(lambda: caplog.records, "that there is none")
        assert seen() == before
        with inside(HERE):
            made = sockets.make(sockets.PROBE)

        async def given(_kind):
            return made

        monkeypatch.setattr(sockets, "open_socket", given)
        assert 0 < await measured < 5
        await until(lambda: seen() == before + 2, "both")
        await probes.close()

    run_async(main())
    (record,) = caplog.records
    assert "peers can't be probed: bmx7-wg-sockets.socket" in record.getMessage()
