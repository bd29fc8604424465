"""Changes made on the bus, as the file that keeps them: a configuration of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from . import offers, searches, staticpeers
from .config import Config, Loaded
from .identity import NodeId
from .model import OfferRule, Search, StaticPeer

_HEADING = "# Written by bmx7-wgd: changes made on the system bus. Change them there.\n"
_BLOCKED: Final = "trust.blocked"
_Entry = TypeVar("_Entry", StaticPeer, OfferRule, Search)


@dataclass(frozen=True)
class BusChanges:
    """What callers on the bus decided, apart from the administrator's files."""

    blocked: tuple[NodeId, ...] = ()
    peers: tuple[StaticPeer, ...] = ()
    offers: tuple[OfferRule, ...] = ()
    searches: tuple[Search, ...] = ()

    @classmethod
    def of(cls, config: Config) -> BusChanges:
        """Those that `text` wrote, after it was parsed."""
        return cls(config.trust.blocked, config.peers, config.offers, config.searches)

    def text(self) -> str:
        """As a configuration file in TOML; holds preshared keys."""
        blocked = "".join(f"  {json.dumps(str(node))},\n" for node in self.blocked)
        trust = f"\n[trust]\nblocked = [\n{blocked}]\n" if self.blocked else ""
        entries = [
            *(_entry("peer", staticpeers.said_of(peer)) for peer in self.peers),
            *(_entry("offer", offers.said_of(offer)) for offer in self.offers),
            *(_entry("search", searches.said_of(search)) for search in self.searches),
        ]
        return _HEADING + trust + "".join(entries)

    def applied_to(self, config: Config) -> Config:
        """The administrator's configuration and these changes together.

        The administrator's files come first: what they name too is left to them.
        """
        blocked = tuple(dict.fromkeys(config.trust.blocked + self.blocked))
        return replace(
            config,
            trust=replace(config.trust, blocked=blocked),
            peers=_joined(config.peers, self.peers, staticpeers.check_new),
            offers=_joined(config.offers, self.offers, offers.check_new),
            searches=_joined(config.searches, self.searches, searches.check_new),
        )


def _joined(
    files: tuple[_Entry, ...],
    changes: tuple[_Entry, ...],
    check_new: Callable[[_Entry, Iterable[_Entry]], None],
) -> tuple[_Entry, ...]:
    joined = list(files)
    for entry in changes:
        try:
            check_new(entry, files)
        except ValueError:
            continue
        joined.append(entry)
    return tuple(joined)


def together(files: Loaded, kept: Loaded) -> Loaded:
    """The administrator's files and the file of these changes, and where each value is from."""
    config = BusChanges.of(kept.config).applied_to(files.config)
    values, origins = dict(files.values), dict(files.origins)
    if kept.config.trust.blocked:
        values[_BLOCKED] = config.trust.blocked
        named = [origins[_BLOCKED]] if files.config.trust.blocked else []
        origins[_BLOCKED] = ", ".join([*named, kept.origins[_BLOCKED]])
    return Loaded(
        config,
        values,
        origins,
        _origins(config.peers, (kept.config.peers, kept.peers), (files.config.peers, files.peers)),
        _origins(
            config.offers, (kept.config.offers, kept.offers), (files.config.offers, files.offers)
        ),
        _origins(
            config.searches,
            (kept.config.searches, kept.searches),
            (files.config.searches, files.searches),
        ),
    )


def _origins(
    entries: Iterable[_Entry], *said: tuple[tuple[_Entry, ...], tuple[str, ...]]
) -> tuple[str, ...]:
    """Where each of *entries* is from; of two that are equal, the later in *said* counts."""
    origin_of: dict[_Entry, str] = {}
    for told, origins in said:
        origin_of.update(zip(told, origins, strict=True))
    return tuple(origin_of[entry] for entry in entries)


def _entry(section: str, said: Mapping[str, object]) -> str:
    # JSON's strings, numbers, booleans and lists of them are TOML's as well.
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in said.items()]
    return f"\n[[{section}]]\n" + "".join(lines)
