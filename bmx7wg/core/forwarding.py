"""Whether what this node offers can reach anybody beyond it."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_network

from .model import Interface, Offer


def not_forwarded(
    offers: Collection[Offer], own: Collection[Interface], forwarded: Collection[int]
) -> str:
    """A sentence about offers whose IP version the kernel does not forward; empty if all are.

    Our *own* addresses on the device, which are offered too, are reached without.
    """
    reached = {ip_network(interface.ip) for interface in own}
    beyond = [offer.prefix for offer in offers if offer.prefix not in reached]
    sentences = []
    for version in sorted({prefix.version for prefix in beyond}.difference(forwarded)):
        first, *others = (prefix for prefix in beyond if prefix.version == version)
        more = f" and {len(others)} more" if others else ""
        sentences.append(f"offers {first}{more} but IPv{version} is not forwarded")
    return "; ".join(sentences)
