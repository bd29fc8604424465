"""What ``bmx7-wg doctor`` looks at on the machine itself; needs neither the service nor root.

Each check takes the root of the file system, so that tests can build one.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from ..core.config import Config
from ..core.limits import LINK_PORT

# linux/if.h
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
_IFF_MULTICAST: Final = 0x1000


class Result(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"  # can't be known from here


@dataclass(frozen=True)
class Check:
    """One finding: a sentence, and for what is not well what to do about it."""

    topic: str
    result: Result
    text: str
    remedy: str = ""


def ok(topic: str, text: str) -> Check:
    return Check(topic, Result.OK, text)


def warn(topic: str, text: str, remedy: str) -> Check:
    return Check(topic, Result.WARN, text, remedy)


def fail(topic: str, text: str, remedy: str) -> Check:
    return Check(topic, Result.FAIL, text, remedy)


def skip(topic: str, text: str, remedy: str) -> Check:
    return Check(topic, Result.SKIP, text, remedy)


def wireguard(root: Path, config: Config) -> Iterator[Check]:
    """Whether some WireGuard can be had, and /dev/net/tun where it needs that."""
    wanted = config.device.backend
    kernel, go = _kernel_wireguard(root), shutil.which("wireguard-go")
    if wanted != "userspace" and kernel:
        yield ok("wireguard", f"the kernel has WireGuard ({kernel})")
        return
    if wanted == "kernel":
        yield fail(
            "wireguard",
            "the kernel has no WireGuard, and the configuration allows no other",
            'modprobe wireguard, or set [device] backend = "auto" and apt install wireguard-go',
        )
        return
    if go is None:
        yield fail(
            "wireguard",
            "neither the kernel has WireGuard nor is wireguard-go installed",
            "apt install wireguard-go, or boot a kernel with WireGuard (any of Debian's)",
        )
        return
    yield ok("wireguard", f"{go} (the kernel has no WireGuard)" if not kernel else go)
    tun = root / "dev/net/tun"
    if tun.exists():
        yield ok("tun", "/dev/net/tun is there")
    else:
        yield fail("tun", "wireguard-go needs /dev/net/tun, which is not there", "modprobe tun")


def _kernel_wireguard(root: Path) -> str:
    if (root / "sys/module/wireguard").exists():
        return "loaded"
    modules = root / "lib/modules" / os.uname().release
    for name, how in (("modules.builtin", "built in"), ("modules.dep", "module")):
        if "/wireguard.ko" in _text(modules / name):
            return how
    return ""


def ports_in_use(root: Path) -> set[int]:
    """The UDP ports that are bound in this network namespace, by whomever (proc_net_udp)."""
    ports = set()
    for name in ("udp", "udp6"):
        for line in _text(root / "proc/net" / name).splitlines()[1:]:
            local = line.split()[1]
            ports.add(int(local.rpartition(":")[2], 16))
    return ports


def free_port(root: Path, config: Config) -> Check:
    """For a service that does not run: will it get its port?"""
    port, name = config.device.port, config.device.name
    if port not in ports_in_use(root):
        return ok("port", f"UDP port {port} is free")
    if (root / "sys/class/net" / name).exists():
        return ok("port", f"UDP port {port} is in use; {name} is still there")
    return warn(
        "port",
        f"UDP port {port} is in use; the service would take another",
        f"see who has it: ss -ulpn sport = :{port}",
    )


def interfaces(root: Path, config: Config) -> Check:
    """Whether there is a link to find neighbours on."""
    patterns = config.discovery.link.interfaces
    found = []
    for path in sorted((root / "sys/class/net").glob("*")):
        flags = int(_text(path / "flags").strip() or "0", 16)
        usable = flags & _IFF_UP and flags & _IFF_MULTICAST and not flags & _IFF_LOOPBACK
        if usable and path.name != config.device.name and _selected(path.name, patterns):
            found.append(path.name)
    if found:
        return ok("interfaces", f"neighbours can be found on {', '.join(found[:8])}")
    said = f" that [discovery.link] interfaces = {list(patterns)} means" if patterns else ""
    return fail(
        "interfaces",
        f"no multicast interface is up{said}",
        "bring one up (ip link), or change [discovery.link] interfaces",
    )


def _selected(name: str, patterns: tuple[str, ...]) -> bool:
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return not any(fnmatchcase(name, pattern) for pattern in unwanted) and (
        not wanted or any(fnmatchcase(name, pattern) for pattern in wanted)
    )


def uses_bmx7(root: Path, config: Config) -> bool:
    """Whether peers are to come through bmx7: as configured, for "auto" if it seems to run."""
    if config.discovery.source == "auto":
        return _below(root, config.discovery.bmx7.runtime_dir).is_dir()
    return config.discovery.source == "bmx7"


def bmx7(root: Path, config: Config) -> Iterator[Check]:
    directory = config.discovery.bmx7.runtime_dir
    runtime = _below(root, directory)
    command = config.discovery.bmx7.command
    if shutil.which(command) is None:
        yield fail(
            "bmx7",
            f"the command {command} is not found",
            "install bmx7, or say where it is: [discovery.bmx7] command",
        )
    if not runtime.is_dir():
        yield fail(
            "bmx7",
            f"{directory} is not there: bmx7 does not run, or with another runtimeDir",
            "start bmx7, or set [discovery.bmx7] runtime-dir",
        )
    elif not (runtime / "sms").is_dir():
        yield fail(
            "bmx7",
            f"bmx7 runs without its sms plugin ({directory}/sms is not there)",
            "start bmx7 with plugin=bmx7_sms.so",
        )
    else:
        yield ok("bmx7", f"runs in {directory}, with its sms plugin")
        if not (runtime / "json").is_dir():
            yield ok("bmx7", "its json plugin is not loaded: bmx7's command is asked instead")


def secret(root: Path, config: Config) -> Check | None:
    path = config.trust.secret_file
    if not path:
        return None
    try:
        mode = _below(root, path).stat().st_mode
    except PermissionError:
        return skip("secret", f"{path} can't be looked at", "run bmx7-wg doctor as root")
    except OSError as error:
        return fail("secret", f"{path}: {error.strerror}", "put the mesh secret there")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warn("secret", f"{path} is open to others", f"chmod 600 {path}")
    return ok("secret", f"{path} is there, for its owner alone")


def clock(now: float) -> Check:
    """A clock that is before the program itself is wrong; times and sequences suffer from it."""
    from time import gmtime, strftime

    date = strftime("%Y-%m-%d %H:%M UTC", gmtime(now))
    if now < Path(__file__).stat().st_mtime - 86400:
        return warn(
            "clock",
            f"the clock says {date}, which is before this program was made",
            "set it: timedatectl set-ntp true",
        )
    return ok("clock", f"{date} is plausible")


def discovery_port(root: Path) -> Check:
    """For a service that finds its peers on the link: does it listen?"""
    if LINK_PORT in ports_in_use(root):
        return ok("discovery", f"UDP port {LINK_PORT} is open for announcements")
    return fail(
        "discovery",
        f"nobody listens on UDP port {LINK_PORT}",
        "see the journal: journalctl -u bmx7-wg",
    )


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
