"""Reading what bmx7 prints and writes about itself; the vectors are a real one's."""

from __future__ import annotations

import json
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmx7wg.core.identity import NodeId
from bmx7wg.discovery.bmx7_show import (
    NodeIdentity,
    NodeRow,
    identity_of_json,
    interfaces_of_json,
    node_of_json,
    overview_of_tables,
    parse_metric,
    parse_tables,
)

VECTORS = Path(__file__).parent.parent / "vectors"
RUNTIME = VECTORS / "bmx7-runtime"
N1 = NodeId.parse("54BF9F2348D362BE9CE6D64D35B078F2E3B8DF28DB7B50C6986F6BF0")
N3 = NodeId.parse("65A6FE5555E8383919FEE93925BEB019448C3355800DB178D4C2DFF4")


@pytest.mark.parametrize(
    "text, metric",
    [
        ("706M", 706_000_000),
        ("19607K", 19_607_000),
        ("257G", 257_000_000_000),
        ("36", 36),
        ("1.5G", 1_000_000_000),
        ("", 0),
        ("---", 0),
        ("-1", 0),
        ("M", 0),
        ("12T", 0),
        ("9" * 400, 0),
        ("١٢M", 0),
    ],
)
def test_metrics_are_bits_a_second(text, metric):
    assert parse_metric(text) == metric


def test_the_tables_of_a_real_node():
    text = (VECTORS / "bmx7-show.txt").read_text()
    n2 = NodeId.parse("DB8D20EAE19AC54CF0125414B3B56DF8EEB6D0032FFB99367845DC48")
    n3 = NodeId.parse("3F4A7D1A45418D2CC1E1E3AE4077BA2AA02E4FBE0B41B74B163C74E7")
    overview = overview_of_tables(text)
    assert overview.own == NodeIdentity(n2, "n2")
    assert overview.interfaces == ("v2l", "v2r")
    assert len(overview.nodes) == 3
    address = IPv6Address("fd70:3f4a:7d1a:4541:8d2c:c1e1:e3ae:4077")
    assert overview.nodes[n3] == NodeRow(n3, "n3", address, 999_000_000, 1)


def test_every_table_of_a_whole_session_is_found():
    tables = parse_tables((VECTORS / "bmx7-runtime-show.txt").read_text().partition("$ bmx7")[2])
    assert [row["name"] for row in tables["ORIGINATORS"][:3]] == ["n1", "n2", "n3"]
    assert tables["LINKS"][0]["nbLocalIp"] == "fe80::c17:96ff:fe86:5d7d"
    assert tables["STATUS"][0]["nodes"] == "3/3"


def test_a_cell_may_be_empty():
    tables = parse_tables("KEYS:\nshortId  name hops \nBE69188D      2    \n")
    assert tables == {"KEYS": [{"shortId": "BE69188D", "name": "", "hops": "2"}]}


def test_short_ids_may_be_shared_and_are_told_apart_by_address():
    ours, twin = "AABBCCDD" + "1" * 48, "AABBCCDD" + "2" * 48
    text = (
        "STATUS:\nshortId  primaryIp \nAABBCCDD fd70::1   \n"
        "KEYS:\nshortId  nodeId                                                   "
        "name primaryIp hops \n"
        f"AABBCCDD {twin} n1   fd70::2   1    \n"
        f"AABBCCDD {ours} n1   fd70::1   0    \n"
        "ORIGINATORS:\nshortId  primaryIp metric hops \n"
        "AABBCCDD fd70::1   257G   0    \nAABBCCDD fd70::2   5M     1    \n"
    )
    overview = overview_of_tables(text)
    assert overview.own is not None and overview.own.node_id == NodeId.parse(ours)
    assert overview.nodes[NodeId.parse(twin)].metric == 5_000_000
    assert overview.nodes[NodeId.parse(twin)].address == IPv6Address("fd70::2")


@pytest.mark.parametrize("address", ["---", "::", "", "fd70::1/64", "10.0.0.1"])
def test_an_address_that_is_none(address):
    row = {"nodeId": str(N1), "primaryIp": address, "metric": "1M", "hops": 1, "name": "n1"}
    assert node_of_json(json.dumps(row).encode()) == NodeRow(N1, "n1", None, 1_000_000, 1)


@pytest.mark.parametrize("name", ["---", "", "a b", "a_b", "a.b", "\x1b[2J", "é", "x" * 65, {}])
def test_a_name_that_is_none(name):
    row = {"nodeId": str(N1), "primaryIp": "fd70::1", "name": name}
    node = node_of_json(json.dumps(row).encode())
    assert node is not None and node.name == ""


def test_the_json_files_of_a_real_node():
    assert identity_of_json((RUNTIME / "json/status").read_bytes()) == NodeIdentity(N1, "n1")
    assert interfaces_of_json((RUNTIME / "json/interfaces").read_bytes()) == ("v1r",)
    data = (RUNTIME / "json/originators" / str(N3)).read_bytes()
    address = IPv6Address("fd70:65a6:fe55:55e8:3839:19fe:e939:25be")
    assert node_of_json(data) == NodeRow(N3, "n3", address, 706_000_000, 2)


def test_json_that_is_cut_off_says_nothing():
    status = (RUNTIME / "json/status").read_bytes()
    originator = (RUNTIME / "json/originators" / str(N3)).read_bytes()
    for end in range(len(status.rstrip())):
        assert identity_of_json(status[:end]) is None
    for end in range(len(originator.rstrip())):
        assert node_of_json(originator[:end]) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["status", "interfaces", "nodeId", "dev", "x"]), inner),
    max_leaves=8,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=64))
def test_no_json_upsets_it(data):
    assert identity_of_json(data) is None
    assert node_of_json(data) is None
    assert isinstance(interfaces_of_json(data), tuple)


WORDS = st.sampled_from(["KEYS:", "STATUS:", "shortId", "nodeId", "hops", str(N1), "0", "\n", " "])


@given(st.lists(WORDS | st.text(max_size=4), max_size=40).map("".join))
def test_no_table_upsets_it(text):
    assert set(overview_of_tables(text).nodes) <= {N1}


def test_deep_nesting_says_nothing():
    assert node_of_json(b"[" * 60_000) is None
