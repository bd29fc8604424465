"""The configuration: what the administrator said, checked and frozen (design.md 8)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .identity import NodeId
from .limits import DEFAULT_DEVICE, DEFAULT_PORT


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


@dataclass(frozen=True)
class Bmx7Config:
    runtime_dir: str = "/run/bmx7"
    command: str = "bmx7"


@dataclass(frozen=True)
class LinkConfig:
    interfaces: tuple[str, ...] = ()  # globs, "!" excludes; empty: see design.md 8


@dataclass(frozen=True)
class DiscoveryConfig:
    source: str = "auto"  # "auto" | "bmx7" | "link"
    grace: float = 120.0  # s that a lost peer is kept
    bmx7: Bmx7Config = Bmx7Config()
    link: LinkConfig = LinkConfig()


@dataclass(frozen=True)
class TrustConfig:
    accept: str = "all"  # "all" | "listed"
    nodes: frozenset[NodeId] = frozenset()
    blocked: frozenset[NodeId] = frozenset()
    secret_file: str = ""


@dataclass(frozen=True)
class Config:
    node: NodeConfig = NodeConfig()
    device: DeviceConfig = DeviceConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    trust: TrustConfig = field(default=TrustConfig())
