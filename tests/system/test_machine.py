"""The package in a virtual machine with Debian's kernel, over the kernel's WireGuard.

One boot serves all tests: each job runs in the machine, each test judges what one of them left.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from ..built import package
from . import roots
from .guests import NAME, PATH, SUITES, machine_root
from .loss import EVENTS, OTHER_NODE, STREAM, results, streams
from .machine import Job, Run, boot, prepare

TESTS = ("tests", "debian/tests")
EVENTFUL = ("restart", "kill9", "reload", "bus")  # bench/loss has them all

JOBS = [
    Job(
        "1-unit",
        # The unit itself, in its sandbox: /run is closed to it but for one directory.
        f"""
        set -eux
        systemctl is-active bmx7-wg
        busctl get-property {NAME} {PATH}/device {NAME}.Device Backend
        inside="nsenter --target=$(systemctl show -P MainPID bmx7-wg) --mount"
        for closed in /run /usr /etc /var/lib /sys/kernel; do
            if $inside touch $closed/new; then exit 1; fi
        done
        for open in /run/bmx7 /var/lib/bmx7-wg; do
            $inside touch $open/new
            rm $open/new
        done
        systemctl stop bmx7-wg
        if ip link show dev wgBmx7; then exit 1; fi
        systemctl start bmx7-wg
        echo reached the end
        """,
        timeout=240,
    ),
    Job(
        "2-neighbour",
        # What the unit may not do with sockets of its own, the kernel does with its: a node on a
        # link is found and pinged. The first ping shows that this kernel heeds IPAddressDeny=.
        f"""
        set -eux
        ip link set lo up
        ping -6 -c 1 ::1
        if systemd-run --quiet --wait --property=IPAddressDeny=any ping -6 -c 1 -W 5 ::1
        then exit 1; fi
        systemctl show -P IPAddressDeny bmx7-wg | grep -F ::/0 | grep -F 0.0.0.0/0
        trap 'bmx7-wg-lab down' EXIT
        bmx7-wg-lab up --nodes 1
        load='from bmx7wg.lab.state import load; print(load("default").machine("n1").pid)'
        ip link add veth0 type veth peer name veth0 netns $(python3 -c "$load")
        bmx7-wg-lab exec n1 -- ip link set veth0 up
        ip link set veth0 up
        address="busctl get-property {NAME} {PATH}/device {NAME}.Device Addresses"
        ours=$($address | cut -d'"' -f2)
        theirs=$(bmx7-wg-lab exec n1 -- $address | cut -d'"' -f2)
        tries=0
        until ping -6 -c 1 -W 2 ${{theirs%/*}}; do
            tries=$((tries + 1))
            test $tries -lt 30
        done
        bmx7-wg-lab exec n1 -- ping -6 -c 3 -W 5 ${{ours%/*}}
        bmx7-wg probe n1
        systemctl --no-legend list-units 'bmx7-wg-sockets*'
        """,
        timeout=480,
    ),
    Job(
        "3-mesh",
        # The autopkgtest that needs a machine: two namespaces with a bus and a service each.
        "cd /tree && exec debian/tests/wireguard",
        timeout=480,
    ),
    Job(
        "4-device",
        "cd /tree && exec python3 -m pytest -p tests.skips -p no:cacheprovider -m kernel"
        " tests/device",
        timeout=1200,
    ),
    Job("5-loss", OTHER_NODE + streams({name: EVENTS[name] for name in EVENTFUL}, {}), timeout=600),
]


@pytest.fixture(scope="module", params=SUITES)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with roots.scratch(f"machine-{request.param}") as directory:
        root = directory / "root"
        root.mkdir()
        roots.copy(machine_root(request.param).path(), root)
        names = []
        for name in ("bmx7-wg", "bmx7-wg-lab"):
            shutil.copy(package(name), root / "root")
            names.append(f"/root/{package(name).name}")
        # Quicker than in the machine, and proof that the service starts at the next boot.
        roots.run(root, f"dpkg --install {' '.join(names)}")
        for part in TESTS:
            shutil.copytree(roots.TREE / part, root / "tree" / part)
        shutil.copy(roots.TREE / "setup.cfg", root / "tree")
        shutil.copy(STREAM, root / "root")
        prepare(root, JOBS)
        yield boot(root, JOBS, directory)


def succeeded(run: Run, job: str) -> str:
    """The output of a job that ended well. On failure pytest shows what is printed here."""
    outcome = run.outcomes[job]
    if outcome.status != 0:
        print(f"=== {job}: status {outcome.status}\n{outcome.output}")
        print(f"=== console\n{run.console[-5000:]}\n=== journal\n{run.journal[-10000:]}")
    assert outcome.status == 0
    return outcome.output


def test_the_service_runs_in_its_sandbox(run: Run) -> None:
    output = succeeded(run, "1-unit")
    assert 's "kernel"' in output
    assert output.rstrip().endswith("reached the end")


def test_the_service_and_a_neighbour_find_and_ping_each_other(run: Run) -> None:
    output = succeeded(run, "2-neighbour")
    assert " 3 received, 0% packet loss" in output
    assert "n1 answers in " in output


def test_two_nodes_find_and_ping_each_other(run: Run) -> None:
    assert succeeded(run, "3-mesh").count(" 0% packet loss") == 2


def test_the_tests_of_the_device_pass(run: Run) -> None:
    output = succeeded(run, "4-device")
    print(output)
    assert " passed" in output
    assert "skipped" not in output


def test_no_packet_is_lost(run: Run) -> None:
    found = results(succeeded(run, "5-loss"))
    print(found)
    assert found.keys() == set(EVENTFUL)
    for event, result in found.items():
        assert (result["lost"], result["refused"]) == (0, 0), (event, result)
        assert result["sent"] >= 500
