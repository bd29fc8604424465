"""What can be done to a device, one step each; a peer's are in planpeers.py.

Each prints as a line for people, without secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .model import DesiredRoute, DesiredRule, Interface
from .planpeers import PeerOperation


@dataclass(frozen=True)
class MakeDevice:
    """Make the device, or bring back to life what is left of it."""

    name: str

    def __str__(self) -> str:
        return f"make {self.name}"


@dataclass(frozen=True)
class Mark:
    """Mark the device as ours, and as one that gets no link-local address by itself."""

    def __str__(self) -> str:
        return "mark as ours"


@dataclass(frozen=True)
class Rename:
    """Takes the device down: its addresses and routes have to be added again."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"rename {self.old} to {self.new}"


@dataclass(frozen=True, kw_only=True)
class SetDevice:
    """What is None stays as it is."""

    private_key: bytes | None = field(default=None, repr=False)
    listen_port: int | None = None
    firewall_mark: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.private_key is not None:
            parts.append("private key")
        if self.listen_port is not None:
            parts.append(f"listen port {self.listen_port}")
        if self.firewall_mark is not None:
            parts.append(f"firewall mark {self.firewall_mark:#x}")
        return "set " + ", ".join(parts)


@dataclass(frozen=True)
class SetMtu:
    mtu: int

    def __str__(self) -> str:
        return f"set mtu {self.mtu}"


@dataclass(frozen=True)
class SetUp:
    def __str__(self) -> str:
        return "set up"


@dataclass(frozen=True)
class AddAddress:
    """The kernel adds the connected route with it."""

    address: Interface

    def __str__(self) -> str:
        return f"add address {self.address}"


@dataclass(frozen=True)
class RemoveAddress:
    address: Interface

    def __str__(self) -> str:
        return f"remove address {self.address}"


@dataclass(frozen=True)
class RestoreRoute:
    """Put back the connected route of an address that is there."""

    address: Interface

    def __str__(self) -> str:
        return f"restore route {self.address.network}"


@dataclass(frozen=True)
class AddRoute:
    route: DesiredRoute

    def __str__(self) -> str:
        return f"add route {self.route}"


@dataclass(frozen=True)
class RemoveRoute:
    route: DesiredRoute

    def __str__(self) -> str:
        return f"remove route {self.route}"


@dataclass(frozen=True)
class AddRule:
    rule: DesiredRule

    def __str__(self) -> str:
        return f"add rule {self.rule}"


@dataclass(frozen=True)
class RemoveRule:
    rule: DesiredRule

    def __str__(self) -> str:
        return f"remove rule {self.rule}"


WireGuardOperation = SetDevice | PeerOperation
LinkOperation = Mark | Rename | SetMtu | SetUp | AddAddress | RemoveAddress | RestoreRoute
RouteOperation = AddRoute | RemoveRoute | AddRule | RemoveRule
Operation = MakeDevice | WireGuardOperation | LinkOperation | RouteOperation
