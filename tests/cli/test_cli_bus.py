"""Commands from their arguments to their output and exit status, over a real bus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bmx7wg.core.model import Origin, PeerState

from ..bus.daemon import Daemon
from .conftest import DEADLINE, Service, command, environment, run, wait_for
from .made_up import device, key, manager, node_id, peer, peers, properties, silent


@pytest.fixture
def mesh(service: Service) -> Service:
    service.publish(manager=manager(), device=device(), peers=tuple(peers(5)))
    return service


def test_status_shows_node_device_and_peers(mesh: Service, bus: dict[str, str]) -> None:
    done = run("status", **bus)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("node n1: running\n")
    assert key("n1") in done.out and "wgBmx7: userspace" in done.out
    assert "5 peers: 4 connected, 1 idle" in done.out


def test_status_is_what_it_does_without_a_command(mesh: Service, bus: dict[str, str]) -> None:
    assert run(**bus) == run("status", **bus)


def test_status_without_a_device_tells_the_problems(service: Service, bus: dict[str, str]) -> None:
    problem = "neither the kernel nor wireguard-go"
    service.publish(manager=manager(state="degraded", problems=(problem,)))
    out = run("status", **bus).out
    assert "node n1: degraded" in out and "device: none" in out
    assert "1 problem\n  " + problem in out and "peers: none yet" in out


def test_peers_and_their_filter(mesh: Service, bus: dict[str, str]) -> None:
    lines = run("peers", **bus).out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["n2", "n3", "n5", "n6", "n4"]
    idle = run("peers", "--state", "idle", **bus).out.splitlines()
    assert [line.split()[0] for line in idle] == ["NAME", "n4", "1"]
    assert idle[-1] == "1 of 5 peers"


def test_a_state_that_is_none_is_a_wrong_usage(mesh: Service, bus: dict[str, str]) -> None:
    done = run("peers", "--state", "linked", **bus)
    assert done.status == 2 and "connected" in done.err and not done.out


def test_peer_tells_everything(mesh: Service, bus: dict[str, str]) -> None:
    out = run("peer", "n3", **bus).out
    view = peer("n3")
    for text in (str(view.node_id), view.public_key, view.endpoint, view.address, "121 KiB"):
        assert text in out
    assert "1 minute ago" in out


def test_no_such_peer_is_status_3(mesh: Service, bus: dict[str, str]) -> None:
    done = run("peer", "n33", **bus)
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith('bmx7-wg: no peer "n33"\n') and "n3" in done.err


def test_service_not_running_is_status_4(bus: dict[str, str]) -> None:
    for verb in (["status"], ["peers"], ["peer", "n2"], ["monitor"]):
        done = run(*verb, **bus)
        assert (done.status, done.out) == (4, "")
        assert "not running" in done.err and "systemctl start bmx7-wg" in done.err


def test_no_bus_is_status_4() -> None:
    done = run("status")
    assert (done.status, done.out) == (4, "") and "system bus" in done.err


def test_an_error_in_json(bus: dict[str, str]) -> None:
    done = run("--json", "status", **bus)
    error = json.loads(done.out)["error"]
    assert done.status == error["status"] == 4
    assert error["message"] in done.err and "systemctl start" in error["hints"][0]


def test_the_schema_of_json(mesh: Service, bus: dict[str, str]) -> None:
    status = json.loads(run("status", "--json", **bus).out)
    assert set(status) == {"schema", "manager", "device", "peers", "networks"}
    assert status["schema"] == 1
    assert status["manager"] == properties(manager()) and status["device"] == properties(device())
    listed = json.loads(run("--json", "peers", **bus).out)
    assert listed == {"schema": 1, "peers": status["peers"]}
    one = json.loads(run("peer", "n2", "--json", **bus).out)
    assert one == {"schema": 1, "peer": status["peers"][0], "networks": []}
    assert set(one["peer"]) == set(properties(peer("n2")))


def test_no_device_is_null(service: Service, bus: dict[str, str]) -> None:
    service.publish(manager=manager())
    assert json.loads(run("status", "--json", **bus).out)["device"] is None


def test_hostile_names_reach_no_terminal(service: Service, bus: dict[str, str]) -> None:
    names = ["\x1b[2Jgone", "a\u202eb", "new\nline", "é\u0301", "x" * 63, "漢字", "\x9b31m", "\r"]
    hostile = tuple(peer(f"h{number}", name=name, reason=name) for number, name in enumerate(names))
    service.publish(manager=manager(node_name=names[0], problems=(names[1],)), peers=hostile)
    for verb in (["status"], ["peers"], ["peers", "--json"], ["peer", str(node_id("h0"))]):
        out = run(*verb, COLUMNS="80", **bus).out
        assert all(char == "\n" or char.isprintable() for char in out), repr(out)
        assert "\u0301" not in out
    assert run("peer", "\x1b[2J", **bus).err.isascii()


def test_help_has_a_line_for_each_command() -> None:
    lines = run("--help", COLUMNS="80").out.splitlines()
    assert "    rotate-key  change to a new WireGuard key" in lines
    assert not any("completion-words" in line for line in lines)


@contextmanager
def monitoring(*args: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("monitor", *args),
        env=environment(PYTHONUNBUFFERED="", **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_monitor_tells_changes_as_they_happen(mesh: Service, bus: dict[str, str]) -> None:
    with monitoring(**bus) as process:
        assert line_of(process).endswith("running, 5 peers: 4 connected, 1 idle")
        mesh.publish(peers=(silent("n9", PeerState.DISCOVERED),))
        assert "peer n9" in (line := line_of(process)) and "new, by link, discovered" in line
        mesh.publish(peers=(silent("n9", PeerState.CONFIGURED),))
        assert line_of(process).endswith("discovered → configured")
        mesh.publish(peers=(peer("n9", rx_bytes=5, state=PeerState.LOST, reason="expired"),))
        assert line_of(process).endswith("configured → lost: expired")
        mesh.publish(peers=(peer("n9", state=PeerState.BLOCKED, reason="so", allowed_ips=()),))
        assert line_of(process).endswith("lost → blocked: so")
        mesh.publish(gone=(node_id("n9"),))
        assert line_of(process).endswith("gone")
        mesh.publish(peers=(peer("n8", origin=Origin.STATIC),))
        assert "new, by hand, connected" in line_of(process)
        mesh.publish(manager=manager(state="degraded", problems=("no link",)))
        assert line_of(process).endswith("running → degraded")
        assert line_of(process).endswith("problem: no link")
        mesh.publish(device=device(listen_port=41000))
        assert "device wgBmx7" in (line := line_of(process)) and line.endswith("port 41000")


def test_monitor_in_json(mesh: Service, bus: dict[str, str]) -> None:
    with monitoring("--json", **bus) as process:

        def event() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(line_of(process))
            assert found.pop("schema") == 1 and found.pop("time") > 1e15
            return found

        first = event()
        status = json.loads(run("status", "--json", **bus).out)
        assert first == {
            "event": "snapshot",
            **{k: status[k] for k in ("manager", "device", "peers", "networks")},
        }
        mesh.publish(peers=(silent("n9", PeerState.DISCOVERED),))
        added = event()
        assert added["event"] == "peer-added"
        assert added["peer"] == properties(silent("n9", PeerState.DISCOVERED))
        mesh.publish(peers=(silent("n9", PeerState.CONFIGURED),))
        changed = event()
        assert changed["before"] == {"State": "discovered"}
        assert changed["peer"] == {**added["peer"], "State": "configured"}
        mesh.publish(gone=(node_id("n9"),))
        assert event() == {"event": "peer-removed", "peer": changed["peer"]}


def test_monitor_waits_for_the_service(mesh: Service, bus: dict[str, str]) -> None:
    with monitoring("--json", **bus) as process:
        assert json.loads(line_of(process))["event"] == "snapshot"
        mesh.leave()
        assert json.loads(line_of(process))["event"] == "service-gone"
        mesh.start()
        assert json.loads(line_of(process))["event"] == "snapshot"


def test_monitor_outlives_the_bus(mesh: Service, daemon: Daemon, bus: dict[str, str]) -> None:
    with monitoring(**bus) as process:
        assert "running" in line_of(process)
        daemon.stop()
        assert line_of(process).endswith("gone; waiting for it (systemctl start bmx7-wg)")
        daemon.start()
        assert "running, 5 peers" in line_of(process)


def test_ctrl_c_is_quiet(mesh: Service, bus: dict[str, str]) -> None:
    with monitoring(**bus) as process:
        line_of(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)
        assert (process.returncode, out, err) == (-signal.SIGINT, "", "")


def test_a_closed_pipe_is_quiet(service: Service, bus: dict[str, str]) -> None:
    service.publish(manager=manager(), device=device(), peers=tuple(peers(300)))
    for verb in (["peers"], ["peers", "--json"], ["--help"]):
        read, write = os.pipe()
        os.close(read)
        with open(write, "wb") as closed:
            done = subprocess.run(
                command(*verb),
                env=environment(**bus),
                stdout=closed,
                stderr=subprocess.PIPE,
                timeout=DEADLINE,
            )
        assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_monitor_ends_with_its_reader(mesh: Service, bus: dict[str, str]) -> None:
    with monitoring(**bus) as process:
        line_of(process)
        assert process.stdout is not None
        process.stdout.close()
        mesh.publish(peers=(peer("n9"),))
        wait_for(lambda: process.poll() is not None, "monitor's end")
        assert process.returncode == -signal.SIGPIPE
        assert process.stderr is not None and process.stderr.read() == ""
        process.stdout = None


@pytest.mark.parametrize(
    "args, unwanted",
    [
        ("--version", "asyncio dbus_next tomllib cryptography subprocess"),
        ("config check --config-dir /nonexistent", "asyncio dbus_next subprocess"),
        ("completion bash", "asyncio dbus_next tomllib cryptography"),
        ("completion-words peer", "cryptography pyroute2 tomllib difflib"),
        ("status", "cryptography pyroute2 tomllib difflib"),
        ("peers", "cryptography pyroute2 tomllib difflib"),
    ],
)
def test_it_starts_with_what_it_needs(
    mesh: Service, bus: dict[str, str], args: str, unwanted: str
) -> None:
    code = (
        "import sys; from bmx7wg.cli.main import main; main(sys.argv[1].split());"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, args],
        env=environment(**bus),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    assert not set(unwanted.split()) & set(done.stderr.split())
