"""The book of peers: what a deleted file means, and when."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from bmx7wg.core.identity import NodeId
from bmx7wg.core.limits import MAX_PEERS
from bmx7wg.core.model import (
    Announced,
    Announcement,
    Endpoint,
    Incompatible,
    Origin,
    PathMetric,
    Withdrawn,
)
from bmx7wg.discovery.bmx7_peers import PeerBook
from bmx7wg.discovery.bmx7_show import NodeRow

A, B = NodeId(b"a" * 28), NodeId(b"b" * 28)
ADDRESS = IPv6Address("fd70::a")
SAID = Announcement(bytes(31) + b"\1", name="a")
NEVER = float("inf")


def book() -> PeerBook:
    return PeerBook(grace=2.0, relearn=90.0)


def announced(content=SAID, endpoint=None, name=""):
    return Announced(A, Origin.BMX7, content, endpoint, name)


GONE = Withdrawn(A, Origin.BMX7, "no longer announced")


def test_a_node_is_told_once_and_again_when_something_changed():
    peers = book()
    peers.heard(A, SAID, 0.0)
    assert peers.lacks_endpoint(A)
    assert peers.drain() == [announced()]
    peers.heard(A, SAID, 1.0)
    assert peers.drain() == []
    peers.learned({A: NodeRow(A, "n", ADDRESS, 7, 2), B: NodeRow(B, "b", None)})
    assert peers.drain() == [
        announced(endpoint=Endpoint(ADDRESS, 6277), name="n"),
        PathMetric(A, 7, 2),
    ]
    peers.learned({A: NodeRow(A, "n", ADDRESS, 8, 2)})
    assert peers.drain() == [PathMetric(A, 8, 2)]


def test_where_a_node_is_may_be_known_before_it_is_heard():
    peers = book()
    peers.learned({A: NodeRow(A, "n", ADDRESS)})
    peers.heard(A, SAID, 0.0)
    assert not peers.lacks_endpoint(A)
    assert peers.drain()[0] == announced(endpoint=Endpoint(ADDRESS, 6277), name="n")


def test_an_address_unknown_for_the_moment_stays():
    peers = book()
    peers.learned({A: NodeRow(A, "n", ADDRESS, 5, 1)})
    peers.heard(A, SAID, 0.0)
    peers.drain()
    peers.learned({A: NodeRow(A, "n", None, 0, 0)})
    assert peers.drain() == [PathMetric(A, 0, 0)]


@pytest.mark.parametrize(
    "content, address, endpoint",
    [
        (SAID, ADDRESS, Endpoint(ADDRESS, 6277)),
        (Announcement(b"k" * 32, port=9), ADDRESS, Endpoint(ADDRESS, 9)),
        (
            Announcement(b"k" * 32, port=9, endpoints=(Endpoint(IPv4Address("192.0.2.1"), 5),)),
            ADDRESS,
            Endpoint(IPv4Address("192.0.2.1"), 5),
        ),
        (Announcement(b"k" * 32, endpoints=(Endpoint(IPv6Address("fd77::1"), 5),)), ADDRESS, None),
        (SAID, IPv6Address("fd77::1"), None),
        (SAID, IPv6Address("fe80::1"), None),
        (SAID, IPv6Address("ff02::1"), None),
        (SAID, IPv6Address("::1"), None),
        (SAID, None, None),
        (Incompatible("version 2"), ADDRESS, None),
    ],
)
def test_the_endpoint(content, address, endpoint):
    peers = book()
    peers.learned({A: NodeRow(A, "", address)})
    peers.heard(A, content, 0.0)
    assert peers.drain()[0] == announced(content, endpoint)
    assert peers.lacks_endpoint(A) == (endpoint is None and content != Incompatible("version 2"))


def test_a_deleted_file_that_comes_back_in_time_is_a_renewal():
    peers = book()
    peers.heard(A, SAID, 0.0)
    peers.drain()
    peers.deleted(A, 10.0)
    assert peers.deadline() == 12.0
    peers.expire(11.9)
    peers.heard(A, SAID, 11.9)
    assert peers.deadline() == NEVER
    peers.expire(100.0)
    assert peers.drain() == []


def test_a_deleted_file_that_does_not_is_a_withdrawal():
    peers = book()
    peers.heard(A, SAID, 0.0)
    peers.drain()
    peers.deleted(A, 10.0)
    peers.deleted(A, 11.0)
    peers.expire(12.0)
    assert peers.drain() == [GONE]
    assert A not in peers and len(peers) == 0 and peers.deadline() == NEVER
    peers.heard(A, SAID, 13.0)
    assert peers.drain() == [announced()]


def test_an_empty_file_begins_the_grace_time_anew():
    peers = book()
    peers.heard(A, SAID, 0.0)
    peers.deleted(A, 10.0)
    peers.created(A, 11.0)
    assert peers.deadline() == 13.0
    peers.created(B, 11.0)
    assert B not in peers


def test_while_bmx7_is_away_nobody_is_withdrawn():
    peers = book()
    peers.heard(A, SAID, 0.0)
    peers.heard(B, SAID, 0.0)
    peers.drain()
    peers.deleted(A, 9.9)  # as it ends, before its end is noticed
    peers.hold(10.0)
    peers.deleted(B, 10.1)
    assert peers.deadline() == NEVER
    peers.expire(1e6)
    peers.release(1e6)
    assert peers.deadline() == 1e6 + 90.0
    peers.heard(B, SAID, 1e6 + 30.0)
    peers.expire(1e6 + 89.9)
    assert peers.drain() == []
    peers.expire(1e6 + 90.0)
    assert peers.drain() == [GONE]
    assert B in peers


def test_a_start_without_peers_leaves_the_grace_time_as_it_is():
    peers = book()
    peers.hold(0.0)
    peers.release(0.0)
    peers.heard(A, SAID, 1.0)
    peers.deleted(A, 2.0)
    assert peers.deadline() == 4.0


def test_who_is_missing_in_a_listing_is_missing():
    peers = book()
    peers.heard(A, SAID, 0.0)
    peers.heard(B, SAID, 5.1)  # after the listing had passed its place
    peers.scanned([], begun=5.0)
    assert peers.deadline() == 7.0
    peers.expire(7.0)
    assert A not in peers and B in peers


def test_this_node_is_none_of_them():
    peers = book()
    peers.heard(A, SAID, 0.0)
    peers.forget(A)
    assert peers.drain() == []
    peers.heard(A, SAID, 1.0)
    peers.drain()
    peers.forget(A)
    assert peers.drain() == [Withdrawn(A, Origin.BMX7, "it is this node")]


def test_there_are_at_most_so_many():
    peers = book()
    ids = [NodeId(number.to_bytes(28, "big")) for number in range(MAX_PEERS + 1)]
    assert all(peers.heard(node_id, SAID, 0.0) for node_id in ids[:-1])
    assert not peers.heard(ids[-1], SAID, 0.0)
    assert peers.heard(ids[0], SAID, 0.0)
    assert len(peers) == MAX_PEERS
    peers.deleted(ids[0], 0.0)
    peers.expire(2.0)
    assert peers.heard(ids[-1], SAID, 3.0)
