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
    sentences = []
    for version in sorted({offer.prefix.version for offer in offers}.difference(forwarded)):
        prefixes = [
            offer.prefix
            for offer in offers
            if offer.prefix.version == version and offer.prefix not in reached
        ]
        if prefixes:
            more = f" and {len(prefixes) - 1} more" if len(prefixes) > 1 else ""
            sentences.append(f"offers {prefixes[0]}{more} but IPv{version} is not forwarded")
    return "; ".join(sentences)
