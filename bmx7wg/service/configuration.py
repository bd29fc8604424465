"""The configuration in force: the administrator's files and what was changed on the bus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .. import configfiles
from ..core.changes import BusChanges
from ..core.config import Config, ConfigSource, parse
from ..core.identity import NodeId, generate_private_key
from ..core.model import StaticPeer
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
        self._files = self._read()
        self._changes = BusChanges.of(parse(self._kept()).config)
        session = self._files.node.key == "session"
        self._private_key = generate_private_key() if session else store.wireguard_key()
        self._secret = read_secret(self._files.trust.secret_file)

    @property
    def settings(self) -> Settings:
        return Settings(self._changes.applied_to(self._files), self._private_key, self._secret)

    def reload(self) -> Settings:
        """Read the administrator's files anew."""
        files = self._read()
        self._secret = read_secret(files.trust.secret_file)
        self._files = files
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

    def switch_key(self, private_key: bytes) -> Settings:
        """Use another WireGuard key from now on."""
        if self._files.node.key != "session":
            self._store.save_wireguard_key(private_key)
        self._private_key = private_key
        return self.settings

    def _change(self, changes: BusChanges) -> Settings:
        if changes != self._changes:
            self._store.write(configfiles.CHANGES, changes.text().encode())
            self._changes = changes
        return self.settings

    def _read(self) -> Config:
        return parse(configfiles.read(self._directory)).config

    def _kept(self) -> list[ConfigSource]:
        path = self._store.directory / configfiles.CHANGES
        content = self._store.read(configfiles.CHANGES)
        return [] if content is None else [ConfigSource(str(path), content)]
