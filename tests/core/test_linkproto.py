from __future__ import annotations

import functools
import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmx7wg.core import announcement, linkframe
from bmx7wg.core.keys import SigningKey
from bmx7wg.core.limits import INTERVAL, LINK_RATE, MAX_PEERS, PARSE_RATE
from bmx7wg.core.linkframe import Flags, encode
from bmx7wg.core.linkproto import LinkProtocol
from bmx7wg.core.linkschedule import GROUP
from bmx7wg.core.model import Announced, Announcement, Endpoint, Incompatible, Origin, Withdrawn
from bmx7wg.core.sequence import RESERVE, Sequence
from tests.core.linkworld import E0, EPOCH, Node, Sent, World

E1 = 2
TEN_YEARS = 10 * 365 * 86_400 * 1_000_000  # µs
STRANGER = SigningKey(bytes(31) + b"\xff")
PAYLOAD = announcement.encode(Announcement(STRANGER.public, name="stranger"))
THERE = IPv6Address("fe80::bad")


def frame(
    sequence: int,
    flags: Flags = Flags.NONE,
    payload: bytes = PAYLOAD,
    key: SigningKey = STRANGER,
) -> bytes:
    return encode(flags, sequence, payload, key)


def forged(data: bytes) -> bytes:
    """The same with a wrong signature."""
    return data[:-1] + bytes([data[-1] ^ 1])


def alone() -> tuple[World, Node]:
    world = World()
    node = world.node()
    node.start()
    world.run(60)
    return world, node


def refused(node: Node, data: bytes, source: IPv6Address = THERE) -> str:
    """Feed a frame to a node; the reason for which it was dropped, "" if it was not."""
    before = node.protocol.counters.copy()
    node.receive(E0, source, data)
    (reason,) = (node.protocol.counters - before).keys() - {"announced", "answered"} or [""]
    return "" if reason == "accepted" else reason


# -- finding each other -------------------------------------------------------------------------


def test_two_nodes_find_each_other_at_once() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    world.run(30)
    b.start()
    world.run(0.002)  # one frame each way
    assert a.knows(b) and b.knows(a)
    assert a.known[b.node_id] == Announced(
        b.node_id, Origin.LINK, b.content, Endpoint(b.address, 6277, E0, "e0")
    )


def test_eight_nodes_started_one_after_the_other_know_all_within_a_second() -> None:
    world = World()
    nodes = [world.node() for _ in range(8)]
    for node in nodes:
        node.start()
        world.run(0.2)
    world.run(0.8)
    assert all(node.knows(*(set(nodes) - {node})) for node in nodes)


def test_nothing_is_sent_before_there_is_something_to_say() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.running = True
    a.protocol.interface_up(E0, "e0", world.now)
    b.start()
    world.run(5)
    assert a.knows(b)
    assert not [sent for sent in world.sent if sent.sender is a]
    a.announce(a.content)
    world.run(0.01)
    assert b.knows(a)


def test_what_is_sent_at_the_start_and_then() -> None:
    world, node = alone()
    times = [sent.at - 1000 for sent in world.sent]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert times[0] == 0
    for gap, wanted in zip(gaps, [0.25, 0.5, 1, 2, 4] + 10 * [INTERVAL]):
        assert 0.9 * wanted - 1e-6 <= gap <= 1.1 * wanted + 1e-6
    assert len(gaps) >= 9


def test_it_asks_until_somebody_is_heard() -> None:
    world, node = alone()
    assert all(linkframe.decode(sent.data).flags == Flags.SOLICIT for sent in world.sent)
    other = world.node()
    other.start()
    world.run(20)
    late = [sent for sent in world.sent if sent.sender is node and sent.at > world.now - 15]
    assert late and all(linkframe.decode(sent.data).flags == Flags.NONE for sent in late)


def test_a_change_is_told_at_once_and_the_same_again_is_not() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    b.start()
    world.run(60)
    count = len(world.sent)
    a.announce(replace(a.content))
    assert len(world.sent) == count
    changed = replace(a.content, name="another")
    a.announce(changed)
    world.run(0.002)
    assert b.known[a.node_id].content == changed
    assert b.observed == 2


def test_changes_without_end_are_told_at_a_bounded_rate() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    b.start()
    world.run(60)
    start, count = world.now, len(world.sent)
    for number in range(1000):
        a.announce(replace(a.content, name=f"n{number}"))
        world.run(0.01)
    world.run(2)
    sent = [s for s in world.sent[count:] if s.sender is a]
    assert len(sent) <= 5 + (world.now - start)
    assert b.known[a.node_id].content == a.content
    assert not b.protocol.counters["rate"]


def test_solicit_makes_everybody_speak_up() -> None:
    world = World()
    nodes = [world.node() for _ in range(3)]
    for node in nodes:
        node.start()
    world.run(100)
    count = len(world.sent)
    nodes[0].protocol.solicit(world.now)
    nodes[0].turn()
    world.run(0.1)
    answers = [sent.sender for sent in world.sent[count:] if not sent.to_group]
    assert set(answers) == set(nodes[1:])


# -- losing each other --------------------------------------------------------------------------


def test_goodbye() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    b.start()
    world.run(30)
    a.leave()
    world.run(0.01)
    assert b.withdrawn == [Withdrawn(a.node_id, Origin.LINK, "goodbye")]
    world.run(60)
    assert b.observed == 2
    assert a.reserved >= a.protocol._sequence.last  # what is on disk is never below what was sent


def test_a_silent_node_expires_after_three_and_a_half_intervals() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    b.start()
    world.run(60)
    last = max(sent.at for sent in world.sent if sent.sender is a)
    a.kill()
    world.run(last + 3.5 * INTERVAL - 0.1 - world.now)
    assert b.knows(a)
    world.run(0.2)
    assert b.withdrawn == [Withdrawn(a.node_id, Origin.LINK, "not heard any more")]


def test_a_restarted_node_is_known_at_once() -> None:
    world = World()
    a, b = world.node(clock_error=-TEN_YEARS), world.node()
    a.start()
    b.start()
    world.run(60)
    for _ in range(3):
        a.kill()
        a.boot()
        a.known.clear()
        a.known_at.clear()
        a.start()
        world.run(0.05)
        assert a.knows(b)
        assert not b.protocol.counters["replay"]
        world.run(30)
    assert b.observed == 1  # nothing has changed for it


@pytest.mark.parametrize("error", [-TEN_YEARS, TEN_YEARS])
def test_a_wrong_clock_does_no_harm(error: int) -> None:
    world = World()
    a, b = world.node(clock_error=error), world.node()
    a.start()
    b.start()
    world.run(30)
    assert a.knows(b) and b.knows(a)
    a.clock_error = 0  # it is put right while it runs, back or forth
    world.run(100)
    assert b.knows(a) and not b.withdrawn
    a.kill()
    a.boot()  # and after a restart
    a.start()
    world.run(100)
    assert b.knows(a) and not b.withdrawn


# -- bad links ----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(2, 6),
    loss=st.floats(0, 0.5),
    duplicates=st.floats(0, 0.5),
    delay=st.floats(0, 0.3),
)
def test_bad_links(seed: int, count: int, loss: float, duplicates: float, delay: float) -> None:
    world = World(seed, loss, duplicates, (0.0, delay))
    nodes = [world.node() for _ in range(count)]
    for node in nodes:
        node.start()
        world.run(0.1)
    world.run(60)
    # Gone by bad luck is possible (four frames in a row), not to be found again is not.
    world.loss = 0.0
    world.run(30)
    for node in nodes:
        assert node.knows(*(set(nodes) - {node}))
        for other in set(nodes) - {node}:
            endpoint = node.known[other.node_id].endpoint
            assert endpoint is not None and endpoint.address == other.address


@pytest.mark.parametrize("seed", range(5))
def test_a_third_lost_and_nobody_is_taken_for_gone(seed: int) -> None:
    world = World(seed, loss=0.1, duplicates=0.1, delay=(0.0, 0.2))
    nodes = [world.node() for _ in range(4)]
    for node in nodes:
        node.start()
    world.run(300)
    assert sum(len(node.withdrawn) for node in nodes) <= 3


def test_hearing_a_node_that_did_not_hear_us() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    world.run(60)
    world.reaches = lambda sender, interface, receiver: False
    b.start()
    third = world.node()
    world.run(0.1)
    world.reaches = lambda sender, interface, receiver: True
    # b's asking was lost, and it has heard somebody since, so it won't ask again.
    third.start()
    world.run(2)
    assert a.knows(b, third) and b.knows(a, third)


# -- many nodes ---------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame is verified and decoded once, not once for each of hundreds of receivers."""
    monkeypatch.setattr(linkframe, "verify", functools.lru_cache(10_000)(linkframe.verify))
    monkeypatch.setattr(announcement, "decode", functools.lru_cache(1_000)(announcement.decode))


def rate(sent: list[Sent], start: float, end: float) -> float:
    return sum(start <= s.at < end for s in sent) / (end - start)


def settled(count: int) -> World:
    """A link with many nodes that were all started at once, an interval ago."""
    world = World()
    for _ in range(count):
        world.node().start()
    world.run(2 + max(INTERVAL, count / LINK_RATE))
    return world


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_300_nodes_no_storm() -> None:
    world = settled(300)
    nodes = tuple(world.nodes)
    assert all(len(node.known) == 299 for node in nodes)
    # The first announcement, an answer to who was heard first, one answer to all others.
    assert len([sent for sent in world.sent if sent.at < 1002]) <= 4 * 300
    assert rate(world.sent, 1002, world.now) <= 1.1 * LINK_RATE

    # One more: everybody answers once, to it alone, spread out.
    count = len(world.sent)
    late = world.node()
    late.start()
    world.run(0.3)
    answers = [sent for sent in world.sent[count:] if not sent.to_group]
    assert late.knows(*nodes)
    assert len(answers) == 300
    assert max(answers[i + 50].at - answers[i].at for i in range(250)) > 0.03
    assert len([sent for sent in world.sent[count:] if sent.to_group]) <= 20

    # Most of them vanish without a word: the others notice and speed up again.
    for node in nodes[20:]:
        node.kill()
    world.run(120)
    assert all(len(node.known) == 20 for node in nodes[:20])
    assert 1.5 <= rate(world.sent, world.now - 30, world.now) <= 2.8


@pytest.mark.usefixtures("quick")
def test_who_asks_without_end_gets_no_more_than_the_budget() -> None:
    world = settled(60)
    count, start = len(world.sent), world.now
    asker = world.node()
    for number in range(200):
        for key in (STRANGER, asker.key):
            world.carry(asker, E0, GROUP, frame(EPOCH + number, Flags.SOLICIT, key=key))
        world.run(0.1)
    sent = len(world.sent) - count
    assert 2 * 60 <= sent <= 5 * 60 + 2 * LINK_RATE * (world.now - start)


@pytest.mark.usefixtures("quick")
def test_nobody_is_taken_for_gone_while_a_link_fills() -> None:
    world = World()
    for _ in range(100):
        world.node().start()
        world.run(0.4)
    world.run(45)
    assert all(len(node.known) == 99 for node in world.nodes)
    assert not any(node.withdrawn for node in world.nodes)


# -- who asks can't make us talk ----------------------------------------------------------------


def test_answers_are_bounded_whoever_asks() -> None:
    world, node = alone()
    count, start = len(world.sent), world.now
    for number in range(2000):
        key = SigningKey(number.to_bytes(32, "big")[::-1]) if number % 2 else STRANGER
        source = IPv6Address(f"fe80::1:{number % 7}")
        node.receive(E0, source, frame(EPOCH + number, Flags.SOLICIT, key=key))
        world.run(0.005)
    answered = len(world.sent) - count
    assert 5 <= answered <= 5 + 4 + 2 * (world.now - start)
    assert node.protocol.counters["rate"] > 900


def test_one_answer_serves_many() -> None:
    world = World()
    nodes = [world.node() for _ in range(30)]
    for node in nodes:
        node.start()
    world.run(60)
    count = len(world.sent)
    for number in range(20):
        key = SigningKey(number.to_bytes(32, "big")[::-1])
        source = IPv6Address(f"fe80::1:{number}")
        nodes[0].receive(E0, source, frame(EPOCH, Flags.SOLICIT, key=key))
    world.run(0.3)
    assert [sent.to_group for sent in world.sent[count:] if sent.sender is nodes[0]] == [True]


# -- several interfaces -------------------------------------------------------------------------


def two_links() -> tuple[World, Node, Node]:
    world = World()
    a, b = world.node(), world.node()
    a.start(E0, E1)
    b.start(E0, E1)
    world.run(30)
    return world, a, b


def interface_of(node: Node, other: Node) -> str:
    endpoint = node.known[other.node_id].endpoint
    assert endpoint is not None
    return endpoint.interface


def test_one_neighbour_on_two_links_is_one_with_a_stable_endpoint() -> None:
    world, a, b = two_links()
    world.run(300)
    assert b.observed == 1 and a.observed == 1
    assert interface_of(a, b) == "e0"


def test_it_moves_at_once_when_a_link_goes_down_and_does_not_come_back_by_itself() -> None:
    world, a, b = two_links()
    a.protocol.interface_down(E0, world.now)
    a.turn()
    assert interface_of(a, b) == "e1"
    a.protocol.interface_up(E0, "e0", world.now)
    a.turn()
    world.run(60)
    assert interface_of(a, b) == "e1"
    assert a.observed == 2 and not a.withdrawn


def test_it_moves_when_a_link_is_silent() -> None:
    world, a, b = two_links()
    world.reaches = lambda sender, interface, receiver: interface == E1
    world.run(40)
    assert interface_of(a, b) == "e1"
    world.reaches = lambda sender, interface, receiver: False
    world.run(40)
    assert [w.reason for w in a.withdrawn] == ["not heard any more"]


def test_a_flap_changes_nothing_and_asks_at_once() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    b.start()
    world.run(30)
    a.protocol.interface_down(E0, world.now)
    a.turn()
    world.run(5)
    count = len(world.sent)
    a.protocol.interface_up(E0, "e0", world.now)
    a.turn()
    assert [sent.sender for sent in world.sent[count:]] == [a]
    assert linkframe.decode(world.sent[-1].data).flags == Flags.SOLICIT
    world.run(0.01)
    assert a.observed == 1 and b.observed == 1


def test_a_link_that_stays_down() -> None:
    world, a, b = two_links()
    for interface in (E0, E1):
        a.protocol.interface_down(interface, world.now)
    a.turn()
    count = len(world.sent)
    world.run(60)
    assert [w.reason for w in a.withdrawn] == ["link down"]
    assert not [sent for sent in world.sent[count:] if sent.sender is a]
    assert a.protocol.next_timeout() is None


def test_both_links_down_and_the_other_one_up_again() -> None:
    world, a, b = two_links()
    a.protocol.interface_down(E1, world.now)
    world.run(20)
    a.protocol.interface_down(E0, world.now)
    a.turn()
    world.run(10)
    a.protocol.interface_up(E1, "e1", world.now)
    a.turn()
    world.run(0.01)
    assert interface_of(a, b) == "e1"


def test_an_interface_made_anew_has_a_new_scope() -> None:
    world = World()
    a, b = world.node(), world.node()
    a.start()
    b.start()
    world.run(30)
    a.protocol.interface_down(E0, world.now)
    a.protocol.interface_up(9, "e0", world.now)
    a.protocol.datagram(
        9, b.address, 255, frame(b.wall_us, key=b.key, payload=announcement.encode(b.content)),
        world.now, a.wall_us,
    )  # fmt: skip
    a.turn()
    assert a.known[b.node_id].endpoint == Endpoint(b.address, 6277, 9)
    assert not a.withdrawn


def test_a_new_name_of_an_interface_is_told() -> None:
    world, a, b = two_links()
    a.protocol.interface_up(E0, "uplink", world.now)
    a.turn()
    assert interface_of(a, b) == "uplink"
    assert a.observed == 2


# -- where a node is ----------------------------------------------------------------------------


def content(**members: object) -> bytes:
    key = json.loads(PAYLOAD)["key"]
    return json.dumps({"v": 1, "key": key, **members}).encode()


def test_endpoints() -> None:
    world, node = alone()

    def endpoint(sequence: int, payload: bytes) -> Endpoint | None:
        node.receive(E0, THERE, frame(sequence, payload=payload))
        world.run(10)
        return node.known[STRANGER.node_id].endpoint

    assert endpoint(1, content()) == Endpoint(THERE, 6277, E0, "e0")
    assert endpoint(2, content(port=1234)) == Endpoint(THERE, 1234, E0, "e0")
    assert endpoint(3, content(endpoints=["192.0.2.7:99", "[2001:db8::1]:1"])) == Endpoint(
        IPv4Address("192.0.2.7"), 99
    )
    assert endpoint(4, b'{"v":2}') == Endpoint(THERE, 6277, E0, "e0")
    assert isinstance(node.known[STRANGER.node_id].content, Incompatible)


def test_a_new_address_counts_after_two_frames_and_a_copy_does_not() -> None:
    world, node = alone()
    moved = IPv6Address("fe80::cafe")

    def address() -> IPv6Address | IPv4Address:
        endpoint = node.known[STRANGER.node_id].endpoint
        assert endpoint is not None
        return endpoint.address

    node.receive(E0, THERE, frame(1))
    for sequence in range(2, 20):  # somebody sends each on, and is always faster
        assert refused(node, frame(sequence), moved) == ""
        assert refused(node, frame(sequence), moved) == "replay"
        assert refused(node, frame(sequence), THERE) == ""
        assert refused(node, frame(sequence), moved) == "replay"
        assert address() == THERE
        world.run(5)
    node.receive(E0, moved, frame(20))
    assert address() == THERE
    node.receive(E0, moved, frame(21))
    assert address() == moved
    assert refused(node, frame(21), THERE) == "replay"


# -- each reason to drop a frame ----------------------------------------------------------------


def test_reasons() -> None:
    world, node = alone()

    def reason(index: int, source: str, hops: int, data: bytes) -> str:
        before = node.protocol.counters.copy()
        node.protocol.datagram(index, IPv6Address(source), hops, data, world.now, node.wall_us)
        (counted,) = (node.protocol.counters - before).keys() - {"announced", "answered"}
        return counted

    good = frame(10)
    assert reason(7, "fe80::1", 255, good) == "interface"
    assert reason(E0, "fe80::1", 254, good) == "hop-limit"
    assert reason(E0, "fe80::1", 0, good) == "hop-limit"
    assert reason(E0, "2001:db8::1", 255, good) == "source"
    assert reason(E0, "::1", 255, good) == "source"
    assert reason(E0, "::", 255, good) == "source"
    assert reason(E0, "fe80::1", 255, b"") == "magic"
    assert reason(E0, "fe80::1", 255, b"b7wg\x02") == "version"
    assert reason(E0, "fe80::1", 255, good[:80]) == "short"
    assert reason(E0, "fe80::1", 255, good + bytes(65_507 - len(good))) == "long"
    assert reason(E0, "fe80::1", 255, forged(good)) == "signature"
    assert reason(E0, "fe80::1", 255, frame(11, payload=b"[]")) == "announcement-type"
    assert reason(E0, "fe80::1", 255, frame(11, payload=b"")) == "announcement-json"
    assert not node.known and not node.observed
    assert reason(E0, "fe80::1", 255, good) == "accepted"
    assert reason(E0, "fe80::1", 255, good) == "replay"
    assert reason(E0, "fe80::1", 255, frame(9)) == "replay"
    node.protocol.interface_down(E0, world.now)
    assert reason(E0, "fe80::1", 255, frame(12)) == "interface"


def test_what_was_said_before_a_goodbye_brings_nobody_back() -> None:
    world, node = alone()
    old = frame(10)
    assert refused(node, old) == ""
    node.receive(E0, THERE, frame(12, Flags.GOODBYE, b""))
    assert not node.known
    for replayed in (old, frame(11), frame(12)):
        assert refused(node, replayed) == "replay"
    assert refused(node, frame(13)) == ""
    assert STRANGER.node_id in node.known


def test_a_replay_on_another_link_makes_no_path() -> None:
    world, node = alone()
    node.protocol.interface_up(E1, "e1", world.now)
    old = frame(10)
    node.receive(E0, THERE, old)
    node.receive(E0, THERE, frame(11))
    node.receive(E1, THERE, old)
    assert node.protocol.counters["replay"] == 1


def test_own_packets_are_ignored_and_a_clone_is_noticed() -> None:
    world, node = alone()
    for sent in tuple(world.sent):
        assert refused(node, sent.data, node.address) == "own"
    clone = frame(node.wall_us + 1, key=node.key)
    assert refused(node, clone) == "cloned"
    assert refused(node, forged(clone)) == "signature"
    assert not node.known


def test_a_node_that_speaks_too_often_is_heard_once_a_second() -> None:
    world, node = alone()
    reasons = []
    for number in range(1000):
        reasons.append(refused(node, frame(number)))
        world.run(0.01)
    assert set(reasons) == {"", "rate"}
    assert 14 <= reasons.count("") <= 16
    assert refused(node, frame(2000, Flags.GOODBYE, b"")) == ""
    assert not node.known  # it may leave at any time


def test_forged_frames_don_t_use_up_what_a_neighbour_may_send() -> None:
    world, node = alone()
    assert refused(node, frame(1)) == ""
    for number in range(2, 9):
        assert refused(node, forged(frame(number))) == "signature"
    assert refused(node, frame(10)) == ""


@pytest.mark.usefixtures("quick")
def test_a_flood_of_strangers_does_not_silence_neighbours() -> None:
    world, node = alone()
    assert refused(node, frame(1)) == ""
    flood = [forged(frame(1, key=SigningKey(bytes([n] * 32)))) for n in range(1, 100)]
    seconds, heard, spent = 60, 0, 0
    for second in range(seconds):
        for number in range(1000):
            reason = refused(node, flood[number % len(flood)], IPv6Address("fe80::f"))
            assert reason in ("signature", "budget")
            spent += 256 if reason == "signature" else 0
        if second % 10 == 0:
            heard += refused(node, frame(second + 2)) == ""
        world.run(1)
    assert heard == 6 and not node.withdrawn
    assert spent <= PARSE_RATE * (seconds + 1)


def test_one_neighbour_s_flood_does_not_silence_another() -> None:
    world, node = alone()
    other = SigningKey(bytes(31) + b"\xfe")
    source = IPv6Address("fe80::5")
    node.receive(E0, THERE, frame(1))
    node.receive(E0, source, frame(1, key=other))
    flood = forged(frame(9, payload=PAYLOAD + bytes(3000)))  # all but the signature is right
    for number in range(3000):
        refused(node, flood)
    assert refused(node, flood) == "budget"
    assert refused(node, frame(2, key=other), source) == ""


def test_the_table_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bmx7wg.core.linkproto.MAX_PEERS", 20)
    world, node = alone()
    keys = [SigningKey(bytes([n] * 32)) for n in range(1, 31)]
    reasons = [refused(node, frame(1, key=key)) for key in keys]
    assert reasons == 20 * [""] + 10 * ["full"]
    assert refused(node, frame(2, key=keys[0])) == ""  # who is in it stays
    world.run(60)
    assert not node.known
    for key in keys:  # and what is kept of those who left is bounded, too
        refused(node, frame(3, key=key))
        refused(node, frame(4, Flags.GOODBYE, b"", key))
    assert len(node.protocol._departed) == 20


def test_max_peers_is_what_the_design_says() -> None:
    assert MAX_PEERS == 10_000


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([E0, E1, 9]),
            st.sampled_from(["fe80::1", "fe80::2", "2001:db8::1"]),
            st.integers(0, 5),  # sequence
            st.sampled_from(list(Flags)),
            st.sampled_from([PAYLOAD, content(port=5), b"{}", b'{"v":2}', b"", b"\xff"]),
            st.integers(1, 3),  # key
            st.floats(0, 30),  # s until then
            st.sampled_from(["", "up 1", "up 2", "down 1", "down 2"]),
        ),
        max_size=40,
    )
)
def test_whatever_comes_in_it_stays_whole(
    events: list[tuple[int, str, int, Flags, bytes, int, float, str]]
) -> None:
    world = World()
    node = world.node()
    node.start(E0, E1)
    for index, source, sequence, flags, payload, key, wait, change in events:
        world.run(wait)
        word, _, number = change.partition(" ")
        if word == "up":
            node.protocol.interface_up(int(number), f"e{number}", world.now)
        elif word == "down":
            node.protocol.interface_down(int(number), world.now)
        node.receive(
            index,
            IPv6Address(source),
            frame(sequence, flags, payload, SigningKey(bytes([key] * 32))),
        )
        for known in node.known.values():  # an endpoint is always one that was heard
            assert known.endpoint is not None and known.endpoint.scope_id in (E0, E1)
    for interface in (E0, E1):
        node.protocol.interface_down(interface, world.now)
    node.turn()
    world.run(100)
    assert not node.known and node.protocol.next_timeout() is None


# -- the sequence -------------------------------------------------------------------------------


@given(
    st.integers(0, 2**62), st.lists(st.tuples(st.integers(0, 2**62), st.booleans()), min_size=1)
)
def test_no_number_comes_twice(previous: int, steps: list[tuple[int, bool]]) -> None:
    disk = [previous]
    sequence, last = Sequence(previous, disk.append), previous
    for wall_us, crashes in steps:
        if crashes:
            sequence = Sequence(disk[-1], disk.append)
        number = sequence.next(wall_us)
        assert number > last and number >= wall_us
        assert disk[-1] >= number
        last = number
    sequence.release()
    assert disk[-1] == last


def test_the_disk_is_written_every_ten_minutes_at_most() -> None:
    disk: list[int] = []
    sequence = Sequence(0, disk.append)
    for second in range(0, 3600, 2):
        sequence.next(EPOCH + second * 1_000_000)
    assert len(disk) == 6
    assert disk[0] == EPOCH + RESERVE


@pytest.mark.parametrize("previous", [-1, 10**19])
def test_a_sequence_out_of_range_is_our_own_mistake(previous: int) -> None:
    with pytest.raises(ValueError, match="a sequence number is between"):
        Sequence(previous, lambda _: None)


def test_nothing_is_released_that_was_not_reserved() -> None:
    disk: list[int] = []
    Sequence(5, disk.append).release()
    assert not disk


def test_a_protocol_of_its_own_needs_no_world() -> None:
    protocol = LinkProtocol(STRANGER, Random(0), Sequence(0, lambda _: None))
    assert protocol.next_timeout() is None
    protocol.goodbye(0)
    assert protocol.drain() == ([], [])
