"""A mesh of many peers: nothing takes the loop for long."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from bmx7wg.core.config import Config
from bmx7wg.core.identity import NodeId
from bmx7wg.core.mesh import Mesh
from bmx7wg.core.model import (
    Announced,
    Announcement,
    Applied,
    Endpoint,
    Origin,
    PeerStatistics,
    Withdrawn,
)
from bmx7wg.core.news import SHOWN_AT_ONCE
from bmx7wg.core.settings import Settings

SIZE = 2 * SHOWN_AT_ONCE + 100


def node_id(number):
    return NodeId.of_public_key(number.to_bytes(32, "big"))


def told(mesh):
    """All changes, as they come."""
    while mesh.has_changes:
        changes = mesh.changes()
        assert 0 < len(changes.peers) + len(changes.counted) + len(changes.gone) <= SHOWN_AT_ONCE
        yield changes


def test_a_crowd_is_shown_in_parts():
    mesh = Mesh(NodeId(bytes(28)), Settings(Config(), private_key=bytes([8] * 32)))
    for number in range(SIZE):
        endpoint = Endpoint(IPv6Address(f"fe80::{number:x}"), 6277, 2)
        said = Announcement(number.to_bytes(32, "little"))
        mesh.observe(Announced(node_id(number), Origin.LINK, said, endpoint), 1.0)
    parts = list(told(mesh))
    assert len(parts) == 3
    everybody = {node_id(number) for number in range(SIZE)}
    assert {peer.node_id for part in parts for peer in part.peers} == everybody
    assert sum(len(part.peers) for part in parts) == SIZE, "each once"
    assert mesh.changes().peers == ()

    keys = frozenset(mesh.desired().peers)
    mesh.applied(Applied(3, 6277, 1420, keys, keys, writes=SIZE), 2.0)
    assert sum(len(part.peers) for part in told(mesh)) == SIZE, "all are configured now"

    revision, wanted = mesh.revision, mesh.desired().peers
    for number in range(SIZE):
        mesh.observe(Withdrawn(node_id(number), Origin.LINK, "goodbye"), 3.0)
    assert sum(len(part.peers) for part in told(mesh)) == SIZE, "all are lost"
    assert mesh.revision == revision and mesh.desired().peers == wanted
    mesh.advance(200.0)
    assert {gone for part in told(mesh) for gone in part.gone} == everybody
    assert mesh.desired().peers == {}


def test_counters_are_told_to_those_who_ask():
    mesh = Mesh(NodeId(bytes(28)), Settings(Config(), private_key=bytes([8] * 32)))
    key = bytes([9] * 32)
    endpoint = Endpoint(IPv6Address("fe80::1"), 6277, 2)
    mesh.observe(Announced(node_id(1), Origin.LINK, Announcement(key), endpoint), 1.0)
    mesh.applied(Applied(3, 6277, 1420, frozenset([key]), frozenset([key]), writes=1), 2.0)
    mesh.statistics({key: PeerStatistics(0, 0, 0)}, 2.1, 10**18)
    assert list(told(mesh)) and not mesh.show_counters()

    mesh.statistics({key: PeerStatistics(0, 0, 148)}, 3.0, 10**18)
    assert not mesh.has_changes, "no signal would tell of it"
    assert mesh.show_counters()
    (changes,) = told(mesh)
    assert not changes.peers and changes.counted[node_id(1)].tx_bytes == 148
    assert not mesh.show_counters(), "told once"

    mesh.statistics({key: PeerStatistics(0, 0, 148, replace(endpoint, port=7))}, 4.0, 10**18)
    assert mesh.has_changes, "it roamed"
