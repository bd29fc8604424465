"""What the journal and the bus are told of networks."""

from __future__ import annotations

import logging
from ipaddress import ip_network
from typing import Any

import pytest

from bmx7wg.core.config import Config
from bmx7wg.core.identity import NodeId, mesh_address
from bmx7wg.core.model import Offer, OfferRule, Search
from bmx7wg.core.views import Changes, NetworkView
from bmx7wg.service import journal
from bmx7wg.service.report import Report

N2, N3 = NodeId(b"\x02" * 28), NodeId(b"\x03" * 28)
LAN = ip_network("10.3.0.0/24")


def view(**values: Any) -> NetworkView:
    made = {"gateway": N2, "candidates": (), "table": 77, "metric": 1024, "since": 5}
    return NetworkView(LAN, **{**made, **values})


def test_the_journal_tells_each_switch_once_and_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bmx7wg.networks")
    report = Report()
    for changes in (
        Changes(networks=(view(reason="the only one"),)),
        Changes(networks=(view(candidates=((N3, 5, "worse"),)),)),
        Changes(networks=(view(gateway=N3, reason="n2 is lost"),)),
        Changes(networks=(view(gateway=None, since=0),)),
        Changes(networks=(view(),)),
        Changes(networks_gone=(LAN,)),
        Changes(networks_gone=(LAN,)),
    ):
        report.networks_changed(changes)
    assert [record.getMessage() for record in caplog.records] == [
        f"network 10.3.0.0/24: carried by {mesh_address(N2)} (the only one)",
        f"network 10.3.0.0/24: carried by {mesh_address(N3)} (n2 is lost)",
        "network 10.3.0.0/24: carried by nobody",
        f"network 10.3.0.0/24: carried by {mesh_address(N2)}",
        "network 10.3.0.0/24: no longer carried",
    ]
    fields = getattr(caplog.records[1], "fields")
    assert fields == {
        journal.MESSAGE_ID: journal.NETWORK_CHANGED,
        journal.NETWORK: "10.3.0.0/24",
        journal.PEER: str(N3),
    }


def test_what_is_announced_is_told_of_the_offer_that_it_stands_for() -> None:
    table = OfferRule(ip_network("10.0.0.0/8"), 5000, from_table=254)
    route = OfferRule(ip_network("0.0.0.0/0"), while_route=True)
    config = Config(offers=(table, route), searches=(Search(LAN), Search(LAN, "lan", 0, 24)))
    report = Report()
    report.networks_told(config, tuple(Offer(ip_network(f"10.{n}.0.0/16"), 5000) for n in (1, 2)))
    assert report.offers == (
        ("10.0.0.0/8", 5000, ("10.1.0.0/16", "10.2.0.0/16")),
        ("0.0.0.0/0", 1000, ()),
    )
    assert report.searches == (
        ("10.3.0.0/24", "10.3.0.0/24", 24, 128),
        ("lan", "10.3.0.0/24", 0, 24),
    )
    report.networks_told(config, (Offer(route.network, 1000),))
    assert report.offers[0][2] == () and report.offers[1][2] == ("0.0.0.0/0",)
