"""``bmx7-wg offer``, ``withdraw``, ``search`` and ``forget``: what is carried for whom."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from ..bus.client import MANAGER, ROOT, Client
from .networks import network_table, offer_table, unanswered
from .output import Output, Status
from .session import ask, look
from .terminal import printable
from .verbs import change
from .view import Snapshot

Options = Mapping[str, tuple[str, Any]]  # an argument of the method, with a signature for each


def offer_options(args: Namespace) -> Options:
    """The options of OfferNetwork (dbus/org.bmx7.WireGuard1.xml) that *args* are about."""
    return _said(
        {
            "Bandwidth": ("t", args.bandwidth),
            "WhileRoute": ("b", args.while_route),
            "FromTable": ("u", args.from_table),
            "MinPrefixLength": ("y", args.min_prefix_length),
            "MaxPrefixLength": ("y", args.max_prefix_length),
            "Aggregate": ("b", args.aggregate),
        }
    )


def search_options(args: Namespace) -> Options:
    """The options of SearchNetwork that *args* are about."""
    return _said(
        {
            "Name": ("s", args.name),
            "MinPrefixLength": ("y", args.min_prefix_length),
            "MaxPrefixLength": ("y", args.max_prefix_length),
            "GatewayName": ("s", args.gateway_name),
            "GatewayId": ("s", args.gateway_id),
            "MinBandwidth": ("t", args.min_bandwidth),
            "Rating": ("u", args.rating),
            "Hysteresis": ("u", args.hysteresis),
            "Metric": ("u", args.metric),
            "Table": ("u", args.table),
            "Rule": ("u", args.rule),
            "AllowOverlap": ("b", args.allow_overlap),
            "BreakOverlap": ("b", args.break_overlap),
        }
    )


def offer(output: Output, prefix: str, said: Options) -> Status:
    snapshot = _change("OfferNetwork", "sa{sv}", prefix, said)
    if not output.json:
        output.line(f"offers {printable(prefix)}")
    return _offers(output, snapshot)


def withdraw(output: Output, prefix: str) -> Status:
    snapshot = _change("WithdrawNetwork", "s", prefix)
    if not output.json:
        output.line(f"offers {printable(prefix)} no more")
    return _offers(output, snapshot)


def search(output: Output, prefix: str, said: Options) -> Status:
    snapshot = _change("SearchNetwork", "sa{sv}", prefix, said)
    if not output.json:
        output.line(f"searches {printable(prefix)}")
        if any(network == prefix for _, network in unanswered(snapshot)):
            output.line("  nobody offers it yet")
    return _searches(output, snapshot)


def forget(output: Output, text: str) -> Status:
    snapshot = _change("ForgetSearch", "s", text)
    if not output.json:
        output.line(f"searches {printable(text)} no more")
    return _searches(output, snapshot)


def _change(member: str, signature: str, *args: Any) -> Snapshot:
    async def work(client: Client) -> Snapshot:
        await change(client, ROOT, MANAGER, member, signature, args)
        return await look(client)

    return ask(work)


def _offers(output: Output, snapshot: Snapshot) -> Status:
    if output.json:
        output.document({"offers": snapshot.manager.offers})
    else:
        for line in offer_table(snapshot.manager, output.terminal, indent=2):
            output.line(line)
    return Status.OK


def _searches(output: Output, snapshot: Snapshot) -> Status:
    if output.json:
        networks = [network.properties for network in snapshot.networks]
        output.document({"searches": snapshot.manager.searches, "networks": networks})
    else:
        for line in network_table(snapshot, output.terminal, indent=2):
            output.line(line)
    return Status.OK


def _said(options: Mapping[str, tuple[str, Any]]) -> Options:
    return {name: pair for name, pair in options.items() if pair[1] is not None}
