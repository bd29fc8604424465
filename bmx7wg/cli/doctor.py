"""``bmx7-wg doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path

from ..core.config import Config, ConfigError
from ..core.limits import LINK_PORT
from ..core.model import Network as Prefix
from . import checks
from .checks import Check, Result, fail, ok, skip, warn
from .configcmd import load, verdict
from .firewall import firewall
from .networks import unanswered
from .output import CommandError, Output, Status
from .rpfilter import reverse_path
from .table import wrapped
from .terminal import Terminal, width
from .units import counted, some
from .view import Peer, Snapshot, in_order

_STYLES = {Result.OK: "good", Result.WARN: "warn", Result.FAIL: "bad", Result.SKIP: "dim"}
_INDENT = 21  # columns before the text
_NAMED = 5  # peers in one line
_JOURNAL = "see the journal: journalctl -u bmx7-wg"

#: What the service may have a problem with, of which there is a check here, too.
_LOOKED_AT = frozenset(("configuration", "device", "forwarding", "source"))


def examine(
    output: Output,
    directory: Path,
    state: Path,
    service: Snapshot | CommandError,
    root: Path = Path("/"),
) -> Status:
    """Make all checks and tell their findings; FAILED when one of them fails."""
    found = []
    for check in _all(directory, state, service, root):
        found.append(check)
        if not output.json:
            for line in _lines(check, output.terminal):
                output.line(line)
            output.flush()  # a check may take a moment: show what is known
    failed = sum(check.result is Result.FAIL for check in found)
    warned = sum(check.result is Result.WARN for check in found)
    if output.json:
        output.document({"checks": [vars(check) for check in found]})
    elif failed or warned:
        output.line(f"\n{counted(failed, 'failure')}, {counted(warned, 'warning')}")
    else:
        output.line("\nnothing is wrong")
    return Status.FAILED if failed else Status.OK


def _lines(check: Check, terminal: Terminal) -> Iterator[str]:
    word = terminal.paint(f"{check.result.upper():4}", _STYLES[check.result])
    head = f"{word}  {check.topic:{_INDENT - 6}}"
    yield from wrapped(check.text, terminal, head=head, indent=_INDENT)
    if check.remedy:
        head = f"{'':{_INDENT}}{terminal.arrow} "
        yield from wrapped(
            check.remedy, terminal, head=head, indent=_INDENT + width(head.strip()) + 1
        )


def _all(
    directory: Path, state: Path, service: Snapshot | CommandError, root: Path
) -> Iterator[Check]:
    config = Config()
    problems = _problems(service) if isinstance(service, Snapshot) else {}
    mistakes: tuple[str, ...] = ()
    try:
        found = load(directory, state)
        config = found.loaded.config
        yield ok("configuration", verdict(directory))
        if found.unknown:
            yield skip("configuration", found.unknown, "run bmx7-wg doctor as root")
    except ConfigError as error:
        mistakes = error.problems
        for mistake in mistakes:
            yield fail("configuration", mistake, "bmx7-wg config check; man bmx7-wg.toml")
    said = problems.get("configuration", "")
    if said and not any(mistake in said for mistake in mistakes):
        yield warn("configuration", said, "bmx7-wg reload, or systemctl restart bmx7-wg")
    secret = checks.secret(root, config)
    if secret:
        yield secret
    yield checks.clock(time.time())
    if isinstance(service, CommandError):
        yield from checks.wireguard(root, config)
        yield fail("service", service.message, "; ".join(service.hints))
        yield checks.free_port(root, config)
    else:
        yield from _service(service, problems)
        yield from _device(service, problems.get("device", ""), config, root)
    by_bmx7 = _uses_bmx7(service, config, root)
    if by_bmx7:
        yield from checks.bmx7(root, config)
    elif isinstance(service, Snapshot):
        yield checks.listening(root)
    else:
        yield checks.links(root)
    ports = {_port(service, config)} | (set() if by_bmx7 else {LINK_PORT})
    offered = _offered(service, config)
    yield from firewall(ports, {prefix.version for prefix in offered if not prefix.prefixlen})
    forwarding = list(checks.forwarding(root, config, offered))
    yield from forwarding
    if isinstance(service, Snapshot):
        if "forwarding" in problems and all(check.result is Result.OK for check in forwarding):
            yield warn("forwarding", problems["forwarding"], _JOURNAL)
        yield _source(service, problems.get("source", ""))
        yield from _peers(service, time.time())
        yield from _networks(service)
        yield from reverse_path(root, _carried(service), _endpoints(service))


def _problems(snapshot: Snapshot) -> dict[str, str]:
    """What the service says is wrong, by what it is about."""
    parts = (problem.partition(": ") for problem in snapshot.manager.problems)
    return {area: sentence for area, _, sentence in parts}


def _carried(snapshot: Snapshot) -> list[IPv4Network]:
    prefixes = (ip_network(network.prefix) for network in snapshot.networks if network.gateway)
    return [prefix for prefix in prefixes if isinstance(prefix, IPv4Network)]


def _endpoints(snapshot: Snapshot) -> list[tuple[str, IPv4Address]]:
    """The peers that are reached over IPv4: what they are called, and where they are."""
    peers = in_order(snapshot.peers.values())
    hosts = ((peer.label, peer.endpoint.rpartition(":")[0]) for peer in peers)
    return [(label, IPv4Address(host)) for label, host in hosts if host and "[" not in host]


def _offered(service: Snapshot | CommandError, config: Config) -> list[Prefix]:
    """The networks that this node offers, made on the bus or in the configuration."""
    if isinstance(service, Snapshot):
        return [ip_network(network) for network, _, _ in service.manager.offers]
    return [offer.network for offer in config.offers]


def _uses_bmx7(service: Snapshot | CommandError, config: Config, root: Path) -> bool:
    if isinstance(service, Snapshot):
        return service.manager.source == "bmx7"
    return checks.uses_bmx7(root, config)


def _port(service: Snapshot | CommandError, config: Config) -> int:
    if isinstance(service, Snapshot) and service.device:
        return service.device.listen_port
    return config.device.port


def _service(snapshot: Snapshot, problems: Mapping[str, str]) -> Iterator[Check]:
    service = snapshot.manager
    text = f"{service.state}, version {service.version}"
    if service.state == "running":
        yield ok("service", text)
    else:
        yield warn("service", text, _JOURNAL)
    for area, sentence in problems.items():
        if area not in _LOOKED_AT:
            yield warn("service", f"{area}: {sentence}" if sentence else area, _JOURNAL)


def _device(snapshot: Snapshot, problem: str, config: Config, root: Path) -> Iterator[Check]:
    device = snapshot.device
    if device is None or not device.name:
        yield fail("device", "there is none" + (f": {problem}" if problem else ""), _JOURNAL)
        yield from checks.wireguard(root, config)
        return
    if problem:
        yield warn("device", problem, _JOURNAL)
    if (root / "sys/class/net" / device.name).exists():
        yield ok("device", f"{device.name} is there, {device.backend}, MTU {device.mtu}")
    else:
        yield fail("device", f"{device.name} is not there, though the service says so", _JOURNAL)
    if device.listen_port == config.device.port:
        yield ok("port", f"WireGuard listens on UDP port {device.listen_port}")
    else:
        yield warn(
            "port",
            f"WireGuard listens on UDP port {device.listen_port}, not {config.device.port}",
            f"see who has it: ss -ulpn sport = :{config.device.port}; "
            "then systemctl restart bmx7-wg",
        )


def _source(snapshot: Snapshot, problem: str) -> Check:
    manager = snapshot.manager
    about = f", {problem}" if problem else ""
    text = f"peers come from {manager.source}: {manager.source_state}{about}"
    if manager.source_state == "failed":
        return fail("source", text, _JOURNAL)
    if manager.source_state != "ready":
        return warn("source", text, "wait a moment; " + _JOURNAL)
    return warn("source", text, _JOURNAL) if problem else ok("source", text)


def _peers(snapshot: Snapshot, now: float) -> Iterator[Check]:
    peers = in_order(snapshot.peers.values())
    if not peers:
        yield warn(
            "peers",
            "no other node is known",
            "is one running on the same link or mesh, and do firewalls let it through?",
        )
        return
    silent = [p for p in peers if p.state == "configured" and not p.last_handshake]
    ahead = [p for p in peers if p.last_handshake / 1e6 > now + 60]
    refused = [p for p in peers if p.state in ("conflict", "incompatible")]
    well = sum(p.state in ("connected", "idle") for p in peers)
    if not (silent or ahead or refused):
        yield ok("peers", f"{well} of {counted(len(peers), 'peer')} have had a handshake")
    if silent:
        yield warn(
            "peers",
            f"no handshake yet with {_names(silent)}",
            "is their UDP port reachable, do both ends have the same mesh secret, "
            "and does neither block the other?",
        )
    if refused:
        yield warn(
            "peers",
            f"in conflict or incompatible: {_names(refused)}",
            "see why: bmx7-wg peers --state conflict --state incompatible",
        )
    if ahead:
        yield warn(
            "clock",
            f"the last handshake with {_names(ahead)} is in the future",
            "the clock went back: timedatectl status",
        )


def _networks(snapshot: Snapshot) -> Iterator[Check]:
    """What is searched and carried by nobody, and what is offered and not announced."""
    carried = sum(bool(network.gateway) for network in snapshot.networks)
    if carried:
        yield ok("networks", f"{counted(carried, 'network')} carried by peers")
    for network in snapshot.networks:
        if not network.gateway:
            why = [f"{snapshot.label(path)}: {word}" for path, _, word in network.candidates]
            refused = f" ({'; '.join(why[:_NAMED])})" if why else ""
            reason = f": {network.reason}" if network.reason else ""
            yield warn(
                "networks",
                f"nobody carries {network.prefix}{reason}{refused}",
                f"see why: bmx7-wg networks {network.prefix}",
            )
    for name, wanted in unanswered(snapshot):
        about = f" (search {name})" if name != wanted else ""
        yield warn(
            "networks",
            f"nobody offers {wanted}{about}",
            "see what is offered: bmx7-wg peer NODE; or forget it: bmx7-wg forget " + name,
        )
    for offered, _, announced in snapshot.manager.offers:
        if not announced:
            yield warn(
                "networks",
                f"{offered} is offered, but not announced",
                "is the route there that the offer stands for? ip route; ip -6 route",
            )


def _names(peers: list[Peer]) -> str:
    return some([peer.label for peer in peers], _NAMED)
