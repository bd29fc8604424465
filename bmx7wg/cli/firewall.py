"""A look at the packet filter: does it let our datagrams in, and does it translate addresses?"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .checks import Check, ok, skip, warn

_TIMEOUT = 5.0  # s; a ruleset of many thousand rules takes one
_TOPIC = "firewall"
_UNLESS = "needed unless the networks outside know the way back to the mesh: man bmx7-wg.toml"


def firewall(ports: Collection[int], versions: Collection[int] = ()) -> Iterator[Check]:
    """Hints, not proofs: a filter that refuses by default and never mentions our ports.

    And, where a default route of one of these IP *versions* is offered, a masquerade for it.
    """
    said = "/".join(str(port) for port in sorted(ports))
    try:
        answer = subprocess.run(
            ["nft", "-j", "list", "ruleset"], capture_output=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        why, remedy = "nft is not installed: not looked at", f"let in UDP {said}"
    except subprocess.TimeoutExpired:
        why, remedy = "nft does not answer", f"let in UDP {said}"
    else:
        if not answer.returncode:
            ruleset = answer.stdout.decode("utf-8", "replace")
            yield judge(ruleset, ports)
            for version in sorted(versions):
                yield judge_masquerade(ruleset, version)
            return
        why, remedy = "not looked at: that needs root", "run bmx7-wg doctor as root"
    yield skip(_TOPIC, why, remedy)
    if versions:
        yield skip("masquerade", why, _UNLESS)


def judge(ruleset: str, ports: Collection[int]) -> Check:
    """The same for a ruleset in nft's JSON (libnftables-json(5))."""
    objects = _objects(ruleset)
    if objects is None:
        return skip(_TOPIC, "nft answers in a way that is not understood", "")
    rules = [item["rule"] for item in objects if "rule" in item]
    closed = [
        item["chain"]
        for item in objects
        if item.get("chain", {}).get("hook") == "input" and _refuses(item["chain"], rules)
    ]
    if not closed:
        return ok(_TOPIC, "no input filter that refuses by default")
    mentioned = [span for rule in rules for span in _udp_ports(rule)]
    missing = [p for p in sorted(ports) if not any(low <= p <= high for low, high in mentioned)]
    if not missing:
        return ok(_TOPIC, "the input filter has rules for our ports")
    chain = closed[0]
    where = f"{chain.get('family')} {chain.get('table')} {chain.get('name')}"
    return warn(
        _TOPIC,
        f"the input filter {where} refuses by default and has no rule for UDP "
        + " and ".join(map(str, missing)),
        _remedy(chain, missing),
    )


def judge_masquerade(ruleset: str, version: int) -> Check:
    """Whether a rule gives packets that leave another source address."""
    families = {4: ("ip", "inet"), 6: ("ip6", "inet")}[version]
    for item in _objects(ruleset) or ():
        rule = item.get("rule", {})
        if rule.get("family") in families and any(
            "masquerade" in part or "snat" in part for part in rule.get("expr", [])
        ):
            return ok("masquerade", f"IPv{version} addresses are translated")
    return warn(
        "masquerade",
        f"a default route is offered, and no rule of nftables translates IPv{version} addresses",
        _UNLESS,
    )


def _objects(ruleset: str) -> list[dict[str, Any]] | None:
    """What the ruleset is made of; None if it makes no sense."""
    try:
        return [item for item in json.loads(ruleset)["nftables"] if isinstance(item, dict)]
    except (ValueError, KeyError, TypeError):
        return None


def _remedy(chain: Mapping[str, Any], ports: Collection[int]) -> str:
    if chain.get("table") == "firewalld":
        options = " ".join(f"--add-port={port}/udp" for port in ports)
        return f"firewall-cmd --permanent {options} && firewall-cmd --reload"
    listed = ", ".join(map(str, ports))
    where = f"{chain.get('family')} {chain.get('table')} {chain.get('name')}"
    return f"nft insert rule {where} udp dport '{{ {listed} }}' accept (ufw: ufw allow PORT/udp)"


def _refuses(chain: Mapping[str, Any], rules: list[dict[str, Any]]) -> bool:
    if chain.get("policy") == "drop":
        return True
    return any(
        all(rule.get(key) == chain.get(value) for key, value in _PLACE)
        and any("drop" in part or "reject" in part for part in rule.get("expr", []))
        and not any("match" in part for part in rule["expr"])
        for rule in rules
    )


_PLACE = (("family", "family"), ("table", "table"), ("chain", "name"))


def _udp_ports(rule: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """The destination ports, as spans, that a rule compares those of UDP (or any) with."""
    for part in rule.get("expr", []):
        match = part.get("match") if isinstance(part, dict) else None
        if not match:
            continue
        left = match.get("left", {}).get("payload", {})
        if left.get("field") == "dport" and left.get("protocol") in ("udp", "th"):
            yield from _spans(match.get("right"))


def _spans(value: Any) -> Iterator[tuple[int, int]]:
    if isinstance(value, int):
        yield value, value
    elif isinstance(value, dict) and "range" in value:
        low, high = value["range"]
        yield low, high
    elif isinstance(value, dict) and "set" in value:
        for item in value["set"]:
            yield from _spans(item)
    elif isinstance(value, str) and value.startswith("@"):
        yield 0, 65535  # a named set: it can't be told cheaply, so no alarm
