"""The machines of the lab: what is inside stays inside, and ends with its maker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bmx7wg.lab.namespace import Namespace, start_time
from bmx7wg.lab.waiting import LabError, wait_until

ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture
def machine() -> Iterator[Namespace]:
    machine = Namespace.create("machine")
    yield machine
    machine.destroy()


def run(machine: Namespace, *argv: str) -> str:
    done = subprocess.run(machine.command(argv), capture_output=True, text=True, check=True)
    return done.stdout


def host_links() -> list[str]:
    return sorted(os.listdir("/sys/class/net"))


def test_it_has_a_name_a_network_and_a_run_of_its_own(machine: Namespace) -> None:
    before = host_links()
    assert run(machine, "cat", "/proc/sys/kernel/hostname") == "machine\n"
    assert run(machine, "ls", "/sys/class/net").split() == ["lo"]
    machine.path("/run/here").write_text("yes")
    assert run(machine, "cat", "/run/here") == "yes"
    assert not os.path.exists("/run/here")
    machine.ip(["link add one type veth peer name two"])
    assert run(machine, "ls", "/sys/class/net").split() == ["lo", "one", "two"]
    assert host_links() == before


def test_destroying_it_ends_what_runs_in_it() -> None:
    machine = Namespace.create("machine")
    process = machine.spawn(["sleep", "1000"], env=ENV)
    pid = process.pid
    assert machine.alive and process.running and machine.processes()[pid]
    machine.destroy()
    assert not machine.alive and not process.running
    assert start_time(pid) == 0
    machine.destroy()  # again does nothing


def test_it_ends_with_the_process_that_made_it() -> None:
    script = (
        "from bmx7wg.lab.namespace import Namespace; import time;"
        "m = Namespace.create('machine');"
        "p = m.spawn(['sleep', '1000'], env={'PATH': '/usr/bin'});"
        "print(m.pid, m.start_time, p.pid, flush=True); time.sleep(1000)"
    )
    maker = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    )
    assert maker.stdout
    with maker.stdout as pipe:
        pid, started, inside = (int(word) for word in pipe.readline().split())
    machine = Namespace("machine", pid, started)
    assert machine.alive
    maker.kill()
    maker.wait()
    wait_until(lambda: not machine.alive, "end of the machine", timeout=5)
    wait_until(lambda: start_time(inside) == 0, "end of its process", timeout=5)


def test_another_process_of_the_same_id_is_not_taken_for_it(machine: Namespace) -> None:
    impostor = Namespace("machine", machine.pid, machine.start_time + 1)
    assert not impostor.alive
    impostor.destroy()
    assert machine.alive


def test_orphans_leave_no_zombies(machine: Namespace) -> None:
    run(machine, "sh", "-c", "(sleep 0.01 &)")
    wait_until(lambda: not machine.processes(), "end of the orphan", timeout=5)
    assert machine.alive


def test_kill_all_spares_the_machine(machine: Namespace) -> None:
    processes = [machine.spawn(["sleep", "1000"], env=ENV) for _ in range(3)]
    wait_until(lambda: len(machine.processes()) == 3, "three processes", timeout=5)
    machine.kill_all()
    assert [process.wait(5) for process in processes] == [-signal.SIGKILL] * 3
    assert machine.alive and not machine.processes()


def test_a_signal_reaches_the_process_and_not_the_one_between(machine: Namespace) -> None:
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "w") as output:
        process = machine.spawn(["sh", "-c", script], env=ENV, stdout=output)
        assert pipe.readline() == "ready\n"
    process.signal(signal.SIGTERM)
    assert process.wait(5) == 7
    process.signal(signal.SIGTERM)  # too late is no error


def test_a_socket_is_made_inside_and_the_caller_stays_outside(machine: Namespace) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    machine.ip(["address add 2001:db8::7/128 dev lo"])
    with machine.in_network(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as inside:
        inside.bind(("2001:db8::7", 0))  # nobody else has that address
    assert os.readlink("/proc/thread-self/ns/net") == before
    with pytest.raises(ZeroDivisionError):
        machine.in_network(lambda: 1 // 0)


def test_what_ip_refuses_is_said(machine: Namespace) -> None:
    with pytest.raises(LabError, match="machine: .*nowhere"):
        machine.ip(["link set nowhere up"])
