"""``bmx7-wg-lab`` as a person uses it, with real nodes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmx7wg.lab import state
from bmx7wg.lab.namespace import start_time
from bmx7wg.lab.waiting import wait_until

COMMAND = [sys.executable, "-m", "bmx7wg.lab.main"]


def lab(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, cwd=os.getcwd()
    )


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{os.getpid()}"
    yield name
    if left := state.load(name):
        left.destroy()


def machines_of(maker: subprocess.Popen[str]) -> dict[int, int]:
    """The machines that a process has made: process id of each and when it started."""
    children = Path(f"/proc/{maker.pid}/task/{maker.pid}/children").read_text().split()
    found = {}
    for child in map(int, children):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text() == "unshare\n":
                found[child] = start_time(child)
    return found


def interrupt(maker: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal in the midst of its work; wait until it and its machines have ended."""
    wait_until(lambda: machines_of(maker), "first machine", timeout=10, interval=0.01)
    maker.send_signal(signal.SIGSTOP)
    made = machines_of(maker)
    assert made
    maker.send_signal(number)
    maker.send_signal(signal.SIGCONT)
    assert maker.wait(20) != 0

    def gone() -> bool:
        return all(start_time(pid) != started for pid, started in made.items())

    wait_until(gone, "end of the machines", timeout=10)


def test_up_exec_status_down(name: str) -> None:
    # n1 ── n2
    up = lab("up", "--nodes", "2", "--topology", "line", "--name", name)
    assert up.returncode == 0, up.stderr
    made = state.load(name)
    assert made and [machine.name for machine in made.machines] == ["n1", "n2"]

    # The services live on without the command that started them, and find each other.
    def status() -> str:
        answer = lab("status", "--name", name)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    wait_until(lambda: status().count("1 connected") == 2, "connected pair", timeout=20)
    assert re.search(r"^n1 +fd77:[0-9a-f:]+ +running +1 connected$", status(), re.MULTILINE)

    inside = lab("exec", "--name", name, "n2", "--", "bmx7-wg", "peers")
    assert inside.returncode == 0 and "n1" in inside.stdout, inside.stderr
    assert lab("exec", "--name", name, "n1", "--", "sh", "-c", "exit 7").returncode == 7
    killed = lab("exec", "--name", name, "n1", "--", "sh", "-c", "kill -TERM $$")
    assert killed.returncode == 128 + signal.SIGTERM

    again = lab("up", "--name", name)
    assert again.returncode == 1 and f"lab {name} is up" in again.stderr
    other = lab("exec", "--name", name, "n3", "--", "true")
    assert other.returncode == 1 and "no node n3" in other.stderr

    down = lab("down", "--name", name)
    assert down.returncode == 0 and down.stdout == f"lab {name} is gone\n"
    assert not made.alive and state.load(name) is None
    gone = lab("status", "--name", name)
    assert gone.returncode == 1 and f"no lab {name}" in gone.stderr


def test_status_tells_of_a_node_that_ended_and_down_takes_the_rest(name: str) -> None:
    assert lab("up", "--nodes", "3", "--name", name).returncode == 0
    made = state.load(name)
    assert made and [machine.name for machine in made.machines] == ["n1", "n2", "n3", "switch0"]
    os.kill(made.machine("n2").pid, signal.SIGKILL)
    wait_until(lambda: not made.machine("n2").namespace().alive, "end of n2", timeout=5)
    answer = lab("status", "--name", name)
    assert answer.returncode == 1 and re.search(r"n2 +- +ended", answer.stdout)
    entered = lab("exec", "--name", name, "n2", "--", "true")
    assert entered.returncode == 1 and "n2 has ended" in entered.stderr
    assert lab("down", "--name", name).returncode == 0
    assert not made.alive


def test_up_that_is_killed_leaves_nothing(name: str) -> None:
    argv = [*COMMAND, "up", "--nodes", "3", "--name", name]
    interrupt(subprocess.Popen(argv, text=True, cwd=os.getcwd()), signal.SIGKILL)
    assert state.load(name) is None


def test_a_damaged_note_is_told(name: str) -> None:
    state.DIRECTORY.mkdir(exist_ok=True)
    path = state.DIRECTORY / f"{name}.json"
    try:
        for content in ("", "[]", '{"machines": 7}', '{"name": "x", "machines": []}'):
            path.write_text(content)
            answer = lab("down", "--name", name)
            assert answer.returncode == 1 and f"{path} is damaged" in answer.stderr, content
    finally:
        path.unlink()


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["up", "--nodes", "0"], 1, "1 to 250 nodes, not 0"),
        (["up", "--nodes", "many"], 2, "invalid int value"),
        (["up", "--topology", "ring"], 2, "invalid choice"),
        (["up", "--name", "../x"], 1, "no name for a lab"),
        (["exec", "n1"], 2, "CMD"),
        (["demo", "--nodes", "1"], 1, "2 to 20 nodes"),
        ([], 2, "COMMAND"),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments: list[str], status: int, said: str) -> None:
    answer = lab(*arguments)
    assert answer.returncode == status and said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_root_it_says_what_is_needed() -> None:
    without = ["setpriv", "--reuid", "65534", "--clear-groups", *COMMAND, "status"]
    answer = subprocess.run(without, capture_output=True, text=True, cwd=os.getcwd())
    assert answer.returncode == 1 and "root" in answer.stderr


def test_the_demo_holds() -> None:
    answer = lab("demo", "--nodes", "3", timeout=120)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "6 of 6 answered" in answer.stdout and "lost" in answer.stdout
    assert "\x1b" not in answer.stdout  # no colours in a log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_nothing(number: signal.Signals) -> None:
    with open(os.devnull, "w") as nowhere:
        demo = subprocess.Popen(
            [*COMMAND, "demo"], stdout=nowhere, stderr=nowhere, text=True, cwd=os.getcwd()
        )
        interrupt(demo, number)
