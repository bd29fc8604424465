"""Changes of properties in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .terminal import Terminal
from .units import counted, rate
from .view import Network, Peer, Values

Label = Callable[[str], str]  # what to call the peer with this object path


def subject(kind: str, values: Values) -> str:
    """Whom a change is about: "peer n4", "device wgBmx7", "service"."""
    if kind == "peer":
        return f"peer {Peer.of(values).label}"
    if kind == "network":
        return Network.of(values).prefix
    return f"device {values.get('Name', '')}" if kind == "device" else "service"


def introduce(kind: str, values: Values, label: Label) -> list[str]:
    """What to say of something new."""
    if kind == "network":
        network = Network.of(values)
        carried = f"through {label(network.gateway)}" if network.gateway else "carried by nobody"
        return [_because(f"new, {carried}", network.reason)]
    if kind != "peer":
        return ["new"]
    peer = Peer.of(values)
    way = "hand" if peer.origin == "static" else peer.origin
    parts = [f"new, by {way}", peer.state, peer.reason, peer.endpoint]
    return [", ".join(filter(None, parts))]


def describe_network(before: Values, values: Values, label: Label) -> list[str]:
    """The same as `describe` for a network: above all who carries it now, and why.

    What the ways through its candidates are worth changes all the time, and is not told.
    """
    old, new = Network.of({**values, **before}), Network.of(values)
    told = []
    if old.gateway != new.gateway:
        if old.gateway and new.gateway:
            moved = f"moved from {label(old.gateway)} to {label(new.gateway)}"
        elif new.gateway:
            moved = f"now through {label(new.gateway)}"
        else:
            moved = f"no longer through {label(old.gateway)}"
        told.append(_because(moved, new.reason))
    elif not new.gateway and old.reason != new.reason:
        told.append(_because("carried by nobody", new.reason))
    came, went = _peers(new) - _peers(old), _peers(old) - _peers(new)
    told += [f"also offered by {label(path)}" for path in sorted(came - {new.gateway})]
    told += [f"no longer offered by {label(path)}" for path in sorted(went - {old.gateway})]
    if (old.table, old.metric) != (new.table, new.metric):
        told.append(f"route in table {new.table}, metric {new.metric}")
    return told


def _peers(network: Network) -> set[str]:
    return {path for path, _, _ in network.candidates}


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def describe(kind: str, before: Values, values: Values, terminal: Terminal) -> list[str]:
    """A sentence for each property of *before*, the old values, that has another one now.

    A new state comes first and brings its reason with it; that a peer has no allowed IPs
    outside the device goes without saying.
    """
    told = []
    if "State" in before:
        moved = f"{before['State']} {terminal.arrow} {values['State']}"
        told.append(_because(moved, values.get("Reason", "")))
    if kind == "manager" and "Problems" in before:
        old, new = before["Problems"] or (), values["Problems"]
        told += [f"problem: {problem}" for problem in new if problem not in old]
        told += [f"solved: {problem}" for problem in old if problem not in new]
    for name in before:
        if name in ("State", "Problems"):
            continue
        if "State" in before and name in ("Reason", "AllowedIPs"):
            continue
        if kind == "manager" and name == "Offers":
            announced = [prefix for _, _, prefixes in values[name] for prefix in prefixes]
            told.append(f"offers {_shown(announced)}")
            continue
        words = _WORDS.get(name, name)
        text = words(values[name]) if callable(words) else f"{words} {_shown(values[name])}"
        told.append(text)
    return told


_WORDS: Final[Mapping[str, str | Callable[[Any], str]]] = {
    "Name": "is now called",
    "NodeName": "this node is now called",
    "NodeId": "this node has the id",
    "Source": "peers now come from",
    "SourceState": "the source of peers is",
    "Searches": lambda searches: "searches " + _shown([network for _, network, *_ in searches]),
    "Reason": "reason:",
    "Origin": "known by",
    "PublicKey": "public key",
    "Endpoint": "endpoint",
    "AllowedIPs": "allowed IPs",
    "Offers": lambda offers: "offers " + _shown([f"{p} at {rate(b)}" for p, b in offers]),
    "Metric": lambda metric: f"metric {rate(metric)}",
    "Hops": lambda hops: counted(hops, "hop"),
    "ListenPort": "port",
    "Mtu": "MTU",
    "InterfaceIndex": "interface index",
    "Backend": "backend",
    "FirewallMark": lambda mark: f"firewall mark {mark:#x}",
    "Addresses": "addresses",
}


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text or "none"
