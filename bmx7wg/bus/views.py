"""How the core's views become properties of the contract: one table per interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .names import DEVICE, LOG_CONTROL, MANAGER, NETWORK, PEER, peer_path

if TYPE_CHECKING:  # the bus needs no more than their shape
    from ..core.views import DeviceView, ManagerView, NetworkView, PeerView
    from .controller import Controller

_MANAGER: Final[Mapping[str, Callable[[ManagerView], Any]]] = {
    "Version": lambda view: view.version,
    "NodeId": lambda view: view.node_id,
    "NodeName": lambda view: view.node_name,
    "State": lambda view: view.state,
    "Problems": lambda view: view.problems,
    "Source": lambda view: view.source,
    "SourceState": lambda view: view.source_state,
    "Offers": lambda view: view.offers,
    "Searches": lambda view: view.searches,
}

_DEVICE: Final[Mapping[str, Callable[[DeviceView], Any]]] = {
    "Name": lambda view: view.name,
    "InterfaceIndex": lambda view: view.index,
    "Backend": lambda view: view.backend,
    "PublicKey": lambda view: view.public_key,
    "ListenPort": lambda view: view.listen_port,
    "FirewallMark": lambda view: view.firewall_mark,
    "Mtu": lambda view: view.mtu,
    "Addresses": lambda view: view.addresses,
}

_PEER: Final[Mapping[str, Callable[[PeerView], Any]]] = {
    "NodeId": lambda view: str(view.node_id),
    "Name": lambda view: view.name,
    "Origin": lambda view: view.origin,
    "State": lambda view: view.state,
    "Reason": lambda view: view.reason,
    "PublicKey": lambda view: view.public_key,
    "Endpoint": lambda view: view.endpoint,
    "Address": lambda view: view.address,
    "AllowedIPs": lambda view: view.allowed_ips,
    "Offers": lambda view: view.offers,
    "Metric": lambda view: view.metric,
    "Hops": lambda view: view.hops,
    "LastHandshake": lambda view: view.last_handshake,
    "RxBytes": lambda view: view.rx_bytes,
    "TxBytes": lambda view: view.tx_bytes,
}

_NETWORK: Final[Mapping[str, Callable[[NetworkView], Any]]] = {
    "Prefix": lambda view: str(view.prefix),
    "Gateway": lambda view: "/" if view.gateway is None else peer_path(view.gateway),
    "Reason": lambda view: view.reason,
    "Candidates": lambda view: tuple(
        (peer_path(node_id), metric, why_not) for node_id, metric, why_not in view.candidates
    ),
    "Table": lambda view: view.table,
    "Metric": lambda view: view.metric,
    "Since": lambda view: view.since,
}

_LOG_CONTROL: Final[Mapping[str, Callable[[Controller], Any]]] = {
    "LogLevel": lambda controller: controller.log_level,
    "LogTarget": lambda controller: controller.log_target,
    "SyslogIdentifier": lambda controller: controller.syslog_identifier,
}

#: For each interface, how each property is read from its view.
PROPERTIES_OF: Final[Mapping[str, Mapping[str, Callable[[Any], Any]]]] = {
    MANAGER: _MANAGER,
    DEVICE: _DEVICE,
    PEER: _PEER,
    NETWORK: _NETWORK,
    LOG_CONTROL: _LOG_CONTROL,
}
