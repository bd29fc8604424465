"""What is said of offers that lead nowhere."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest

from bmx7wg.core.forwarding import not_forwarded
from bmx7wg.core.model import Offer

OWN = (ip_interface("10.99.0.1/24"),)


@pytest.mark.parametrize(
    "prefixes, forwarded, sentence",
    [
        ((), (), ""),
        (("10.99.0.1/32",), (), ""),
        (("0.0.0.0/0",), (4,), ""),
        (("0.0.0.0/0",), (6,), "offers 0.0.0.0/0 but IPv4 is not forwarded"),
        (
            ("0.0.0.0/0", "10.99.0.1/32", "10.1.0.0/16", "::/0"),
            (),
            "offers 0.0.0.0/0 and 1 more but IPv4 is not forwarded; "
            "offers ::/0 but IPv6 is not forwarded",
        ),
    ],
)
def test_offers_of_a_version_that_is_not_forwarded(prefixes, forwarded, sentence):
    offers = [Offer(ip_network(prefix), 1000) for prefix in prefixes]
    assert not_forwarded(offers, OWN, forwarded) == sentence
