"""Changes made on the bus, as the file that keeps them: a configuration of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from .config import Config, Loaded
from .identity import NodeId
from .model import StaticPeer
from .staticpeers import check_new, said_of

_HEADING = "# Written by bmx7-wgd: changes made on the system bus. Change them there.\n"
_BLOCKED: Final = "trust.blocked"


@dataclass(frozen=True)
class BusChanges:
    """What callers on the bus decided, apart from the administrator's files."""

    blocked: tuple[NodeId, ...] = ()
    peers: tuple[StaticPeer, ...] = ()

    @classmethod
    def of(cls, config: Config) -> BusChanges:
        """Those that `text` wrote, after it was parsed."""
        return cls(config.trust.blocked, config.peers)

    def text(self) -> str:
        """As a configuration file in TOML; holds preshared keys."""
        blocked = "".join(f"  {json.dumps(str(node))},\n" for node in self.blocked)
        trust = f"\n[trust]\nblocked = [\n{blocked}]\n" if self.blocked else ""
        return _HEADING + trust + "".join(_entry(peer) for peer in self.peers)

    def applied_to(self, config: Config) -> Config:
        """The administrator's configuration and these changes together.

        The administrator's files come first: a peer that they name too is left to them.
        """
        blocked = tuple(dict.fromkeys(config.trust.blocked + self.blocked))
        return replace(
            config,
            trust=replace(config.trust, blocked=blocked),
            peers=config.peers + tuple(_new(self.peers, config.peers)),
        )


def _new(peers: Iterable[StaticPeer], others: tuple[StaticPeer, ...]) -> Iterable[StaticPeer]:
    for peer in peers:
        try:
            check_new(peer, others)
        except ValueError:
            continue
        yield peer


def together(files: Loaded, kept: Loaded) -> Loaded:
    """The administrator's files and the file of these changes, and where each value is from."""
    config = BusChanges.of(kept.config).applied_to(files.config)
    values, origins = dict(files.values), dict(files.origins)
    if kept.config.trust.blocked:
        values[_BLOCKED] = config.trust.blocked
        named = [origins[_BLOCKED]] if files.config.trust.blocked else []
        origins[_BLOCKED] = ", ".join([*named, kept.origins[_BLOCKED]])
    origin_of = dict(zip(kept.config.peers, kept.peers, strict=True))
    origin_of.update(zip(files.config.peers, files.peers, strict=True))
    return Loaded(config, values, origins, tuple(origin_of[peer] for peer in config.peers))


def _entry(peer: StaticPeer) -> str:
    # JSON's strings, numbers and lists of them are TOML's as well.
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in said_of(peer).items()]
    return "\n[[peer]]\n" + "".join(lines)
