"""What doctor says of the reverse path filter, on machines made of files and in a namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from bmx7wg.cli.checks import Result
from bmx7wg.cli.rpfilter import reverse_path

from .made_up import network, peer, snapshot
from .test_cli_doctor import WELL, examine, machine

DEFAULT, TEN = IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8")
FAR = ("n3", IPv4Address("198.51.100.7"))
ROUTES = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0.1\t00000000\t020200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def strict(link: int, everywhere: int) -> dict[str, str]:
    conf = "proc/sys/net/ipv4/conf"
    return {
        "proc/net/route": ROUTES,
        f"{conf}/eth0.1/rp_filter": f"{link}\n",
        f"{conf}/eth1/rp_filter": "1\n",
        f"{conf}/all/rp_filter": f"{everywhere}\n",
    }


@pytest.mark.parametrize(
    "link, everywhere, result",
    [(0, 0, "ok"), (1, 0, "warn"), (0, 1, "warn"), (2, 1, "ok"), (1, 2, "ok")],
)
def test_the_greater_value_counts(tmp_path: Path, link: int, everywhere: int, result: str) -> None:
    (found,) = reverse_path(machine(tmp_path, strict(link, everywhere)), [DEFAULT], [FAR])
    assert found.result == result and "on eth0.1" in found.text
    if result == "warn":
        assert "packets of n3:" in found.text
        assert found.remedy.startswith("sysctl net.ipv4.conf.eth0/1.rp_filter=2; ")


def test_it_matters_only_for_who_seems_to_be_beyond_the_mesh(tmp_path: Path) -> None:
    machine(tmp_path, strict(1, 1))
    on_a_link = ("n2", IPv4Address("192.0.2.9"))
    for carried, endpoints in (([], [FAR]), ([TEN], [FAR]), ([DEFAULT], [on_a_link])):
        assert list(reverse_path(tmp_path, carried, endpoints)) == []
    assert list(reverse_path(tmp_path / "nothing", [DEFAULT], [FAR])) == []


def test_doctor_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peers = [peer("n2"), peer("n3", endpoint="198.51.100.7:6277"), peer("n4", endpoint="")]
    machine(tmp_path, WELL | strict(0, 1))
    nobody = network("0.0.0.0/0", gateway=None)
    found = examine(snapshot(peers, networks=(nobody, network("::/0", "n3"))), tmp_path, capsys)
    assert "rp_filter" not in {topic for topic, _ in found}
    found = examine(snapshot(peers, networks=(network("0.0.0.0/0", "n3"),)), tmp_path, capsys)
    assert "eth0.1, which drops the packets of n3: " in found["rp_filter", "warn"]


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"bmx7wg-rpf-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def test_what_a_real_kernel_has(namespace: str) -> None:
    commands = """\
link add strict0 type veth peer name other0
address add 192.0.2.1/24 dev strict0
link set strict0 up
link set other0 up
route add default via 192.0.2.2
"""
    batch = ["ip", "-n", namespace, "-batch", "-"]
    subprocess.run(batch, input=commands, text=True, check=True)
    look = f"""\
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from bmx7wg.cli.rpfilter import reverse_path
conf = Path("/proc/sys/net/ipv4/conf")
for link, everywhere in ((0, 0), (1, 0)):
    (conf / "strict0/rp_filter").write_text(str(link))
    (conf / "all/rp_filter").write_text(str(everywhere))
    for name, where in (("far", {str(FAR[1])!r}), ("near", "192.0.2.9")):
        found = reverse_path(Path("/"), [IPv4Network("0.0.0.0/0")], [(name, IPv4Address(where))])
        print(link, name, *(check.result for check in found))
"""
    inside = ["ip", "netns", "exec", namespace, sys.executable, "-c", look]
    done = subprocess.run(inside, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"0 far {Result.OK}",
        "0 near",
        f"1 far {Result.WARN}",
        "1 near",
    ]
