"""``bmx7-wg status``: this node, its device and its peers in short."""

from __future__ import annotations

from collections.abc import Iterator

from .networks import network_counts, network_table, offer_table
from .output import Output, Status
from .peers import counts, peer_table
from .table import fields, wrapped
from .terminal import Terminal, printable
from .units import counted
from .view import Device, Snapshot, in_order

_STATES = {"running": "good", "degraded": "bad"}
_ALL_LISTED = 20  # peers; of more, only those that need attention are listed
_MAX_LISTED = 10


def show_status(snapshot: Snapshot, output: Output) -> Status:
    if output.json:
        output.document(snapshot.to_json())
        return Status.OK
    for line in _lines(snapshot, output.terminal):
        output.line(line)
    return Status.OK


def _lines(snapshot: Snapshot, terminal: Terminal) -> Iterator[str]:
    manager, device = snapshot.manager, snapshot.device
    state = terminal.paint(printable(manager.state), _STATES.get(manager.state, "warn"))
    yield f"{terminal.paint('node', 'bold')} {printable(manager.label)}: {state}"
    source = f"{manager.source}: {manager.source_state}" if manager.source else "none"
    addresses = device.addresses if device else ()
    pairs = (
        ("id", manager.node_id),
        ("address", [address.split("/")[0] for address in addresses]),
        ("peers from", source),
        ("version", manager.version),
    )
    yield from fields(pairs, terminal)
    yield ""
    yield from _device(device, terminal)
    if manager.problems:
        yield ""
        yield terminal.paint(counted(len(manager.problems), "problem"), "bad")
        for problem in manager.problems:
            yield from wrapped(problem, terminal)
    yield ""
    yield from _peers(snapshot, terminal)
    if snapshot.networks or snapshot.manager.searches:
        yield ""
        yield network_counts(snapshot, terminal)
        yield from network_table(snapshot, terminal, indent=2)
    if snapshot.manager.offers:
        yield ""
        yield counted(len(snapshot.manager.offers), "offer")
        yield from offer_table(snapshot.manager, terminal, indent=2)


def _device(device: Device | None, terminal: Terminal) -> Iterator[str]:
    if device is None or not device.name:
        yield f"{terminal.paint('device', 'bold')}: {terminal.paint('none', 'bad')}"
        return
    title = terminal.paint("device", "bold")
    yield f"{title} {printable(device.name)}: {printable(device.backend)}"
    mark = f", firewall mark {device.firewall_mark:#x}" if device.firewall_mark else ""
    yield from fields(
        (
            ("public key", device.public_key),
            ("port", f"{device.listen_port}{mark}"),
            ("MTU", str(device.mtu)),
        ),
        terminal,
    )


def _peers(snapshot: Snapshot, terminal: Terminal) -> Iterator[str]:
    peers = in_order(snapshot.peers.values())
    if not peers:
        yield f"{terminal.paint('peers', 'bold')}: none yet"
        return
    yield counts(snapshot, terminal)
    listed = peers
    if len(peers) > _ALL_LISTED:
        listed = [peer for peer in peers if peer.state not in ("connected", "idle")][-_MAX_LISTED:]
    yield from peer_table(listed, terminal, indent=2)
    if len(listed) < len(peers):
        yield "  " + terminal.paint(f"{len(peers) - len(listed)} more: bmx7-wg peers", "dim")
