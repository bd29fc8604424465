"""The payload of an announcement: one JSON object, the same through bmx7 and on a link.

What is decoded here comes from strangers (design.md 3): it is taken whole or refused whole.
"""

from __future__ import annotations

import json
import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network
from typing import Any, Final

from .identity import key_text, parse_key
from .limits import MAX_BANDWIDTH, MAX_ENDPOINTS, MAX_NETWORKS, MAX_PAYLOAD, MIN_BANDWIDTH
from .model import Address, Announcement, Endpoint, Incompatible, Network, Offer

VERSION: Final = 1
MAX_NESTING: Final = 8  # depth of arrays and objects; ours needs 3, the rest is for what may come

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # RFC 1123 2.1
# A string that does not end swallows the rest: tried again at each quote it takes 80 ms.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[][{}]', re.DOTALL)
_ENDPOINT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})")


class AnnouncementError(ValueError):
    """A neighbour's mistake. `reason` is one stable word, fit for a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_label(name: str) -> bool:
    """Whether *name* is a DNS label (RFC 1123), as names of nodes are."""
    return _LABEL.fullmatch(name) is not None


def parse_label(name: str) -> str:
    """*name* if it is a DNS label; ValueError says what is needed."""
    if not is_label(name):
        raise ValueError("letters, digits and inner hyphens, at most 63")
    return name


def encode(announcement: Announcement) -> bytes:
    """The announcement as JSON, at most 4096 bytes; ValueError if it doesn't fit."""
    members: dict[str, Any] = {"v": VERSION, "key": key_text(announcement.public_key)}
    if announcement.port:
        members["port"] = announcement.port
    if announcement.name:
        members["name"] = announcement.name
    if announcement.networks:
        members["networks"] = [[str(o.prefix), o.bandwidth] for o in announcement.networks]
    if announcement.endpoints:
        members["endpoints"] = [str(endpoint) for endpoint in announcement.endpoints]
    if announcement.next_key:
        members["next"] = key_text(announcement.next_key)
    payload = json.dumps(members, separators=(",", ":")).encode()
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"an announcement of {len(payload)} bytes; at most {MAX_PAYLOAD} fit")
    return payload


def decode(payload: bytes) -> Announcement | Incompatible:
    """Read what another node says of itself.

    Members that are not known are ignored. Raises AnnouncementError, whose reason is one of:
    size, utf8, nesting, json, duplicate, type, version, key, port, name, networks, endpoints,
    next.
    """
    members = _members(payload)
    version = members.get("v")
    if type(version) is not int:
        raise AnnouncementError("version")
    if version != VERSION:
        said = str(version) if 0 <= version < 1000 else "an unknown one"
        return Incompatible(f"announces version {said}; this node speaks version {VERSION}")
    return Announcement(
        public_key=_key(members.get("key")),
        port=_port(members["port"]) if "port" in members else 0,
        name=_name(members["name"]) if "name" in members else "",
        networks=_networks(members.get("networks", [])),
        endpoints=_endpoints(members.get("endpoints", [])),
        next_key=_key(members["next"], "next") if "next" in members else b"",
    )


def _members(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_PAYLOAD:
        raise AnnouncementError("size")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        raise AnnouncementError("utf8") from None
    _check_nesting(payload)
    try:
        members = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except AnnouncementError:
        raise
    except ValueError:
        raise AnnouncementError("json") from None
    if not isinstance(members, dict):
        raise AnnouncementError("type")
    return members


def _check_nesting(payload: bytes) -> None:
    # Before parsing: json recurses, and how deep Python lets it differs between versions.
    depth = 0
    for token in _TOKEN.finditer(payload):
        match token.group():
            case b"[" | b"{":
                depth += 1
                if depth > MAX_NESTING:
                    raise AnnouncementError("nesting")
            case b"]" | b"}":
                depth -= 1


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise AnnouncementError("duplicate")
    return members


def _no_constant(_: str) -> Any:
    raise AnnouncementError("json")  # NaN and Infinity are JavaScript's, not JSON's (RFC 8259 6)


def _key(value: Any, member: str = "key") -> bytes:
    try:
        key = parse_key(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if not any(key):
        raise AnnouncementError(member)
    return key


def _port(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 65535:
        raise AnnouncementError("port")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not is_label(value):
        raise AnnouncementError("name")
    return value


def _networks(value: Any) -> tuple[Offer, ...]:
    if not isinstance(value, list) or len(value) > MAX_NETWORKS:
        raise AnnouncementError("networks")
    offers: dict[Network, Offer] = {}
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
            raise AnnouncementError("networks")
        prefix, bandwidth = _prefix(item[0]), item[1]
        if type(bandwidth) is not int or not MIN_BANDWIDTH <= bandwidth <= MAX_BANDWIDTH:
            raise AnnouncementError("networks")
        if prefix in offers:
            raise AnnouncementError("networks")
        offers[prefix] = Offer(prefix, bandwidth)
    return tuple(offers.values())


def _prefix(text: str) -> Network:
    try:
        prefix = ip_network(text)
    except ValueError:
        raise AnnouncementError("networks") from None
    if str(prefix) != text or "%" in text:  # one spelling for one prefix, and no scope
        raise AnnouncementError("networks")
    return prefix


def _endpoints(value: Any) -> tuple[Endpoint, ...]:
    if not isinstance(value, list) or len(value) > MAX_ENDPOINTS:
        raise AnnouncementError("endpoints")
    return tuple(_endpoint(item) for item in value)


def _endpoint(value: Any) -> Endpoint:
    try:
        return parse_endpoint(value if isinstance(value, str) else "")
    except ValueError:
        raise AnnouncementError("endpoints") from None


def parse_endpoint(text: str) -> Endpoint:
    """Read ``192.0.2.7:6277`` or ``[2001:db8::7]:6277``; ValueError says what is needed.

    A link-local address is refused: what it means depends on who reads it.
    """
    found = _ENDPOINT.fullmatch(text)
    if not found:
        raise ValueError("an address and a port, such as 192.0.2.7:6277 or [2001:db8::7]:6277")
    v6, v4, port = found.groups()
    address: Address
    try:
        address = IPv6Address(v6) if v6 else IPv4Address(v4)
    except AddressValueError:
        raise ValueError("an IP address before the port") from None
    if int(port) > 65535:
        raise ValueError("a port of at most 65535")
    if not is_reachable(address):
        raise ValueError("the address of another host, and not a link-local one")
    return Endpoint(address, int(port))


def is_reachable(address: Address) -> bool:
    """Whether an announced address can be another host's: not ours, a group or of one link."""
    mapped = address.version == 6 and address.ipv4_mapped is not None
    return not (
        mapped
        or address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or address == IPv4Address("255.255.255.255")
    )
