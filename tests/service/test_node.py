"""The service's rhythm, with a device in memory, a source that the test speaks for, and a clock
that is the real one: waiting is on conditions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv6Address, ip_network

import pytest

from bmx7wg.bus.errors import BusError
from bmx7wg.core.config import Config, ConfigError, DeviceConfig, TrustConfig
from bmx7wg.core.identity import NodeId, mesh_address
from bmx7wg.core.model import (
    ActualPeer,
    Announced,
    Announcement,
    Endpoint,
    Identified,
    Observation,
    OfferRule,
    Origin,
    SourceState,
    SourceStatus,
    Surroundings,
    Withdrawn,
)
from bmx7wg.core.settings import Settings
from bmx7wg.core.views import Changes, DeviceView, ManagerView, PeerView, with_counters
from bmx7wg.device.base import Device, DeviceError
from bmx7wg.service import journal, keeper, repairs
from bmx7wg.service.clock import Clock
from bmx7wg.service.node import EX_TEMPFAIL, Node, Parts

from ..memory import InMemoryDevice

ME, N2 = NodeId(b"\x01" * 28), NodeId(b"\x02" * 28)
K2 = b"\x02" * 32
READY = SourceStatus(Origin.LINK, SourceState.READY, "", ("eth0",))
SEEN = Announced(
    N2,
    Origin.LINK,
    Announcement(K2, 6277, "n2"),
    Endpoint(IPv6Address("fe80::2"), 6277, 3, "eth0"),
)


class FakeSource:
    """Says what the test says, and notes what it is told."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.announced: list[Announcement] = []

    async def start(self) -> None:
        self.log.append("source started")

    def announce(self, announcement: Announcement) -> None:
        self.announced.append(announcement)
        self.log.append("announced")

    def follow_metrics(self, wanted: bool) -> None:
        pass

    async def resync(self) -> None:
        self.log.append("resync")

    async def stop(self, *, leave: bool = True) -> None:
        self.log.append("source stopped" if leave else "source paused")

    def counters(self) -> dict[str, int]:
        return {}


class FakeBus:
    """Keeps what is published, as a reader would."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.failures = 0
        self.manager: ManagerView | None = None
        self.device: DeviceView | None = None
        self.peers: dict[NodeId, PeerView] = {}
        self.problems: list[tuple[str, ...]] = []  # all that there ever were

    async def start(self) -> None:
        if self.failures:
            self.failures -= 1
            raise BusError("there is no bus")
        self.log.append("on the bus")

    def publish(self, changes: Changes) -> None:
        assert changes != Changes()
        self.manager = changes.manager or self.manager
        if self.manager is not None:
            self.problems.append(self.manager.problems)
        self.device = changes.device or self.device
        self.peers.update({view.node_id: view for view in changes.peers})
        for node_id, read in changes.counted.items():
            self.peers[node_id] = with_counters(self.peers[node_id], read)
        for node_id in changes.gone:
            del self.peers[node_id]

    async def close(self) -> None:
        self.log.append("off the bus")


class FakeNotifier:
    """What systemd hears."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.line = ""
        self.watchdog: float | None = None
        self.pulses = 0

    def ready(self) -> None:
        self.log.append("READY")

    def reloading(self) -> None:
        self.log.append("RELOADING")

    def stopping(self) -> None:
        self.log.append("STOPPING")

    def alive(self) -> None:
        self.pulses += 1

    def status(self, text: str) -> None:
        self.line = text


class FakeSurroundings:
    """Told by the test, through the node."""

    def __init__(self) -> None:
        self.tables: frozenset[int] = frozenset()

    async def start(self) -> None:
        pass

    def look_for(self, tables: frozenset[int]) -> None:
        self.tables = tables

    async def stop(self) -> None:
        pass


class Bench:
    """A node with everything around it in memory."""

    def __init__(self, *, origin: Origin = Origin.LINK) -> None:
        self.log: list[str] = []
        self.source = FakeSource(self.log)
        self.surroundings = FakeSurroundings()
        self.bus = FakeBus(self.log)
        self.notifier = FakeNotifier(self.log)
        self.device = InMemoryDevice()
        self.device.log = self.log
        self.settings = Settings(Config(), b"\x01" * 32)
        self.load: Callable[[], Settings] = lambda: self.settings
        self.open_error = ""
        self.restarting = False
        self.asleep = 0.0  # s, since boot
        self.node = Node(self.settings, name="host")
        if origin is Origin.LINK:
            self.node.identify(ME)
        self.node.connect(
            Parts(
                source=self.source,
                origin=origin,
                surroundings=self.surroundings,
                open_device=self._open,
                bus=self.bus,
                notifier=self.notifier,  # type: ignore[arg-type]
                restarts=self._restarts,
                reload=lambda: self.load(),
                clock=Clock(lambda: self.asleep),
            )
        )

    async def _restarts(self) -> bool:
        return self.restarting

    async def _open(self) -> Device:
        if self.open_error:
            raise DeviceError(self.open_error)
        return self.device

    def tell(self, *observations: Observation) -> None:
        for observation in observations:
            self.node.observe(observation)

    async def until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.002)

        try:
            await asyncio.wait_for(wait(), 10)
        except TimeoutError:
            pytest.fail(f"{what} did not come true; log: {self.log}; {self.bus.manager}")

    def peers_there(self) -> Mapping[bytes, ActualPeer]:
        return self.device.actual.peers if self.device.actual else {}

    def without_peers(self) -> None:
        """Somebody takes the peers away; there is no event for it."""
        assert self.device.actual is not None
        self.device.actual = replace(self.device.actual, peers={})

    def state(self) -> str:
        return self.bus.manager.state if self.bus.manager else ""

    def problems(self) -> tuple[str, ...]:
        return self.bus.manager.problems if self.bus.manager else ()

    @asynccontextmanager
    async def running(self, *observations: Observation, status: int = 0) -> AsyncIterator[None]:
        task = asyncio.create_task(self.node.run())
        self.tell(*observations)
        try:
            yield
            self.node.stop()
            assert await asyncio.wait_for(task, 10) == status
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


Run = Callable[[Awaitable[None]], None]


def test_ready_comes_last_and_everything_is_taken_back_at_the_end(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.running(READY):
            await bench.until(lambda: "READY" in bench.log)
            assert bench.log[-1] == "READY"
            assert {"source started", "announced", "on the bus"} <= set(bench.log)
            assert bench.state() == "running"
            assert bench.bus.manager is not None and bench.bus.manager.node_id == str(ME)
            assert bench.source.announced[0].name == "host"
            assert bench.bus.device is not None and bench.bus.device.listen_port == 6277
            bench.log.clear()
        end = ["STOPPING", "source stopped", "remove wgBmx7", "close", "off the bus"]
        assert bench.log == end
        assert bench.state() == "stopping"

    run_async(story())


def test_an_offer_that_is_not_forwarded_is_a_problem(run_async: Run) -> None:
    def surroundings(*forwarding: int) -> Surroundings:
        return Surroundings(forwarding=frozenset(forwarding))

    def settings(*, forward: bool) -> Settings:
        offer = OfferRule(ip_network("0.0.0.0/0"))
        device = replace(Config().device, forward=forward)
        return Settings(Config(offers=(offer,), device=device), b"\x01" * 32)

    async def story() -> None:
        bench = Bench()
        bench.node.apply(settings(forward=False))
        sentence = "forwarding: offers 0.0.0.0/0 but IPv4 is not forwarded"
        async with bench.running(surroundings(6), READY):
            await bench.until(lambda: bench.problems() == (sentence,))
            bench.tell(surroundings(4))
            await bench.until(lambda: bench.problems() == ())
            bench.tell(surroundings())
            await bench.until(lambda: bench.problems() == (sentence,))
            bench.node.apply(settings(forward=True))
            await bench.until(lambda: bench.problems() == ())

    run_async(story())


def test_a_restart_leaves_the_device_and_tells_nobody(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        bench.restarting = True
        async with bench.running(READY, SEEN):
            await bench.until(lambda: K2 in bench.peers_there())
            bench.log.clear()
        assert bench.log == ["STOPPING", "source paused", "close", "off the bus"]
        assert K2 in bench.peers_there()

    run_async(story())


def test_a_mistake_of_ours_leaves_the_device(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        running = asyncio.create_task(bench.node.run())
        bench.tell(READY, SEEN)
        await bench.until(lambda: K2 in bench.peers_there())
        bench.log.clear()

        def fail() -> None:
            raise RuntimeError("on purpose")

        bench.notifier.alive = fail  # type: ignore[method-assign]
        bench.node.observe(READY)
        with pytest.raises(RuntimeError, match="on purpose"):
            await running
        assert bench.log == ["STOPPING", "source paused", "close", "off the bus"]
        assert K2 in bench.peers_there()

    run_async(story())


def test_a_peer_from_its_announcement_to_the_bus(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.running(READY):
            await bench.until(lambda: "READY" in bench.log)
            bench.tell(SEEN)
            await bench.until(lambda: bool(bench.device.probed))
            assert bench.device.probed == [mesh_address(N2)]
            assert bench.bus.peers[N2].state == "configured"
            bench.device.now = 1_700_000_000 * 10**9
            bench.device.handshake(K2)
            await bench.until(lambda: bench.bus.peers[N2].state in ("connected", "idle"))
            assert bench.notifier.line.startswith("1 peer: 1 ")
            assert bench.notifier.line.endswith("; via link")
            bench.tell(Withdrawn(N2, Origin.LINK, "goodbye"))
            await bench.until(lambda: bench.bus.peers[N2].state == "lost")
            assert bench.device.actual is not None and K2 in bench.device.actual.peers

    run_async(story())


def test_no_device_is_a_problem_that_goes_away_by_itself(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        bench.open_error = "no WireGuard: apt install wireguard-go"
        async with bench.running(READY, SEEN):
            await bench.until(lambda: bench.state() == "degraded")
            assert bench.log.count("READY") == 1, "systemd is not kept waiting"
            assert bench.problems() == ("device: no WireGuard: apt install wireguard-go",)
            assert bench.source.announced == [], "nobody is invited to a device that isn't there"
            bench.open_error = ""
            await bench.until(lambda: bench.state() == "running")
            await bench.until(lambda: bench.bus.peers[N2].state == "configured")

    run_async(story())


def test_who_asks_to_look_again_does_not_wait_for_the_next_attempt(
    run_async: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RETRY_FIRST", 3600.0)
    monkeypatch.setattr(keeper, "RETRY_LAST", 3600.0)

    async def story() -> None:
        bench = Bench()
        bench.open_error = "wgBmx7 is a device that somebody else made"
        async with bench.running(READY):
            await bench.until(lambda: bench.state() == "degraded")
            bench.open_error = ""
            bench.node.look_again()
            await bench.until(lambda: bench.state() == "running")

    run_async(story())


def test_a_device_that_fails_later(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.running(READY, SEEN):
            await bench.until(lambda: N2 in bench.bus.peers)
            await bench.until(lambda: bench.bus.peers[N2].state == "configured")
            bench.device.error = "taken away"
            bench.device.disturb("the link wgBmx7 was deleted", None)
            await bench.until(lambda: bench.state() == "degraded")
            await bench.until(lambda: bench.bus.peers[N2].state == "discovered")
            bench.device.error = ""
            await bench.until(lambda: bench.state() == "running")
            await bench.until(lambda: bench.bus.peers[N2].state == "configured")

    run_async(story())


def test_what_somebody_else_did_is_put_right(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.running(READY, SEEN):
            await bench.until(lambda: "READY" in bench.log and N2 in bench.bus.peers)
            bench.log.clear()
            actual = bench.device.actual
            assert actual is not None
            bench.device.disturb("wgBmx7 was set down", replace(actual, up=False))
            await bench.until(lambda: bool(bench.log))
            assert bench.device.actual is not None and bench.device.actual.up
            await bench.until(lambda: bench.state() == "running")
            assert ("device: wgBmx7 was set down",) in bench.bus.problems

    run_async(story())


def test_who_puts_it_wrong_again_and_again_does_not_keep_us_busy(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.running(READY):
            await bench.until(lambda: "READY" in bench.log)
            bench.log.clear()

            def disturb() -> bool:
                """Whenever it was put right, put it wrong."""
                actual = bench.device.actual
                if actual is not None and actual.up:
                    bench.device.disturb("wgBmx7 was set down", replace(actual, up=False))
                return "again and again" in "".join(bench.problems())

            await bench.until(disturb, "an end of the contest")
            assert bench.state() == "degraded"
            done = bench.log.count("set up")
            assert done == repairs.BURST
            for _ in range(5):
                bench.notifier.pulses = 0
                bench.node._wake.set()
                await bench.until(lambda: bench.notifier.pulses > 0)
            assert bench.log.count("set up") == done, "for now it is left as it is"

    run_async(story())


def test_what_no_event_tells_of_is_found_by_looking(
    run_async: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("bmx7wg"), "propagate", True)

    async def story() -> None:
        bench = Bench()
        async with bench.running(READY, SEEN):
            await bench.until(lambda: bench.device.actual is not None)
            await bench.until(lambda: bench.device.actual is not None and K2 in bench.peers_there())
            bench.log.clear()
            bench.without_peers()
            bench.node.look_again()
            await bench.until(lambda: K2 in bench.peers_there(), "the look that was asked for")
            monkeypatch.setattr(keeper, "CHECK", 0.02)
            bench.node.look_again()
            bench.without_peers()
            await bench.until(lambda: K2 in bench.peers_there(), "the look that comes by itself")
            bench.without_peers()
            await bench.until(lambda: K2 in bench.peers_there(), "and the next one")

    run_async(story())
    told = [record for record in caplog.records if "without an event" in record.message]
    assert len(told) >= 2 and "add peer" in told[0].message
    assert getattr(told[0], "fields")["MESSAGE_ID"] == journal.DEVICE_REPAIRED


def test_after_a_sleep_all_is_looked_at_and_begun_anew(
    run_async: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("bmx7wg"), "propagate", True)
    caplog.set_level(logging.INFO, "bmx7wg")

    async def story() -> None:
        bench = Bench()
        async with bench.running(READY, SEEN):
            await bench.until(lambda: K2 in bench.peers_there())
            bench.device.now = time.time_ns()
            bench.device.handshake(K2)
            await bench.until(lambda: bench.bus.peers[N2].state == "connected")
            bench.device.probed.clear()
            bench.log.clear()
            bench.without_peers()
            bench.asleep += 3600.0
            bench.node._wake.set()  # as the timer of the clock does
            await bench.until(lambda: "resync" in bench.log)
            await bench.until(lambda: K2 in bench.peers_there(), "the device is read anew")
            await bench.until(lambda: mesh_address(N2) in bench.device.probed)
            assert bench.bus.peers[N2].state != "connected"
            bench.device.now = time.time_ns()
            bench.device.handshake(K2)
            await bench.until(lambda: bench.bus.peers[N2].state == "connected")

    run_async(story())
    (told,) = [record for record in caplog.records if "slept" in record.message]
    assert told.message == "the machine slept for 3600 s"


def test_without_a_bus_the_mesh_works_and_the_bus_is_tried_again(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        bench.bus.failures = 1
        async with bench.running(READY, SEEN):
            await bench.until(lambda: "READY" in bench.log)
            assert bench.problems() == ("bus: there is no bus",)
            await bench.until(lambda: "on the bus" in bench.log)
            await bench.until(lambda: bench.state() == "running")
            bench.node.bus_state(False, "the bus went away")
            await bench.until(lambda: bench.problems() == ("bus: the bus went away",))
            bench.node.bus_state(True, "back")
            await bench.until(lambda: bench.problems() == ())

    run_async(story())


def test_waiting_for_bmx7_is_ready_and_degraded(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench(origin=Origin.BMX7)
        waiting = SourceStatus(Origin.BMX7, SourceState.WAITING, "bmx7 does not run")
        async with bench.running(waiting):
            await bench.until(lambda: bench.state() == "degraded")
            assert "READY" in bench.log and bench.device.actual is None
            bench.tell(Identified(ME, "from-bmx7", Origin.BMX7))
            bench.tell(replace(READY, origin=Origin.BMX7), replace(SEEN, origin=Origin.BMX7))
            await bench.until(lambda: bench.state() == "running")
            assert bench.bus.manager is not None
            assert bench.bus.manager.node_name == bench.source.announced[-1].name == "from-bmx7"
            await bench.until(lambda: N2 in bench.bus.peers)

    run_async(story())


def test_another_identity_needs_a_new_start(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench(origin=Origin.BMX7)
        async with bench.running(Identified(ME, "", Origin.BMX7), READY, status=EX_TEMPFAIL):
            await bench.until(lambda: "READY" in bench.log)
            bench.tell(Identified(N2, "", Origin.BMX7))
            await bench.until(lambda: "off the bus" in bench.log)

    run_async(story())


def test_reload(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.running(READY, SEEN):
            await bench.until(lambda: "READY" in bench.log and N2 in bench.bus.peers)
            bench.log.clear()

            def broken() -> Settings:
                raise ConfigError(("c.toml:1: device.prot: unknown key", "c.toml:2: another"))

            good, bench.load = bench.load, broken
            bench.node.reload()
            await bench.until(lambda: bool(bench.problems()))
            told = [line for line in bench.log if line.isupper()]  # to systemd
            assert told == ["RELOADING", "READY"]
            assert bench.problems() == (
                "configuration: not reloaded: c.toml:1: device.prot: unknown key (and 1 more)",
            )
            assert bench.bus.peers[N2].state != "blocked"

            config = replace(
                bench.settings.config,
                trust=TrustConfig(blocked=(N2,)),
                device=DeviceConfig(name="other"),
            )
            bench.settings, bench.load = replace(bench.settings, config=config), good
            bench.node.reload()
            await bench.until(lambda: bench.bus.peers[N2].state == "blocked")
            assert bench.problems() == (
                "configuration: device.name: changed; takes effect after a restart",
            )

    run_async(story())


def test_a_device_that_was_there_before_is_adopted(run_async: Run) -> None:
    async def story() -> None:
        first = Bench()
        async with first.running(READY, SEEN):
            await first.until(lambda: N2 in first.bus.peers)
            await first.until(lambda: first.bus.peers[N2].state == "configured")
            left = first.device.actual
        second = Bench()
        second.device.actual = left
        async with second.running(READY):
            await second.until(lambda: "READY" in second.log)
            told = {"source started", "announced", "on the bus", "READY"}
            assert set(second.log) == told, "nothing was sent to the device"
            assert second.device.actual is not None and K2 in second.device.actual.peers
            second.tell(SEEN)
            await second.until(lambda: N2 in second.bus.peers)
            assert second.bus.peers[N2].state == "configured"

    run_async(story())


def test_counters_are_read_when_somebody_looks(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.running(READY, SEEN):
            await bench.until(lambda: N2 in bench.bus.peers)
            await bench.until(lambda: bench.bus.peers[N2].state == "configured")
            actual = bench.device.actual
            assert actual is not None
            peers = {K2: replace(actual.peers[K2], rx_bytes=77)}
            bench.device.actual = replace(actual, peers=peers)

            async def seventy_seven() -> None:
                while bench.bus.peers[N2].rx_bytes != 77:
                    await bench.node.refresh()
                    await asyncio.sleep(0.01)

            await asyncio.wait_for(seventy_seven(), 5)

    run_async(story())


def test_the_watchdog_is_fed_by_the_turns(run_async: Run) -> None:
    async def story() -> None:
        bench = Bench()
        bench.notifier.watchdog = 0.01
        async with bench.running(READY):
            await bench.until(lambda: bench.notifier.pulses > 10)

    run_async(story())
