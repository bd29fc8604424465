"""The kernel's own WireGuard."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Sequence
from typing import Final

from ..core.operations import SetDevice
from ..core.planpeers import PeerOperation
from ..netlink import F_DUMP, Netlink, NetlinkError, attributes
from ..rtnetlink import Rtnetlink
from . import wgdump, wgnetlink
from .backend import MAKING, OURS, Settings

# linux/netlink.h, linux/genetlink.h
_NETLINK_GENERIC: Final = 16
_GENL_ID_CTRL: Final = 16
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2


class Kernel:
    name = "kernel"
    link_kind = "wireguard"

    def __init__(self, route: Rtnetlink, device: str) -> None:
        """Raises NetlinkError ENOENT if the kernel has no WireGuard, nor a module of it."""
        self._route = route
        self._device = device
        self._reader = wgdump.Reader()
        self._netlink = Netlink(_NETLINK_GENERIC)
        try:
            self._family = _family_id(self._netlink, wgnetlink.FAMILY)
        except OSError:
            self._netlink.close()
            raise

    def make(self) -> None:
        self._route.add_link(self._device, self.link_kind, group=MAKING)
        link = self._route.link(self._device)
        if link is not None:
            self._route.change_link(link.index, alias=OURS, group=0, no_link_local=True)

    def read(self, index: int) -> Settings | None:
        dump = self._netlink.request(self._family, wgnetlink.encode_get(index), F_DUMP)
        return self._reader.device(dump)

    def set_device(self, index: int, change: SetDevice) -> None:
        self._netlink.request(self._family, wgnetlink.encode_device(index, change))

    def set_peers(self, index: int, operations: Sequence[PeerOperation]) -> dict[bytes, str]:
        failures: dict[bytes, str] = {}
        for message in wgnetlink.encode_peers(index, operations):
            try:
                self._netlink.request(self._family, message.body)
            except NetlinkError as error:
                if error.errno == errno.ENODEV:
                    raise
                # The kernel stops at the first peer that it refuses: find it, do the others.
                if len(message.operations) == 1:
                    failures[message.operations[0].public_key] = os.strerror(error.errno or 0)
                else:
                    for operation in message.operations:
                        failures |= self.set_peers(index, [operation])
        return failures

    def abandon(self) -> None:
        """Nobody does: the kernel works on the link itself."""

    def remove(self, index: int) -> None:
        self._netlink.request(self._family, wgnetlink.encode_remove_peers(index))
        self._route.delete_link(index)

    def close(self) -> None:
        self._netlink.close()

    def pulse(self) -> int | None:
        return None


def _family_id(netlink: Netlink, name: str) -> int:
    """The message type of a generic netlink family; the kernel loads its module if need be."""
    value = name.encode("ascii") + b"\0"
    padding = bytes(-len(value) % 4)
    attribute = struct.pack("=HH", 4 + len(value), _CTRL_ATTR_FAMILY_NAME) + value + padding
    head = struct.pack("=BBH", _CTRL_CMD_GETFAMILY, 1, 0)
    (reply,) = netlink.request(_GENL_ID_CTRL, head + attribute)
    found = dict(attributes(reply, len(head)))
    return int.from_bytes(found[_CTRL_ATTR_FAMILY_ID], sys.byteorder)
