"""Changes of properties in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .terminal import Terminal
from .units import counted, rate
from .view import Peer, Values


def subject(kind: str, values: Values) -> str:
    """Whom a change is about: "peer n4", "device wgBmx7", "service"."""
    if kind == "peer":
        return f"peer {Peer.of(values).label}"
    return f"device {values.get('Name', '')}" if kind == "device" else "service"


def introduce(kind: str, values: Values) -> list[str]:
    """What to say of something new."""
    if kind != "peer":
        return ["new"]
    peer = Peer.of(values)
    way = "hand" if peer.origin == "static" else peer.origin
    parts = [f"new, by {way}", peer.state, peer.reason, peer.endpoint]
    return [", ".join(filter(None, parts))]


def describe(kind: str, before: Values, values: Values, terminal: Terminal) -> list[str]:
    """A sentence for each property of *before*, the old values, that has another one now.

    A new state comes first and brings its reason with it; that a peer has no allowed IPs
    outside the device goes without saying.
    """
    told = []
    if "State" in before:
        reason = values.get("Reason")
        told.append(
            f"{before['State']} {terminal.arrow} {values['State']}"
            + (f": {reason}" if reason else "")
        )
    if kind == "manager" and "Problems" in before:
        old, new = before["Problems"] or (), values["Problems"]
        told += [f"problem: {problem}" for problem in new if problem not in old]
        told += [f"solved: {problem}" for problem in old if problem not in new]
    for name in before:
        if name in ("State", "Problems"):
            continue
        if "State" in before and name in ("Reason", "AllowedIPs"):
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
