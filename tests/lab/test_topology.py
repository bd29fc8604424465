"""Topologies are values; nothing of the system takes part."""

from __future__ import annotations

import pytest

from bmx7wg.lab.topology import MAX_NODES, TOPOLOGIES, lan, line


def test_a_lan_is_one_link_for_all() -> None:
    topology = lan(3)
    (link,) = topology.links
    assert [(end.node, end.interface) for end in link.ends] == [
        ("n1", "eth0"),
        ("n2", "eth0"),
        ("n3", "eth0"),
    ]
    assert topology.neighbours("n2") == {"n1", "n3"}


def test_a_line_is_a_link_between_each_two() -> None:
    topology = line(3)
    ends = [tuple(f"{end.node}.{end.interface}" for end in link.ends) for link in topology.links]
    assert ends == [("n1.eth1", "n2.eth0"), ("n2.eth1", "n3.eth0")]
    assert topology.neighbours("n1") == {"n2"}
    assert topology.neighbours("n2") == {"n1", "n3"}


@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_a_single_node_has_no_link(kind: str) -> None:
    topology = TOPOLOGIES[kind](1)
    assert topology.nodes == ("n1",) and topology.links == ()
    assert topology.neighbours("n1") == frozenset()


@pytest.mark.parametrize("kind", TOPOLOGIES)
@pytest.mark.parametrize("count", [-1, 0, MAX_NODES + 1])
def test_the_number_of_nodes_is_bounded(kind: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {MAX_NODES} nodes, not {count}"):
        TOPOLOGIES[kind](count)


@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_no_interface_is_used_twice(kind: str) -> None:
    ends = [end for link in TOPOLOGIES[kind](MAX_NODES).links for end in link.ends]
    assert len(ends) == len(set(ends))
