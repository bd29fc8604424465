"""``bmx7-wg peers`` and ``bmx7-wg peer NODE``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .output import Output, Status, UsageError
from .resolve import resolve
from .states import STATES
from .table import Cell, Column, fields, table
from .terminal import Terminal, printable
from .units import ago, ago_short, counted, rate, size
from .view import Network, Peer, Snapshot, by_state, in_order

_COLUMNS = (
    Column("NAME", least=10),
    Column("STATE"),
    Column("HANDSHAKE", right=True),
    Column("RECEIVED", right=True, drop=1),
    Column("SENT", right=True, drop=2),
    Column("HOPS", right=True, drop=4),
    Column("ENDPOINT OR REASON", least=24, drop=3),
    Column("ADDRESS", drop=5),
    Column("PUBLIC KEY", drop=6),
)


def show_peers(snapshot: Snapshot, output: Output, *, states: Sequence[str] = ()) -> Status:
    """The table of the peers, or of those in one of *states*."""
    for state in states:
        if state not in STATES and state not in by_state(snapshot.peers.values()):
            raise UsageError(f'there is no state "{state}"', (f"states: {', '.join(STATES)}",))
    chosen = [
        peer for peer in in_order(snapshot.peers.values()) if not states or peer.state in states
    ]
    if output.json:
        output.document({"peers": [peer.properties for peer in chosen]})
        return Status.OK
    for line in peer_table(chosen, output.terminal):
        output.line(line)
    if states:
        output.line(f"{len(chosen)} of {counted(len(snapshot.peers), 'peer')}")
    else:
        output.line(counts(snapshot, output.terminal))
    return Status.OK


def show_peer(snapshot: Snapshot, output: Output, text: str) -> Status:
    """Everything that is known of the peer that *text* means."""
    peer = resolve(text, snapshot)
    carried = [
        network
        for network in snapshot.networks
        if network.gateway and snapshot.peers.get(network.gateway) is peer
    ]
    if output.json:
        networks = [network.properties for network in carried]
        output.document({"peer": peer.properties, "networks": networks})
        return Status.OK
    for line in _details(peer, carried, output.terminal):
        output.line(line)
    return Status.OK


def peer_table(peers: Sequence[Peer], terminal: Terminal, indent: int = 0) -> Iterator[str]:
    if not peers:
        return
    now = time.time()
    yield from table(_COLUMNS, [_row(peer, now) for peer in peers], terminal, indent)


def counts(snapshot: Snapshot, terminal: Terminal) -> str:
    """ "12 peers: 11 connected, 1 lost" """
    peers = snapshot.peers.values()
    parts = [
        terminal.paint(f"{count} {printable(state)}", STATES.get(state, "warn"))
        for state, count in by_state(peers).items()
    ]
    return counted(len(peers), "peer") + (": " + ", ".join(parts) if parts else "")


def _row(peer: Peer, now: float) -> list[Cell]:
    in_device = bool(peer.last_handshake or peer.rx_bytes or peer.tx_bytes)
    return [
        Cell(peer.label, "" if peer.name else "dim"),
        Cell(peer.state, STATES.get(peer.state, "warn")),
        Cell(ago_short(peer.last_handshake, now), "" if peer.last_handshake else "dim"),
        Cell(size(peer.rx_bytes) if in_device else ""),
        Cell(size(peer.tx_bytes) if in_device else ""),
        Cell(str(peer.hops) if peer.hops else ""),
        Cell(peer.reason, "dim") if peer.reason else Cell(peer.endpoint, middle=True),
        Cell(peer.address),
        Cell(peer.public_key),
    ]


def _details(peer: Peer, carried: Sequence[Network], terminal: Terminal) -> Iterator[str]:
    now = time.time()
    state = terminal.paint(printable(peer.state), STATES.get(peer.state, "warn"))
    yield f"{terminal.paint('peer', 'bold')} {printable(peer.label)}: {state}"
    yield from fields(
        (
            ("reason", peer.reason),
            ("node id", peer.node_id),
            ("address", peer.address),
            ("public key", peer.public_key),
            ("endpoint", peer.endpoint),
            ("origin", peer.origin),
            ("hops", str(peer.hops) if peer.hops else ""),
            ("metric", rate(peer.metric) if peer.metric else ""),
            ("handshake", ago(peer.last_handshake, now)),
            ("received", size(peer.rx_bytes)),
            ("sent", size(peer.tx_bytes)),
            ("allowed IPs", peer.allowed_ips),
            ("offers", [f"{prefix} at {rate(bandwidth)}" for prefix, bandwidth in peer.offers]),
            ("carries", [f"{item.prefix}, {ago(item.since, now)}" for item in carried]),
        ),
        terminal,
    )
