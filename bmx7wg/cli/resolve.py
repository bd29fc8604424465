"""Which peer somebody means by NODE: a name, a node id or its beginning, an address, a key."""

from __future__ import annotations

import re
from typing import Final

from .output import NoSuchPeer
from .view import Peer, Snapshot, in_order

_MIN_PREFIX: Final = 4  # digits; fewer would match by accident
_MAX_LISTED: Final = 10
_NODE_ID: Final = re.compile(r"[0-9A-Fa-f]{56}")
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")


def resolve(text: str, snapshot: Snapshot) -> Peer:
    """The one peer that *text* names; NoSuchPeer, with candidates, for none or several.

    A name that looks like the beginning of another node's id is ambiguous, not a match: names
    are chosen by their nodes, and nobody may take the place of another by it.
    """
    peers = in_order(snapshot.peers.values())
    for peer in peers:
        if peer.node_id.casefold() == text.casefold():
            return peer
    found = [peer for peer in peers if _means(text, peer)]
    if len(found) == 1:
        return found[0]
    if found:
        candidates = [f"{peer.node_id}  {peer.label}  {peer.state}" for peer in found]
        if len(found) > _MAX_LISTED:
            candidates[_MAX_LISTED:] = [f"and {len(found) - _MAX_LISTED} more"]
        raise NoSuchPeer(f'"{text}" can mean {len(found)} peers; use more of the id', candidates)
    raise NoSuchPeer(f'no peer "{text}"', _hints(text, snapshot, peers))


def absent(text: str, snapshot: Snapshot) -> bytes | None:
    """The node id, if *text* is the whole one of another node."""
    if not _NODE_ID.fullmatch(text) or text.casefold() == snapshot.manager.node_id.casefold():
        return None
    return bytes.fromhex(text)


def _means(text: str, peer: Peer) -> bool:
    word = text.casefold()
    return (
        (bool(peer.name) and word == peer.name.casefold())
        or text == peer.public_key
        or (":" in text and _address(text) == _address(peer.address))
        or (
            len(word) >= _MIN_PREFIX
            and _HEX.fullmatch(word) is not None
            and peer.node_id.casefold().startswith(word)
        )
    )


def _address(text: str) -> str:
    from ipaddress import IPv6Address

    try:
        return str(IPv6Address(text.split("/")[0]))
    except ValueError:
        return text


def _hints(text: str, snapshot: Snapshot, peers: list[Peer]) -> list[str]:
    own = snapshot.manager
    names = {own.node_name.casefold(), own.node_id.casefold()}
    if text.casefold() in names:
        return ["that is this node itself: bmx7-wg status"]
    if _HEX.fullmatch(text) and len(text) < _MIN_PREFIX:
        return [f"a node id's beginning needs at least {_MIN_PREFIX} digits"]
    from difflib import get_close_matches

    near = get_close_matches(text, [peer.name for peer in peers if peer.name], 3)
    return [f"did you mean {' or '.join(near)}?" if near else "known peers: bmx7-wg peers"]
