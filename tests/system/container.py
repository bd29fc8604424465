"""Booted Debian containers on one bridge.

        namespace b7s<pid>
    ┌──────── bridge ────────┐
  port0                    port1          veth pairs; the far ends are eth0 of the containers
    │                        │
  eth0                     eth0
  container 0              container 1    systemd-nspawn, PID 1 is the container's own systemd

No container has a way out: the bridge has a namespace of its own and no address. Beside it they
share the directory SHARED. Commands are run by entering the namespaces of the container's PID 1,
so neither machined nor a bus on the host is needed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from . import roots

BOOT_TIMEOUT = 90.0  # s; 4 s on an idle machine
STOP_TIMEOUT = 30.0  # s
COMMAND_TIMEOUT = 120.0  # s

SHARED = "/srv/shared"

# A boot that is over, also one with a failed unit, which is the tests' to judge.
BOOTED = "systemctl is-system-running --wait | grep -qE '^(running|degraded)$'"

_T = TypeVar("_T")

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_PAGER": "",
}


class Failed(AssertionError):
    """A command in a guest did not do what it should; the text holds what it printed."""


@dataclass(frozen=True)
class Result:
    status: int
    output: str  # both streams


class Container:
    """A booted container; `run` executes a command in it as root."""

    def __init__(
        self, *, name: str, root: Path, process: subprocess.Popen[bytes], group: Path
    ) -> None:
        self.name = name
        self.root = root
        self._process = process
        self._group = group
        self.leader = wait_for(self._find_leader, what=f"PID 1 of {name}", timeout=BOOT_TIMEOUT)

    def _find_leader(self) -> int | None:
        if self._process.poll() is not None:
            raise Failed(f"systemd-nspawn of {self.name} ended:\n{self.console()}")
        for nspawn in _children(self._process.pid):
            for child in _children(nspawn):
                with contextlib.suppress(OSError):
                    command = Path(f"/proc/{child}/cmdline").read_bytes()
                    # Before it is systemd it is nspawn, and may not have its own namespaces yet.
                    if command.split(b"\0")[0].endswith(b"/systemd") and _is_init(child):
                        return child
        return None

    def console(self) -> str:
        return self.root.with_suffix(".console").read_text(errors="replace")

    def run(self, command: str, *, timeout: float = COMMAND_TIMEOUT, check: bool = True) -> Result:
        """Run a shell command in the container.

        Raises Failed with its output if it takes too long, or if its status isn't 0 (`check`).
        """
        argv = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        argv += ["timeout", "--kill-after=5", str(timeout), "/bin/sh", "-c", command]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            timeout=timeout + 30,
        )
        result = Result(done.returncode, done.stdout.decode(errors="replace"))
        if check and result.status != 0:
            raise Failed(f"{self.name}: `{command}`: status {result.status}\n{result.output}")
        return result

    def wait(self, command: str, *, timeout: float = 30.0) -> str:
        """Run a shell command until its status is 0; return its output. Raises Failed."""
        last = Result(-1, "")

        def succeeded() -> str | None:
            nonlocal last
            last = self.run(command, check=False)
            return last.output if last.status == 0 else None

        try:
            return wait_for(succeeded, what=f"`{command}`", timeout=timeout, interval=0.1)
        except Failed as error:
            raise Failed(f"{self.name}: {error}\n{last.output}") from None

    def journal(self) -> str:
        return self.run("journalctl --boot --no-pager --lines=400", check=False).output

    def power_off(self) -> None:
        """Ask systemd to shut down, then insist."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.leader, signal.SIGRTMIN + 4)  # systemd(1): poweroff.target
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()  # and all in its PID namespace
            self._process.wait()
        _remove_group(self._group)


class Bridge:
    """A bridge in its own network namespace."""

    def __init__(self) -> None:
        self.namespace = f"b7s{os.getpid()}"
        self._ports = 0
        _ip("netns", "add", self.namespace)
        self._inside("link", "add", "bridge", "type", "bridge")
        self._inside("link", "set", "bridge", "up")

    def connect(self, pid: int) -> None:
        """Give the network namespace of a process an eth0 on this bridge."""
        port = f"port{self._ports}"
        self._ports += 1
        peer = ["peer", "name", "eth0", "netns", str(pid)]
        self._inside("link", "add", port, "type", "veth", *peer)
        self._inside("link", "set", port, "master", "bridge", "up")

    def remove(self) -> None:
        _ip("netns", "delete", self.namespace)

    def _inside(self, *arguments: str) -> None:
        _ip("-netns", self.namespace, *arguments)


@contextlib.contextmanager
def booted(
    root: roots.Root, count: int, prepare: Callable[[Path], None] = lambda copy: None
) -> Iterator[list[Container]]:
    """Boot `count` copies of a root file system, joined by a bridge; certain to be gone after.

    `prepare` may change each copy before it boots.
    """
    with contextlib.ExitStack() as stack:
        source = root.path()
        directory = stack.enter_context(roots.scratch(root.suite))
        (directory / "shared").mkdir()
        bridge = Bridge()
        stack.callback(bridge.remove)
        containers = []
        for number in range(count):
            name = f"{root.suite}{number}"
            container = _start(name, source, directory / name, prepare)
            stack.callback(container.power_off)
            bridge.connect(container.leader)
            containers.append(container)
        for container in containers:
            container.wait(BOOTED, timeout=BOOT_TIMEOUT)
            container.run("ip link set eth0 up")
        yield containers


def wait_for(
    condition: Callable[[], _T | None], *, what: str, timeout: float, interval: float = 0.02
) -> _T:
    """Call until the result is not None; raise Failed after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result is not None:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout:.0f} s")
        time.sleep(interval)


def _start(name: str, source: Path, directory: Path, prepare: Callable[[Path], None]) -> Container:
    directory.mkdir()
    roots.copy(source, directory)
    prepare(directory)
    (directory / "etc/hostname").write_text(f"{name}\n")
    (directory / "etc/machine-id").write_text("")  # each boots as a machine of its own
    environment = dict(ENVIRONMENT)
    if _control_groups() != Path("/sys/fs/cgroup"):
        environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
    # A control group of its own: two containers in the same one would see each other's services.
    group = _control_groups() / f"{name}-{os.getpid()}"
    group.mkdir()
    with directory.with_suffix(".console").open("wb") as console:
        process = subprocess.Popen(
            [
                *("sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"),
                *roots.DIE_WITH_US,
                "--mount-proc",
                "systemd-nspawn",
                f"--directory={directory}",
                f"--machine={name}-{os.getpid()}",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--link-journal=no",
                "--console=read-only",
                "--bind=/dev/net/tun",
                f"--bind={directory.parent / 'shared'}:{SHARED}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        return Container(name=name, root=directory, process=process, group=group)
    except BaseException:
        process.kill()  # and all in its PID namespace
        process.wait()
        _remove_group(group)
        raise


def _control_groups() -> Path:
    """Where the second version's hierarchy is mounted, alone or beside the first's."""
    root = Path("/sys/fs/cgroup")
    return root if (root / "cgroup.controllers").exists() else root / "unified"


def _remove_group(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):  # what is not empty is somebody's
            os.rmdir(directory)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    return []


def _is_init(pid: int) -> bool:
    """Is this process the first of a PID namespace below ours?"""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)
