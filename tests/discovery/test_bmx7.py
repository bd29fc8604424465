"""The source beside bmx7 daemons (stand-ins, each a process of its own).

    n1 ── n2 ── n3        n1 and n3 hear each other only through n2
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from bmx7wg.core.announcement import encode
from bmx7wg.core.config import Bmx7Config
from bmx7wg.core.identity import NodeId
from bmx7wg.core.model import (
    Announced,
    Announcement,
    Endpoint,
    Identified,
    Observation,
    PathMetric,
    SourceState,
    SourceStatus,
    Withdrawn,
)
from bmx7wg.discovery import inotify
from bmx7wg.discovery.bmx7 import Bmx7Source
from bmx7wg.discovery.bmx7_daemon import DaemonWatch
from bmx7wg.discovery.bmx7_files import Paths
from bmx7wg.discovery.bmx7_timing import Timings
from bmx7wg.discovery.inotify import Event, Inotify

from .bmx7_standin import Mesh, node_id_of, primary_of
from .waiting import until

PACE = 0.04  # a node is learnt in 0.24 s, a killed one forgotten in 2.8
QUICK = Timings(
    grace=0.3, relearn=3.0, refresh=1.0, pause=0.05, answer=1.0, settle=0.5, retry=0.05,
    retry_longest=0.3,
)  # fmt: skip
VECTORS = Path(__file__).parent.parent / "vectors"


def id_of(name: str, key: str = "1") -> NodeId:
    return NodeId.parse(node_id_of(name, key))


def address_of(name: str) -> IPv6Address:
    return IPv6Address(primary_of(node_id_of(name)))


def announcement(name: str, **members) -> Announcement:
    return Announcement(public_key=name.encode().ljust(32, b"."), name=name, **members)


class Node:
    """A source, and what it said."""

    def __init__(self, runtime: Path, timings: Timings = QUICK) -> None:
        self.said: list[Observation] = []
        self.peers: dict[NodeId, Announced] = {}
        self.metrics: dict[NodeId, PathMetric] = {}
        self.withdrawn: list[NodeId] = []
        self.ids: list[NodeId] = []
        self.status = SourceStatus("", SourceState.STOPPED)
        self.runtime = runtime
        self.received = runtime / "sms" / "rcvdSms"
        self.sent = runtime / "sms" / "sendSms" / "bmx7-wg"
        config = Bmx7Config(str(runtime))
        self.source = Bmx7Source(config=config, observe=self._observe, timings=timings)

    def _observe(self, observation: Observation) -> None:
        self.said.append(observation)
        match observation:
            case Announced():
                self.peers[observation.node_id] = observation
            case PathMetric():
                self.metrics[observation.node_id] = observation
            case Withdrawn():
                del self.peers[observation.node_id]
                self.withdrawn.append(observation.node_id)
            case Identified():
                self.ids.append(observation.node_id)
            case SourceStatus():
                self.status = observation

    async def is_(self, state: SourceState, text: str = "") -> None:
        await until(
            lambda: self.status.state == state and text in self.status.detail,
            f"{state} ({text}); it is {self.status}",
        )

    async def has(self, *names: str) -> None:
        wanted = {id_of(name) for name in names}
        await until(
            lambda: {n for n, peer in self.peers.items() if peer.endpoint} == wanted,
            f"exactly {names}",
        )

    def refused(self) -> dict[str, int]:
        """What was refused; a file that bmx7 wrote anew while we looked was not."""
        counters = self.source.counters()
        counters.pop("file-vanished", None)
        return counters

    def echo(self, name: str) -> Path:
        return self.received / f"{node_id_of(name)}:bmx7-wg"


@pytest.fixture
def mesh(tmp_path) -> Iterator[Mesh]:
    with Mesh(tmp_path / "mesh", pace=PACE) as mesh:
        mesh.line("n1", "n2", "n3")
        yield mesh


@contextlib.asynccontextmanager
async def beside(mesh: Mesh, *names: str) -> AsyncIterator[list[Node]]:
    """Sources beside the nodes, announcing them."""
    nodes = [Node(mesh.runtime(name)) for name in names]
    for name, node in zip(names, nodes):
        await node.source.start()
        node.source.announce(announcement(name))
    try:
        yield nodes
    finally:
        await asyncio.gather(*(node.source.stop() for node in nodes))


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # bmx7 writes all anew at every change
        return b""


def start(mesh: Mesh, *names: str) -> None:
    for name in names:
        mesh.start(name)


# -- what is found ----------------------------------------------------------------------------


def test_nodes_find_each_other_over_two_hops(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2", "n3")
        async with beside(mesh, "n1", "n2", "n3") as (n1, n2, n3):
            await n1.has("n2", "n3")
            await n2.has("n1", "n3")
            await n3.has("n1", "n2")
            found = n1.peers[id_of("n3")]
            assert found.content == announcement("n3")
            assert found.endpoint == Endpoint(address_of("n3"), 6277)
            await until(lambda: n1.metrics[id_of("n3")].hops == 2, "the way to n3")
            assert n1.metrics[id_of("n3")].metric == 80_740_000
            assert n1.ids == [id_of("n1")]
            assert n2.status.interfaces == ("to-n1", "to-n3")
            assert n1.echo("n1").exists()  # and was not taken for a peer
            for node in (n1, n2, n3):
                assert node.withdrawn == []
                assert node.refused() == {}

    run_async(main())


def test_metrics_are_fresh_while_somebody_chooses_by_them(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2")
        seldom = replace(QUICK, refresh=1000.0, follow=0.1)
        node = Node(mesh.runtime("n1"), seldom)
        other = Node(mesh.runtime("n2"))
        await node.source.start()
        await other.source.start()
        try:
            other.source.announce(announcement("n2"))
            await node.has("n2")
            node.source.follow_metrics(True)
            mesh.tell("n1", "metric=n2:5M")
            await until(lambda: node.metrics[id_of("n2")].metric == 5_000_000, "the new metric")
            mesh.tell("n1", "metric=n2:7M")
            await until(lambda: node.metrics[id_of("n2")].metric == 7_000_000, "the next one")
        finally:
            await node.source.stop()
            await other.source.stop()

    run_async(main())


def test_addresses_and_ports_are_read_and_not_assumed(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2")
        mesh.start("n3", address="2001:db8::3")
        async with beside(mesh, "n1", "n2", "n3") as (n1, n2, n3):
            n2.source.announce(announcement("n2", port=700))
            await n1.has("n2", "n3")
            assert n1.peers[id_of("n3")].endpoint == Endpoint(IPv6Address("2001:db8::3"), 6277)
            at_700 = Endpoint(address_of("n2"), 700)
            await until(lambda: n1.peers[id_of("n2")].endpoint == at_700, "port 700")
            elsewhere = Endpoint(IPv4Address("192.0.2.2"), 800)
            n2.source.announce(announcement("n2", endpoints=(elsewhere,)))
            await until(lambda: n1.peers[id_of("n2")].endpoint == elsewhere, "the endpoint said")

    run_async(main())


@pytest.mark.parametrize("plugins", ["sms", "sms,json,no-keys"])
def test_it_works_without_the_json_plugin_and_without_the_table_of_keys(mesh, run_async, plugins):
    async def main() -> None:
        for name in ("n1", "n2", "n3"):
            mesh.start(name, plugins=plugins)
        async with beside(mesh, "n1", "n2", "n3") as (n1, _, n3):
            await n1.has("n2", "n3")
            await n3.has("n1", "n2")
            await n1.is_(SourceState.READY)
            assert n1.peers[id_of("n3")].endpoint == Endpoint(address_of("n3"), 6277)
            assert n1.ids == [id_of("n1")]

    run_async(main())


def test_what_a_daemon_left_behind_still_says_who_is_there(tmp_path, run_async):
    runtime = tmp_path / "bmx7"
    shutil.copytree(VECTORS / "bmx7-runtime", runtime)
    other = "65A6FE5555E8383919FEE93925BEB019448C3355800DB178D4C2DFF4"
    (runtime / f"sms/rcvdSms/{other}:bmx7-wg").write_bytes(encode(announcement("n3")))

    async def main() -> None:
        node = Node(runtime)
        await node.source.start()
        await until(lambda: [str(i)[:8] for i in node.ids] == ["54BF9F23"], "who we are")
        await node.is_(SourceState.WAITING, "not running")
        endpoint = "[fd70:65a6:fe55:55e8:3839:19fe:e939:25be]:6277"
        await until(lambda: [str(p.endpoint) for p in node.peers.values()] == [endpoint], "n3")
        assert node.peers[NodeId.parse(other)].name == "n3"
        assert node.status.interfaces == ("v1r",)
        assert node.source.counters() == {"announcement-key": 1}  # n2's says only "k2"
        await node.source.stop()

    run_async(main())


# -- what is announced ------------------------------------------------------------------------


def test_the_file_is_whole_whenever_it_is_there(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1")
        async with beside(mesh, "n1") as (n1,):
            await until(n1.echo("n1").exists, "the announcement")
            assert n1.sent.read_bytes() == encode(announcement("n1"))
            assert n1.sent.stat().st_mode & 0o777 == 0o644
            inode = n1.sent.stat().st_ino
            events: list[Event] = []
            notify = Inotify(events.extend)
            notify.add(str(n1.sent.parent), 0xFFF & ~0x31)
            n1.source.announce(announcement("n1"))
            await n1.source.resync()
            n1.source.announce(announcement("n1", port=7))
            changed = encode(announcement("n1", port=7))
            await until(lambda: content(n1.echo("n1")) == changed, "the change")
            notify.close()
            masks = [event.mask for event in events if event.name == b"bmx7-wg"]
            assert masks == [inotify.IN_MOVED_TO]
            assert n1.sent.stat().st_ino != inode
            assert [path.name for path in n1.sent.parent.iterdir()] == ["bmx7-wg"]

    run_async(main())


def test_a_node_that_stops_is_withdrawn(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2", "n3")
        async with beside(mesh, "n1", "n2", "n3") as (n1, n2, n3):
            await n3.has("n1", "n2")
            began = time.monotonic()
            await n1.source.stop()
            assert time.monotonic() - began < 2.0
            assert n1.status.state == SourceState.STOPPED
            assert not n1.sent.exists()
            await n3.has("n2")
            assert n3.withdrawn == [id_of("n1")]
            assert not n1.echo("n1").exists()

    run_async(main())


def test_any_other_change_of_a_node_is_no_withdrawal(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2")
        async with beside(mesh, "n1", "n2") as (n1, n2):
            await n1.has("n2")
            said = len(n1.said)
            for number in range(5):
                (n2.sent.parent / "chat").write_text(str(number))
                mesh.tell("n2", "syncSms=chat")
                chat = n1.received / f"{node_id_of('n2')}:chat"
                await until(lambda: content(chat) == str(number).encode(), "the renewal")
            await until(n1.echo("n2").exists, "the announcement again")
            assert [o for o in n1.said[said:] if not isinstance(o, PathMetric)] == []
            assert n1.refused() == {}

    run_async(main())


# -- a daemon that comes and goes -------------------------------------------------------------


def test_bmx7_may_come_later(mesh, run_async):
    async def main() -> None:
        async with beside(mesh, "n1") as (n1,):
            await n1.is_(SourceState.WAITING, f"no directory {n1.runtime}")
            assert "[discovery.bmx7]" in n1.status.detail
            assert not n1.runtime.exists()
            start(mesh, "n1")
            await n1.is_(SourceState.READY)
            assert n1.ids == [id_of("n1")]
            await until(n1.echo("n1").exists, "the announcement")

    run_async(main())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_bmx7_may_restart(mesh, run_async, number):
    async def main() -> None:
        start(mesh, "n1", "n2", "n3")
        async with beside(mesh, "n1", "n2", "n3") as (n1, n2, n3):
            await n1.has("n2", "n3")
            await n3.has("n1", "n2")
            mesh.end("n1", number)
            await n1.is_(SourceState.WAITING, "not running")
            if number == signal.SIGTERM:
                await until(lambda: not any(n1.received.iterdir()), "an empty directory")
                await n3.has("n2")
            start(mesh, "n1")
            await n1.is_(SourceState.READY)
            await until(lambda: n1.echo("n1").exists() and n1.echo("n3").exists(), "all anew")
            await n3.has("n1", "n2")
            await until(lambda: n1.source._book.deadline() == float("inf"), "all heard again")
            assert n1.withdrawn == []
            assert n1.ids == [id_of("n1")]

    run_async(main())


def test_who_left_while_bmx7_was_away_is_withdrawn_after_a_while(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2", "n3")
        async with beside(mesh, "n1", "n2", "n3") as (n1, n2, n3):
            await n1.has("n2", "n3")
            mesh.end("n1", signal.SIGTERM)
            await n1.is_(SourceState.WAITING)
            await n3.source.stop()
            began = time.monotonic()
            start(mesh, "n1")
            await n1.is_(SourceState.READY)
            await n1.has("n2")
            assert n1.withdrawn == [id_of("n3")]
            assert time.monotonic() - began > QUICK.relearn

    run_async(main())


def test_a_daemon_that_cannot_be_followed_is_asked_before_anybody_is_withdrawn(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2")
        async with beside(mesh, "n1", "n2") as (n1, n2):
            await n1.has("n2")
            (n1.runtime / "pid").write_text("what?\n")  # so its end is not noticed at once
            await until(lambda: n1.source._running.pid == 0, "a daemon without pid")
            mesh.end("n1", signal.SIGTERM)
            await n1.is_(SourceState.WAITING, "not running")
            assert n1.withdrawn == []


def test_each_run_of_a_daemon_is_another_even_without_a_pid(tmp_path, run_async):
    async def main() -> None:
        watch = DaemonWatch(Paths(str(tmp_path)), lambda: None)
        assert watch.probe() is None
        runs = set()
        for _ in range(3):
            (tmp_path / "sock").unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(tmp_path / "sock"))
                assert watch.probe() is None
                sock.listen()
                runs.add(watch.probe())
                assert watch.probe() in runs
            assert watch.probe() is None
        assert len(runs) == 3

    run_async(main())

    run_async(main())


def test_bmx7_may_have_another_key(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2")
        async with beside(mesh, "n1", "n2") as (n1, n2):
            await n1.has("n2")
            mesh.end("n1")
            mesh.start("n1", key="2")
            await until(lambda: n1.ids == [id_of("n1"), id_of("n1", "2")], "the other id")
            await until(lambda: id_of("n1", "2") in n2.peers, "n1 under its other id")
            await until(lambda: id_of("n1") not in n2.peers, "n1's old id to go")
            assert n1.withdrawn == []

    run_async(main())


def test_a_file_of_an_older_daemon_is_not_believed(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1")
        async with beside(mesh, "n1") as (n1,):
            await n1.is_(SourceState.READY)
            status = n1.runtime / "json" / "status"
            await until(lambda: node_id_of("n1") in status.read_text(), "the json plugin")
            mesh.end("n1")
            mesh.start("n1", key="2", plugins="sms")  # so the file stays as it is
            await until(lambda: n1.ids[-1] == id_of("n1", "2"), "the other id")
            mesh.processes["n1"].send_signal(signal.SIGSTOP)
            await n1.is_(SourceState.WAITING, "did not answer")
            assert node_id_of("n1") in status.read_text()
            assert n1.ids == [id_of("n1"), id_of("n1", "2")]

    run_async(main())


def test_bmx7_without_its_plugin(mesh, run_async):
    async def main() -> None:
        mesh.start("n1", plugins="json")
        async with beside(mesh, "n1") as (n1,):
            await n1.is_(SourceState.FAILED, "plugin=bmx7_sms.so")
            assert n1.ids == [id_of("n1")]
            mesh.end("n1")
            start(mesh, "n1")
            await n1.is_(SourceState.READY)
            mesh.end("n1")
            mesh.start("n1", plugins="json")  # with the directories of before
            await n1.is_(SourceState.FAILED, "plugin=bmx7_sms.so")
            mesh.end("n1")
            start(mesh, "n1")
            await n1.is_(SourceState.READY)
            await until(n1.echo("n1").exists, "the announcement")

    run_async(main())


def remove(directory: Path) -> None:
    """Remove a directory in which bmx7 writes meanwhile."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def test_directories_may_be_made_anew(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1", "n2")
        async with beside(mesh, "n1", "n2") as (n1, n2):
            await n1.has("n2")
            remove(n1.runtime / "sms")
            await n1.is_(SourceState.FAILED, "no ")
            n1.received.mkdir(parents=True)
            n1.sent.parent.mkdir()
            await n1.is_(SourceState.READY)
            await until(n1.sent.exists, "the announcement")
            n2.source.announce(announcement("n2", port=1))
            await until(lambda: n1.peers[id_of("n2")].content.port == 1, "n2's change")
            assert n1.withdrawn == []
            mesh.end("n1")
            n1.runtime.rename(n1.runtime.with_name("away"))
            await n1.is_(SourceState.WAITING, "no directory")
            start(mesh, "n1")
            await n1.is_(SourceState.READY)
            await until(n1.echo("n1").exists, "the announcement")
            assert n1.withdrawn == []

    run_async(main())


def test_bmx7_may_hang(mesh, run_async):
    mesh.pace = 0.06  # it may hang for 2 s, and forgets nobody meanwhile

    async def main() -> None:
        start(mesh, "n1", "n2")
        async with beside(mesh, "n1", "n2") as (n1, n2):
            await n1.has("n2")
            daemon = mesh.processes["n1"]
            daemon.send_signal(signal.SIGSTOP)
            await n1.is_(SourceState.WAITING, "did not answer")
            began = time.monotonic()
            await n1.source.stop()
            assert time.monotonic() - began < 2.0
            daemon.send_signal(signal.SIGCONT)
            async with beside(mesh, "n1") as (again,):
                await again.has("n2")
                await again.is_(SourceState.READY)
                daemon.send_signal(signal.SIGSTOP)
                await again.is_(SourceState.WAITING, "did not answer")
                daemon.send_signal(signal.SIGCONT)
                await again.is_(SourceState.READY)
                assert again.withdrawn == []

    run_async(main())


# -- what is missing --------------------------------------------------------------------------


def test_a_directory_that_cannot_be_written(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1")
        node = Node(mesh.runtime("n1"))
        await until(node.sent.parent.exists, "the directory")
        blocked = node.sent.parent / ".bmx7-wg.new"
        blocked.mkdir()
        async with beside(mesh, "n1") as (n1,):
            await n1.is_(SourceState.FAILED, f"{n1.sent.parent} can't be written: Is a directory")
            blocked.rmdir()
            await n1.is_(SourceState.READY)

    run_async(main())


def test_a_socket_that_is_not_for_us(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1")
        node = Node(mesh.runtime("n1"))
        await until((node.runtime / "json" / "status").exists, "bmx7")
        for directory in (node.runtime, *node.runtime.parents[:-1]):
            if directory.stat().st_uid == 0 and not directory.stat().st_mode & 0o001:
                directory.chmod(directory.stat().st_mode | 0o011)
        os.seteuid(65534)
        try:
            await node.source.start()
            await node.is_(SourceState.FAILED, "is not for this user")
        finally:
            os.seteuid(0)
        await node.is_(SourceState.READY)
        await node.source.stop()

    run_async(main())


# -- bad input --------------------------------------------------------------------------------


def write_rubbish(directory: Path) -> None:
    """One file for each reason to refuse it, and some that are nobody's business."""
    (directory / f"{node_id_of('link')}:bmx7-wg").symlink_to("/etc/passwd")
    os.mkfifo(directory / f"{node_id_of('fifo')}:bmx7-wg")
    (directory / f"{node_id_of('directory')}:bmx7-wg").mkdir()
    with open(directory / f"{node_id_of('big')}:bmx7-wg", "wb") as big:
        big.truncate(100 * 1024 * 1024)
    (directory / f"{node_id_of('4097')}:bmx7-wg").write_bytes(b" " * 4097)
    (directory / f"{node_id_of('json')}:bmx7-wg").write_bytes(b'{"v":1,')
    (directory / f"{node_id_of('utf8')}:bmx7-wg").write_bytes(b"\xff\xfe")
    for name in (b":bmx7-wg", b"\xff\xfe:bmx7-wg", b"\x1b[2J:bmx7-wg", b"../x:bmx7-wg"[3:]):
        with open(os.path.join(os.fsencode(directory), name), "wb"):
            pass
    (directory / f"{node_id_of('case').lower()}:bmx7-wg").write_bytes(b"")
    (directory / f"{node_id_of('other')}:chat").write_bytes(b"hello")
    (directory / "README").write_bytes(b"hello")


REFUSED = {
    "file-link": 1,
    "file-type": 2,
    "file-size": 2,
    "file-name": 5,
    "announcement-json": 1,
    "announcement-utf8": 1,
}


def test_rubbish_is_counted_and_stops_nothing(mesh, run_async, caplog):
    caplog.set_level("DEBUG")

    async def main() -> None:
        start(mesh, "n1")
        node = Node(mesh.runtime("n1"))
        await until((node.runtime / "json" / "status").exists, "bmx7")
        write_rubbish(node.received)
        old = time.time() - 60
        for path in node.received.iterdir():
            os.utime(path, (old, old), follow_symlinks=False)
        valid = node.received / f"{node_id_of('valid')}:bmx7-wg"
        valid.write_bytes(encode(announcement("valid")))
        async with beside(mesh, "n1") as (n1,):
            await until(lambda: set(n1.peers) == {id_of("valid")}, "the one that is right")
            assert n1.source.counters() == REFUSED
            n1.echo("late").write_bytes(b"[]")
            await until(lambda: "announcement-type" in n1.source.counters(), "a late one")
            n1.echo("gone").write_bytes(encode(announcement("gone")))
            n1.echo("gone").unlink()
            await until(lambda: "file-vanished" in n1.source.counters(), "one that is gone")
            assert set(n1.peers) == {id_of("valid")}

    run_async(main())
    lines = [record.getMessage() for record in caplog.records if "refused" in record.msg]
    assert 0 < len(lines) <= 11
    assert all(line.isascii() and line.isprintable() and len(line) < 160 for line in lines)


def test_half_a_file_is_waited_for(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1")
        async with beside(mesh, "n1") as (n1,):
            await n1.is_(SourceState.READY)
            whole = encode(announcement("n2"))
            n1.echo("n2").write_bytes(whole[:20])  # and closed: the next one has begun already
            await until(lambda: n1.source._received.deadline() < float("inf"), "the half")
            with open(n1.echo("n2"), "wb", buffering=0) as file:
                file.write(whole[:40])
                file.write(whole[40:])
            await until(lambda: id_of("n2") in n1.peers, "the whole")
            assert n1.source._received.deadline() == float("inf")
            assert n1.source.counters() == {}

    run_async(main())


def test_files_may_vanish_between_listing_and_reading(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1")
        node = Node(mesh.runtime("n1"))
        await until((node.runtime / "json" / "status").exists, "bmx7")
        for number in range(600):
            node.echo(f"x{number}").write_bytes(encode(announcement("x")))
        scan = asyncio.create_task(node.source._received.scan())
        await asyncio.sleep(0)  # the first names are read, more are listed
        for path in node.received.iterdir():
            path.unlink()
        await scan
        assert len(node.source._book) == 255
        assert node.source.counters()["file-vanished"] > 0

    run_async(main())


def test_a_directory_full_of_rubbish_does_not_stall_the_loop(mesh, run_async):
    async def main() -> None:
        start(mesh, "n1")
        node = Node(mesh.runtime("n1"))
        await until((node.runtime / "json" / "status").exists, "bmx7")
        for number in range(50_000):
            os.close(os.open(node.received / f"{number:056}x:bmx7-wg", os.O_CREAT))
        valid = node.received / f"{node_id_of('valid')}:bmx7-wg"
        valid.write_bytes(encode(announcement("valid")))
        async with beside(mesh, "n1") as (n1,):
            longest, last = 0.0, time.monotonic()

            def done() -> bool:
                nonlocal longest, last
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                return n1.source.counters().get("file-name") == 50_000 and bool(n1.peers)

            await until(done, "the end of the scan")
            assert longest < 0.25

    run_async(main())


def test_lost_events_make_it_read_all_anew(mesh, run_async):
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())

    async def main() -> None:
        start(mesh, "n1")
        async with beside(mesh, "n1") as (n1,):
            await n1.is_(SourceState.READY)
            one, two = str(n1.received / "1"), str(n1.received / "2")
            for _ in range(limit // 6 + 10):
                for path in (one, two):  # CREATE, CLOSE_WRITE, DELETE
                    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
                    os.unlink(path)
            n1.echo("late").write_bytes(encode(announcement("late")))  # its events are lost
            await until(lambda: id_of("late") in n1.peers, "what was written meanwhile")
            await n1.is_(SourceState.READY)

    run_async(main())
