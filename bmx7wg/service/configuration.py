"""The configuration in force: the administrator's files and what was changed on the bus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .. import configfiles
from ..core.changes import BusChanges
from ..core.config import Config, ConfigSource, Loaded, parse
from ..core.identity import NodeId
from ..core.keys import generate_private_key
from ..core.model import Network, OfferRule, Search, StaticPeer
from ..core.searches import name_of
from ..core.settings import Settings
from ..core.staticpeers import check_new
from .store import Store, read_secret


class Configuration:
    """Reads and keeps; `settings` is what it all comes to.

    Changes are written before they count. ConfigError and StoreError say what is wrong; what
    was in force stays so.
    """

    def __init__(self, directory: Path, store: Store) -> None:
        self._directory = directory
        self._store = store
        self._loaded = self._read()
        self._changes = BusChanges.of(parse(self._kept()).config)
        session = self._files.node.key == "session"
        self._private_key = generate_private_key() if session else store.wireguard_key()
        self._secret = read_secret(self._files.trust.secret_file)

    @property
    def _files(self) -> Config:
        return self._loaded.config

    @property
    def settings(self) -> Settings:
        return Settings(self._changes.applied_to(self._files), self._private_key, self._secret)

    def reload(self) -> Settings:
        """Read the administrator's files anew."""
        loaded = self._read()
        self._secret = read_secret(loaded.config.trust.secret_file)
        self._loaded = loaded
        return self.settings

    def block(self, node_id: NodeId) -> Settings:
        if node_id in self.settings.config.trust.blocked:
            return self.settings
        return self._change(replace(self._changes, blocked=(*self._changes.blocked, node_id)))

    def unblock(self, node_id: NodeId) -> Settings:
        """ValueError if it is the administrator's files that block it."""
        if node_id in self._files.trust.blocked:
            raise ValueError(f"node {node_id} is blocked by the files in {self._directory}")
        blocked = tuple(other for other in self._changes.blocked if other != node_id)
        return self._change(replace(self._changes, blocked=blocked))

    def add_peer(self, peer: StaticPeer) -> Settings:
        """ValueError if there is one like it."""
        check_new(peer, self.settings.config.peers)
        return self._change(replace(self._changes, peers=(*self._changes.peers, peer)))

    def remove_peer(self, node_id: NodeId) -> Settings:
        """KeyError if no such peer was added; ValueError if the administrator's files did."""
        if any(peer.identity == node_id for peer in self._files.peers):
            raise ValueError(f"peer {node_id} is in the files in {self._directory}")
        peers = tuple(peer for peer in self._changes.peers if peer.identity != node_id)
        if len(peers) == len(self._changes.peers):
            raise KeyError(node_id)
        return self._change(replace(self._changes, peers=peers))

    def offer(self, offer: OfferRule) -> Settings:
        """Offer a network, in place of an offer of it that was made on the bus.

        ValueError if the administrator's files offer it.
        """
        others = self._other_offers(offer.network)
        return self._change(replace(self._changes, offers=(*others, offer)))

    def withdraw(self, network: Network) -> Settings:
        """KeyError if it is not offered; ValueError if the administrator's files do."""
        others = self._other_offers(network)
        if len(others) == len(self._changes.offers):
            raise KeyError(network)
        return self._change(replace(self._changes, offers=others))

    def search(self, search: Search) -> Settings:
        """Search, in place of a search of the same name that was made on the bus.

        ValueError if it is in the administrator's files.
        """
        others = self._other_searches(name_of(search))
        return self._change(replace(self._changes, searches=(*others, search)))

    def forget(self, name: str) -> Settings:
        """KeyError without such a search; ValueError if it is in the administrator's files."""
        others = self._other_searches(name)
        if len(others) == len(self._changes.searches):
            raise KeyError(name)
        return self._change(replace(self._changes, searches=others))

    def switch_key(self, private_key: bytes) -> Settings:
        """Use another WireGuard key from now on."""
        if self._files.node.key != "session":
            self._store.save_wireguard_key(private_key)
        self._private_key = private_key
        return self.settings

    def _other_offers(self, network: Network) -> tuple[OfferRule, ...]:
        """The bus's offers but for that of *network*; ValueError if a file has one of it."""
        for offer, origin in zip(self._files.offers, self._loaded.offers, strict=True):
            if offer.network == network:
                raise ValueError(f"{network} is offered by {origin}")
        return tuple(other for other in self._changes.offers if other.network != network)

    def _other_searches(self, name: str) -> tuple[Search, ...]:
        """The bus's searches but for that of this name; ValueError if a file has it."""
        for search, origin in zip(self._files.searches, self._loaded.searches, strict=True):
            if name_of(search) == name:
                raise ValueError(f"the search {name} is in {origin}")
        return tuple(other for other in self._changes.searches if name_of(other) != name)

    def _change(self, changes: BusChanges) -> Settings:
        if changes != self._changes:
            self._store.write(configfiles.CHANGES, changes.text().encode())
            self._changes = changes
        return self.settings

    def _read(self) -> Loaded:
        return parse(configfiles.read(self._directory))

    def _kept(self) -> list[ConfigSource]:
        path = self._store.directory / configfiles.CHANGES
        content = self._store.read(configfiles.CHANGES)
        return [] if content is None else [ConfigSource(str(path), content)]
