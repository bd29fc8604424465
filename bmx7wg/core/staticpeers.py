"""Peers that the administrator adds: what may be said of them, in files and on the bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .announcement import parse_endpoint, parse_label
from .identity import NodeId, key_text, parse_key
from .model import Network, StaticPeer
from .prefixes import MESH, parse_prefix
from .schema import Check, ListOf, Number, Secret, Text

MAX_ALLOWED_IPS: Final = 64  # per peer, as many as an announcement can have


def _prefix(text: str) -> Network:
    prefix = parse_prefix(text)
    if prefix.version == 6 and prefix.overlaps(MESH):
        raise ValueError(f"a prefix outside {MESH}: mesh addresses are computed")
    return prefix


#: The keys of a [[peer]]; `public-key` has to be there.
KEYS: Final[Mapping[str, Check]] = {
    "name": Text(parse_label),
    "public-key": Text(parse_key),
    "node-id": Text(NodeId.parse),
    "endpoint": Text(parse_endpoint),
    "allowed-ips": ListOf(_prefix, most=MAX_ALLOWED_IPS),
    "preshared-key": Secret(parse_key),
    "keepalive": Number(1, 65535, also=0),
}


def build(said: Mapping[str, Any]) -> StaticPeer:
    """The peer of which *said*, checked by `KEYS`, is told; ValueError if the key is missing."""
    if "public-key" not in said:
        raise ValueError("public-key is missing")
    if "node-id" not in said and not said.get("allowed-ips"):
        raise ValueError("needs node-id or allowed-ips, or nothing can be sent to it")
    return StaticPeer(**{key.replace("-", "_"): value for key, value in said.items()})


def said_of(peer: StaticPeer) -> dict[str, object]:
    """What `build` made the peer of, in words and numbers as TOML has them; without defaults."""
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
    return said


def check_new(peer: StaticPeer, others: Iterable[StaticPeer]) -> None:
    """ValueError if one of *others* is the same node, or has its key or one of its prefixes."""
    for other in others:
        if other.identity == peer.identity:
            raise ValueError(f"node {peer.identity} is there already")
        if other.public_key == peer.public_key:
            raise ValueError(f"node {other.identity} has this public key already")
        for prefix in peer.allowed_ips:
            if prefix in other.allowed_ips:
                raise ValueError(f"node {other.identity} has {prefix} already")
