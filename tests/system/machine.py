"""A virtual machine with Debian's own kernel, for what needs WireGuard in the kernel.

It is emulated (no /dev/kvm needed), so it is 10 to 20 times slower than this machine. It boots a
root file system, runs the given jobs one after the other as root, and powers off; there is no
network device. The jobs' results come back as a tar archive on a second disk, their output is on
the console while they run.
"""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from . import roots

BOOT_TIMEOUT = 480.0  # s; 30 s on an idle machine
DISK_SIZE = "3G"  # sparse
RESULTS_SIZE = 16 * 1024 * 1024  # bytes
MEMORY_MB = 1024

# To keep processes from each other's secrets takes a tenth of the emulated processor.
CHEAPER = "mitigations=off"

# Leaves output and exit status of each job, and the journal, on the second disk.
RUNNER = """\
#!/bin/sh
cd /jobs
mkdir -p /results
for job in *; do
    echo "=== $job ===" >/dev/console
    {
        timeout --kill-after=10 "$(cat /timeouts/$job)" ./$job
        echo $? >/results/$job.status
    } 2>&1 | tee /results/$job.output >/dev/console
done
journalctl --boot --no-pager >/results/journal.output 2>&1
tar --create --directory=/results . >/dev/vdb
sync
systemctl poweroff --force
"""

UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/runner
TimeoutStartSec=infinity
StandardOutput=null
StandardError=null
"""


@dataclass(frozen=True)
class Job:
    name: str  # a file name; jobs run in the order of their names
    script: str  # for /bin/sh
    timeout: float  # s


@dataclass(frozen=True)
class Outcome:
    status: int  # the shell's; -1 if the job was not reached
    output: str


@dataclass(frozen=True)
class Run:
    outcomes: dict[str, Outcome]
    console: str
    journal: str


def prepare(root: Path, jobs: list[Job]) -> None:
    """Put the jobs into a root file system, to be run at boot."""
    for directory in ("jobs", "timeouts"):
        (root / directory).mkdir()
    for job in jobs:
        _script(root / "jobs" / job.name, f"#!/bin/sh\n{job.script}")
        (root / "timeouts" / job.name).write_text(f"{job.timeout}\n")
    _script(root / "runner", RUNNER)
    units = root / "etc/systemd/system"
    (units / "runner.service").write_text(UNIT)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "runner.service").symlink_to("../runner.service")
    # The console is the jobs' alone.
    (units / "serial-getty@ttyS0.service").symlink_to("/dev/null")
    (root / "etc/machine-id").write_text("")
    (root / "etc/fstab").write_text("/dev/vda / ext4 rw 0 0\n")


def boot(root: Path, jobs: list[Job], directory: Path) -> Run:
    """Boot a prepared root; wait until it has powered itself off or its time is over."""
    disk, results = directory / "disk", directory / "results"
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(disk), DISK_SIZE],
        check=True,
    )
    with results.open("wb") as file:
        file.truncate(RESULTS_SIZE)
    console = directory / "console"
    with console.open("wb") as output:
        process = subprocess.Popen(
            [
                *roots.DIE_WITH_US,
                "qemu-system-x86_64",
                *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
                *("-m", str(MEMORY_MB), "-nographic", "-no-reboot", "-nic", "none"),
                *("-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"),
                *("-drive", f"file={results},if=virtio,format=raw,cache=unsafe"),
                *("-kernel", str(_newest(root, "vmlinuz-*"))),
                *("-initrd", str(_newest(root, "initrd.img-*"))),
                *("-append", f"root=/dev/vda rw console=ttyS0 panic=-1 quiet {CHEAPER}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(BOOT_TIMEOUT + sum(job.timeout for job in jobs))
        except subprocess.TimeoutExpired:
            pass  # the jobs not reached say so
        finally:
            process.kill()
            process.wait()
    return _read(results, jobs, console.read_text(errors="replace"))


def _read(results: Path, jobs: list[Job], console: str) -> Run:
    texts: dict[str, str] = {}
    try:
        with tarfile.open(results) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    texts[Path(member.name).name] = file.read().decode(errors="replace")
    except tarfile.ReadError:
        pass  # the disk is as empty as it was
    outcomes = {
        job.name: Outcome(
            status=int(texts.get(f"{job.name}.status") or -1),
            output=texts.get(f"{job.name}.output", ""),
        )
        for job in jobs
    }
    return Run(outcomes, console, texts.get("journal.output", ""))


def _newest(root: Path, pattern: str) -> Path:
    return max((root / "boot").glob(pattern))


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
