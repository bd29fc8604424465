"""All that the administrator decides, with the secrets that the files only name."""

from __future__ import annotations

from dataclasses import dataclass, field

from .config import Config
from .peers import Policy


@dataclass(frozen=True)
class Settings:
    """What of the configuration the mesh needs; may be replaced while it runs."""

    config: Config
    private_key: bytes = field(repr=False)
    secret: bytes = field(default=b"", repr=False)  # the mesh secret; empty without one

    @property
    def policy(self) -> Policy:
        trust = self.config.trust
        return Policy(trust.accept == "listed", frozenset(trust.nodes), frozenset(trust.blocked))

    def needs_restart(self, before: Settings) -> list[str]:
        """The sections that differ from *before* and that are only read at the start."""
        new, old = self.config, before.config
        pairs = {
            "node.key": (new.node.key, old.node.key),
            "device.name": (new.device.name, old.device.name),
            "device.backend": (new.device.backend, old.device.backend),
            "discovery.source": (new.discovery.source, old.discovery.source),
            "discovery.bmx7": (new.discovery.bmx7, old.discovery.bmx7),
            "discovery.link": (new.discovery.link, old.discovery.link),
        }
        return [name for name, (one, other) in pairs.items() if one != other]
