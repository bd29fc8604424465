"""The names of the contract: the bus name, object paths and interfaces (design.md 7)."""

from __future__ import annotations

from typing import Final

NAME: Final = "org.bmx7.WireGuard1"

ROOT: Final = "/org/bmx7/WireGuard1"
DEVICE_PATH: Final = ROOT + "/device"
PEER_PREFIX: Final = ROOT + "/peer/"
NETWORK_PREFIX: Final = ROOT + "/network/"
LOG_PATH: Final = "/org/freedesktop/LogControl1"

MANAGER: Final = NAME + ".Manager"
DEVICE: Final = NAME + ".Device"
PEER: Final = NAME + ".Peer"
NETWORK: Final = NAME + ".Network"
LOG_CONTROL: Final = "org.freedesktop.LogControl1"

BUS: Final = "org.freedesktop.DBus"  # the bus itself: its name and its interface
BUS_PATH: Final = "/org/freedesktop/DBus"
PROPERTIES: Final = BUS + ".Properties"
OBJECT_MANAGER: Final = BUS + ".ObjectManager"
INTROSPECTABLE: Final = BUS + ".Introspectable"
PEER_STANDARD: Final = BUS + ".Peer"


def peer_path(node_id: bytes) -> str:
    """The object path of the peer with this node id (28 bytes)."""
    return PEER_PREFIX + node_id.hex()


def peer_of(path: str) -> bytes:
    """The node id of which this is the path; ValueError if it is none of `peer_path`."""
    node_id = bytes.fromhex(path.removeprefix(PEER_PREFIX))
    if peer_path(node_id) != path:
        raise ValueError("not the path of a peer")
    return node_id


def network_path(prefix: str) -> str:
    """The object path of a network, escaped as sd_bus_path_encode(3) does it."""
    return NETWORK_PREFIX + "".join(
        char if char.isalpha() or (char.isdigit() and at) else f"_{ord(char):02x}"
        for at, char in enumerate(prefix)
    )
