"""What doctor finds, on machines made of files, and on this one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bmx7wg.cli import checks, doctor
from bmx7wg.cli.checks import Check, Result
from bmx7wg.cli.firewall import firewall, judge
from bmx7wg.cli.output import NotRunning, Output
from bmx7wg.cli.terminal import Terminal
from bmx7wg.core.config import Bmx7Config, Config, DeviceConfig, DiscoveryConfig, TrustConfig
from bmx7wg.core.model import PeerState
from bmx7wg.ports import taken_ports

from .conftest import Service, run
from .made_up import device, manager, network, peer, peers, silent, snapshot

OFFLINE = NotRunning("the service is not running", ("start it: systemctl start bmx7-wg",))
GROUP = "ff120000000000000000000000b76277"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def results(found: Any) -> list[tuple[str, str]]:
    return [(check.topic, str(check.result)) for check in found]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these programs the only ones in PATH."""
    directory = tmp_path / "bin"

    def only(*names: str) -> None:
        directory.mkdir(exist_ok=True)
        for name in names:
            (directory / name).write_text("#!/bin/sh\n")
            (directory / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(directory))

    return only


MODULES = f"lib/modules/{os.uname().release}"


@pytest.mark.parametrize(
    "files, how",
    [
        ({"sys/module/wireguard/refcnt": "0"}, "loaded"),
        ({f"{MODULES}/modules.builtin": "kernel/drivers/net/wireguard/wireguard.ko\n"}, "built in"),
        ({f"{MODULES}/modules.dep": "kernel/drivers/net/wireguard/wireguard.ko.xz: x\n"}, "module"),
    ],
)
def test_the_kernels_wireguard(tmp_path: Path, files: dict[str, str], how: str) -> None:
    (found,) = checks.wireguard(machine(tmp_path, files), Config())
    assert found.result is Result.OK and how in found.text


def test_no_wireguard_at_all(tmp_path: Path, programs: Callable[..., None]) -> None:
    programs()
    (found,) = checks.wireguard(tmp_path, Config())
    assert found.result is Result.FAIL and "wireguard-go" in found.remedy
    programs("wireguard-go")
    kernel = Config(device=DeviceConfig(backend="kernel"))
    (found,) = checks.wireguard(tmp_path, kernel)
    assert found.result is Result.FAIL and "modprobe" in found.remedy


def test_wireguard_go_needs_tun(tmp_path: Path, programs: Callable[..., None]) -> None:
    programs("wireguard-go")
    found = results(checks.wireguard(tmp_path, Config()))
    assert found == [("wireguard", "ok"), ("tun", "fail")]
    machine(tmp_path, {"dev/net/tun": "", "sys/module/wireguard/refcnt": "0"})
    userspace = Config(device=DeviceConfig(backend="userspace"))
    assert results(checks.wireguard(tmp_path, userspace)) == [("wireguard", "ok"), ("tun", "ok")]


UDP = "  sl  local_address rem_address\n  1: 0100007F:0035 00000000:0000 07\n"
UDP6 = f"  sl  local_address\n  2: {'0' * 32}:1885 {'0' * 32}:0000 07\n"


def test_the_port_before_the_start(tmp_path: Path) -> None:
    machine(tmp_path, {"proc/net/udp": UDP, "proc/net/udp6": UDP6})
    assert taken_ports(tmp_path / "proc/net") == {53, 6277}
    taken = checks.free_port(tmp_path, Config())
    assert taken.result is Result.WARN and "6277" in taken.remedy
    assert checks.free_port(tmp_path, Config(device=DeviceConfig(port=6300))).result is Result.OK
    machine(tmp_path, {"sys/class/net/wgBmx7/flags": "0x91"})
    assert checks.free_port(tmp_path, Config()).result is Result.OK


def test_links_before_the_start(tmp_path: Path) -> None:
    addresses = [
        "fe80000000000000000000000000000a 02 40 20 80     eth0",
        "20010db8000000000000000000000001 03 40 00 80     eth1",
        "fe80000000000000000000000000000b 04 40 20 80     eth2",
        "fe80000000000000000000000000000c 05 40 20 80     noarp",
    ]
    flags = {"eth0": "0x1003", "eth1": "0x1003", "eth2": "0x1002", "noarp": "0x1"}
    machine(tmp_path, {f"sys/class/net/{name}/flags": text for name, text in flags.items()})
    assert checks.links(tmp_path).result is Result.FAIL
    machine(tmp_path, {"proc/net/if_inet6": "\n".join(addresses) + "\n"})
    found = checks.links(tmp_path)
    assert found.result is Result.OK and found.text.endswith("found on eth0")


def test_links_that_the_service_listens_on(tmp_path: Path) -> None:
    assert checks.listening(tmp_path).result is Result.FAIL
    joined = [f"{index}    {name}   {GROUP}  1 4 0" for index, name in ((4, "eth0"), (2, "br0"))]
    joined.append("5    eth9   ff020000000000000000000000000001  1 4 0")
    machine(tmp_path, {"proc/net/igmp6": "\n".join(joined) + "\n"})
    assert checks.listening(tmp_path).text == "announces and listens on br0, eth0"


def test_bmx7(tmp_path: Path) -> None:
    config = Config(discovery=DiscoveryConfig(bmx7=Bmx7Config(runtime_dir="/run/mesh")))
    assert not checks.uses_bmx7(tmp_path, config)
    assert results(checks.bmx7(tmp_path, config)) == [("bmx7", "fail")]
    (tmp_path / "run/mesh").mkdir(parents=True)
    assert not checks.uses_bmx7(tmp_path, config)
    machine(tmp_path, {"run/mesh/pid": "1"})
    assert checks.uses_bmx7(tmp_path, config)
    (found,) = checks.bmx7(tmp_path, config)
    assert found.result is Result.FAIL and "bmx7_sms.so" in found.remedy
    machine(tmp_path, {"run/mesh/sms/x": "", "run/mesh/json/x": ""})
    assert results(checks.bmx7(tmp_path, config)) == [("bmx7", "ok")]
    link = Config(discovery=DiscoveryConfig(source="link", bmx7=config.discovery.bmx7))
    assert not checks.uses_bmx7(tmp_path, link)


def test_the_secret(tmp_path: Path) -> None:
    config = Config(trust=TrustConfig(secret_file="/etc/secret"))

    def found() -> Check:
        check = checks.secret(tmp_path, config)
        assert check
        return check

    assert checks.secret(tmp_path, Config()) is None
    assert found().result is Result.FAIL
    machine(tmp_path, {"etc/secret": "x"})
    (tmp_path / "etc/secret").chmod(0o640)
    assert found().result is Result.WARN and "chmod 600" in found().remedy
    (tmp_path / "etc/secret").chmod(0o600)
    assert found().result is Result.OK


def test_the_clock() -> None:
    made = Path(checks.__file__).stat().st_mtime
    assert checks.clock(made + 1).result is Result.OK
    wrong = checks.clock(1000.0)
    assert wrong.result is Result.WARN and "1970-01-01" in wrong.text


# -- the packet filter ----------------------------------------------------------------------

CHAIN = {"family": "inet", "table": "filter", "name": "input"}


def ruleset(*rules: list[dict[str, Any]], policy: str = "drop", **chain: str) -> str:
    place = {**CHAIN, **chain}
    where = {"family": place["family"], "table": place["table"], "chain": place["name"]}
    return json.dumps(
        {
            "nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"chain": {**place, "hook": "input", "policy": policy}},
                *({"rule": {**where, "expr": rule}} for rule in rules),
            ]
        }
    )


def ports(right: Any, protocol: str = "udp") -> list[dict[str, Any]]:
    left = {"payload": {"protocol": protocol, "field": "dport"}}
    return [{"match": {"op": "==", "left": left, "right": right}}, {"accept": None}]


@pytest.mark.parametrize(
    "rules, result",
    [
        (ruleset(policy="accept"), "ok"),
        (ruleset(), "warn"),
        (ruleset(ports(6277)), "warn"),
        (ruleset(ports(6276), ports(6277)), "ok"),
        (ruleset(ports({"set": [22, {"range": [6276, 6277]}]})), "ok"),
        (ruleset(ports({"set": [6276, 6277]}, "tcp")), "warn"),
        (ruleset(ports({"set": [6276, 6277]}, "th")), "ok"),
        (ruleset(ports("@ours")), "ok"),
        (ruleset([{"reject": None}], policy="accept"), "warn"),
        (ruleset([{"counter": {}}, {"drop": None}], policy="accept"), "warn"),
        (ruleset(ports(22)[:1] + [{"drop": None}], policy="accept"), "ok"),
        ('{"nftables": []}', "ok"),
        ("[]", "skip"),
        ("{", "skip"),
    ],
)
def test_rulesets(rules: str, result: str) -> None:
    assert judge(rules, {6276, 6277}).result == result


def test_remedies_name_what_is_missing() -> None:
    found = judge(ruleset(ports(6276)), {6276, 6277})
    assert "6277" in found.text and "6276" not in found.text
    assert found.remedy.startswith("nft insert rule inet filter input udp dport '{ 6277 }' accept")
    firewalld = judge(ruleset(table="firewalld", name="filter_INPUT"), {6277})
    assert firewalld.remedy.startswith("firewall-cmd --permanent --add-port=6277/udp")


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"bmx7wg-cli-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def look(ports: set[int]) -> Check:
    (found,) = firewall(ports)
    return found


def test_a_real_packet_filter(
    namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrapper = tmp_path / "nft"
    wrapper.write_text(f'#!/bin/sh\nexec ip netns exec {namespace} /usr/sbin/nft "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    assert look({6276, 6277}).result is Result.OK
    rules = (
        "add table inet t; add chain inet t in { type filter hook input priority 0; policy drop; }"
    )
    subprocess.run([wrapper, rules], check=True)
    blocked = look({6276, 6277})
    assert blocked.result is Result.WARN
    remedy = blocked.remedy.removeprefix("nft ").split(" (")[0].replace("'", "")
    subprocess.run([wrapper, remedy], check=True)
    assert look({6276, 6277}).result is Result.OK
    nobody = [("firewall", "ok"), ("masquerade", "warn"), ("masquerade", "warn")]
    assert results(firewall({6277}, {4, 6})) == nobody
    for example in EXAMPLE_OF_A_GATEWAY:
        subprocess.run([wrapper, example], check=True)
    first, *others = firewall({6277}, {4, 6})
    assert results([first, *others]) == [(topic, "ok") for topic, _ in nobody]
    assert "IPv4" in others[0].text and "IPv6" in others[1].text


def test_without_nft_or_the_right_to_use_it(programs: Callable[..., None], tmp_path: Path) -> None:
    programs()
    assert "not installed" in look({6277}).text
    programs("nft")
    (tmp_path / "bin/nft").write_text("#!/bin/sh\necho Operation not permitted >&2\nexit 1\n")
    refused = look({6277})
    assert refused.result is Result.SKIP and "root" in refused.remedy
    both = list(firewall({6277}, {4}))
    assert results(both) == [("firewall", "skip"), ("masquerade", "skip")]
    assert both[1].text == refused.text and "way back" in both[1].remedy


# -- networks -------------------------------------------------------------------------------

#: As in bmx7-wg.toml(5).
EXAMPLE_OF_A_GATEWAY = (
    "add table inet mesh",
    "add chain inet mesh out { type nat hook postrouting priority srcnat; }",
    'add rule inet mesh out iifname "wgBmx7" oifname "eth0" masquerade',
)


def test_forwarding(tmp_path: Path) -> None:
    four, six = ip_network("0.0.0.0/0"), ip_network("2001:db8::/32")
    assert list(checks.forwarding(tmp_path, Config(), [])) == []
    (asked,) = checks.forwarding(tmp_path, Config(), [four])
    assert asked.result is Result.FAIL and "[device] forward = true" in asked.remedy
    config = Config(device=DeviceConfig(forward=True))
    (asked,) = checks.forwarding(tmp_path, config, [six])
    assert asked.result is Result.FAIL and "journal" in asked.remedy
    machine(
        tmp_path,
        {
            "proc/sys/net/ipv4/ip_forward": "1\n",
            "proc/sys/net/ipv6/conf/all/forwarding": "0\n",
        },
    )
    found = list(checks.forwarding(tmp_path, config, [four, six]))
    assert results(found) == [("forwarding", "ok"), ("forwarding", "fail")]


def test_networks_that_nobody_carries_offers_or_hears_of() -> None:
    refused = network("10.4.0.0/24", "n3", gateway=None, reason="covers an underlay address")
    shown = snapshot(
        [peer("n3")],
        of=manager(
            offers=(("0.0.0.0/0", 1000, ()), ("10.9.0.0/16", 1000, ("10.9.0.0/16",))),
            searches=(("lans", "10.0.0.0/8", 8, 128), ("far", "172.16.0.0/12", 12, 128)),
        ),
        networks=(network("10.3.0.0/24", "n3"), refused),
    )
    found = list(doctor._networks(shown))
    assert results(found) == [("networks", word) for word in ("ok", "warn", "warn", "warn")]
    assert found[1].text.startswith("nobody carries 10.4.0.0/24: covers an underlay address")
    assert found[2].text == "nobody offers 172.16.0.0/12 (search far)"
    assert found[3].text == "0.0.0.0/0 is offered, but not announced"
    assert list(doctor._networks(snapshot([]))) == []


# -- all of it ------------------------------------------------------------------------------


def examine(shot: Any, root: Path, capsys: pytest.CaptureFixture[str], width: int = 80) -> Any:
    status = doctor.examine(
        Output(Terminal(width), json=True), root / "etc", root / "state", shot, root
    )
    found = json.loads(capsys.readouterr().out)["checks"]
    assert (status == 1) == any(check["result"] == "fail" for check in found)
    assert all(check["remedy"] for check in found if check["result"] not in ("ok", "skip"))
    return {(check["topic"], check["result"]): check["text"] for check in found}


WELL = {
    "sys/class/net/wgBmx7/flags": "0x91",
    "proc/net/igmp6": f"4    eth0   {GROUP}  1 4 0\n",
}


def test_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = examine(snapshot([peer("n2")]), machine(tmp_path, WELL), capsys)
    assert {topic for topic, result in found if result == "ok"} >= {
        *("configuration", "clock", "service", "device", "port", "links", "source", "peers")
    }
    assert not [topic for topic, result in found if result in ("warn", "fail")]


def test_much_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views = [
        silent("n2", PeerState.CONFIGURED),
        silent("n3", PeerState.CONFLICT, "why"),
        peer("n4", last_handshake=2**62),
    ]
    of = manager(state="degraded", problems=("a problem",), source_state="failed")
    machine(tmp_path, {"etc/config.toml": "prot = 1\n"})
    found = examine(snapshot(views, of=of, on=device(listen_port=41000)), tmp_path, capsys)
    for topic in ("configuration", "device", "links", "source"):
        assert (topic, "fail") in found
    for topic in ("service", "port", "peers", "clock"):
        assert (topic, "warn") in found
    assert found["service", "warn"] == "a problem"


def sentences(shot: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Topic and text of all that is not well."""
    doctor.examine(Output(Terminal(80), json=True), root / "etc", root / "state", shot, root)
    checks = json.loads(capsys.readouterr().out)["checks"]
    return [(check["topic"], check["text"]) for check in checks if check["result"] != "ok"]


def test_what_the_service_says_too_is_told_once(
    tmp_path: Path, programs: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    programs()
    files = {"etc/config.toml": "prot = 1\n", "sys/module/wireguard/refcnt": "0"}
    machine(tmp_path, {**WELL, **files})
    (mistake,) = [
        text for topic, text in sentences(snapshot([]), tmp_path, capsys) if "prot" in text
    ]
    problems = (
        f"configuration: not reloaded: {mistake}",
        "device: no room",
        "forwarding: offers 10.9.0.0/16 but IPv4 is not forwarded",
        "source: no interface to look for neighbours on",
        "bus: the name is taken",
    )
    offers = (("10.9.0.0/16", 1000, ("10.9.0.0/16",)),)
    of = manager(problems=problems, source_state="waiting", offers=offers)
    shot = snapshot([peer("n2")], of=of, on=device(name=""))
    found = [said for said in sentences(shot, tmp_path, capsys) if said[0] != "firewall"]
    assert found == [
        ("configuration", mistake),
        ("service", "bus: the name is taken"),
        ("device", "there is none: no room"),
        ("forwarding", "an IPv4 network is offered, but packets are not forwarded"),
        ("source", "peers come from link: waiting, no interface to look for neighbours on"),
    ]


def test_what_only_the_service_says_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = (
        "configuration: not reloaded: config.toml:1: no such key",
        "device: put right: MTU",
        "forwarding: offers 10.9.0.0/16 but IPv4 is not forwarded",
        "source: another node uses the key of this one",
    )
    found = examine(
        snapshot([peer("n2")], of=manager(problems=problems)), machine(tmp_path, WELL), capsys
    )
    assert found["configuration", "warn"] == "not reloaded: config.toml:1: no such key"
    assert found["device", "warn"] == "put right: MTU"
    assert found["forwarding", "warn"] == "offers 10.9.0.0/16 but IPv4 is not forwarded"
    assert found["source", "warn"].endswith("ready, another node uses the key of this one")


def test_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = examine(snapshot([]), machine(tmp_path, WELL), capsys)
    assert found["peers", "warn"] == "no other node is known"


def test_without_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = examine(OFFLINE, tmp_path, capsys)
    assert found["service", "fail"] == "the service is not running"
    assert ("port", "ok") in found and ("links", "fail") in found


@pytest.mark.parametrize("at", [60, 80, 200])
def test_lines_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], at: int) -> None:
    many = [silent(f"n{number}-{'x' * 20}", PeerState.CONFIGURED) for number in range(2, 99)]
    doctor.examine(Output(Terminal(at), json=False), tmp_path, tmp_path, snapshot(many), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= at for line in lines if str(tmp_path) not in line)
    assert lines[-1] == "2 failures, 1 warning"
    assert "and 92 more" in " ".join(" ".join(lines).split())


def test_doctor_as_a_program(service: Service, bus: dict[str, str]) -> None:
    service.publish(manager=manager(), device=device(name="bmx7wg-none"), peers=tuple(peers(5)))
    done = run("doctor", "--config-dir", "/nonexistent", **bus)
    assert done.status == 1 and done.err == ""
    assert "FAIL  device         bmx7wg-none is not there" in done.out
    assert "OK    service        running, version 0.1.0" in done.out
    done = run("doctor", "--json")
    assert done.status == 1 and "system bus" in done.out
