"""What bmx7 tells of itself and of the mesh: its tables of text, and its json files.

``bmx7 -c show=keys`` has every node's full id and primary address, ``show=originators`` the
metric of the way there, ``show=status`` this node. All three are of the moment; the files of
the json plugin have the same, up to 60 s old. Seen on revision 9020896 (docs/decisions.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Final

from ..core.announcement import is_label
from ..core.identity import NodeId

#: One round trip for all that we want to know.
SHOW: Final = ("show=status", "show=keys", "show=originators", "show=interfaces")

_SECTION: Final = re.compile(r"([A-Z]+):")
_COLUMN: Final = re.compile(r"\S+ *")
_METRIC: Final = re.compile(r"([0-9]{1,12})(?:\.[0-9]+)?([KMG]?)")
_UNIT: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_MAX_HOPS: Final = 63  # bmx7's own bound (maxPathHops)


@dataclass(frozen=True)
class NodeIdentity:
    """Who this node is, as its bmx7 says."""

    node_id: NodeId
    name: str


@dataclass(frozen=True)
class NodeRow:
    """A node of the mesh, as the local bmx7 sees it."""

    node_id: NodeId
    name: str
    address: IPv6Address | None  # the primary address
    metric: int = 0  # bit/s; 0: not known
    hops: int = 0


@dataclass(frozen=True)
class Overview:
    """All of it at one moment; ``own`` is None if bmx7 did not say who we are."""

    own: NodeIdentity | None = None
    nodes: Mapping[NodeId, NodeRow] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ()


def parse_metric(text: str) -> int:
    """A metric such as ``706M``, ``19607K`` or ``257G`` in bit/s; 0 for anything else."""
    found = _METRIC.fullmatch(text)
    return int(found[1]) * _UNIT[found[2]] if found else 0


def parse_tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Tables by name, each row by column. A cell ends where the next column's head begins."""
    tables: dict[str, list[dict[str, str]]] = {}
    rows: list[dict[str, str]] = []
    columns: list[tuple[str, int, int]] = []
    for line in text.splitlines():
        section = _SECTION.fullmatch(line.rstrip())
        if section:
            rows, columns = tables.setdefault(section[1], []), []
        elif not columns:
            columns = [(m[0].rstrip(), m.start(), m.end()) for m in _COLUMN.finditer(line)]
        else:
            rows.append({name: line[start:end].strip() for name, start, end in columns})
    return tables


def overview_of_tables(text: str) -> Overview:
    """Read the answer to `SHOW`; rows that make no sense are left out."""
    tables = parse_tables(text)
    status = tables.get("STATUS") or [{}]
    us = (status[0].get("shortId"), status[0].get("primaryIp"))
    ways = {(r.get("shortId"), r.get("primaryIp")): r for r in tables.get("ORIGINATORS", [])}
    nodes: dict[NodeId, NodeRow] = {}
    own = None
    for row in tables.get("KEYS", []):
        key = (row.get("shortId"), row.get("primaryIp"))
        node = _node(row | ways[key] if key in ways else row)
        if node is None:
            continue
        nodes[node.node_id] = node
        # Short ids can be chosen (they are 32 bits); only our own row is 0 hops away.
        if key == us and row.get("hops") == "0":
            own = NodeIdentity(node.node_id, node.name)
    return Overview(own, nodes, _interfaces(tables.get("INTERFACES", [])))


def identity_of_json(data: bytes) -> NodeIdentity | None:
    """Read ``json/status``; None when it is cut off or something else."""
    node = _node(_object(_object(_loads(data)).get("status")))
    return None if node is None else NodeIdentity(node.node_id, node.name)


def node_of_json(data: bytes) -> NodeRow | None:
    """Read ``json/originators/NODEID``; None when it is cut off or something else."""
    return _node(_object(_loads(data)))


def interfaces_of_json(data: bytes) -> tuple[str, ...]:
    """Read ``json/interfaces``; empty when it is cut off or something else."""
    rows = _object(_loads(data)).get("interfaces")
    return _interfaces([_object(row) for row in rows]) if isinstance(rows, list) else ()


def _node(row: Mapping[str, Any]) -> NodeRow | None:
    try:
        node_id = NodeId.parse(str(row.get("nodeId")))
    except ValueError:
        return None
    address: IPv6Address | None
    try:
        address = IPv6Address(str(row.get("primaryIp")))
    except ValueError:  # "---" until the description is known
        address = None
    if address == IPv6Address(0):
        address = None
    hops, name = str(row.get("hops")), str(row.get("name", ""))
    return NodeRow(
        node_id=node_id,
        name=name if is_label(name) else "",  # bmx7 also lets "_" and "." through
        address=address,
        metric=parse_metric(str(row.get("metric"))),
        hops=min(int(hops), _MAX_HOPS) if hops.isascii() and hops.isdigit() else 0,
    )


def _interfaces(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted(str(r["dev"]) for r in rows if r.get("state") == "UP" and r.get("dev")))


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
