"""The package in a virtual machine with Debian's kernel, over the kernel's WireGuard.

One boot serves all tests: each job runs in the machine, each test judges what one of them left.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..built import package
from . import roots
from .guests import NAME, PATH, SUITES, machine_root
from .machine import Job, Run, boot, prepare

TESTS = Path(__file__).resolve().parents[1]

JOBS = [
    Job(
        "1-unit",
        # The unit itself, in its sandbox: /run is closed to it but for two directories.
        f"""
        set -eux
        systemctl is-active bmx7-wg
        busctl get-property {NAME} {PATH}/device {NAME}.Device Backend
        inside="nsenter --target=$(systemctl show -P MainPID bmx7-wg) --mount"
        for closed in /run /usr /etc /var/lib /sys/kernel; do
            ! $inside touch $closed/new
        done
        for open in /run/bmx7 /run/wireguard /var/lib/bmx7-wg; do
            $inside touch $open/new
            rm $open/new
        done
        systemctl stop bmx7-wg
        ! ip link show dev wgBmx7
        echo reached the end
        """,
        timeout=120,
    ),
    Job(
        "2-mesh",
        # Two namespaces with a bus and a service each; the last pings go over the mesh.
        f"""
        set -eu
        trap 'bmx7-wg-lab down' EXIT
        bmx7-wg-lab up --nodes 2
        address() {{
            bmx7-wg-lab exec $1 -- ip -6 -brief address show dev wgBmx7 scope global |
                sed 's/.* fd77/fd77/; s,/.*,,'
        }}
        ping_until() {{
            tries=0
            until bmx7-wg-lab exec $1 -- ping -6 -c 1 -W 2 $2; do
                tries=$((tries + 1))
                test $tries -lt 30
            done
        }}
        ping_until n1 $(address n2)
        ping_until n2 $(address n1)
        for node in n1 n2; do
            bmx7-wg-lab exec $node -- busctl get-property {NAME} {PATH}/device {NAME}.Device Backend
            bmx7-wg-lab exec $node -- bmx7-wg status
            bmx7-wg-lab exec $node -- ip -d link show dev wgBmx7
        done
        echo reached the end
        """,
        timeout=240,
    ),
    Job(
        "3-device",
        "cd /tree && exec python3 -m pytest -p tests.skips -p no:cacheprovider -m kernel"
        " tests/device",
        timeout=600,
    ),
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
        shutil.copytree(TESTS, root / "tree/tests")
        shutil.copy(TESTS.parent / "setup.cfg", root / "tree")
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


def test_two_nodes_find_and_ping_each_other(run: Run) -> None:
    output = succeeded(run, "2-mesh")
    assert output.count('s "kernel"') == 2
    assert output.count(" 0% packet loss") == 2
    assert "reached the end" in output


def test_the_tests_of_the_device_pass(run: Run) -> None:
    output = succeeded(run, "3-device")
    print(output)
    assert " passed" in output
    assert "skipped" not in output
