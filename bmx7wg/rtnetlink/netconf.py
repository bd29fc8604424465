"""Forwarding of IPv4 and IPv6, as linux/netconf.h has it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ..netlink import attributes
from .routes import FAMILIES

# linux/rtnetlink.h
RTM_NEWNETCONF: Final = 80
RTM_GETNETCONF: Final = 82

# linux/netconf.h
_IFINDEX: Final = 1
_FORWARDING: Final = 2
_ALL: Final = -1

_HEAD: Final = 4  # bytes: the family, padded


@dataclass(frozen=True)
class Forwarding:
    """Whether packets of an IP version are forwarded (conf/all/forwarding of sysctl)."""

    version: int
    on: bool


def encode_question(version: int) -> bytes:
    return struct.pack("=B3xHHi", FAMILIES[version], 8, _IFINDEX, _ALL)


def decode_netconf(body: bytes) -> Forwarding | None:
    """None for what is told of one link, or of another setting."""
    told = dict(attributes(body, _HEAD))
    if told.get(_IFINDEX) != struct.pack("=i", _ALL) or _FORWARDING not in told:
        return None
    versions = [version for version, family in FAMILIES.items() if family == body[0]]
    return Forwarding(versions[0], any(told[_FORWARDING])) if versions else None
