"""``bmx7-wg networks`` and ``bmx7-wg networks PREFIX``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_network

from .output import CommandError, Output, Status
from .states import STATES
from .table import Cell, Column, fields, table
from .terminal import Terminal, printable
from .units import ago, ago_short, counted, rate, some
from .view import Manager, Network, Snapshot

_COLUMNS = (
    Column("NETWORK"),
    Column("GATEWAY", least=8),
    Column("SINCE", right=True, drop=2),
    Column("WORTH", right=True, drop=1),
    Column("PEERS", right=True, drop=3),
    Column("WHY", least=16, drop=4),
)
_CANDIDATES = (
    Column("PEER", least=8),
    Column("STATE", drop=1),
    Column("WORTH", right=True),
    Column("WHY NOT", least=24),
)
_OFFERS = (
    Column("OFFERED HERE"),
    Column("BANDWIDTH", right=True),
    Column("ANNOUNCED", least=16),
)
_UNKNOWN = 1  # bit/s; stands for a way that nobody measured
_LISTED = 3  # announced prefixes of an offer in its line


def show_networks(snapshot: Snapshot, output: Output) -> Status:
    manager = snapshot.manager
    if output.json:
        members = {
            "networks": [network.properties for network in snapshot.networks],
            "offers": manager.offers,
            "searches": manager.searches,
        }
        output.document(members)
        return Status.OK
    for line in _overview(snapshot, output.terminal):
        output.line(line)
    return Status.OK


def show_network(snapshot: Snapshot, output: Output, text: str) -> Status:
    """Everything about the network that is *text*, or that an address in it is sent through."""
    network = _find(snapshot, text)
    if output.json:
        output.document({"network": network.properties})
        return Status.OK
    for line in _details(network, snapshot, output.terminal):
        output.line(line)
    return Status.OK


def network_table(snapshot: Snapshot, terminal: Terminal, indent: int = 0) -> Iterator[str]:
    """The networks and their gateways; nothing if there are none."""
    if snapshot.networks:
        now = time.time()
        rows = [_row(network, snapshot, now) for network in snapshot.networks]
        yield from table(_COLUMNS, rows, terminal, indent)


def offer_table(manager: Manager, terminal: Terminal, indent: int = 0) -> Iterator[str]:
    """What this node offers, and what of it is announced; nothing if there is none."""
    if manager.offers:
        rows = [
            [Cell(network), Cell(rate(bandwidth)), _announced(network, announced)]
            for network, bandwidth, announced in manager.offers
        ]
        yield from table(_OFFERS, rows, terminal, indent)


def network_counts(snapshot: Snapshot, terminal: Terminal) -> str:
    """ "3 networks: 2 carried, 1 by nobody; 1 search without an offer" """
    carried = sum(bool(network.gateway) for network in snapshot.networks)
    nobody = len(snapshot.networks) - carried
    parts = [terminal.paint(f"{carried} carried", "good")] if carried else []
    parts += [terminal.paint(f"{nobody} by nobody", "bad")] if nobody else []
    text = counted(len(snapshot.networks), "network") + (": " + ", ".join(parts) if parts else "")
    missing = sum(1 for _ in unanswered(snapshot))
    searches = f"{missing} search{'es' if missing > 1 else ''} without an offer"
    return text + (f"; {terminal.paint(searches, 'warn')}" if missing else "")


def unanswered(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Name and network of the searches for which there is no network: nobody offers any."""
    there = [ip_network(network.prefix) for network in snapshot.networks]
    for name, text, least, greatest in snapshot.manager.searches:
        wanted = ip_network(text)
        # Of a wider offer what is searched is routed, of a narrower one the offer.
        if not any(
            prefix.version == wanted.version
            and prefix.subnet_of(wanted)  # type: ignore[arg-type]
            and (
                least <= prefix.prefixlen <= greatest
                or least < prefix.prefixlen == wanted.prefixlen
            )
            for prefix in there
        ):
            yield name, text


def _overview(snapshot: Snapshot, terminal: Terminal) -> Iterator[str]:
    yield from network_table(snapshot, terminal)
    yield network_counts(snapshot, terminal)
    for name, network in unanswered(snapshot):
        about = f" ({name})" if name != network else ""
        yield "  " + terminal.paint(f"nobody offers {printable(network + about)}", "warn")
    if snapshot.manager.offers:
        yield ""
        yield from offer_table(snapshot.manager, terminal)


def _row(network: Network, snapshot: Snapshot, now: float) -> list[Cell]:
    gateway = snapshot.label(network.gateway) if network.gateway else "nobody"
    worth = [metric for path, metric, _ in network.candidates if path == network.gateway]
    return [
        Cell(network.prefix, middle=True),
        Cell(gateway, "" if network.gateway else "bad"),
        Cell(ago_short(network.since, now) if network.since else ""),
        Cell(_worth(worth[0]) if worth else ""),
        Cell(str(len(network.candidates))),
        Cell(network.reason, "dim"),
    ]


def _worth(metric: int) -> str:
    return rate(metric) if metric > _UNKNOWN else "unknown"


def _announced(network: str, announced: list[str]) -> Cell:
    if announced == [network]:
        return Cell("yes", "good")
    if not announced:
        return Cell("no", "warn")
    return Cell(some(announced, _LISTED))


def _find(snapshot: Snapshot, text: str) -> Network:
    for network in snapshot.networks:
        if network.prefix == text:
            return network
    try:
        wanted = ip_network(text)
    except ValueError:
        raise CommandError(f'"{text}" is no prefix and no address', (_HINT,)) from None
    if wanted.prefixlen == wanted.max_prefixlen:
        address = wanted.network_address
        holding = [n for n in snapshot.networks if address in ip_network(n.prefix)]
        if holding:
            return max(holding, key=lambda network: ip_network(network.prefix).prefixlen)
    raise CommandError(f"{text} is not a network that is offered and searched", (_HINT,))


_HINT = "networks that are: bmx7-wg networks"


def _details(network: Network, snapshot: Snapshot, terminal: Terminal) -> Iterator[str]:
    by = snapshot.label(network.gateway) if network.gateway else "nobody"
    gateway = terminal.paint(printable(by), "good" if network.gateway else "bad")
    yield f"{terminal.paint('network', 'bold')} {printable(network.prefix)}: carried by {gateway}"
    yield from fields(
        (
            ("why", network.reason),
            ("since", ago(network.since, time.time()) if network.since else ""),
            ("route", f"table {network.table}, metric {network.metric}"),
        ),
        terminal,
    )
    if not network.candidates:
        return
    yield ""
    rows = []
    for path, metric, why_not in network.candidates:
        peer = snapshot.peers.get(path)
        state = peer.state if peer else "gone"
        chosen = path == network.gateway
        rows.append(
            [
                Cell(snapshot.label(path), "good" if chosen else ""),
                Cell(state, STATES.get(state, "warn")),
                Cell(_worth(metric)),
                Cell(why_not, "dim"),
            ]
        )
    yield from table(_CANDIDATES, rows, terminal, indent=2)
