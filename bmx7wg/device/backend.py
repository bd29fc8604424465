"""What the two backends have to do, and what they share: the mark of a device that is ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from ..core.model import ActualPeer
from ..core.operations import SetDevice
from ..core.planpeers import PeerOperation
from ..rtnetlink import Link

#: The link's alias. A link that has another one, or none, belongs to somebody else.
OURS: Final = "bmx7-wg"

#: The link's group while it has no alias yet: unlike the alias it is set in the message that makes
#: the link, so what a maker leaves that is killed between the two is known as well.
MAKING: Final = 0x62376777  # "b7wg"


#: The protocol of our routes, rules and addresses (RTA, FRA, IFA; as bird's or dhcp's). Nobody's in
#: linux/rtnetlink.h or /etc/iproute2/rt_protos; like our default table.
PROTOCOL: Final = 77


def is_ours(link: Link) -> bool:
    return link.alias == OURS or (link.group == MAKING and not link.alias)


def is_marked(link: Link) -> bool:
    """Whether all that `core.plan.Mark` sets is set."""
    return link.alias == OURS and link.group != MAKING and not link.link_local


@dataclass
class Settings:
    """What WireGuard itself tells of a device, without its link."""

    private_key: bytes = field(default=bytes(32), repr=False)
    listen_port: int = 0
    firewall_mark: int = 0
    peers: dict[bytes, ActualPeer] = field(default_factory=dict)


class Backend(Protocol):
    """One device of one kind. All calls block; OSError is what kernel or process answered."""

    name: str  # "kernel" | "userspace"
    link_kind: str  # as rtnetlink has it

    def make(self) -> None:
        """Make the link and what works on it, or revive what is left of it."""

    def read(self, index: int) -> Settings | None:
        """The settings, None if nobody works on the link.

        Called often: a peer of which nothing changed should be the same object as before.
        """

    def set_device(self, index: int, change: SetDevice) -> None:
        ...

    def set_peers(self, index: int, operations: Sequence[PeerOperation]) -> dict[bytes, str]:
        """Carry out all that can be; the others by public key, with what was answered."""

    def abandon(self) -> None:
        """The link is not here any more: end what still works on it, and holds its port."""

    def remove(self, index: int) -> None:
        """Take away the link and what works on it."""

    def close(self) -> None:
        """Let go; the device works on."""

    def pulse(self) -> int | None:
        """A new descriptor that is readable once the process that does the work has ended."""
