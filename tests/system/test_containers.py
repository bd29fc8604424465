"""The package in booted Debian systems, two of each release on one link.

The tests of one release share its two containers and build on one another in the order of this
file: from the installation to the purge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bmx7wg.core.limits import LINK_PORT

from ..built import previous
from .container import Container, Failed, booted
from .guests import (
    NAME,
    PATH,
    SUITES,
    connect,
    container_root,
    files,
    install,
    main_pid,
    mesh_address,
    read,
)
from .loss import stream_through

Pair = tuple[Container, Container]

# What systemd-analyze counts; the peers of this service have 3 to 10.
EXPOSURE = {
    "bmx7-wg": 1.4,
    "bmx7-wg-device": 1.4,
    "bmx7-wg-sockets@any": 1.3,
    "bmx7-wg-userspace@wgBmx7": 1.8,
}
SOCKETS = "bmx7-wg-sockets.socket"
BROKEN = "/etc/bmx7-wg/conf.d/broken.toml"
FORWARDING = "/etc/bmx7-wg/conf.d/forwarding.toml"
STATE = f"busctl get-property {NAME} {PATH} {NAME}.Manager State"


@pytest.fixture(scope="module", params=SUITES)
def bare_pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with booted(container_root(request.param), 2) as (one, other):
        yield one, other


@pytest.fixture(scope="module")
def files_before(bare_pair: Pair) -> set[str]:
    return files(bare_pair[0].root)


@pytest.fixture(scope="module")
def pair(bare_pair: Pair, files_before: set[str]) -> Pair:
    for container in bare_pair:
        try:
            install(container)
        except Failed as error:
            raise Failed(f"{error}\n{container.journal()}") from None
    return bare_pair


def test_the_service_is_enabled_and_started(pair: Pair) -> None:
    for container in pair:
        container.run("systemctl is-enabled bmx7-wg && systemctl is-active bmx7-wg")
        assert "via link" in container.run("systemctl status bmx7-wg").output
        assert container.run("systemctl --failed --no-legend").output == ""


def test_they_find_and_ping_each_other(pair: Pair) -> None:
    connect(*pair)
    for here, there in (pair, pair[::-1]):
        identity = read(there, "", "Manager", "NodeId").lower()
        assert f"{PATH}/peer/{identity}" in here.run(f"busctl tree {NAME}").output
        assert read(here, f"/peer/{identity}", "Peer", "State") == "connected"
        assert mesh_address(there) in here.run("bmx7-wg peers").output


def test_the_device_is_that_of_wireguard_go(pair: Pair) -> None:
    assert read(pair[0], "/device", "Device", "Backend") == "userspace"
    assert "wireguard-go" not in pair[0].run("systemctl status bmx7-wg").output
    processes = pair[0].run("systemctl status bmx7-wg-userspace@wgBmx7").output
    assert "wireguard-go --foreground wgBmx7" in processes


def test_the_unit_is_sound_and_confined(pair: Pair) -> None:
    for unit, most in EXPOSURE.items():
        assert pair[0].run(f"systemd-analyze verify --man=no {unit}.service").output == ""
        security = pair[0].run(f"systemd-analyze security --no-pager {unit}").output
        exposure = re.search(rf"exposure level for {unit}.service: ([0-9.]+)", security)
        assert exposure and float(exposure[1]) <= most, security


def test_the_service_cannot_write_elsewhere(pair: Pair) -> None:
    inside = f"nsenter --target={main_pid(pair[0])} --mount"
    for place in ("/usr/bin/new", "/etc/bmx7-wg/new", "/var/lib/new"):
        refused = pair[0].run(f"{inside} touch {place}", check=False)
        assert "Read-only file system" in refused.output
    assert pair[0].run(f"{inside} ls /root", check=False).output == ""
    pair[0].run(f"{inside} touch /var/lib/bmx7-wg/new && rm /var/lib/bmx7-wg/new")


def test_the_service_makes_no_socket_of_the_internet_but_is_given_two(pair: Pair) -> None:
    root = pair[0].run("stat --format='%a %U' /run/bmx7-wg-sockets").output
    assert root == "600 root\n"
    # In the column "uid": root, with which the service runs, has made neither.
    lines = pair[0].run("cat /proc/net/udp6").output.splitlines()[1:]
    makers = {line.split()[1].rpartition(":")[2]: int(line.split()[7]) for line in lines}
    assert makers[f"{LINK_PORT:04X}"] > 1000
    assert "answers in" in pair[0].run("bmx7-wg probe bookworm1 || bmx7-wg probe trixie1").output
    assert pair[0].run("systemctl --no-legend list-units 'bmx7-wg-sockets@*'").output == ""


def test_without_whom_to_ask_it_says_so_and_recovers(pair: Pair) -> None:
    pair[0].run(f"systemctl mask --quiet --runtime --now {SOCKETS} && systemctl restart bmx7-wg")
    said = pair[0].wait(f"bmx7-wg status | grep {SOCKETS}")
    assert "can't listen on UDP port 6276" in said
    pair[0].run(f"systemctl unmask --quiet --runtime {SOCKETS} && systemctl restart {SOCKETS}")
    pair[0].wait(f"{STATE} | grep running")
    connect(*pair)


def test_keys_are_for_root_alone(pair: Pair) -> None:
    shown = pair[0].run("find /var/lib/bmx7-wg -printf '%m %y %U\\n' | sort -u").output
    assert shown.splitlines() == ["600 f 0", "700 d 0"]


def test_everybody_may_look_and_only_root_may_change(pair: Pair) -> None:
    nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    assert "running" in pair[0].run(f"{nobody} {STATE}").output
    pair[0].run(f"{nobody} bmx7-wg status")
    call = f"{nobody} busctl call {NAME} {PATH} {NAME}.Manager Reload"
    refused = pair[0].run(call, check=False)
    assert refused.status != 0


def test_a_reload_with_a_broken_configuration_changes_nothing(pair: Pair) -> None:
    before = main_pid(pair[0])
    pair[0].run(f"echo 'nonsense = 1' >{BROKEN}")
    pair[0].run("systemctl reload bmx7-wg", check=False)
    pair[0].wait("journalctl --boot --unit=bmx7-wg | grep nonsense")
    pair[0].run("systemctl is-active bmx7-wg")
    assert main_pid(pair[0]) == before
    connect(*pair)


def test_a_broken_configuration_at_start_is_exit_status_78(pair: Pair) -> None:
    pair[0].run("systemctl restart bmx7-wg", check=False)
    pair[0].wait("systemctl is-failed bmx7-wg")
    shown = pair[0].run("systemctl show --property=ExecMainStatus,NRestarts bmx7-wg").output
    assert set(shown.splitlines()) == {"ExecMainStatus=78", "NRestarts=0"}
    pair[0].run(f"rm {BROKEN} && systemctl start bmx7-wg")
    connect(*pair)


def test_forwarding_is_on_as_long_as_it_is_wanted(pair: Pair) -> None:
    switches = [f"/proc/sys/net/{name}" for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding")]

    def forwarding(on: int) -> str:
        return " && ".join(f"test $(cat {switch}) = {on}" for switch in switches)

    one = pair[0]
    one.run(forwarding(0))
    one.run(f"printf '[device]\\nforward = true\\n' >{FORWARDING} && systemctl reload bmx7-wg")
    one.wait(forwarding(1))
    for switch in switches:
        one.run(f"echo 0 >{switch}")
        one.wait(forwarding(1))
    one.run("systemctl restart bmx7-wg")
    one.run(forwarding(1))
    one.run(f"rm {FORWARDING} && systemctl reload bmx7-wg")
    one.wait(forwarding(0))
    assert one.run("systemctl --failed --no-legend").output == ""


def test_a_restart_keeps_the_identity(pair: Pair) -> None:
    before = read(pair[0], "", "Manager", "NodeId")
    pair[0].run("systemctl restart bmx7-wg")
    assert read(pair[0], "", "Manager", "NodeId") == before
    connect(*pair)


def test_a_killed_service_comes_back(pair: Pair) -> None:
    before = main_pid(pair[0])
    pair[0].run("systemctl kill --kill-whom=main --signal=KILL bmx7-wg")
    pair[0].wait(
        "systemctl is-active bmx7-wg && test $(systemctl show -P MainPID bmx7-wg)" f" != {before}"
    )
    pair[0].wait(f"{STATE} | grep running")
    connect(*pair)


@pytest.mark.parametrize("event", ["restart", "kill9", "upgrade", "reload", "bus"])
def test_no_packet_is_lost(pair: Pair, event: str) -> None:
    here, there = pair
    if event == "upgrade":
        older = previous("bmx7-wg", here.root / "srv").name
        here.run(f"apt-get -qq install --allow-downgrades /srv/{older}")
    connect(*pair)
    identity = read(here, "", "Manager", "NodeId").lower()
    signals = f"busctl monitor --match=\"path='{PATH}/peer/{identity}'\" >/run/signals"
    there.run(f"systemd-run --quiet --collect --unit=signals sh -c '{signals}'")
    result = stream_through(here, there, event)
    there.run("systemctl stop signals")
    print(here.name, event, result)
    assert (result["lost"], result["refused"]) == (0, 0), result
    assert result["sent"] >= 500
    assert "lost" not in there.run("cat /run/signals").output


def test_a_killed_wireguard_go_is_replaced_on_its_link(pair: Pair) -> None:
    link = "cat /sys/class/net/wgBmx7/ifindex; ip -brief address show dev wgBmx7"
    go = "cat /proc/$(systemctl show -P MainPID bmx7-wg-userspace@wgBmx7)/task/*/children"
    before, process = pair[0].run(link).output, pair[0].run(go).output
    pair[0].run(f"kill -9 {process}")
    pair[0].wait(f"test $({go}) != {process}")
    connect(*pair)
    assert pair[0].run(link).output == before
    assert pair[0].run("systemctl --failed --no-legend").output == ""


def test_a_stop_after_a_crash_removes_all_as_well(pair: Pair) -> None:
    crash = "systemctl kill --kill-whom=main --signal=KILL bmx7-wg"
    pair[0].run(f"{crash} && systemctl stop bmx7-wg bmx7-wg-device")
    assert pair[0].run("ip link show dev wgBmx7", check=False).status != 0
    pair[0].run(f"systemctl start bmx7-wg; echo 'nonsense = 1' >{BROKEN}")
    pair[0].run("systemctl restart bmx7-wg", check=False)
    pair[0].run("ip link show dev wgBmx7")  # who works, works on
    pair[0].run("systemctl stop bmx7-wg bmx7-wg-device")
    assert pair[0].run("ip link show dev wgBmx7", check=False).status != 0
    assert pair[0].run("systemctl is-active bmx7-wg-userspace@wgBmx7", check=False).status != 0
    pair[0].run(f"rm {BROKEN} && systemctl start bmx7-wg")
    connect(*pair)


def test_a_stop_takes_the_device_and_says_goodbye(pair: Pair) -> None:
    identity = read(pair[0], "", "Manager", "NodeId").lower()
    pair[0].run("systemctl stop bmx7-wg")
    assert pair[0].run("ip link show dev wgBmx7", check=False).status != 0
    assert pair[0].run("ls /run/wireguard/* /run/bmx7/*", check=False).status != 0
    pair[0].run("! test -e /run/bmx7-wg-sockets")
    state = f"busctl get-property {NAME} {PATH}/peer/{identity} {NAME}.Peer State"
    pair[1].wait(f"{state} | grep lost")


def test_the_bus_starts_the_service(pair: Pair) -> None:
    pair[0].run(STATE)
    connect(*pair)


def test_the_bus_does_not_start_a_disabled_service(pair: Pair) -> None:
    pair[0].run("systemctl disable --now bmx7-wg")
    refused = pair[0].run(STATE, check=False)
    assert refused.status != 0
    assert pair[0].run("systemctl is-active bmx7-wg", check=False).output.strip() == "inactive"
    pair[0].run("systemctl enable --now bmx7-wg")
    connect(*pair)


def test_removal_keeps_the_identity_and_a_purge_nothing(pair: Pair, files_before: set[str]) -> None:
    container = pair[0]
    identity = read(container, "", "Manager", "NodeId")
    container.run("apt-get -qq remove bmx7-wg")
    assert container.run("ip link show dev wgBmx7", check=False).status != 0
    assert container.run("systemctl is-active bmx7-wg", check=False).status != 0
    install(container)
    assert read(container, "", "Manager", "NodeId") == identity

    container.run("apt-get -qq purge bmx7-wg")
    assert container.run("ip link show dev wgBmx7", check=False).status != 0
    assert files(container.root) - files_before == set()
    assert container.run("ls -d /run/*bmx7* /run/wireguard", check=False).status != 0
    assert container.run("systemctl --failed --no-legend").output == ""
    install(container)
    assert read(container, "", "Manager", "NodeId") != identity
    connect(*pair)
