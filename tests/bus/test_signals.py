"""Who follows the signals knows what who asks anew is told."""

from __future__ import annotations

import asyncio
import os
import random
import time
from ipaddress import ip_network
from typing import Any

from bmx7wg.bus.client import Added, Changed, Client, Event, Following, Objects, Removed
from bmx7wg.bus.names import MANAGER, NETWORK, PEER, ROOT, network_path, peer_path
from bmx7wg.bus.service import Bus
from bmx7wg.core.identity import NodeId
from bmx7wg.core.model import PeerState, PeerStatistics
from bmx7wg.core.views import Changes, PeerView

from .daemon import Daemon
from .samples import Counting, manager, network, node_id, on_the_bus, peer

CHURN = float(os.environ.get("BMX7WG_CHURN", "3"))  # s; "make check" takes 60
COUNTERS = {"LastHandshake", "RxBytes", "TxBytes"}


def told(objects: Objects) -> Objects:
    """The objects without what no signal tells of."""
    return {
        path: {
            interface: {name: value for name, value in values.items() if name not in COUNTERS}
            for interface, values in interfaces.items()
        }
        for path, interfaces in objects.items()
    }


def apply(table: Objects, event: Event) -> None:
    if isinstance(event, Added):
        for interface, values in event.interfaces.items():
            table.setdefault(event.path, {})[interface] = dict(values)
    elif isinstance(event, Removed):
        table.pop(event.path, None)
    elif isinstance(event, Changed):
        assert not COUNTERS & set(event.properties)
        if event.path in table:  # else it was gone again before the objects were read
            table[event.path][event.interface].update(event.properties)


async def collect(following: Following, bus: Bus, mark: str) -> list[Event]:
    """The events up to a mark that is published last."""
    bus.publish(Changes(manager=manager(node_name=mark)))
    events = []
    async for event in following:
        if event == Changed(ROOT, MANAGER, {"NodeName": mark}):
            break
        events.append(event)
    return events


async def events_of(*changes: Changes, peers: tuple[PeerView, ...]) -> list[Event]:
    """What is told when all of *changes* happen in one turn of the loop."""
    async with on_the_bus(*peers) as bus, await Client.connect() as client:
        following = client.follow()
        await client.managed_objects()
        for change in changes:
            bus.publish(change)
        return await collect(following, bus, "end")


def test_counters_alone_send_nothing(daemon: Daemon, run_async) -> None:
    change = Changes(peers=(peer(1, rx_bytes=9, tx_bytes=9, last_handshake=9),))
    assert run_async(events_of(change, peers=(peer(1),))) == []


def test_counters_are_shown_without_the_rest(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(1, name="one")) as bus, await Client.connect() as client:
            bus.publish(Changes(counted={node_id(1): PeerStatistics(7000, 8, 9)}))
            shown = (await client.managed_objects())[peer_path(node_id(1))][PEER]
            names = ("Name", "LastHandshake", "RxBytes", "TxBytes")
            assert [shown[name] for name in names] == ["one", 7, 8, 9]

    run_async(look())


def test_the_same_again_sends_nothing(daemon: Daemon, run_async) -> None:
    assert run_async(events_of(Changes(peers=(peer(1),)), peers=(peer(1),))) == []


def test_changes_of_one_turn_are_one_signal(daemon: Daemon, run_async) -> None:
    events = run_async(
        events_of(
            Changes(peers=(peer(1, state=PeerState.IDLE),)),
            Changes(peers=(peer(1, state=PeerState.LOST, rx_bytes=1),)),
            Changes(peers=(peer(1, state=PeerState.LOST, reason="gone", hops=3),)),
            peers=(peer(1),),
        )
    )
    changed = {"State": "lost", "Reason": "gone", "Hops": 3}
    assert events == [Changed(peer_path(node_id(1)), PEER, changed)]


def test_who_comes_and_goes_in_one_turn_is_not_told_of(daemon: Daemon, run_async) -> None:
    changes = (Changes(peers=(peer(2),)), Changes(gone=(node_id(2),)))
    assert run_async(events_of(*changes, peers=(peer(1),))) == []


def test_who_goes_and_comes_in_one_turn_is_told_of_twice(daemon: Daemon, run_async) -> None:
    changes = (Changes(gone=(node_id(1),)), Changes(peers=(peer(1, name="new"),)))
    removed, added = run_async(events_of(*changes, peers=(peer(1),)))
    assert removed == Removed(peer_path(node_id(1)), [PEER])
    assert isinstance(added, Added) and added.interfaces[PEER]["Name"] == "new"


def test_a_change_before_going_is_only_going(daemon: Daemon, run_async) -> None:
    changes = (Changes(peers=(peer(1, name="new"),)), Changes(gone=(node_id(1),)))
    events = run_async(events_of(*changes, peers=(peer(1),)))
    assert events == [Removed(peer_path(node_id(1)), [PEER])]


def test_what_is_added_is_complete(daemon: Daemon, run_async) -> None:
    (event,) = run_async(events_of(Changes(peers=(peer(2),)), peers=()))
    assert isinstance(event, Added) and event.path == peer_path(node_id(2))
    assert event.interfaces[PEER]["RxBytes"] == 5_000_000_002
    assert event.interfaces[PEER]["Offers"] == [("10.3.0.0/24", 32_000_000)]


def test_a_network_comes_moves_and_goes(daemon: Daemon, run_async) -> None:
    lan, path = network("10.3.0.0/24"), network_path("10.3.0.0/24")
    moved = network("10.3.0.0/24", gateway=node_id(5), reason="n3 is lost", since=9)

    async def look() -> None:
        async with on_the_bus(peer(3)) as bus, await Client.connect() as client:
            following = client.follow()
            await client.managed_objects()
            bus.publish(Changes(networks=(lan,)))
            (added,) = await collect(following, bus, "added")
            assert isinstance(added, Added) and added.path == path
            assert added.interfaces[NETWORK]["Gateway"] == peer_path(node_id(3))
            assert (await client.managed_objects())[path] == added.interfaces
            bus.publish(Changes(networks=(lan,)))
            assert await collect(following, bus, "the same") == []
            bus.publish(Changes(networks=(moved,)))
            values = {"Gateway": peer_path(node_id(5)), "Reason": "n3 is lost", "Since": 9}
            assert await collect(following, bus, "moved") == [Changed(path, NETWORK, values)]
            bus.publish(Changes(networks_gone=(lan.prefix,)))
            assert await collect(following, bus, "gone") == [Removed(path, [NETWORK])]
            bus.publish(Changes(networks_gone=(lan.prefix,)))
            assert await collect(following, bus, "never") == []

    run_async(look())


def test_what_can_not_be_told_keeps_nobody_else_back(daemon: Daemon, run_async, caplog) -> None:
    change = Changes(peers=(peer(2, hops=-1), peer(3)))
    (event,) = run_async(events_of(change, peers=()))
    assert isinstance(event, Added) and event.path == peer_path(node_id(3))
    assert f"{peer_path(node_id(2))} could not be told of" in caplog.text


def random_networks(rng: random.Random, present: set[str]) -> Changes:
    prefixes = {f"10.{rng.randrange(60)}.0.0/16" for _ in range(rng.randrange(5))}
    gone = {prefix for prefix in prefixes & present if rng.random() < 0.4}
    present |= prefixes
    present -= gone
    views = []
    for prefix in prefixes - gone:
        order = rng.sample(range(300), rng.randrange(5))
        views.append(
            network(
                prefix,
                gateway=node_id(order[0]) if order else None,
                candidates=tuple((node_id(n), rng.randrange(1 << 40), "worse") for n in order),
                reason="".join(rng.choices("aäß€😀\0", k=rng.randrange(6))),
                since=rng.randrange(1 << 60),
            )
        )
    return Changes(networks=tuple(views), networks_gone=tuple(ip_network(p) for p in gone))


def random_change(rng: random.Random, present: set[int]) -> Changes:
    numbers = [rng.randrange(300) for _ in range(rng.randrange(1, 20))]
    gone = tuple(n for n in set(numbers) & present if rng.random() < 0.3)
    present -= set(gone)
    stay = set(numbers) - set(gone)
    present |= stay
    views = tuple(
        peer(
            number,
            state=rng.choice(list(PeerState)),
            name=f"n{rng.randrange(3)}",
            reason="".join(rng.choices("aäß€😀\0", k=rng.randrange(6))),
            hops=rng.randrange(4),
            rx_bytes=rng.randrange(1 << 64),
        )
        for number in stay
    )
    ids: tuple[NodeId, ...] = tuple(node_id(number) for number in gone)
    return Changes(peers=views, gone=ids)


def test_two_followers_of_random_churn_know_all(daemon: Daemon) -> None:
    rng = random.Random(6277)
    present: set[int] = set()
    prefixes: set[str] = set()

    async def follow(client: Client) -> tuple[Following, Objects]:
        following = client.follow()
        return following, await client.managed_objects()

    async def keep_up(following: Following, table: Objects) -> None:
        async for event in following:
            apply(table, event)
            if table[ROOT][MANAGER]["NodeName"] == "quiet":
                return

    async def churn(bus: Bus, turns: int) -> None:
        for _ in range(turns):
            bus.publish(random_change(rng, present))
            bus.publish(random_networks(rng, prefixes))
            if rng.random() < 0.7:
                await asyncio.sleep(0)

    async def look() -> None:
        async with on_the_bus() as bus:
            one, two = await Client.connect(), await Client.connect()
            tasks = []
            for client in (one, two):  # they begin in the midst of it
                await churn(bus, 200)
                tasks.append(asyncio.ensure_future(follow(client)))
                await churn(bus, 200)
            followers = [await task for task in tasks]
            quiet = [asyncio.ensure_future(keep_up(*follower)) for follower in followers]
            until = time.monotonic() + CHURN
            while time.monotonic() < until:
                await churn(bus, 50)
                await asyncio.sleep(0)
            bus.publish(Changes(manager=manager(node_name="quiet")))
            await asyncio.wait_for(asyncio.gather(*quiet), 60)
            fresh = told(await one.managed_objects())
            assert len(fresh) == len(present) + len(prefixes) + 2 > 100
            assert len(prefixes) > 10
            for _, table in followers:
                assert told(table) == fresh
            await one.close()
            await two.close()

    asyncio.run(look())


def test_2000_signals_for_a_bus_that_does_not_read(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus() as bus, await Client.connect() as client:
            owner = client._owner
            following = client.follow()
            await client.managed_objects()
            daemon.pause()
            try:
                bus.publish(Changes(peers=tuple(peer(number) for number in range(2000))))
                for round in range(50):
                    changes = tuple(peer(number, hops=round) for number in range(2000))
                    bus.publish(Changes(peers=changes))
                    await asyncio.sleep(0.005)
                connection = bus._connection
                assert connection is not None and 0 < connection.backlog() < 4_000_000
            finally:
                daemon.resume()
            table = await client.managed_objects()
            for event in await collect(following, bus, "end"):
                apply(table, event)
            assert len(table) == 2002
            assert {table[peer_path(node_id(n))][PEER]["Hops"] for n in range(2000)} == {49}
            assert client._owner == owner and bus._connection is connection

    run_async(look())


def test_reading_counters_asks_for_fresh_ones_once(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(peer(1), controller=controller) as bus:
            controller.then = lambda: bus.publish(Changes(peers=(peer(1, rx_bytes=99),)))
            async with await Client.connect() as client:
                path = peer_path(node_id(1))
                properties = "org.freedesktop.DBus.Properties"
                assert await client.call(path, properties, "Get", "ss", (PEER, "RxBytes")) == 99
                assert controller.asked == 1
                await client.call(path, properties, "Get", "ss", (PEER, "Name"))
                await client.call(ROOT, properties, "GetAll", "s", (MANAGER,))
                assert controller.asked == 1, "nothing of this is counted"
                calls = [client.call(path, PEER, "Describe") for _ in range(40)]
                assert len(set(await asyncio.gather(*calls))) == 1
                assert controller.asked <= 10, "many who ask at once are served together"

    run_async(look())


def test_counters_that_can_not_be_read_are_told_as_known(daemon: Daemon, run_async, caplog) -> None:
    class Hanging:
        async def refresh(self) -> None:
            await asyncio.Event().wait()

    class Failing:
        async def refresh(self) -> None:
            raise OSError("no such device")

    async def read(controller: Any) -> int:
        async with on_the_bus(peer(1), controller=controller):
            async with await Client.connect() as client:
                table = await client.managed_objects()
                return int(table[peer_path(node_id(1))][PEER]["RxBytes"])

    assert run_async(read(Hanging())) == 5_000_000_001
    assert run_async(read(Failing())) == 5_000_000_001
    assert "no such device" in caplog.text
