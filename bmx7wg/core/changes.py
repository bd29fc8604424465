"""Changes made on the bus, as the file that keeps them: a configuration of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .config import Config
from .identity import NodeId, key_text
from .model import StaticPeer
from .staticpeers import check_new

_HEADING = "# Written by bmx7-wgd: changes made on the system bus. Change them there.\n"


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


def _entry(peer: StaticPeer) -> str:
    said: dict[str, object] = {"public-key": key_text(peer.public_key)}
    if peer.name:
        said["name"] = peer.name
    if peer.node_id:
        said["node-id"] = str(peer.node_id)
    if peer.endpoint:
        said["endpoint"] = str(peer.endpoint)
    if peer.allowed_ips:
        said["allowed-ips"] = [str(prefix) for prefix in peer.allowed_ips]
    if peer.preshared_key:
        said["preshared-key"] = key_text(peer.preshared_key)
    if peer.keepalive:
        said["keepalive"] = peer.keepalive
    # JSON's strings, numbers and lists of them are TOML's as well.
    return "\n[[peer]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in said.items())
