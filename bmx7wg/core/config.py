"""The configuration: what the administrator said, checked and frozen (design.md 8).

Each key is one row of `KEYS`; the dataclasses hold the defaults. Reading the files is somebody
else's work (configfiles.py): here comes their text, later files winning, lists adding up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from typing import Any, Final, Protocol

import tomllib

from . import offers, searches, staticpeers
from .announcement import parse_label
from .identity import NodeId
from .limits import DEFAULT_DEVICE, DEFAULT_PORT, LOST_GRACE, MAX_ADDRESSES, MIN_MTU
from .model import Interface, OfferRule, Search, StaticPeer
from .prefixes import reserved
from .schema import Boolean, Check, Choice, ListOf, Number, Problems, Text, lines_of, nearest


@dataclass(frozen=True)
class NodeConfig:
    name: str = ""  # empty: the host's name
    key: str = "persistent"  # or "session": a new WireGuard key at each start


@dataclass(frozen=True)
class DeviceConfig:
    name: str = DEFAULT_DEVICE
    backend: str = "auto"  # "auto" | "kernel" | "userspace"
    port: int = DEFAULT_PORT
    mtu: int = 0  # 0: from the underlay
    firewall_mark: int = 0x6277
    keepalive: int = 0  # s; 0: off
    addresses: tuple[Interface, ...] = ()  # further ones, besides the mesh address
    forward: bool = False  # packets between the device and other links


@dataclass(frozen=True)
class Bmx7Config:
    runtime_dir: str = "/run/bmx7"


@dataclass(frozen=True)
class LinkConfig:
    interfaces: tuple[str, ...] = ()  # globs, "!" excludes; empty: see design.md 8


@dataclass(frozen=True)
class DiscoveryConfig:
    source: str = "auto"  # "auto" | "bmx7" | "link"
    grace: float = LOST_GRACE  # s that a lost peer is kept
    bmx7: Bmx7Config = Bmx7Config()
    link: LinkConfig = LinkConfig()


@dataclass(frozen=True)
class TrustConfig:
    accept: str = "all"  # "all" | "listed"
    nodes: tuple[NodeId, ...] = ()
    blocked: tuple[NodeId, ...] = ()
    secret_file: str = ""


@dataclass(frozen=True)
class Config:
    node: NodeConfig = NodeConfig()
    device: DeviceConfig = DeviceConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    trust: TrustConfig = TrustConfig()
    peers: tuple[StaticPeer, ...] = ()
    offers: tuple[OfferRule, ...] = ()
    searches: tuple[Search, ...] = ()


def _node_name(text: str) -> str:
    return parse_label(text) if text else ""


def _interface_name(text: str) -> str:
    # linux/if.h IFNAMSIZ and dev_valid_name() in net/core/dev.c
    if not 0 < len(text.encode()) < 16 or text in (".", "..") or not text.isprintable():
        raise ValueError("an interface name of 1 to 15 characters")
    if any(c in "/: \t" for c in text):
        raise ValueError("an interface name without '/', ':' or white space")
    return text


def _pattern(text: str) -> str:
    if not text.removeprefix("!"):
        raise ValueError("a pattern such as 'eth*' or '!wlan1'")
    return text


def _path(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("an absolute path")
    return text


def _own_address(text: str) -> Interface:
    try:
        interface = ip_interface(text)
    except ValueError:
        interface = None
    if interface is None or "%" in text:
        raise ValueError("an address such as 10.77.0.3/32 or 2001:db8::3/128")
    if what := reserved(ip_network(interface.ip)):
        raise ValueError(f"an address that is not inside {what}")
    return interface


#: Every key there is, and what is allowed.
KEYS: Final[Mapping[str, Check]] = {
    "node.name": Text(_node_name),
    "node.key": Choice("persistent", "session"),
    "device.name": Text(_interface_name),
    "device.backend": Choice("auto", "kernel", "userspace"),
    "device.port": Number(1, 65535),
    "device.mtu": Number(MIN_MTU, 65535 - 80, also=0),
    "device.firewall-mark": Number(1, 0xFFFFFFFF, also=0),
    "device.keepalive": Number(1, 65535, also=0),
    "device.addresses": ListOf(_own_address, most=MAX_ADDRESSES),
    "device.forward": Boolean(),
    "discovery.source": Choice("auto", "bmx7", "link"),
    "discovery.grace": Number(0, 86400),
    "discovery.bmx7.runtime-dir": Text(_path),
    "discovery.link.interfaces": ListOf(_pattern),
    "trust.accept": Choice("all", "listed"),
    "trust.nodes": ListOf(NodeId.parse),
    "trust.blocked": ListOf(NodeId.parse),
    "trust.secret-file": Text(_path),
}
_SECTIONS: Final = {key.rpartition(".")[0] for key in KEYS}


class _Kind(Protocol):
    """What there can be several of: a module with its keys and rules."""

    @property
    def KEYS(self) -> Mapping[str, Check]:  # noqa: N802
        ...

    def build(self, said: Mapping[str, Any], /) -> Any:
        ...

    def check_new(self, entry: Any, others: Iterable[Any], /) -> None:
        ...


_PEERS, _OFFERS, _SEARCHES = "peer", "offer", "search"
#: The sections that are lists, in the order of `Loaded`'s fields.
_KINDS: Final[Mapping[str, _Kind]] = {
    _PEERS: staticpeers,
    _OFFERS: offers,
    _SEARCHES: searches,
}


class ConfigError(Exception):
    """The configuration can't be used; `problems` has a sentence for each reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class ConfigSource:
    """One file's name, for people, and its content."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Loaded:
    """A configuration with, for each key, its value and where it comes from.

    ``origins`` has "FILE:LINE" (several, with commas, for a list that added up) or "default";
    ``peers``, ``offers`` and ``searches`` the origin of each of the configuration's.
    """

    config: Config
    values: Mapping[str, Any]
    origins: Mapping[str, str]
    peers: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()


def parse(sources: Iterable[ConfigSource]) -> Loaded:
    """Check the files' text, in the order in which they count.

    ConfigError says all that is wrong with them, not only the first thing.
    """
    reading = _Reading()
    for source in sources:
        reading.read(source)
    if reading.problems.found:
        raise ConfigError(tuple(reading.problems.found))
    entries = reading.entries
    config = _build(reading.said, *(tuple(entries[kind].values()) for kind in _KINDS))
    values = {key: _value(config, key) for key in KEYS}
    origins = {key: reading.origins.get(key, "default") for key in KEYS}
    return Loaded(config, values, origins, *(tuple(entries[kind]) for kind in _KINDS))


class _Reading:
    """What several files say together."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.said: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.entries: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}  # by origin

    def read(self, source: ConfigSource) -> None:
        self._path = source.path
        self._lines = lines_of(source.content.decode("utf-8", "replace"))
        self._table(_document(source, self.problems), "")

    def _where(self, key: str) -> str:
        return f"{self._path}:{self._lines.get(key, 1)}"

    def _table(self, table: Mapping[str, Any], prefix: str) -> None:
        for name, value in table.items():
            key = prefix + name
            if key in KEYS:
                self._value(key, value)
            elif key in _SECTIONS and isinstance(value, dict):
                self._table(value, key + ".")
            elif key in _SECTIONS:
                self.problems.add(self._where(key), key, f"is a section; write [{key}]")
            elif key in _KINDS and isinstance(value, list):
                for number, entry in enumerate(value):
                    self._entry(key, f"{key}[{number}]", entry)
            elif key in _KINDS:
                self.problems.add(self._where(key), key, f"is a list; write [[{key}]]")
            else:
                hint = nearest(key, [*KEYS, *_SECTIONS, *_KINDS])
                self.problems.add(self._where(key), key, "unknown key" + hint)

    def _value(self, key: str, value: object) -> None:
        where = self._where(key)
        try:
            checked = KEYS[key].check(value)
        except ValueError as error:
            self.problems.add(where, key, str(error))
            return
        if isinstance(checked, tuple) and key in self.said:
            self.said[key] = tuple(dict.fromkeys(self.said[key] + checked))
            self.origins[key] += f", {where}"
        else:
            self.said[key] = checked
            self.origins[key] = where

    def _entry(self, name: str, place: str, entry: object) -> None:
        kind, said = _KINDS[name], dict[str, Any]()
        if not isinstance(entry, dict):
            self.problems.add(self._where(place), place, f"is a list; write [[{name}]]")
            return
        before = len(self.problems.found)
        for key, value in entry.items():
            where = self._where(f"{place}.{key}")
            if key not in kind.KEYS:
                what = "unknown key" + nearest(key, kind.KEYS)
                self.problems.add(where, f"{name}.{key}", what)
                continue
            try:
                said[key] = kind.KEYS[key].check(value)
            except ValueError as error:
                self.problems.add(where, f"{name}.{key}", str(error))
        if len(self.problems.found) > before:
            return
        where = self._where(place)
        try:
            built = kind.build(said)
            kind.check_new(built, self.entries[name].values())
        except ValueError as error:
            self.problems.add(where, name, str(error))
        else:
            self.entries[name][where] = built


def _document(source: ConfigSource, problems: Problems) -> Mapping[str, Any]:
    try:
        return tomllib.loads(source.content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = source.content.count(b"\n", 0, error.start) + 1
        problems.found.append(f"{source.path}:{line}: not UTF-8; save the file as UTF-8 text")
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).rpartition(" (at ")
        word = place.removeprefix("line ").partition(",")[0]
        line = int(word) if word.isdigit() else len(source.content.splitlines())
        problems.found.append(f"{source.path}:{line}: not valid TOML: {what}")
    return {}


def _build(
    said: Mapping[str, Any],
    peers: tuple[StaticPeer, ...],
    offered: tuple[OfferRule, ...],
    searched: tuple[Search, ...],
) -> Config:
    def section(name: str) -> dict[str, Any]:
        prefix = name + "."
        return {
            key.removeprefix(prefix).replace("-", "_"): value
            for key, value in said.items()
            if key.startswith(prefix) and "." not in key.removeprefix(prefix)
        }

    return Config(
        node=NodeConfig(**section("node")),
        device=DeviceConfig(**section("device")),
        discovery=DiscoveryConfig(
            **section("discovery"),
            bmx7=Bmx7Config(**section("discovery.bmx7")),
            link=LinkConfig(**section("discovery.link")),
        ),
        trust=TrustConfig(**section("trust")),
        peers=peers,
        offers=offered,
        searches=searched,
    )


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name.replace("-", "_"))
    return value
