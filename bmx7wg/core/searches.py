"""Networks that this node searches: what may be said of them, in files and on the bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .announcement import parse_label
from .identity import NodeId
from .limits import MAIN_TABLE, MAX_BANDWIDTH, MAX_TABLE, MIN_BANDWIDTH
from .model import Search
from .prefixes import parse_carried
from .schema import Boolean, Check, Number, Text, different

_KERNELS_TABLES: Final = (253, MAIN_TABLE, 255)  # default, main, local: linux/rtnetlink.h
_FIRST_RULE: Final = 2  # one goes before it, and 0 is the local table's
_LAST_RULE: Final = 32765  # before the main table's, ip-rule(8)

#: The keys of a [[search]]; `network` has to be there.
KEYS: Final[Mapping[str, Check]] = {
    "network": Text(parse_carried),
    "name": Text(parse_label),
    "min-prefix-length": Number(0, 128),
    "max-prefix-length": Number(0, 128),
    "gateway-name": Text(parse_label),
    "gateway-id": Text(NodeId.parse),
    "min-bandwidth": Number(MIN_BANDWIDTH, MAX_BANDWIDTH),
    "rating": Number(1, 10_000),
    "hysteresis": Number(0, 10_000),
    "metric": Number(1, 0xFFFFFFFF),
    "table": Number(1, MAX_TABLE),
    "rule": Number(_FIRST_RULE, _LAST_RULE),
    "allow-overlap": Boolean(),
    "break-overlap": Boolean(),
}


def build(said: Mapping[str, Any]) -> Search:
    """The search of which *said*, checked by `KEYS`, is told; ValueError if it makes no sense."""
    if "network" not in said:
        raise ValueError("network is missing")
    search = Search(**{key.replace("-", "_"): value for key, value in said.items()})
    if shortest(search) > search.max_prefix_length:
        raise ValueError(
            f"max-prefix-length {search.max_prefix_length} is less than the least length, "
            f"{shortest(search)}: no offer can match"
        )
    if search.table in _KERNELS_TABLES:
        raise ValueError(f"table {search.table} is one of the kernel's own; take another one")
    return search


def said_of(search: Search) -> dict[str, object]:
    """What `build` made the search of, as TOML has it; without defaults."""
    usual = Search(search.network)
    return {"network": str(search.network), **different(search, usual, KEYS)}


def check_new(search: Search, others: Iterable[Search]) -> None:
    """ValueError if one of *others* has the same name."""
    if any(name_of(other) == name_of(search) for other in others):
        raise ValueError(f"a search named {name_of(search)} is there already")


def name_of(search: Search) -> str:
    """What to call it: its name, or its network; a name never looks like a network."""
    return search.name or str(search.network)


def shortest(search: Search) -> int:
    """The least prefix length of an offer that matches."""
    said = search.min_prefix_length
    return search.network.prefixlen if said < 0 else said
