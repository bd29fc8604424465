"""Networks that this node offers: what may be said of them, in files and on the bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .limits import MAIN_TABLE, MAX_BANDWIDTH, MAX_TABLE, MIN_BANDWIDTH
from .model import OfferRule
from .prefixes import parse_carried
from .schema import Boolean, Check, NamedNumber, Number, Text, different

_TABLES: Final = {"default": 253, "main": MAIN_TABLE}  # linux/rtnetlink.h, RT_TABLE_*

#: The keys of an [[offer]]; `network` has to be there.
KEYS: Final[Mapping[str, Check]] = {
    "network": Text(parse_carried),
    "bandwidth": Number(MIN_BANDWIDTH, MAX_BANDWIDTH),
    "while-route": Boolean(),
    "from-table": NamedNumber(Number(1, MAX_TABLE), _TABLES),
    "min-prefix-length": Number(0, 128),
    "max-prefix-length": Number(0, 128),
    "aggregate": Boolean(),
}
_OF_TABLE: Final = ("min-prefix-length", "max-prefix-length", "aggregate")


def build(said: Mapping[str, Any]) -> OfferRule:
    """The offer of which *said*, checked by `KEYS`, is told; ValueError if it makes no sense."""
    if "network" not in said:
        raise ValueError("network is missing")
    if "from-table" not in said:
        for key in _OF_TABLE:
            if key in said:
                raise ValueError(f"{key} needs from-table: it is about what is in a table")
    elif said.get("while-route"):
        raise ValueError(
            "while-route and from-table exclude each other: a table's prefixes are "
            "only offered while they are in it"
        )
    offer = OfferRule(**{key.replace("-", "_"): value for key, value in said.items()})
    if offer.min_prefix_length > offer.max_prefix_length:
        raise ValueError("min-prefix-length is greater than max-prefix-length")
    return offer


def said_of(offer: OfferRule) -> dict[str, object]:
    """What `build` made the offer of, as TOML has it; without defaults."""
    usual = OfferRule(offer.network)
    return {"network": str(offer.network), **different(offer, usual, KEYS)}


def check_new(offer: OfferRule, others: Iterable[OfferRule]) -> None:
    """ValueError if one of *others* offers the same network."""
    if any(other.network == offer.network for other in others):
        raise ValueError(f"{offer.network} is offered already")
