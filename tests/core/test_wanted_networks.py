"""What may be offered and searched, in files and on the bus."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bmx7wg.core import offers, searches
from bmx7wg.core.changes import BusChanges, together
from bmx7wg.core.config import ConfigError, ConfigSource, Loaded, parse
from bmx7wg.core.identity import NodeId
from bmx7wg.core.model import OfferRule, Search
from bmx7wg.core.prefixes import inside

NODE = NodeId(b"\x01" * 28)
FULL_OFFER = OfferRule(ip_network("10.0.0.0/8"), 36, False, 254, 16, 24, False)
FULL_SEARCH = Search(
    network=ip_network("2001:db8::/32"),
    name="office",
    min_prefix_length=0,
    max_prefix_length=64,
    gateway_name="n1",
    gateway_id=NODE,
    min_bandwidth=36,
    rating=1,
    hysteresis=0,
    metric=1,
    table=1000,
    rule=2,
    allow_overlap=False,
    break_overlap=False,
)


def load(text: str, name: str = "c.toml") -> Loaded:
    return parse([ConfigSource(name, text.encode())])


def test_every_word_is_read() -> None:
    config = load(
        f"""
[[offer]]
network = "0.0.0.0/0"
while-route = true

[[offer]]
network = "10.0.0.0/8"
bandwidth = 36
from-table = "main"
min-prefix-length = 16
max-prefix-length = 24
aggregate = false

[[search]]
network = "0.0.0.0/0"

[[search]]
network = "2001:db8::/32"
name = "office"
min-prefix-length = 0
max-prefix-length = 64
gateway-name = "n1"
gateway-id = "{NODE}"
min-bandwidth = 36
rating = 1
hysteresis = 0
metric = 1
table = 1000
rule = 2
allow-overlap = false
break-overlap = false
"""
    ).config
    assert config.offers == (OfferRule(ip_network("0.0.0.0/0"), while_route=True), FULL_OFFER)
    assert config.searches == (Search(ip_network("0.0.0.0/0")), FULL_SEARCH)


def test_what_was_said_can_be_said_again() -> None:
    for offer in (FULL_OFFER, OfferRule(ip_network("::/0"), while_route=True)):
        words = offers.said_of(offer)
        assert offers.build({key: offers.KEYS[key].check(words[key]) for key in words}) == offer
    for search in (FULL_SEARCH, Search(ip_network("::/0"))):
        said = searches.said_of(search)
        assert searches.build({key: searches.KEYS[key].check(said[key]) for key in said}) == search
    assert set(searches.said_of(FULL_SEARCH)) == set(searches.KEYS)
    assert offers.said_of(OfferRule(ip_network("::/0"))) == {"network": "::/0"}


@pytest.mark.parametrize(
    "text, problem",
    [
        ("[[offer]]", "offer: network is missing"),
        ("[[search]]", "search: network is missing"),
        ("[offer]", "offer: is a list; write [[offer]]"),
        ('[[offer]]\nnetwork = "10.0.0.0/8"\nbandwidth = 35', "35 is out of range"),
        ('[[offer]]\nnetwork = "10.0.0.0/8"\naggregate = true', "aggregate needs from-table"),
        ('[[offer]]\nnetwork = "10.0.0.0/8"\nfrom-table = "mine"', '"default", "main"'),
        (
            '[[offer]]\nnetwork = "10.0.0.0/8"\nfrom-table = 7\nwhile-route = true',
            "while-route and from-table exclude each other",
        ),
        (
            '[[offer]]\nnetwork = "10.0.0.0/8"\nfrom-table = 7\nmin-prefix-length = 9\n'
            "max-prefix-length = 8",
            "min-prefix-length is greater than max-prefix-length",
        ),
        ('[[offer]]\nnetwork = "10.0.0.0/8"\n' * 2, "10.0.0.0/8 is offered already"),
        ('[[search]]\nnetwork = "::/0"\n' * 2, "a search named ::/0 is there already"),
        ('[[search]]\nnetwork = "::/0"\nname = "a/b"', "letters, digits and inner hyphens"),
        ('[[search]]\nnetwork = "::/0"\ntable = 254', "table 254 is one of the kernel's own"),
        ('[[search]]\nnetwork = "::/0"\nrule = 32766', "32766 is out of range; 2 to 32765"),
        (
            '[[search]]\nnetwork = "10.0.0.0/8"\nmax-prefix-length = 7',
            "max-prefix-length 7 is less than the least length, 8",
        ),
        ('[[search]]\nnetwork = "10.0.0.1/8"', "without host bits, such as 10.0.0.0/8"),
        ('[[search]]\nnetwork = "office"', "a prefix such as 10.1.0.0/16 or 2001:db8::/32"),
        ('[[search]]\nnetwork = "fe80::%1/64"', "a prefix such as 10.1.0.0/16"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    (sentence,) = caught.value.problems
    assert problem in sentence


@pytest.mark.parametrize("section", ["offer", "search"])
@pytest.mark.parametrize(
    "prefix",
    ["fd77::/16", "fd70:1::/32", "fe80::/64", "ff02::1", "::1", "127.0.0.0/8", "169.254.1.0/24"]
    + ["224.0.0.0/4", "0.0.0.0/8", "255.255.255.255", "::", "::ffff:10.0.0.0/104"],
)
def test_reserved_ranges_are_refused(section: str, prefix: str) -> None:
    with pytest.raises(ConfigError, match="needed: a prefix that is not inside"):
        load(f'[[{section}]]\nnetwork = "{prefix}"')


def test_a_prefix_that_covers_a_reserved_range_is_not() -> None:
    for prefix in ("::/0", "0.0.0.0/0", "fd00::/8", "128.0.0.0/1"):
        assert load(f'[[search]]\nnetwork = "{prefix}"').config.searches


def test_inside() -> None:
    ten, part = ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")
    assert inside(part, ten) and inside(ten, ten) and not inside(ten, part)
    assert inside(part, ip_network("0.0.0.0/0")) and not inside(part, ip_network("::/0"))
    assert not inside(ip_network("11.0.0.0/16"), ten)


def test_changes_on_the_bus_are_kept() -> None:
    changes = BusChanges(
        offers=(FULL_OFFER, OfferRule(ip_network("::/0"), while_route=True)),
        searches=(FULL_SEARCH, Search(ip_network("0.0.0.0/0"))),
    )
    assert BusChanges.of(load(changes.text()).config) == changes


def test_the_administrators_offers_and_searches_come_first() -> None:
    files = load(
        '[[offer]]\nnetwork = "10.0.0.0/8"\n[[search]]\nnetwork = "::/0"\nname = "office"\n'
    )
    changes = BusChanges(
        offers=(FULL_OFFER, OfferRule(ip_network("192.0.2.0/24"))),
        searches=(FULL_SEARCH, Search(ip_network("::/0"))),
    )
    both = together(files, load(changes.text(), "bus.toml"))
    assert both.config.offers == (*files.config.offers, changes.offers[1])
    assert both.config.searches == (*files.config.searches, changes.searches[1])
    assert [origin.split(":")[0] for origin in both.offers] == ["c.toml", "bus.toml"]
    assert [origin.split(":")[0] for origin in both.searches] == ["c.toml", "bus.toml"]
