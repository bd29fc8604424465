"""What ``bmx7-wg doctor`` looks at on the machine itself; needs neither the service nor root.

Each check takes the root of the file system, so that tests can build one.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from ..core.config import Config
from ..core.limits import LINK_GROUP, LINK_PORT
from ..core.model import Network
from ..ports import taken_ports

# linux/if.h
_IFF_UP: Final = 0x1
_IFF_MULTICAST: Final = 0x1000

_LINK_LOCAL: Final = "20"  # the scope in if_inet6: include/net/ipv6.h IPV6_ADDR_LINKLOCAL
_NAMED: Final = 8  # interfaces in one line


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
        if "/wireguard.ko" in content(modules / name):
            return how
    return ""


def free_port(root: Path, config: Config) -> Check:
    """For a service that does not run: will it get its port?"""
    port, name = config.device.port, config.device.name
    if port not in taken_ports(root / "proc/net"):
        return ok("port", f"UDP port {port} is free")
    if (root / "sys/class/net" / name).exists():
        return ok("port", f"UDP port {port} is in use; {name} is still there")
    return warn(
        "port",
        f"UDP port {port} is in use; the service would take another",
        f"see who has it: ss -ulpn sport = :{port}",
    )


def links(root: Path) -> Check:
    """For a service that does not run: is there an interface to find neighbours on?"""
    found = []
    for line in content(root / "proc/net/if_inet6").splitlines():
        _, _, _, scope, _, name = line.split()
        flags = int(content(root / "sys/class/net" / name / "flags").strip() or "0", 16)
        if scope == _LINK_LOCAL and flags & _IFF_UP and flags & _IFF_MULTICAST:
            found.append(name)
    if found:
        return ok("links", f"neighbours may be found on {', '.join(sorted(set(found))[:_NAMED])}")
    return fail(
        "links",
        "no multicast interface is up with a link-local IPv6 address",
        "bring one up: ip link; is IPv6 switched off? sysctl net.ipv6.conf.all.disable_ipv6",
    )


def listening(root: Path) -> Check:
    """For a service that finds its peers on the link: on which interfaces does it listen?"""
    group = IPv6Address(LINK_GROUP).packed.hex()
    joined = [line.split()[:3] for line in content(root / "proc/net/igmp6").splitlines()]
    found = sorted({name for _, name, address in joined if address == group})
    if found:
        return ok("links", f"announces and listens on {', '.join(found[:_NAMED])}")
    return fail(
        "links",
        f"listens for announcements ({LINK_GROUP}, UDP port {LINK_PORT}) on no interface",
        "is one up, with an IPv6 address? does [discovery.link] interfaces exclude it?",
    )


def uses_bmx7(root: Path, config: Config) -> bool:
    """Whether a service that does not run yet would find its peers through bmx7."""
    if config.discovery.source != "auto":
        return config.discovery.source == "bmx7"
    try:
        return any(_below(root, config.discovery.bmx7.runtime_dir).iterdir())
    except OSError:
        return False


def bmx7(root: Path, config: Config) -> Iterator[Check]:
    directory = config.discovery.bmx7.runtime_dir
    runtime = _below(root, directory)
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
            yield ok("bmx7", "its json plugin is not loaded: only bmx7 itself is asked")


def forwarding(root: Path, config: Config, offered: Collection[Network]) -> Iterator[Check]:
    """Whether packets are forwarded for who uses the networks that are offered."""
    for version, name in ((4, "net/ipv4/ip_forward"), (6, "net/ipv6/conf/all/forwarding")):
        if not any(prefix.version == version for prefix in offered):
            continue
        if content(root / "proc/sys" / name).strip() not in ("", "0"):
            yield ok("forwarding", f"IPv{version} packets are forwarded")
            continue
        key = name.replace("/", ".")
        yield fail(
            "forwarding",
            f"an IPv{version} network is offered, but packets are not forwarded",
            f"see the journal, or sysctl {key}=1"
            if config.device.forward
            else f"set [device] forward = true, or sysctl {key}=1",
        )


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


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def content(path: Path) -> str:
    """The text of a file; empty if it can't be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
