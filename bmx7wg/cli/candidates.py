"""What the shells may complete a NODE, NETWORK or SEARCH to."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from ..bus.client import Client
from .output import CommandError, Output, Status
from .session import ask, look
from .states import STATES
from .view import Peer, Snapshot, in_order

#: Names that are passed on to a shell; others are chosen by their nodes to be trouble.
_HARMLESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PREFIX: Final = re.compile(r"[0-9a-f:.]+/[0-9]+")
_IN_DEVICE: Final = ("configured", "connected", "idle", "lost")
_PATIENCE: Final = 2.0  # s; somebody has pressed Tab and waits
_ID: Final = 12  # digits of a node id that are offered for one that no name tells


def print_candidates(output: Output, verb: str) -> Status:
    """A line for each thing that *verb* can be about: its name, a tab, what it is.

    Silent where there is nothing to complete, also when the service does not run.
    """

    async def work(client: Client) -> Snapshot:
        async with asyncio.timeout(_PATIENCE):
            return await look(client)

    try:
        snapshot = ask(work)
    except (CommandError, TimeoutError):
        return Status.OK
    if verb in ("networks", "search", "withdraw", "forget"):
        lines = networks(snapshot, verb)
    else:
        lines = candidates(in_order(snapshot.peers.values()), verb)
    for line in lines:
        output.line(line)
    return Status.OK


def networks(snapshot: Snapshot, verb: str) -> Iterator[str]:
    """Prefixes, and for what "forget" is about also names."""
    match verb:
        case "networks":
            pairs = [(network.prefix, "network") for network in snapshot.networks]
        case "withdraw":
            pairs = [(network, "offered") for network, _, _ in snapshot.manager.offers]
        case "forget":
            pairs = [(name, network) for name, network, *_ in snapshot.manager.searches]
        case _:
            offers = [offer for peer in snapshot.peers.values() for offer in peer.offers]
            pairs = [(prefix, "offered") for prefix in sorted({prefix for prefix, _ in offers})]
    for word, what in pairs:
        if _HARMLESS.fullmatch(word) or _PREFIX.fullmatch(word):
            yield f"{word}\t{what}"


def candidates(peers: Iterable[Peer], verb: str) -> Iterator[str]:
    peers = list(peers)
    names = Counter(peer.name.casefold() for peer in peers)
    for peer in peers:
        if not _fits(peer, verb):
            continue
        clear = names[peer.name.casefold()] == 1 and _HARMLESS.fullmatch(peer.name)
        state = peer.state if peer.state in STATES else ""
        yield f"{peer.name if clear else peer.node_id[:_ID]}\t{state}"


def _fits(peer: Peer, verb: str) -> bool:
    match verb:
        case "remove":
            return peer.origin == "static"
        case "block":
            return peer.state != "blocked"
        case "unblock":
            return peer.state == "blocked"
        case "probe":
            # One that is no node of the mesh has no address to be asked at.
            return bool(peer.address) and peer.state in _IN_DEVICE
    return True
