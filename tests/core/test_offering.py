"""What a node announces to carry for others."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

from bmx7wg.core.announcement import encode
from bmx7wg.core.config import Config, DeviceConfig
from bmx7wg.core.limits import MAIN_TABLE, MAX_BANDWIDTH, MAX_NETWORKS
from bmx7wg.core.model import Announcement, Network, OfferRule, Surroundings
from bmx7wg.core.offering import Offering

FOUR, SIX, TEN = (ip_network(text) for text in ("0.0.0.0/0", "::/0", "10.0.0.0/8"))


def around(*prefixes: str, table: int = MAIN_TABLE) -> Surroundings:
    return Surroundings(routes={table: frozenset(ip_network(prefix) for prefix in prefixes)})


def announced(offering: Offering) -> list[str]:
    return [str(offer.prefix) for offer in offering.offers]


def test_what_is_offered_is_announced_with_its_bandwidth() -> None:
    own = DeviceConfig(addresses=(ip_interface("10.77.0.3/24"),))
    offering = Offering(Config(device=own, offers=(OfferRule(TEN, 5000), OfferRule(SIX))))
    assert [(str(offer.prefix), offer.bandwidth) for offer in offering.offers] == [
        ("10.77.0.3/32", MAX_BANDWIDTH),
        ("10.0.0.0/8", 5000),
        ("::/0", 1000),
    ]
    assert offering.tables == frozenset()
    offering.reconfigure(Config(offers=(OfferRule(TEN, 6000),)))
    assert [(str(offer.prefix), offer.bandwidth) for offer in offering.offers] == [
        ("10.0.0.0/8", 6000)
    ]


def test_while_route() -> None:
    rules = tuple(OfferRule(network, while_route=True) for network in (FOUR, SIX, TEN))
    offering = Offering(Config(offers=rules))
    assert offering.tables == {MAIN_TABLE} and announced(offering) == []
    offering.surround(around("0.0.0.0/0", "10.1.0.0/16"))
    assert announced(offering) == ["0.0.0.0/0"], "a default route is no way to 10.0.0.0/8"
    offering.surround(around("::/0", "10.0.0.0/7"))
    assert announced(offering) == ["::/0", "10.0.0.0/8"]
    offering.surround(Surroundings(connected=frozenset({TEN})))
    assert announced(offering) == ["10.0.0.0/8"]
    offering.surround(around("0.0.0.0/0", table=7))
    assert announced(offering) == []


def test_from_a_table() -> None:
    rule = OfferRule(TEN, from_table=7, min_prefix_length=16, max_prefix_length=24)
    offering = Offering(Config(offers=(rule,)))
    assert offering.tables == {7}
    prefixes = ("10.0.0.0/8", "10.1.0.0/17", "10.1.128.0/17", "10.2.0.0/25", "192.0.2.0/24")
    offering.surround(around(*prefixes, table=7))
    assert announced(offering) == ["10.1.0.0/16"]
    plain = OfferRule(TEN, from_table=7, aggregate=False)
    offering.reconfigure(Config(offers=(plain,)))
    assert sorted(announced(offering)) == sorted(prefixes[:4])
    everything = OfferRule(SIX, from_table=7)
    offering.reconfigure(Config(offers=(everything,)))
    offering.surround(around("::/0", "fd77::/16", "fe80::/64", "ff00::/8", table=7))
    assert announced(offering) == ["::/0"]


def test_what_is_announced_longest_stays_when_there_is_not_room_for_all() -> None:
    rule = OfferRule(TEN, from_table=7, aggregate=False)
    offering = Offering(Config(offers=(rule,)))
    late = [f"10.9.{number}.0/24" for number in range(60)]
    offering.surround(around(*late, table=7))
    early = [f"10.1.{number}.0/24" for number in range(60)]
    offering.surround(around(*early, *late, table=7))
    assert set(late) < set(announced(offering)) and len(offering.offers) == MAX_NETWORKS
    assert offering.left_out == 120 - MAX_NETWORKS
    offering.surround(around(*early, table=7))
    assert set(announced(offering)) == set(early) and offering.left_out == 0


def test_the_announcement_is_never_too_long() -> None:
    networks: list[Network] = [
        ip_network((0x20010DB8 << 96 | 0xFFFF_EEEE_DDDD << 48 | number << 32 | 0xAAAA, 128))
        for number in range(4096, 4096 + 64)
    ]
    rules = tuple(OfferRule(network, MAX_BANDWIDTH) for network in networks)
    offering = Offering(Config(offers=rules))
    assert offering.left_out > 0 and len(offering.offers) > 50
    encode(Announcement(b"k" * 32, 65535, "n" * 63, offering.offers, (), b"n" * 32))
