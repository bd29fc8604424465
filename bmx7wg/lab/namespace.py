"""A machine of the lab: network, mount, process and host name namespaces, nothing else.

A holder process is the first of its process namespace. When it ends, the kernel ends every
process in there and takes interfaces and mounts away with the last of them. The holder ends when
whoever made it ends or dies, unless told to stay. So nothing is ever left behind, and nothing of
the host is touched: no named namespace, no interface, no file.

/run is the machine's own: the programs find the system bus, WireGuard's sockets and bmx7's
directory where they always are. `Namespace.path` leads there from outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from .waiting import LabError, wait_until

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_END_TIMEOUT: Final = 10.0  # s; the kernel needs milliseconds

# The first line is read before /proc is mounted anew, so it holds the process id as the outside
# sees it. Duplicate address detection would hold back link-local addresses for a second after a
# link comes up. bash collects orphans while it reads (dash would take their end for that of the
# input); later nobody does, and the kernel must.
_HOLDER: Final = """
read -r pid _ </proc/self/stat
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/dbus /run/lab/bin /run/lock
echo "$1" >/proc/sys/kernel/hostname
echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up
echo "$pid"
read -r word || exit 0
exec env --ignore-signal=CHLD sleep infinity </dev/null >/dev/null 2>&1
"""


class Namespace:
    """A handle on a machine of the lab.

    ``pid`` is the holder as the outside sees it; with ``start_time`` (clock ticks since boot,
    proc(5)) it is sure to be ours even after process ids have wrapped around.
    """

    def __init__(self, name: str, pid: int, start_time: int) -> None:
        self.name: Final = name
        self.pid: Final = pid
        self.start_time: Final = start_time
        self._holder: subprocess.Popen[str] | None = None
        self._spawned: list[Process] = []

    @classmethod
    def create(cls, name: str) -> Namespace:
        """Make a machine with that host name; LabError says why not."""
        unshare = "unshare --net --mount --uts --pid --fork --kill-child".split()
        holder = subprocess.Popen(
            [*unshare, "/bin/bash", "-c", _HOLDER, "holder", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        assert holder.stdout and holder.stderr
        answer = holder.stdout.readline().strip()
        if not answer.isdigit():
            _, why = holder.communicate()
            raise LabError(f"can't make the namespaces of {name}: {why.strip()}")
        holder.stdout.close()
        holder.stderr.close()
        made = cls(name, int(answer), start_time(int(answer)))
        made._holder = holder
        return made

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.start_time

    def keep(self) -> None:
        """Stay when this process ends; from now on only `destroy` ends it."""
        if self._holder and self._holder.stdin:
            with self._holder.stdin as pipe:
                pipe.write("keep\n")

    def destroy(self) -> None:
        """End every process of the machine; its interfaces and mounts go with them."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            descriptor = -1
        if descriptor >= 0:
            try:
                if self.alive:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    if not select.select([descriptor], [], [], _END_TIMEOUT)[0]:
                        raise LabError(f"{self.name}: its processes don't end")
            finally:
                os.close(descriptor)
        if self._holder:
            if self._holder.stdin:
                self._holder.stdin.close()
            self._holder.wait()
            self._holder = None
        while self._spawned:
            self._spawned.pop().wait(_END_TIMEOUT)

    # -- inside ---------------------------------------------------------------------------

    def path(self, inside: str) -> Path:
        """Where the outside finds a file of the machine's /run."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def processes(self) -> dict[int, str]:
        """The processes in there, the holder apart: id as the outside sees it, command name."""
        mine = os.readlink(self.proc("ns/pid"))
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "ns/pid") == mine and int(entry.name) != self.pid:
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
            except OSError:
                pass  # it has just ended, or is not for us to look at
        return found

    def kill_all(self) -> None:
        """Kill every process in there but the holder, and see them gone."""

        def gone() -> bool:
            for pid in (left := self.processes()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_until(gone, f"end of the processes of {self.name}", timeout=_END_TIMEOUT, interval=0)

    def proc(self, name: str) -> Path:
        """A file of proc(5) as the holder has it, such as "net/if_inet6"."""
        return Path(f"/proc/{self.pid}/{name}")

    def address(self, interface: str, prefix: str) -> IPv6Address | None:
        """The first IPv6 address of an interface that begins with those hexadecimal digits."""
        for line in self.proc("net/if_inet6").read_text().splitlines():
            digits, *_, name = line.split()
            if name == interface and digits.startswith(prefix):
                return IPv6Address(bytes.fromhex(digits))
        return None

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs *argv* in there."""
        return [
            *("nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--pid", "--"),
            *argv,
        ]

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: int | IO[Any] = subprocess.DEVNULL,
        stderr: int | IO[Any] = subprocess.DEVNULL,
    ) -> Process:
        """Start a process that stays in there, in a session of its own."""
        process = Process(
            subprocess.Popen(
                self.command(argv),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        )
        self._spawned.append(process)
        return process

    def ip(self, lines: Iterable[str]) -> None:
        """Run lines of ip(8) in the network namespace; LabError with what it says."""
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise LabError(f"{self.name}: {done.stderr.strip()}")

    def in_network(self, work: Callable[[], T]) -> T:
        """The result of *work* done in the network namespace, by a thread that enters it.

        A socket made there stays there.
        """
        results: list[T | BaseException] = []

        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            try:
                with open(f"/proc/{self.pid}/ns/net") as namespace:
                    if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), f"can't enter {self.name}")
                results.append(work())
            except BaseException as error:  # handed to the caller
                results.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]


class Process:
    """A process in a machine of the lab; nsenter stands between it and us."""

    def __init__(self, nsenter: subprocess.Popen[bytes]) -> None:
        self._nsenter = nsenter
        self._pid = 0

    @property
    def pid(self) -> int:
        """The process id as the outside sees it; ProcessLookupError when it has ended."""
        while not self._pid:
            if self._nsenter.poll() is not None:
                raise ProcessLookupError(f"{self._nsenter.args!r} has ended")
            nsenter = self._nsenter.pid
            children = Path(f"/proc/{nsenter}/task/{nsenter}/children").read_text().split()
            self._pid = int(children[0]) if children else 0
        return self._pid

    @property
    def running(self) -> bool:
        return self._nsenter.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            # nsenter waits for it, so as long as that runs the id is not another process's.
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Its exit status, negative for a signal; LabError when it doesn't end in time."""
        try:
            return self._nsenter.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"process {self._pid} has not ended after {timeout:g} s") from None


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when there is none (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])
