"""Coming onto the bus, staying there, leaving it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bmx7wg.bus.client import (
    Appeared,
    BusUnavailable,
    CallError,
    Client,
    ServiceNotRunning,
    Vanished,
)
from bmx7wg.bus.connection import Connection
from bmx7wg.bus.errors import BusError
from bmx7wg.bus.names import MANAGER, NAME, PEER, PROPERTIES, ROOT, peer_path
from bmx7wg.bus.service import Bus
from bmx7wg.core.views import Changes

from .daemon import ROOT as ROOT_OF_TREE
from .daemon import Daemon
from .samples import Counting, node_id, on_the_bus, peer, until


def silent() -> Bus:
    return Bus(Counting(), state=lambda connected, sentence: None)


def test_no_bus_at_all(place: Path, monkeypatch: pytest.MonkeyPatch, run_async) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={place}/none")

    async def look() -> None:
        with pytest.raises(BusError, match=f"can't connect to unix:path={place}/none: .*No such"):
            await silent().start()
        with pytest.raises(BusUnavailable):
            await Client.connect()

    run_async(look())


@pytest.mark.parametrize("address", ["", "nonsense", "tcp:host=localhost,port=1", "unix:dir=/tmp"])
def test_an_address_that_is_none(address: str, run_async) -> None:
    async def look() -> None:
        with pytest.raises(BusUnavailable):
            await Connection().open(address or "unix:")

    run_async(look())


def test_the_name_is_taken(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus():
            other = silent()
            with pytest.raises(BusError, match=rf"taken by .*\(pid {os.getpid()}\)"):
                await other.start()
            other.publish(Changes(peers=(peer(1),)))
        await other.start()  # it is free now
        async with await Client.connect() as client:
            assert peer_path(node_id(1)) in await client.managed_objects()
        await other.close()

    run_async(look())


def test_the_policy_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch, run_async) -> None:
    bus = Daemon(place, policy=None)
    bus.start()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)

    async def look() -> None:
        with pytest.raises(BusError, match="/usr/share/dbus-1/system.d/org.bmx7.WireGuard1.conf"):
            await silent().start()

    try:
        run_async(look())
    finally:
        bus.stop()


def test_leaving_gives_the_name_back(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(1)) as bus:
            client = await Client.connect()
            following = client.follow()
            await client.managed_objects()
            bus.publish(Changes(gone=(node_id(1),)))
        events = [await anext(following), await anext(following)]
        assert events[1] == Vanished(), "what happened last is told before"
        with pytest.raises(ServiceNotRunning):
            await client.managed_objects()
        with pytest.raises(ServiceNotRunning):
            await Client.connect()
        async with on_the_bus():
            assert await anext(following) == Appeared()
            assert ROOT in await client.managed_objects()
        await client.close()

    run_async(look())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_bus_is_restarted(daemon: Daemon, run_async, how: int) -> None:
    async def look() -> None:
        states: list[tuple[bool, str]] = []
        bus = Bus(
            Counting(), state=lambda connected, sentence: states.append((connected, sentence))
        )
        bus.publish(Changes(peers=(peer(1),)))
        await bus.start()
        client = await Client.connect()
        following = client.follow()
        assert await client.managed_objects()

        daemon.stop(how)
        await until(lambda: not states[-1][0])
        bus.publish(Changes(peers=(peer(2),)))  # nobody hears it, and it is not lost
        with pytest.raises(BusUnavailable):
            async for event in following:
                assert event == Vanished(), "a bus that ends in order says so"
        with pytest.raises(BusUnavailable):
            await client.managed_objects()
        await client.close()
        await until(lambda: states[-1][1].startswith("can't connect"))

        daemon.start()
        began = asyncio.get_running_loop().time()
        await until(lambda: states[-1][0])
        assert asyncio.get_running_loop().time() - began < 2
        async with await Client.connect() as anew:
            table = await anew.managed_objects()
            assert {peer_path(node_id(1)), peer_path(node_id(2))} <= set(table)
            following = anew.follow()
            await anew.managed_objects()
            bus.publish(Changes(gone=(node_id(2),)))
            assert await anext(following)
        assert [connected for connected, _ in states] == [True, False, False, True]
        await bus.close()

    run_async(look())


def test_close_in_every_state(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        await silent().close()  # never started
        bus = silent()
        await bus.start()
        daemon.stop()
        await bus.close()  # while the bus is away
        await bus.close()  # twice

    run_async(look())


def test_start_to_end_leaves_no_descriptor(daemon: Daemon, run_async) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def look() -> None:
        before = count()
        for _ in range(3):
            async with on_the_bus(), await Client.connect() as client:
                await client.managed_objects()
            daemon.stop()
            for _ in range(3):
                with pytest.raises(BusError):
                    await silent().start()
            daemon.start()
        assert count() == before

    run_async(look())


def test_a_client_starts_nobody(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        with pytest.raises(ServiceNotRunning):
            await Client.connect()

    run_async(look())
    assert daemon.said() == []


def test_a_call_that_is_not_answered(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        deaf = Connection(on_call=lambda connection, call: None)
        await deaf.open()
        await deaf.call_bus("RequestName", "su", NAME, 4)
        async with await Client.connect() as client:
            with pytest.raises(CallError) as caught:
                await client.call(ROOT, PROPERTIES, "GetAll", "s", (MANAGER,), timeout=0.05)
            assert caught.value.name == "org.freedesktop.DBus.Error.NoReply"
            waiting = asyncio.ensure_future(client.call(ROOT, PEER, "Describe"))
            await asyncio.sleep(0)
            daemon.stop()
            with pytest.raises(BusUnavailable):
                await waiting
        deaf.close()

    run_async(look())


def test_what_is_imported() -> None:
    """A command line starts at once: no GLib, no cryptography, nothing of the core."""
    code = "import sys, bmx7wg.bus.client; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT_OF_TREE, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"gi", "cryptography", "bmx7wg.core.model", "json"} & loaded
    assert "dbus_next.aio" in loaded
