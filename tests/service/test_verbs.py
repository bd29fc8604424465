"""What callers on the bus ask for, carried out by a node with a device in memory."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bmx7wg.bus.errors import CallError
from bmx7wg.core.identity import NodeId, key_text, parse_key
from bmx7wg.core.keys import preshared_key, public_key
from bmx7wg.core.limits import MAX_NETWORKS, MAX_SEARCHES
from bmx7wg.core.model import Origin
from bmx7wg.service import journal, verbs
from bmx7wg.service.configuration import Configuration
from bmx7wg.service.store import Store
from bmx7wg.service.verbs import Verbs

from .test_node import K2, ME, N2, READY, SEEN, Bench

Run = Callable[[Awaitable[None]], None]
K3 = key_text(b"\x03" * 32)
N3 = NodeId(b"\x03" * 28)


class Desk:
    """A bench and the verbs of its node."""

    def __init__(self, path: Path) -> None:
        self.files = path / "etc"
        self.files.mkdir()
        self.bench = Bench()
        self.configuration = Configuration(self.files, Store(path / "state"))
        self.bench.load = self.configuration.reload
        self.bench.node.apply(self.configuration.settings)
        self.verbs = Verbs(
            self.bench.node, self.configuration, self.bench.source, Origin.LINK  # type: ignore
        )

    async def ready(self) -> None:
        await self.bench.until(lambda: "READY" in self.bench.log)


@pytest.fixture
def desk(tmp_path: Path) -> Callable[[], Desk]:
    return lambda: Desk(tmp_path)


async def refusal(call: Awaitable[object]) -> str:
    """The error's last name and its text."""
    with pytest.raises(CallError) as caught:
        await call
    return f"{caught.value.name.rpartition('.')[2]}: {caught.value.text}"


def test_add_and_remove_a_peer(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        async with here.bench.running(READY):
            await here.ready()
            said = {"public-key": K3, "node-id": str(N3).lower(), "name": "n3", "keepalive": 25}
            assert await here.verbs.add_peer(said) == N3
            view = here.bench.bus.peers[N3]
            assert (view.origin, view.state, view.name) == ("static", "configured", "n3")
            assert here.bench.device.actual is not None
            peer = here.bench.device.actual.peers[parse_key(K3)]
            assert (peer.keepalive, peer.preshared_key) == (25, preshared_key(ME, N3))
            assert (await refusal(here.verbs.add_peer(said))).startswith("PeerExists: node 0303")
            await here.verbs.remove_peer(N3)
            assert N3 not in here.bench.bus.peers
            assert parse_key(K3) not in here.bench.device.actual.peers
            assert (await refusal(here.verbs.remove_peer(N3))).startswith("NoSuchPeer: no peer")

    run_async(story())


def test_a_peer_that_can_not_be_added(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        async with here.bench.running(READY):
            await here.ready()
            own = key_text(here.bench.node.public_key)
            for said, told in (
                ({}, "InvalidArgument: public-key is missing"),
                ({"public-key": 5}, "InvalidArgument: public-key: is a whole number; a string"),
                ({"public-key": K3}, "InvalidArgument: needs node-id or allowed-ips"),
                ({"colour": "red"}, "InvalidArgument: colour: there is no such option"),
                (
                    {"public-key": K3, "preshared-key": "secret"},
                    "InvalidArgument: preshared-key: is not what is needed",
                ),
                ({"public-key": K3, "node-id": str(ME)}, "InvalidArgument: this is the node"),
                ({"public-key": own, "node-id": str(N3)}, "InvalidArgument: this is the node"),
            ):
                assert (await refusal(here.verbs.add_peer(said))).startswith(told)
            assert not here.bench.bus.peers
            assert not (here.files.parent / "state" / "bus.toml").exists()

    run_async(story())


def test_block_and_unblock(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        async with here.bench.running(READY, SEEN):
            await here.ready()
            await here.verbs.block(N2)
            await here.verbs.block(N2)
            assert here.bench.bus.peers[N2].state == "blocked"
            assert here.bench.device.actual is not None
            assert K2 not in here.bench.device.actual.peers
            assert await here.verbs.unblock(N2)
            assert not await here.verbs.unblock(N2)
            assert here.bench.bus.peers[N2].state == "configured"
            (here.files / "config.toml").write_text(f'[trust]\nblocked = ["{N2}"]\n')
            await here.verbs.reload()
            assert here.bench.bus.peers[N2].state == "blocked"
            told = await refusal(here.verbs.unblock(N2))
            assert told.startswith("InvalidArgument: node 0202") and "change it there" in told

    run_async(story())


def test_offer_and_withdraw_a_network(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        state = here.files.parent / "state" / "bus.toml"
        (here.files / "config.toml").write_text('\n[[offer]]\nnetwork = "10.9.0.0/16"\n')
        async with here.bench.running(READY):
            await here.ready()
            await here.verbs.reload()
            await here.verbs.offer_network({"network": "10.3.0.0/24", "bandwidth": 32_000_000})
            assert shown(here) == [("10.9.0.0/16", 1000), ("10.3.0.0/24", 32_000_000)]
            await here.verbs.offer_network({"network": "10.3.0.0/24", "while-route": True})
            assert shown(here) == [("10.9.0.0/16", 1000), ("10.3.0.0/24", 1000)], "it is replaced"
            assert 'network = "10.3.0.0/24"\nwhile-route = true\n' in state.read_text()
            for call in (
                here.verbs.withdraw_network("10.9.0.0/16"),
                here.verbs.offer_network({"network": "10.9.0.0/16", "bandwidth": 5000}),
            ):
                where = f"10.9.0.0/16 is offered by {here.files}/config.toml:2; change it there"
                assert await refusal(call) == f"InvalidArgument: {where}"
            await here.verbs.withdraw_network("10.3.0.0/24")
            assert shown(here) == [("10.9.0.0/16", 1000)]
            told = "InvalidArgument: 10.3.0.0/24 is not offered"
            assert await refusal(here.verbs.withdraw_network("10.3.0.0/24")) == told

    def shown(here: Desk) -> list[tuple[str, int]]:
        assert here.bench.bus.manager is not None
        return [(network, bandwidth) for network, bandwidth, _ in here.bench.bus.manager.offers]

    run_async(story())


def test_search_and_forget(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        (here.files / "config.toml").write_text('[[search]]\nnetwork = "::/0"\nname = "all"\n')
        async with here.bench.running(READY):
            await here.ready()
            await here.verbs.reload()
            await here.verbs.search_network({"network": "10.0.0.0/8"})
            await here.verbs.search_network({"network": "10.0.0.0/8", "rating": 50})
            await here.verbs.search_network({"network": "10.0.0.0/8", "name": "fast"})
            await here.verbs.search_network({"network": "172.16.0.0/12", "name": "far"})
            assert shown(here) == ["all ::/0", "10.0.0.0/8 10.0.0.0/8"] + [
                "fast 10.0.0.0/8",
                "far 172.16.0.0/12",
            ]
            for call in (
                here.verbs.forget_search("all"),
                here.verbs.forget_search("::/0"),
                here.verbs.search_network({"network": "0.0.0.0/0", "name": "all"}),
            ):
                where = f"the search all is in {here.files}/config.toml:1; change it there"
                assert await refusal(call) == f"InvalidArgument: {where}"
            await here.verbs.forget_search("10.0.0.0/8")  # a name comes before a network
            await here.verbs.forget_search("172.16.0.0/12")
            assert shown(here) == ["all ::/0", "fast 10.0.0.0/8"]
            await here.verbs.search_network({"network": "10.0.0.0/8", "name": "slow"})
            told = await refusal(here.verbs.forget_search("10.0.0.0/8"))
            assert "several searches are for 10.0.0.0/8: fast, slow" in told
            told = await refusal(here.verbs.forget_search("far"))
            assert told == 'InvalidArgument: there is no search "far"'

    def shown(here: Desk) -> list[str]:
        assert here.bench.bus.manager is not None
        return [f"{name} {network}" for name, network, *_ in here.bench.bus.manager.searches]

    run_async(story())


def test_networks_that_can_not_be(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        offer, search = here.verbs.offer_network, here.verbs.search_network
        async with here.bench.running(READY):
            await here.ready()
            for call, told in (
                (offer({"network": "n3"}), 'network: "n3" is not allowed; needed: a prefix'),
                (offer({"network": "10.0.0.1/8"}), "network: "),
                (offer({"network": "fd77::/32"}), "network: "),
                (offer({"network": "::/0", "bandwidth": 1}), "bandwidth: 1 is out of range"),
                (offer({"network": "::/0", "color": 1}), "color: there is no such option"),
                (offer({"network": "::/0", "aggregate": True}), "aggregate needs from-table"),
                (search({"network": "::/0", "table": 254}), "table 254 is one of the kernel's"),
                (search({"network": "::/0", "gateway-id": "n3"}), "gateway-id: "),
                (here.verbs.withdraw_network("all"), "network: "),
                (here.verbs.forget_search("\x1b[2J"), 'there is no search "?[2J"'),
            ):
                assert (await refusal(call)).startswith(f"InvalidArgument: {told}")
            assert not (here.files.parent / "state" / "bus.toml").exists()

    run_async(story())


def test_offers_and_searches_are_bounded(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        text = "".join(f'[[offer]]\nnetwork = "10.{n}.0.0/16"\n' for n in range(MAX_NETWORKS))
        text += "".join(f'[[search]]\nnetwork = "10.{n}.0.0/16"\n' for n in range(MAX_SEARCHES - 1))
        (here.files / "config.toml").write_text(text)
        async with here.bench.running(READY):
            await here.ready()
            await here.verbs.reload()
            told = await refusal(here.verbs.offer_network({"network": "::/0"}))
            assert told.startswith(f"LimitReached: {MAX_NETWORKS} networks")
            await here.verbs.search_network({"network": "::/0"})
            await here.verbs.search_network({"network": "::/0", "rating": 50})
            told = await refusal(here.verbs.search_network({"network": "0.0.0.0/0"}))
            assert told.startswith(f"LimitReached: there are {MAX_SEARCHES} searches")

    run_async(story())


def test_reload_says_what_is_wrong(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        async with here.bench.running(READY):
            await here.ready()
            (here.files / "config.toml").write_text("port = 5\n")
            told = await refusal(here.verbs.reload())
            assert told.startswith("InvalidArgument: not reloaded:") and "config.toml:1" in told
            await here.bench.until(lambda: bool(here.bench.problems()))

    run_async(story())


def test_probe(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        async with here.bench.running(READY, SEEN):
            await here.ready()
            await here.bench.node.turn()
            assert await here.verbs.probe(N2) == 1000
            assert (await refusal(here.verbs.probe(N3))).startswith("NotReady: peer 0303")

    run_async(story())


def test_a_new_key_is_announced_before_it_is_used(
    run_async: Run, desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "PREPARE", {Origin.LINK: 0.05})

    async def story() -> None:
        here = desk()
        async with here.bench.running(READY, SEEN):
            await here.ready()
            old = here.bench.node.public_key
            new = parse_key(await here.verbs.rotate_key())
            told = [(said.public_key, said.next_key) for said in here.bench.source.announced]
            assert told == [(old, b""), (old, new), (new, b"")]
            assert here.bench.device.actual is not None
            assert public_key(here.bench.device.actual.private_key) == new
            assert here.bench.bus.device is not None
            assert here.bench.bus.device.public_key == key_text(new)
            assert public_key(here.configuration.settings.private_key) == new

    run_async(story())


def test_a_new_key_that_can_not_be_kept_is_not_used(
    run_async: Run, desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "PREPARE", {Origin.LINK: 0.0})

    async def story() -> None:
        here = desk()
        async with here.bench.running(READY):
            await here.ready()
            old = here.bench.node.public_key
            (here.files.parent / "state" / ".wireguard.key.new").mkdir()
            assert (await refusal(here.verbs.rotate_key())).startswith("Failed: ")
            assert here.bench.source.announced[-1].next_key == b""
            assert here.bench.node.public_key == old

    run_async(story())


def test_synchronize_repairs(run_async: Run, desk: Callable[[], Desk]) -> None:
    async def story() -> None:
        here = desk()
        async with here.bench.running(READY, SEEN):
            await here.ready()
            await here.bench.node.turn()
            here.bench.device.actual = None  # and no event tells
            await here.verbs.synchronize()
            assert here.bench.device.actual is not None

    run_async(story())


def test_log_control(desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    # What set_up changes for the whole process is put back; other tests look at what is logged.
    monkeypatch.setattr(logging.getLogger("bmx7wg"), "propagate", True)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    here = desk().verbs
    journal.set_up()
    try:
        assert (here.log_level, here.log_target) == ("info", "console")
        here.log_level = "debug"
        assert here.log_level == "debug"
        here.log_target = "null"
        assert here.log_target == "null"
        with pytest.raises(CallError, match="one of emerg, alert"):
            here.log_level = "loud"
        with pytest.raises(CallError, match="one of journal, console, null"):
            here.log_target = "paper"
        assert here.syslog_identifier == journal.IDENTIFIER
    finally:
        journal.set_target("null")
